"""Carries out what `certificates.plan` decides: reads the Secrets, writes what must change, looks again in time.

Every look begins with what the Secrets hold, so it does not matter where an earlier one ended. Every write is guarded
by the version that was read: of two operators one writes, and the other looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs
from penstock_chassis.certificates import CertificateError
from penstock_chassis.identity import Component, dns_name
from penstock_operator import certificates_events as say
from penstock_operator import certificates_metrics as metrics
from penstock_operator import certificates_secrets as shape
from penstock_operator.certificates import Plan, Standing, Terms, plan
from penstock_operator.cluster import ClusterError, ConflictError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock_operator.certificates import HeldAuthorities, HeldLeaf
    from penstock_operator.certificates_files import OwnFiles
    from penstock_operator.cluster import Object, SecretApi
    from penstock_operator.events import Event

log = logs.get(__name__)

ISSUED_FOR: Final = (Component.EDGE, Component.AUTH, Component.ROUTER, Component.STATUS, Component.OPERATOR)
_DAY_SECONDS: Final = 86_400.0
_ROUNDS: Final = 6
"""One for the authority, one for the certificates, one to see that all is well; the rest for other writers."""
_SHORTEST_PAUSE: Final = 0.2
_FIRST_RETRY: Final = 1.0
_OF_THE_AUTHORITY: Final = "authority"


class CertificateKeeper:
    """Keeps the Secrets of one release as they should be, and `files` as the operator's own Secret is."""

    def __init__(
        self,
        secrets: SecretApi,
        release: str,
        domain: str,
        *,
        files: OwnFiles | None = None,
        terms: Terms | None = None,
        tell: Callable[[Object, Event], None] | None = None,
        look_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.ready = asyncio.Event()
        """Set when the operator's own files are in place."""
        self._secrets = secrets
        self._release = release
        self._names = {component.value: dns_name(component, domain) for component in ISSUED_FOR}
        self._files = files
        self._tell = tell
        self._terms = terms or Terms()
        self._look_seconds = look_seconds
        self._clock = clock
        self._woken = asyncio.Event()
        self._watched = {shape.ca_secret(release), *(shape.leaf_secret(release, one) for one in self._names)}
        self._foreign: frozenset[str] = frozenset()
        self._complaint = ""
        self._unusable = ""

    def secret_changed(self, name: str) -> None:
        """Look soon, if this Secret is one of those that are kept."""
        if name in self._watched:
            self._woken.set()

    async def run(self) -> None:
        """Keep them until cancelled; whatever fails is tried again."""
        retry = _FIRST_RETRY
        while True:
            self._woken.clear()
            try:
                pause = await self.look()
            except (ClusterError, OSError) as error:
                metrics.FAILED.inc()
                self._complain(str(error))
                await asyncio.sleep(retry)
                retry = min(retry * 2, self._look_seconds)
                continue
            retry, self._complaint = _FIRST_RETRY, ""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
                    # Somebody who changes one Secret may be about to change the next.
                    await asyncio.sleep(_SHORTEST_PAUSE)

    async def look(self) -> float:
        """Bring all Secrets to what they should be; returns for how many seconds nothing falls due.

        Raises ClusterError, after everything that could be done has been done.
        """
        for _ in range(_ROUNDS):
            secrets = await self._read()
            held, leaves = self._understand(secrets)
            now = self._clock()
            decided = plan(now, held, leaves, self._names, self._terms)
            self._measure(decided, held, leaves)
            self._tell_of_foreign(decided, secrets)
            if decided.authority is None and not decided.leaves:
                self._take_own(secrets)
                return min(max(decided.next_look - self._clock(), _SHORTEST_PAUSE), self._look_seconds)
            await self._carry_out(decided, secrets, now)
        raise ClusterError("somebody else writes the Secrets with certificates as often as this operator does")

    async def _read(self) -> dict[str, Object | None]:
        """Return the Secrets, the CA's under its own name."""
        names = {_OF_THE_AUTHORITY: shape.ca_secret(self._release)}
        names |= {component: shape.leaf_secret(self._release, component) for component in self._names}
        return {of: await self._secrets.get_secret(name) for of, name in names.items()}

    def _understand(self, secrets: Mapping[str, Object | None]) -> tuple[HeldAuthorities, dict[str, HeldLeaf]]:
        held = shape.read_ca(secrets[_OF_THE_AUTHORITY], self._release)
        return held, {
            component: shape.read_component(secrets[component], self._release, held.authorities)
            for component in self._names
        }

    async def _carry_out(self, decided: Plan, secrets: Mapping[str, Object | None], now: float) -> None:
        if decided.authority is not None:
            change = decided.authority
            content = shape.ca_content(change, self._release, now, self._terms)
            await self._write(_OF_THE_AUTHORITY, content, secrets[_OF_THE_AUTHORITY], reason=change.reason)
            return
        failures = []
        for one in decided.leaves:
            content = shape.leaf_content(one, self._names[one.component], self._release, now, self._terms)
            try:
                await self._write(
                    one.component, content, secrets[one.component], reason=one.reason, recreate=one.recreate
                )
            except ClusterError as error:
                failures.append(error)
        if failures:
            # The operator's own files are wanted for other work, also when a Secret of another component is stuck.
            self._take_own(await self._read())
            raise failures[0]

    async def _write(
        self, of: str, content: Object, before: Object | None, *, reason: str, recreate: bool = False
    ) -> None:
        """Create or change one Secret, unless it is no longer what was read: then the next round decides anew."""
        name = content["metadata"]["name"]
        try:
            if before is None:
                written = await self._secrets.create_secret(shape.without_nulls(content))
            elif recreate:
                await self._secrets.delete_secret(name, uid=before["metadata"]["uid"])
                written = await self._secrets.create_secret(shape.with_what_stays(content, before))
            else:
                version = {key: before["metadata"][key] for key in ("uid", "resourceVersion")}
                patch = {"metadata": content["metadata"] | version, "data": content["data"]}
                written = await self._secrets.patch_secret(name, patch)
        except (ConflictError, NotFoundError):
            log.info("certificate_secret_changed_meanwhile", secret=name)
            return
        metrics.WRITTEN.labels(of, reason).inc()
        log.info("certificate_secret_written", secret=name, reason=reason)
        if self._tell is not None:
            self._tell(written, say.of_authority(reason) if of == _OF_THE_AUTHORITY else say.of_certificate(reason))

    def _take_own(self, secrets: Mapping[str, Object | None]) -> None:
        own = secrets[Component.OPERATOR.value]
        if self._files is None or own is None:
            return
        contents = shape.files(own)
        if not all(contents.values()) or (not self._files.write(contents) and self.ready.is_set()):
            return
        try:
            self._files.see(self._names[Component.OPERATOR.value])
        except CertificateError as error:
            # Somebody else's Secret: what is in use stays in use, and without any the operator waits.
            if str(error) != self._unusable:
                log.warning("own_certificate_unusable", reason=str(error))
            self._unusable = str(error)
        else:
            self._unusable = ""
            self.ready.set()

    def _measure(self, decided: Plan, held: HeldAuthorities, leaves: Mapping[str, HeldLeaf]) -> None:
        metrics.STEP.set(decided.step)
        ends = {component: one.leaf.not_after for component, one in leaves.items() if one.leaf is not None}
        if held.standing is Standing.OURS and held.authorities:
            ends[_OF_THE_AUTHORITY] = held.authorities[0].not_after
        for of, end in ends.items():
            metrics.DAYS_LEFT.labels(of).set((end - self._clock()) / _DAY_SECONDS)
        foreign = frozenset(decided.foreign)
        for of in (_OF_THE_AUTHORITY, *self._names):
            metrics.FOREIGN.labels(of).set(float(of in foreign))

    def _tell_of_foreign(self, decided: Plan, secrets: Mapping[str, Object | None]) -> None:
        foreign = frozenset(decided.foreign)
        for of in sorted(foreign - self._foreign):
            log.warning("certificate_secret_is_foreign", secret=self._name(of), effect=_effect(of))
            if self._tell is not None and (secret := secrets[of]) is not None:
                self._tell(secret, say.of_foreign(_effect(of)))
        self._foreign = foreign

    def _name(self, of: str) -> str:
        return shape.ca_secret(self._release) if of == _OF_THE_AUTHORITY else shape.leaf_secret(self._release, of)

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            log.warning("certificates_look_failed", reason=complaint)
        self._complaint = complaint


def _effect(of: str) -> str:
    if of == _OF_THE_AUTHORITY:
        return "nothing is issued or renewed until it is deleted or renamed"
    return "it is not written, and authorities are not exchanged until it is deleted"
