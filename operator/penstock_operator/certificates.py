"""Decides which authorities and certificates are to be made: what the Secrets hold now and the time in, changes out.

Nothing here touches a key or a clock. An authority is exchanged while everything runs, in the three steps of
docs/decisions/0011, and each step is read off the Secrets themselves (docs/decisions/0013):

1. believe both: the CA Secret holds a new authority, and the old one as previous; every bundle gets both.
2. issue from the new one: as soon as every bundle has held both for `hold_seconds`.
3. believe the new one alone: as soon as every certificate has come from the new one for `hold_seconds`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_DAY_SECONDS: Final = 86_400.0
_MOST_BELIEVED: Final = 4
"""More authorities than this are never believed at once, whatever went wrong how often."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last. ValueError when they do not leave time for each other."""

    authority_seconds: float = 3650 * _DAY_SECONDS
    leaf_seconds: float = 90 * _DAY_SECONDS
    hold_seconds: float = 600.0
    """How long each step of an exchange stands: kubelets renew mounted Secrets within about two minutes."""
    skew_seconds: float = 300.0
    """By how much other clocks may be behind the operator's."""
    renewed_after: float = 2 / 3
    """Of its life."""

    def __post_init__(self) -> None:
        if self.authority_seconds < 6 * self.leaf_seconds:
            raise ValueError("an authority must live six times as long as a certificate")
        if self.leaf_seconds < 12 * self.hold_seconds:
            raise ValueError("a certificate must live twelve times as long as a step of an exchange")

    def renewed_at(self, not_before: float, not_after: float) -> float:
        """Return when something that is valid between these is to be renewed."""
        return not_before + (not_after - not_before) * self.renewed_after


class Standing(StrEnum):
    """Whose a Secret is."""

    ABSENT = "Absent"
    OURS = "Ours"
    FOREIGN = "Foreign"
    """It is there without our labels: never written."""


class Step(IntEnum):
    """Where an exchange of authorities stands."""

    SETTLED = 0
    BELIEVE_BOTH = 1
    ISSUE_FROM_NEW = 2


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority's certificate, and its key where we have it."""

    fingerprint: str
    not_before: float
    not_after: float
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    def usable(self, now: float) -> bool:
        """Whether a peer would believe it now."""
        return self.not_before <= now < self.not_after


@dataclass(frozen=True, slots=True)
class Leaf:
    """A component's certificate whose key fits and that serves for both server and client."""

    issuer: str
    """Fingerprint of the authority that signed it, "" when it is none that we or its own bundle know."""
    names: frozenset[str]
    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class HeldAuthorities:
    """What the CA Secret holds: the authority that issues first, then those that are still believed."""

    standing: Standing = Standing.ABSENT
    authorities: tuple[Authority, ...] = ()
    damaged: bool = False
    request: str = ""
    """What people wrote to ask for an exchange, if it has not been done yet."""


@dataclass(frozen=True, slots=True)
class HeldLeaf:
    """What a component's Secret holds."""

    standing: Standing = Standing.ABSENT
    leaf: Leaf | None = None
    """None: there is none that could be used."""
    bundle: tuple[Authority, ...] = ()
    bundle_since: float | None = None
    leaf_since: float | None = None
    request: str = ""
    """What people wrote to ask for a new certificate, if it has not been made yet."""
    unchangeable: bool = False
    """Its type is another one, or it is immutable: it can only be deleted and made anew."""


@dataclass(frozen=True, slots=True)
class AuthorityChange:
    """Write the CA Secret: a new authority if `make`, then those to keep; the first of all issues."""

    make: bool
    keep: tuple[Authority, ...]
    served: str
    """The request that this is the answer to, if there was one."""
    reason: str


@dataclass(frozen=True, slots=True)
class LeafChange:
    """Write a component's Secret."""

    component: str
    issuer: Authority | None
    """None: the certificate stays, only the bundle is written."""
    believed: tuple[Authority, ...]
    bundle_since: float
    leaf_since: float
    served: str
    """The request that this is the answer to, if there was one."""
    reason: str
    recreate: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and when to look again. A change of the CA Secret comes alone: plan again after it."""

    authority: AuthorityChange | None = None
    leaves: tuple[LeafChange, ...] = ()
    step: Step = Step.SETTLED
    foreign: tuple[str, ...] = ()
    """Components whose Secrets are not ours; `authority` is the CA Secret."""
    next_look: float = 0.0


def plan(
    now: float, held: HeldAuthorities, leaves: Mapping[str, HeldLeaf], names: Mapping[str, str], terms: Terms
) -> Plan:
    """Decide. `names` are the DNS names that certificates must bear, by component; `leaves` has the same components."""
    foreign = tuple(component for component in names if leaves[component].standing is Standing.FOREIGN)
    if held.standing is Standing.FOREIGN:
        return Plan(foreign=("authority", *foreign), next_look=now + terms.hold_seconds)
    change = _authority_change(now, held, leaves, terms)
    if change is not None:
        return Plan(authority=change, foreign=foreign, next_look=now)
    issuing = _Issuing(now, held.authorities, leaves, terms)
    changes = tuple(
        one for component, name in names.items() if (one := issuing.change(component, name, leaves[component]))
    )
    return Plan(
        leaves=changes,
        step=issuing.step,
        foreign=foreign,
        next_look=now if changes else _next_look(now, held.authorities, leaves, terms),
    )


def _authority_change(
    now: float, held: HeldAuthorities, leaves: Mapping[str, HeldLeaf], terms: Terms
) -> AuthorityChange | None:
    usable = [one for one in held.authorities if one.usable(now)]
    first = next((one for one in usable if one.key), None)
    if first is None:
        # Its key is lost. Peers go on believing what they have from it, so it stays in the bundles for an exchange.
        keep = _distinct((*usable, *_issuers(now, leaves)))[: _MOST_BELIEVED - 1]
        reason = "absent" if held.standing is Standing.ABSENT else "damaged" if held.damaged else "expired"
        return AuthorityChange(make=True, keep=keep, served=held.request, reason=reason)
    keep = _distinct((first, *usable))[:_MOST_BELIEVED]
    if keep != held.authorities or held.damaged:
        return AuthorityChange(make=False, keep=keep, served="", reason="dropped")
    if len(keep) > 1:
        over = all(
            one.standing is Standing.OURS
            and one.leaf is not None
            and one.leaf.issuer == first.fingerprint
            and _held_long(one.leaf_since, now, terms)
            for one in leaves.values()
        )
        return AuthorityChange(make=False, keep=(first,), served="", reason="exchanged") if over else None
    if held.request or now >= terms.renewed_at(first.not_before, first.not_after):
        reason = "asked" if held.request else "due"
        return AuthorityChange(make=True, keep=(first,), served=held.request, reason=reason)
    return None


def _issuers(now: float, leaves: Mapping[str, HeldLeaf]) -> Iterable[Authority]:
    """Return the authorities that certificates in use come from, as their own bundles hold them."""
    for one in leaves.values():
        if one.standing is Standing.OURS and one.leaf is not None and _in_force(one.leaf, now):
            yield from (known for known in one.bundle if known.fingerprint == one.leaf.issuer and known.usable(now))


class _Issuing:
    """The part of the decision that is the same for all components."""

    def __init__(
        self, now: float, authorities: tuple[Authority, ...], leaves: Mapping[str, HeldLeaf], terms: Terms
    ) -> None:
        self._now = now
        self._terms = terms
        self._believed = authorities
        self._fingerprints = _fingerprints(authorities)
        self._newest, *previous = authorities
        self._exchanging = bool(previous)
        announced = not previous or all(
            one.standing is Standing.OURS
            and _fingerprints(one.bundle) >= self._fingerprints
            and _held_long(one.bundle_since, now, terms)
            for one in leaves.values()
        )
        # An authority at its end would issue certificates that are to be renewed at once.
        able = (one for one in previous if one.key and one.not_after - now > 12 * terms.hold_seconds)
        self._issuer = self._newest if announced else next(able, self._newest)
        self.step = Step.SETTLED if not previous else Step.ISSUE_FROM_NEW if announced else Step.BELIEVE_BOTH

    def change(self, component: str, name: str, held: HeldLeaf) -> LeafChange | None:
        """Return what to write for one component, if anything."""
        if held.standing is Standing.FOREIGN:
            return None
        bundle_stands = _fingerprints(held.bundle) == self._fingerprints and self._dated(held.bundle_since)
        leaf_is_dated = self._dated(held.leaf_since)
        reason = self._why_anew(name, held)
        keeps = not reason
        if keeps and not bundle_stands:
            reason = "believed"
        elif keeps and self._exchanging and not leaf_is_dated:
            reason = "undated"
        if not reason:
            return None
        return LeafChange(
            component,
            issuer=None if keeps else self._issuer,
            believed=self._believed,
            bundle_since=held.bundle_since if bundle_stands and held.bundle_since is not None else self._now,
            leaf_since=held.leaf_since if keeps and leaf_is_dated and held.leaf_since is not None else self._now,
            served="" if keeps else held.request,
            reason=reason,
            recreate=held.unchangeable,
        )

    def _why_anew(self, name: str, held: HeldLeaf) -> str:
        """Return why the certificate must be made anew, "" when it need not."""
        leaf = held.leaf
        if held.standing is Standing.ABSENT:
            return "absent"
        if leaf is None:
            return "damaged"
        if not _in_force(leaf, self._now):
            return "dates"
        if leaf.names != {name}:
            return "names"
        if leaf.issuer not in self._fingerprints:
            return "authority"
        if held.request:
            return "asked"
        if self.step is Step.ISSUE_FROM_NEW and leaf.issuer != self._newest.fingerprint:
            return "exchange"
        due = self._now >= self._terms.renewed_at(leaf.not_before, leaf.not_after)
        # An authority near its own end cannot give more time; asking it again and again would not help.
        end = min(self._now + self._terms.leaf_seconds, self._issuer.not_after)
        return "due" if due and end > leaf.not_after + self._terms.hold_seconds else ""

    def _dated(self, since: float | None) -> bool:
        """Whether a date can be counted from; outside of an exchange nothing is counted."""
        if not self._exchanging:
            return True
        return since is not None and since <= self._now + self._terms.skew_seconds


def _next_look(now: float, authorities: tuple[Authority, ...], leaves: Mapping[str, HeldLeaf], terms: Terms) -> float:
    """Return when something falls due. What is overdue cannot be helped now: it waits for another change."""
    times = [one.not_after for one in authorities]
    times += [terms.renewed_at(one.not_before, one.not_after) for one in authorities[:1]]
    for held in leaves.values():
        if held.standing is Standing.OURS and held.leaf is not None:
            times += [terms.renewed_at(held.leaf.not_before, held.leaf.not_after), held.leaf.not_after]
            if len(authorities) > 1:
                times += [since + terms.hold_seconds for since in (held.bundle_since, held.leaf_since) if since]
    return min((time for time in times if time > now), default=now + terms.hold_seconds)


def _in_force(leaf: Leaf, now: float) -> bool:
    return leaf.not_before <= now < leaf.not_after


def _held_long(since: float | None, now: float, terms: Terms) -> bool:
    return since is not None and since + terms.hold_seconds <= now


def _fingerprints(authorities: Iterable[Authority]) -> frozenset[str]:
    return frozenset(one.fingerprint for one in authorities)


def _distinct(authorities: Iterable[Authority]) -> tuple[Authority, ...]:
    distinct: dict[str, Authority] = {}
    for one in authorities:
        distinct.setdefault(one.fingerprint, one)
    return tuple(distinct.values())
