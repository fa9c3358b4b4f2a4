"""Log lines, as a process of its own prints them."""

import json
import subprocess
import sys

PROGRAM = """
import logging, threading
from penstock_chassis import logs
from penstock_chassis.settings import ProcessSettings
logs.configure(ProcessSettings(name="operator-0"))
def speak():
    logs.get("module").warning("ours")
    logging.getLogger("library").warning("somebody's")
speak()
thread = threading.Thread(target=speak)
thread.start()
thread.join()
"""


def test_every_line_says_whose_it_is_in_a_thread_too() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["ours", "somebody's"] * 2
    assert {line.get("process") for line in lines} == {"operator-0"}
