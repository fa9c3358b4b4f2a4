"""Whatever happens to the Secrets, the clock and the operator: processes that run go on believing each other.

A process holds what its Secret held when its kubelet last looked, which may be as long ago as a step of an exchange.
"""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_operator.certificates import Terms
from penstock_operator.certificates_keeper import CertificateKeeper
from penstock_operator.certificates_secrets import leaf_secret
from penstock_operator.certificates_x509 import read_authorities, read_leaf
from penstock_operator.cluster import ClusterError
from tests.operator.secrets_in_memory import SecretsInMemory

RELEASE = "penstock"
DOMAIN = "penstock.internal"
COMPONENTS = ("edge", "auth", "router", "status", "operator")
CA = "penstock-ca"
DAY = 86_400.0
TERMS = Terms(authority_seconds=60 * DAY, leaf_seconds=9 * DAY)
LAG = TERMS.hold_seconds - 1
MOST_BELIEVED = 4
"""Authorities in a bundle; who holds a certificate of an earlier one is believed no more."""


@dataclass(frozen=True)
class Held:
    """What a process has taken into use."""

    issuer: str
    believed: frozenset[str]
    not_before: float
    not_after: float


class Processes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 1_800_000_000.0
        self.secrets = SecretsInMemory()
        self.operator = self.new_operator()
        self.held: dict[str, Held] = {}
        self.changed: dict[str, float] = {}
        """Since when a Secret has not been looked at by its kubelet, though it changed."""
        self.versions: dict[str, str] = {}
        self.excused = False
        """An authority's key was lost, and a certificate that only it could have issued: peers must refuse for a while."""
        self.lost = False
        self.made: frozenset[str] = frozenset()
        """Authorities that processes may hold certificates of."""
        self.faults = 0
        self.looked = self.now
        self.allowed = 0.0
        self.wrote = 0
        self.number = 0
        self.look()

    def new_operator(self) -> CertificateKeeper:
        return CertificateKeeper(self.secrets, RELEASE, DOMAIN, terms=TERMS, clock=lambda: self.now, look_seconds=1e12)

    def teardown(self) -> None:
        self.loop.close()

    def look(self) -> float:
        before = len(self.secrets.writes)
        try:
            pause = self.loop.run_until_complete(self.operator.look())
        finally:
            self.wrote += len(self.secrets.writes) - before
            self.notice()
            self.remember()
        self.looked = self.now
        return pause

    def notice(self) -> None:
        """Kubelets see changes from now on."""
        for component in COMPONENTS:
            secret = self.secrets.secrets.get(leaf_secret(RELEASE, component))
            version = secret["metadata"]["resourceVersion"] if secret else ""
            if self.versions.get(component) != version:
                self.versions[component] = version
                self.changed.setdefault(component, self.now)

    def remember(self) -> None:
        """Where authorities follow each other faster than processes, a bundle cannot hold all that are in use."""
        if CA in self.secrets.secrets:
            data = self.secrets.data(CA)
            held, _ = read_authorities(data.get("tls.crt", b""), data.get("tls.key", b""))
            self.made |= {one.fingerprint for one in held}
        self.excused = self.excused or len(self.made) > MOST_BELIEVED

    def take(self, component: str) -> None:
        """A kubelet writes the files, and the process takes them if it can use them."""
        self.changed.pop(component, None)
        name = leaf_secret(RELEASE, component)
        if name not in self.secrets.secrets:
            return
        data = self.secrets.data(name)
        bundle, whole = read_authorities(data.get("ca.crt", b""))
        leaf = read_leaf(data.get("tls.crt", b""), data.get("tls.key", b""), bundle)
        if leaf is not None and whole and leaf.issuer and leaf.not_before <= self.now < leaf.not_after:
            believed = frozenset(one.fingerprint for one in bundle)
            self.held[component] = Held(leaf.issuer, believed, leaf.not_before, leaf.not_after)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; no kubelet is later than it may be."""
        end = self.now + seconds
        for component, since in sorted(self.changed.items(), key=lambda item: item[1]):
            if since + LAG <= end:
                self.now = max(self.now, since + LAG)
                self.take(component)
        self.now = end
        self.allowed += seconds

    @rule(seconds=st.floats(0, 900))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(seconds=st.floats(0, 900))
    def wait_and_look(self, seconds: float) -> None:
        self.pass_time(seconds)
        self.look()

    @rule(days=st.floats(0.1, 30))
    def live(self, days: float) -> None:
        """The operator runs for a long time, and looks only when something falls due."""
        end = self.now + days * DAY
        pause = self.look()
        while self.now + pause < end:
            self.pass_time(pause)
            pause = self.look()
            self.all_is_well()
        self.pass_time(end - self.now)
        self.look()

    @rule(component=st.sampled_from(COMPONENTS))
    def kubelet(self, component: str) -> None:
        self.take(component)

    @rule(writes=st.integers(0, 6))
    def die_while_writing(self, writes: int) -> None:
        self.secrets.writes_left = writes
        try:
            self.look()
        except ClusterError:
            pass
        finally:
            self.secrets.writes_left = None
        self.operator = self.new_operator()

    @rule(component=st.sampled_from(COMPONENTS), how=st.sampled_from(["delete", "tls_crt", "tls_key", "ca_crt"]))
    def damage(self, component: str, how: str) -> None:
        name = leaf_secret(RELEASE, component)
        if name not in self.secrets.secrets:
            return
        if how == "delete":
            del self.secrets.secrets[name]
        else:
            self.secrets.change(name, **{how: b"nonsense"})
        self.faults += 1
        self.excused = self.excused or self.lost
        self.notice()

    @rule(key_only=st.booleans())
    @precondition(lambda self: CA in self.secrets.secrets and not self.excused)
    def lose_the_authority(self, key_only: bool) -> None:
        self.look()  # Certificates that were damaged before are whole again; from now on the old key makes none.
        self.lost = True
        self.faults += 3
        if key_only:
            self.secrets.change(CA, tls_key=b"", previous_key=None)
        else:
            del self.secrets.secrets[CA]

    @rule()
    @precondition(lambda self: CA in self.secrets.secrets)
    def ask_for_an_exchange(self) -> None:
        self.number += 1
        self.faults += 2
        self.secrets.annotate(CA, rotate=str(self.number))

    @invariant()
    def all_is_well(self) -> None:
        self.settle_if_over()
        if self.excused:
            return
        for caller, one in self.held.items():
            for server, other in self.held.items():
                assert one.issuer in other.believed, f"{server} refuses {caller}"
            if self.now - self.looked < TERMS.leaf_seconds / 3 - 2 * LAG:
                assert one.not_before <= self.now < one.not_after, f"{caller} has expired"

    def settle_if_over(self) -> None:
        """A loss is over when all processes believe one authority alone."""
        bundles = {one.believed for one in self.held.values()}
        if len(bundles) == 1 and len(next(iter(bundles))) == 1 and not self.changed and CA in self.secrets.secrets:
            held, _ = read_authorities(self.secrets.data(CA).get("tls.crt", b""), self.secrets.data(CA).get("tls.key", b""))  # fmt: skip
            if held and held[0].key and {held[0].fingerprint} == next(iter(bundles)):
                self.lost = self.excused = False
                self.made = next(iter(bundles))

    @invariant()
    def nothing_is_written_without_need(self) -> None:
        renewals = self.allowed / (TERMS.leaf_seconds * 0.6) + 1
        exchanges = self.allowed / (TERMS.authority_seconds * 0.6) + 1
        assert self.wrote <= 6 + 5 * renewals + 17 * exchanges + 17 * self.faults


Processes.TestCase.settings = settings(stateful_step_count=20)
TestProcesses = Processes.TestCase


def test_a_hasty_operator_would_be_found_out(monkeypatch) -> None:
    """The machine above can fail: without a pause between the steps, somebody is refused."""
    monkeypatch.setattr("penstock_operator.certificates._held_long", lambda since, now, terms: since is not None)
    machine = Processes()
    for component in COMPONENTS:
        machine.kubelet(component)
    machine.all_is_well()
    machine.ask_for_an_exchange()
    machine.look()
    machine.kubelet("edge")
    with pytest.raises(AssertionError, match="refuses edge"):
        machine.all_is_well()
    machine.teardown()
