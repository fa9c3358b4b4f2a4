"""Runs inside a cluster, in a pod of the image, with nothing but Python's own library: sends requests, prints what became of them.

Told by the environment: URL, KEY, HOST (a Host header), SECONDS, STREAMS (at once), DIRECTIVE (for the simulator), STREAM.
The last line of what it prints is JSON: how many were sent, how many ended well, and the first failures.
"""

import http.client
import json
import os
import threading
import time
from urllib.parse import urlsplit

URL = urlsplit(os.environ["URL"])
UNTIL = time.monotonic() + float(os.environ.get("SECONDS", "0"))
STREAM = os.environ.get("STREAM", "1") == "1"
BODY = json.dumps(
    {
        "model": os.environ.get("MODEL", "claude-haiku-4-5"),
        "max_tokens": 512,
        "stream": STREAM,
        "messages": [
            {"role": "user", "content": f"Say something. [[sim: {os.environ.get('DIRECTIVE', 'tokens=20')}]]"}
        ],
    }
)
LOCK = threading.Lock()
DONE = {"sent": 0, "good": 0, "failures": []}


def once():
    """Send one request; returns why it failed, "" when it did not."""
    make = http.client.HTTPSConnection if URL.scheme == "https" else http.client.HTTPConnection
    link = make(URL.hostname, URL.port, timeout=120)
    headers = {
        "x-api-key": os.environ.get("KEY", ""),
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }
    if os.environ.get("HOST"):
        headers["host"] = os.environ["HOST"]
    began = time.monotonic()
    try:
        link.request("POST", "/v1/messages", BODY, headers)
        answer = link.getresponse()
        first = answer.read(1)
        first_at = time.monotonic() - began
        body = first + answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"after {time.monotonic() - began:.1f} s: {type(error).__name__}: {error}"
    finally:
        link.close()
    if answer.status != 200:
        return f"{answer.status}: {body[:300]!r}"
    if STREAM and (b"event: message_stop" not in body or b"event: error" in body):
        return f"the stream ended early: {body[-300:]!r}"
    took = time.monotonic() - began
    if STREAM and took > 3 and first_at > took / 2:
        return f"the stream was held back: its first byte came after {first_at:.1f} of {took:.1f} s"
    return ""


def work():
    while True:
        failure = once()
        with LOCK:
            DONE["sent"] += 1
            DONE["good"] += not failure
            if failure and len(DONE["failures"]) < 10:
                DONE["failures"].append(failure)
        if time.monotonic() >= UNTIL:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    print("begun", flush=True)
    threads = [threading.Thread(target=work) for _ in range(int(os.environ.get("STREAMS", "1")))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(DONE), flush=True)
