"""The messages between `counters_redis` and its scripts: which keys they touch, what they are told and answer. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from penstock_auth import allowances
from penstock_auth.allowances import PROJECT
from penstock_auth.counters import (
    AllowResult,
    Amounts,
    Denial,
    Grant,
    LimitState,
    Reason,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from penstock_auth.allowances import Bound
    from penstock_auth.counters import AllowCall, Declaration, KeyDeclaration, LedgerRow, Limit, ProjectHistory
    from penstock_auth.recovery import Epoch


class Keys:
    """The keys of one script call, each once, and the windows among them, which are those of `windows`."""

    def __init__(self, project: str, epoch: str, *, windows: str = "window") -> None:
        self._windows = windows
        self._prefix = f"penstock:{{{quote(project, safe='')}}}:{epoch}:"
        self.names: list[str] = []
        self.windows: dict[str, tuple[int, str, int]] = {}

    def key(self, name: str) -> int:
        """Add a key and return its place, from 1."""
        self.names.append(self._prefix + name)
        return len(self.names)

    def window(self, name: str, window_ms: int) -> str:
        """Add a window's counter, if it is new, and return its name."""
        if name not in self.windows:
            self.windows[name] = (self.key(f"{self._windows}:{name}"), name, window_ms)
        return name


def bound_of(bound: Bound, call: AllowCall, keys: Keys) -> dict[str, Any]:
    """Tell one bound of a call, with its window among the keys."""
    told: dict[str, Any] = {
        "mask": bound.mask,
        "amount": bound.amount,
        "project": bound.owner == PROJECT,
        "reason": bound.reason.value,
        "meter": _METERS.get(bound.unit, "tokens"),
    }
    if bound.window_ms:
        told["window"] = keys.window(bound.counter, bound.window_ms)
    elif bound.reason is Reason.SPEND_LIMIT and call.spend_limit is not None:
        spent = call.spend_limit.spent
        told |= {"meter": "spend", "version": spent.version, "fact": spent.micro_usd}
    elif bound.reason is Reason.CREDIT and call.credit is not None:
        told |= {"meter": "credit", "version": call.credit.version, "fact": call.credit.micro_usd}
    return told


_METERS: Final = {Unit.REQUESTS: "requests", Unit.CONCURRENT: "slots", Unit.COST: "cost"}


def windows_of(keys: Keys, limits: Sequence[Limit], key: str, kind: str) -> list[str]:
    """Add the windows that leases of a kind are booked in to the keys, and name them."""
    return [keys.window(name, window_ms) for name, window_ms in allowances.lease_counters(limits, key, kind)]


def adds_of(
    keys: Keys, limits: Sequence[Limit], key: str, used: tuple[int, int, int], requests: int
) -> list[tuple[str, int]]:
    """Return what goes to which window: tokens and cost, and so many requests."""
    adds = [
        (keys.window(name, window_ms), allowances.used_of(unit, *used))
        for name, window_ms, unit in allowances.usage_counters(limits, key)
    ]
    if requests:
        adds += [(name, requests) for name in windows_of(keys, limits, key, "requests")]
    return adds


def parts_of(declaration: Declaration, most: int) -> Iterator[list[tuple[str, Sequence[KeyDeclaration]]]]:
    """Give what is taken in at once: at most so many keys, of each project in one piece."""
    by_project: dict[str, list[KeyDeclaration]] = defaultdict(list)
    for told in declaration.keys:
        by_project[told.project].append(told)
    parts: list[tuple[str, Sequence[KeyDeclaration]]] = []
    for project, keys in by_project.items():
        for start in range(0, len(keys), most):
            part = keys[start : start + most]
            if sum(len(its) for _, its in parts) + len(part) > most:
                yield parts
                parts = []
            parts.append((project, part))
    yield parts


def declared_of(keys: Keys, told: KeyDeclaration) -> dict[str, Any]:
    """Tell what a session has of a key."""
    return {
        "key": told.key,
        "place": keys.key(f"leases:{told.key}"),
        "holding": allowances.vector(0, told.holding)[1:],
        "leases": [
            {
                "id": lease.lease_id,
                "unspent": lease.unspent,
                "life": lease.expires_in_ms,
                "kind": lease.kind.value,
                "windows": windows_of(keys, told.limits, told.key, lease.kind.value),
            }
            for lease in told.leases
        ],
        "admissions": [
            {
                "at": admission.admitted_at_ms,
                "requests": admission.requests,
                "windows": windows_of(keys, told.limits, told.key, admission.kind.value),
            }
            for admission in told.admissions
        ],
    }


def row_adds(keys: Keys, history: ProjectHistory, row: LedgerRow) -> list[tuple[str, int]]:
    """Return what a row of the ledger adds to which window."""
    used = (row.input_tokens, row.output_tokens, row.micro_usd)
    return adds_of(keys, history.limits.get(row.key, ()), row.key, used, row.requests)


def result_of(answer: Any, found: list[Bound], view: Epoch, edges: int) -> AllowResult:
    """Read the answer of `lua/allow.lua` to a call with these bounds."""
    kind, now, dropped = answer[:3]
    if kind == "stale":
        return AllowResult(None, Denial(Reason.STALE), view.id, now, edges, dropped=tuple(sorted(dropped)))
    told = answer[3]
    grant = denial = None
    if told.get("granted"):
        lease_id = told["lease_id"]
        grant = Grant(lease_id, told["requests"], told["life"], Amounts(*told["holding"]))
    else:
        place = told["place"] - 1
        blamed = found[place] if place < len(found) else None
        denial = Denial(
            Reason(told["reason"]),
            blamed.name if blamed else "",
            blamed.unit.value if blamed else "",
            told["amount"],
            told["reset"],
            told["valid"],
        )
    states = tuple(
        LimitState(bound.name, bound.unit, bound.amount, left, reset, bound.window_ms, bound.scope)
        for bound, (left, reset) in zip(found, told["states"], strict=False)
        if bound.window_ms or bound.unit is Unit.CONCURRENT
    )
    return AllowResult(grant, denial, view.id, now, edges, states, tuple(sorted(dropped)))
