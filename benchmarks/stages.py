"""Which stage of a request a sampled stack belongs to."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STAGES: Final = {
    "socket and loop": "recv, epoll, uvloop's own work and waking tasks; sends that waited for the turn's end",
    "front": "HTTP/1.1 of the client: parser, body, answer, and its send",
    "read": "the head of the body, its model, scans of the body",
    "admit": "key, allowance, estimate",
    "select": "choosing an account",
    "spool": "the records on disk",
    "upstream": "the client of upstreams, and its send",
    "relay": "the attempt, the answer's usage, headers of the answer",
    "settle and report": "closing, queueing for the ledger and for the router",
    "metrics": "counting",
    "background": "batches to auth and router, timers, probes",
    "other": "what no rule names",
}

_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")

# Anywhere in a stack: what runs beside requests.
_BESIDE: Final = (
    (r"grpc/|/concurrent/|_cython|prometheus_client/", ""),
    (r"penstock_edge/(changes|session|replay|plane)\.py", ""),
    (r"penstock_edge/outcomes\.py", "run|_send|_demand|_message|_until_due"),
    (r"penstock_edge/settlement\.py", "run|_settle|_send|_batch_is_due|message|sendable|final_results"),
    (r"penstock_edge/(asking|hearing|giving_back|allow_messages)\.py", ""),
    (r"penstock_edge/snapshot\.py", "run|_watch_once|apply|_swap"),
    (r"penstock_chassis/(probes|rpc_transport)\.py", ""),
    (r"uvicorn/server\.py", "main_loop|on_tick"),
)
# From the leaf upwards, the first that matches.
_WITHIN: Final = (
    ("spool", r"penstock_edge/(spool|spooled|segments|journal)\.py", ""),
    ("metrics", r"penstock_edge/(metrics|tallies)\.py", ""),
    ("socket and loop", r"penstock_edge/corking\.py", "release|flush"),
    ("upstream", r"penstock_edge/upstream/", ""),
    ("upstream", r"penstock_edge/providers/", "head|request_head"),
    ("upstream", r"penstock_edge/attempts\.py", "_sending|_request"),
    ("settle and report", r"penstock_edge/(closing|settlement\w*|batch|outcome\w*|exchange|usage)\.py", ""),
    ("settle and report", r"penstock_routing/", "finished|unused|begun|_give|succeeded|failed|left|hinted|give"),
    ("settle and report", r"penstock_edge/attempts\.py", "_end|_outcome"),
    ("settle and report", r"penstock_edge/holds\.py", ""),
    (
        "settle and report",
        r"penstock_edge/(admission|allowance|holdings|unrecorded)\.py",
        "ended|settle[ds]|let_go|free_slot",
    ),
    ("settle and report", r"penstock_edge/reminders\.py", ""),
    ("settle and report", r"penstock_edge/estimates\.py", "learn|relayed_tokens"),
    ("select", r"penstock_routing/|penstock_edge/waiting\.py", ""),
    ("select", r"penstock_edge/dispatch\.py", "_try_pick|_pick|_of"),
    ("select", r"penstock_edge/routes/inference\.py", "_traits"),
    ("admit", r"penstock_edge/(admission|decisions|freshness|allowance|holdings|leases|unrecorded|denials)\.py", ""),
    ("admit", r"penstock_edge/(estimates|key_books|store_clock|cost|credentials)\.py", ""),
    ("admit", r"penstock_catalog/api_key\.py", ""),
    ("admit", r"penstock_edge/routes/inference\.py", "_admit|_need"),
    ("relay", r"penstock_edge/(relay|passage|sse|answering|limit_headers|crossing|decoding)\.py", ""),
    ("relay", r"penstock_edge/(providers|foreign_thinking)", ""),
    ("relay", r"penstock_edge/dialects/", "limit_headers|stream_headers|forwarded"),
    ("relay", r"penstock_catalog/", ""),
    ("read", r"penstock_edge/dialects/|penstock_edge/(signatures|snapshot)\.py", ""),
    ("read", r"penstock_edge/routes/(inference|visible)\.py", "_prepare|_read|_resolve|_check|_includes|may_use"),
    ("relay", r"penstock_edge/(dispatch|attempts|unattended|hints|ways|makers)\.py", ""),
    (
        "front",
        r"uvicorn/|penstock_edge/(protocol|flow|direct_turn|answer_head|asgi_\w+|app|reply|bodies|keepalive|client_timers|request_id)\b",
        "",
    ),
    ("front", r"penstock_edge/routes/", ""),
)
_LOOP: Final = re.compile(r"asyncio/|uvloop/|penstock_chassis/process\.py")


class Frame(NamedTuple):
    """One frame of a stack."""

    function: str
    file: str


def frames(line: str) -> tuple[list[Frame], int]:
    """Take one line of py-spy's raw output apart: frames from the root on, and how many samples had them.

    It looks while the process goes on, so now and then what it reads is torn: such a line counts for nothing.
    """
    stack, _, count = line.rpartition(" ")
    if not count.isdecimal():
        return [], 0
    found = [_FRAME.match(text) for text in stack.split(";")]
    return [Frame(match["function"], match["file"]) for match in found if match], int(count)


def stage(stack: Sequence[Frame]) -> str:
    """Return the stage that a stack (from its root on) was sampled in."""
    if any(_is(frame, file, functions) for frame in stack for file, functions in _BESIDE):
        return "background"
    for frame in reversed(stack):
        for name, file, functions in _WITHIN:
            if _is(frame, file, functions):
                return name
    return "socket and loop" if stack and _LOOP.search(stack[-1].file) else "other"


def _is(frame: Frame, file: str, functions: str) -> bool:
    if not re.search(file, frame.file):
        return False
    return not functions or frame.function.rpartition(".")[2] in functions.split("|")


def by_stage(lines: Iterable[str]) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """Count samples by stage, and within each by the function that was running."""
    stages: Counter[str] = Counter()
    leaves: dict[str, Counter[str]] = {}
    for line in lines:
        stack, count = frames(line)
        if not stack:
            continue
        name = stage(stack)
        stages[name] += count
        leaf = next((f for f in reversed(stack) if "penstock" in f.file), stack[-1])
        leaves.setdefault(name, Counter())[f"{leaf.file.rpartition('/')[2]}:{leaf.function}"] += count
    return stages, leaves
