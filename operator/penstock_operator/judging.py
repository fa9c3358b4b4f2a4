"""Everything that is known, brought together for each object and handed to the policy chains. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from penstock_catalog import resources as res
from penstock_catalog.compiler import IssuedKey
from penstock_operator import sights, verdicts
from penstock_operator.conditions import ACCEPTED, ISSUED, REACHABLE, RESOLVED_REFS, Condition, found, time_text
from penstock_operator.kinds import CUSTOM
from penstock_operator.programmed import worst
from penstock_operator.verdicts import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from penstock_catalog.documents import Account, AuthCatalog, RouterCatalog
    from penstock_operator.cluster import Object
    from penstock_operator.credentials import Proof
    from penstock_operator.issuing import Decision
    from penstock_operator.kinds import Kind
    from penstock_operator.programmed import Side
    from penstock_operator.sights import Cooldown, Fleet, Sight

_UNTIL_TOLERANCE_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account as it is published, beside what its Secret has."""

    entry: Account
    wanted_hash: str
    held_back: bool
    proof: Proof | None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known at one moment. `failures` and `faults` are by `Kind/name`."""

    resources: Sequence[res.Resource]
    faults: Mapping[str, str]
    failures: Mapping[str, Failure]
    router: RouterCatalog
    auth: AuthCatalog
    accounts: Mapping[str, AccountView]
    decisions: Mapping[str, Decision]
    key_failures: Mapping[str, str]
    routers: Fleet
    router_side: Side
    auth_side: Side
    now: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an object's status is to say: conditions, and facts of its kind; None: not said."""

    kind: Kind
    item: Object
    conditions: tuple[Condition, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def entries(router: RouterCatalog) -> dict[str, Any]:
    """Return what of a router's catalog makes each object what it is; which models an account has is theirs to say."""
    accounts = {f"UpstreamAccount/{entry.name}": entry.model_copy(update={"models": ()}) for entry in router.accounts}
    return {**accounts, **{f"Model/{entry.name}": entry for entry in router.models}}


def auth_entries(auth: AuthCatalog) -> dict[str, Any]:
    """Return the same of auth's catalog."""
    plans = {f"Plan/{entry.name}": entry for entry in auth.plans}
    keys = {f"APIKey/{entry.name}": entry for entry in auth.api_keys}
    return {**plans, **keys, **{f"Model/{entry.name}": entry for entry in auth.models}}


class Judge:
    """Judges all objects of one situation."""

    def __init__(self, situation: Situation) -> None:
        self._at = situation
        self._router_entries = entries(situation.router)
        self._auth_entries = auth_entries(situation.auth)
        self._sights: dict[str, Sight | None] = {
            entry.name: sights.account(situation.routers, entry.name) for entry in situation.router.accounts
        }
        self._total: Counter[str] = Counter()
        self._ready: Counter[str] = Counter()
        for entry in situation.router.accounts:
            if not entry.not_served:
                self._total.update(entry.models)
                self._ready.update(_serving(entry, self._sights[entry.name]))

    def verdicts(self, objects: Mapping[Kind, Mapping[str, Object]]) -> Iterator[Verdict]:
        """Judge every object that is not on its way out."""
        resources = {resource.id: resource for resource in self._at.resources}
        for kind in CUSTOM:
            for name, item in objects[kind].items():
                id_ = f"{kind.name}/{name}"
                if id_ in self._at.faults:
                    yield Verdict(kind, item, verdicts.unreadable(kind.name, self._at.faults[id_]))
                elif id_ in resources:
                    yield self._verdict(kind, item, resources[id_])

    def _verdict(self, kind: Kind, item: Object, resource: res.Resource) -> Verdict:
        match resource:
            case res.UpstreamAccount():
                return self._account(kind, item, resource)
            case res.Model():
                return self._model(kind, item, resource)
            case res.APIKey():
                return self._key(kind, item, resource)
        programmed = self._at.auth_side.judge(resource.id, self._auth_entries.get(resource.id))
        facts = verdicts.PlanFacts(self._at.failures.get(resource.id), programmed)
        return Verdict(kind, item, verdicts.plan(facts))

    def _account(self, kind: Kind, item: Object, resource: res.UpstreamAccount) -> Verdict:
        at, view = self._at, self._at.accounts.get(resource.name)
        sight = self._sights.get(resource.name)
        status = _status(item)
        facts = verdicts.AccountFacts(
            failure=at.failures.get(resource.id),
            mode=resource.spec.mode,
            programmed=at.router_side.judge(resource.id, self._router_entries.get(resource.id)),
            sight=sight,
            has_credential=bool(view and view.wanted_hash),
            held_back=bool(view and view.held_back),
            in_force=view.entry.credential_hash if view else "",
            proof=view.proof if view else None,
            carried=carried(status, view, resource.generation),
        )
        cooldowns = _cooldowns(sight.cooldowns if sight else (), status)
        said = {"credentialHash": view.entry.credential_hash if view else None, "cooldowns": cooldowns}
        return Verdict(kind, item, verdicts.account(facts), {name: value or None for name, value in said.items()})

    def _model(self, kind: Kind, item: Object, resource: res.Model) -> Verdict:
        at = self._at
        sides = ((at.router_side, self._router_entries), (at.auth_side, self._auth_entries))
        facts = verdicts.ModelFacts(
            failure=at.failures.get(resource.id),
            programmed=worst(side.judge(resource.id, known.get(resource.id)) for side, known in sides),
            routers=bool(at.routers.serving),
            ready_accounts=self._ready[resource.name],
            total_accounts=self._total[resource.name],
        )
        counts = {"readyAccounts": facts.ready_accounts, "totalAccounts": facts.total_accounts}
        return Verdict(kind, item, verdicts.model(facts), counts)

    def _key(self, kind: Kind, item: Object, resource: res.APIKey) -> Verdict:
        at, decision = self._at, self._at.decisions.get(resource.name)
        failure = at.failures.get(resource.id)
        taken = failure is not None and failure.reason == "KeyTaken"
        facts = verdicts.KeyFacts(
            failure=_of_the_plan(failure),
            fault=_key_fault(decision, at.key_failures.get(resource.name), failure),
            issued=decision is not None and isinstance(decision.issued, IssuedKey) and not taken,
            notice=decision.notice if decision is not None else "",
            mode=resource.spec.mode,
            expired=bool(resource.spec.expires_at_ms) and (resource.spec.expires_at_ms or 0) <= _ms(at.now),
            programmed=at.auth_side.judge(resource.id, self._auth_entries.get(resource.id)),
        )
        said = {
            "keyPrefix": decision.key_prefix if decision is not None else "",
            "issuedTime": decision.issued_time if decision is not None else "",
        }
        return Verdict(kind, item, verdicts.key(facts), {name: value or None for name, value in said.items()})


def carried(status: Mapping[str, Any], view: AccountView | None, generation: int) -> Condition | None:
    """Return Reachable as an operator before this one wrote it, where it is of this credential and generation."""
    row = found(status, REACHABLE)
    if view is None or view.held_back or not row or status.get("credentialHash") != view.wanted_hash:
        return None
    if row.get("observedGeneration") != generation or row.get("status") not in {"True", "False"}:
        return None
    return Condition(REACHABLE, row["status"], str(row.get("reason", "")), str(row.get("message", "")))


def _serving(entry: Account, sight: Sight | None) -> Iterable[str]:
    if sight is None or not sight.ready:
        return ()
    resting = {one.model for one in sight.cooldowns if not one.operation}
    return () if "" in resting else (model for model in entry.models if model not in resting)


def _cooldowns(cooldowns: Sequence[Cooldown], status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write cooldowns down. A time that is hardly another than the one that is written stays as it is."""
    before = {
        (row.get("model", ""), row.get("operation", "")): str(row.get("until", ""))
        for row in status.get("cooldowns") or ()
        if isinstance(row, dict)
    }
    rows = []
    for one in cooldowns:
        until = datetime.fromtimestamp(one.until, UTC)
        written = _moment(before.get((one.model, one.operation), ""))
        if written is not None and abs((written - until).total_seconds()) <= _UNTIL_TOLERANCE_SECONDS:
            until = written
        names = {"model": one.model, "operation": one.operation}
        said = {name: value for name, value in names.items() if value}
        rows.append({**said, "reason": one.reason or "Cooling", "until": time_text(until)})
    return rows


def _key_fault(decision: Decision | None, unwritten: str | None, failure: Failure | None) -> Failure | None:
    if unwritten is not None:
        return Failure(ISSUED, "NotWritten", unwritten)
    if failure is not None and failure.reason == "KeyTaken":
        return failure
    if decision is None:
        return None
    fault = decision.issued.failure if isinstance(decision.issued, IssuedKey) else decision.issued
    if fault is None:
        return None
    condition = RESOLVED_REFS if fault.reason.startswith("Secret") else ISSUED
    return Failure(condition, fault.reason, fault.message)


def _of_the_plan(failure: Failure | None) -> Failure | None:
    """Leave what is wrong with the key itself to its decision, which says it in full."""
    return failure if failure is None or failure.condition == ACCEPTED or failure.reason == "PlanNotFound" else None


def _status(item: Object) -> Mapping[str, Any]:
    status = item.get("status")
    return status if isinstance(status, dict) else {}


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
