"""A process's life, with real processes and real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys, time
from pathlib import Path
from penstock_chassis.process import StartError, run
from penstock_chassis.settings import ProcessSettings

class Sleeper:
    def __init__(self, settings, behaviour):
        self.settings, self.behaviour = settings, behaviour
    async def start(self):
        if self.behaviour == "refuses":
            raise StartError("the store is missing: give one")
        if self.behaviour == "starts for ever":
            await asyncio.sleep(3600)
    async def drain(self, seconds):
        (self.settings.run_dir / "drained").write_text(str(seconds))
        if self.behaviour == "never drains":
            await asyncio.sleep(3600)
        if self.behaviour == "has a thread that hangs":
            self.thread = asyncio.create_task(asyncio.to_thread(time.sleep, 3600))
            await asyncio.sleep(0.1)
    def ready(self):
        return (self.behaviour == "ready", "because " + self.behaviour)

settings = ProcessSettings(name="sleeper-0", run_dir=Path(sys.argv[1]), drain_seconds=float(sys.argv[3]), dies_with_parent=len(sys.argv) > 4)
sys.exit(run(lambda: Sleeper(settings, sys.argv[2]), settings))
"""


def start(tmp_path: Path, behaviour: str, drain: float = 1.0, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), behaviour, str(drain), *more], stderr=subprocess.PIPE
    )


def port_of(tmp_path: Path) -> int:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            return int(json.loads((tmp_path / "sleeper-0.json").read_text())["metrics_port"])
        except FileNotFoundError:
            time.sleep(0.02)
    raise AssertionError("the process never announced itself")


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize(("behaviour", "status"), [("ready", 200), ("not yet", 503)])
def test_probes_tell_the_truth_and_sigterm_drains(tmp_path: Path, behaviour: str, status: int) -> None:
    with start(tmp_path, behaviour) as process:
        port = port_of(tmp_path)
        assert get(port, "/readyz")[0] == status
        assert behaviour in get(port, "/readyz")[1]
        assert get(port, "/healthz") == (200, '{"alive": true}')
        metrics = get(port, "/metrics")[1]
        assert "python_info" in metrics
        assert "penstock_process_compiled_modules 0.0\n" in metrics
        assert f"penstock_process_ready {float(status == 200)}\n" in metrics
        time.sleep(0.3)
        assert 'penstock_loop_lag_seconds_bucket{le="+Inf"} 0.0\n' not in get(port, "/metrics")[1]
        assert get(port, "/other")[0] == 404
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=10)
        assert process.returncode == 0
    assert (tmp_path / "drained").read_text() == "1.0"
    events = [json.loads(line) for line in stderr.splitlines()]
    assert [event["event"] for event in events] == ["started", "draining", "ended"]
    assert events[0]["compiled_modules"] == 0
    assert {event["process"] for event in events} == {"sleeper-0"}


@pytest.mark.parametrize("where", ["a pipe whose reader is gone", "a disk that is full"])
def test_a_log_that_nobody_takes_ends_no_work(tmp_path: Path, where: str) -> None:
    reader, writer = os.pipe() if "pipe" in where else (None, os.open("/dev/full", os.O_WRONLY))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), "ready", "1"], stderr=writer)
    os.close(writer)
    if reader is not None:
        os.close(reader)
    assert get(port_of(tmp_path), "/readyz")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert (tmp_path / "drained").read_text() == "1.0"


def test_a_start_that_fails_says_why_and_exits_1(tmp_path: Path) -> None:
    with start(tmp_path, "refuses") as process:
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "the store is missing: give one" in stderr.decode()
    assert "Traceback" not in stderr.decode()


def test_a_run_dir_that_cannot_be_one_is_refused_in_words(tmp_path: Path) -> None:
    taken = tmp_path / "a file"
    taken.touch()
    with start(taken, "ready") as process:
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "run_dir cannot be used" in stderr.decode()
    assert "Traceback" not in stderr.decode()


def test_sigterm_during_the_start_ends_it(tmp_path: Path) -> None:
    with start(tmp_path, "starts for ever") as process:
        port_of(tmp_path)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_a_drain_has_an_end(tmp_path: Path) -> None:
    with start(tmp_path, "never drains", -4.5) as process:
        port_of(tmp_path)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    assert process.returncode == 1


def test_a_thread_that_hangs_does_not_keep_a_process_that_has_ended(tmp_path: Path) -> None:
    with start(tmp_path, "has a thread that hangs") as process:
        port_of(tmp_path)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        try:
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    events = [json.loads(line)["event"] for line in stderr.splitlines()]
    assert events[-2:] == ["ended", "end_cut"]


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); time.sleep(60)",
            *(sys.executable, "-c", PROGRAM, str(tmp_path), "ready", "1", "dies"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        port_of(tmp_path)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and alive(child):
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("named", [False, True])
def test_the_library_for_traces_is_imported_where_a_collector_is_named(tmp_path: Path, named: bool) -> None:
    program = PROGRAM.replace(
        "self.settings, self.behaviour = settings, behaviour",
        "self.settings, self.behaviour = settings, behaviour\n"
        "        loaded = [name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))]\n"
        "        (settings.run_dir / 'loaded').write_text(repr(len(loaded)))",
    )
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if named else {}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | told
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), "ready", "1.0"], stderr=subprocess.DEVNULL, env=environment
    )
    port_of(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert ((tmp_path / "loaded").read_text() != "0") is named


def test_variables_of_tracing_that_are_no_text_keep_no_process_from_its_work(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment["OTEL_TRACES_SAMPLER"] = os.fsdecode(b"\xff")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), "ready", "1.0"], stderr=subprocess.PIPE, env=environment
    )
    port_of(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "OTEL_TRACES_SAMPLER will not do (it is not UTF-8)" in stderr.decode()


def test_only_get_and_head_are_answered_by_the_probes(tmp_path: Path) -> None:
    with start(tmp_path, "ready") as process:
        port = port_of(tmp_path)
        for method in ("POST", "CONNECT", "FROB"):
            with socket.create_connection(("127.0.0.1", port)) as asking:
                asking.sendall(f"{method} /healthz HTTP/1.1\r\nhost: x\r\n\r\n".encode())
                assert asking.recv(4096).startswith(b"HTTP/1.1 405 ")
        with socket.create_connection(("127.0.0.1", port)) as asking:
            asking.sendall(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert asking.recv(4096).startswith(b"HTTP/1.1 200 ")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=10)
    assert [json.loads(line)["event"] for line in stderr.splitlines()] == ["started", "draining", "ended"]


def test_the_child_of_process_1_says_why_it_does_not_start(tmp_path: Path) -> None:
    child = ["import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)", sys.executable, "-c", PROGRAM]
    command = [
        "unshare",
        "--user",
        "--pid",
        "--fork",
        sys.executable,
        "-c",
        *child,
        str(tmp_path),
        "ready",
        "1",
        "dies",
    ]
    if subprocess.run([*command[:4], "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine makes no namespaces of processes")
    ended = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "dies_with_parent is set" in json.loads(ended.stderr)["reason"]
