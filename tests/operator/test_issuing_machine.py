"""Whatever people do and wherever the operator dies: what is published is what stands in a Secret of the APIKey."""

from __future__ import annotations

import base64
import math
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock_catalog import api_key
from penstock_catalog.compiler import IssuedKey
from penstock_operator.issuing import Create, Delete, Patch
from tests.operator.api_key_world import World, new_key

NAMES = st.sampled_from(["a", "b", "c"])


class Issuing(RuleBasedStateMachine):
    """`previous` is what each Secret's text was before its last rotation, and until when, counted here by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.resource["spec"]["secretName"] = "a"
        self.previous: dict[str, tuple[str, float]] = {}
        self.late: list[tuple] = []
        self.rotations = 0
        self.overlap = 86_400

    # What is so, read off the API server without the code under test.

    def good(self, name: str) -> bool:
        return api_key.well_formed(self.world.text(name))

    def mine(self, name: str) -> bool:
        uid = self.world.resource["metadata"]["uid"]
        owners = self.world.secrets[name]["metadata"].get("ownerReferences") or []
        return any(owner["uid"] == uid for owner in owners)

    def noted(self, name: str) -> bool:
        return "penstock.dev/api-key" in (self.world.secrets[name]["metadata"].get("annotations") or {})

    def standing(self) -> set[str]:
        target = self.world.resource["spec"]["secretName"]
        return {
            name
            for name in self.world.secrets
            if self.mine(name) and self.good(name) and (name == target or self.noted(name))
        }

    def apply(self, write, source: str | None) -> bool:
        """Do a write on the API server, and keep count of what was before."""
        before = self.world.text(write.name) if write.name in self.world.secrets else ""
        if not self.world.do(write):
            return False
        match write:
            case Delete():
                self.previous.pop(write.name, None)
            case Create():
                self.previous.pop(write.name, None)
                if source is not None and source in self.previous:
                    self.previous[write.name] = self.previous[source]
            case Patch() if "data" in write.body:
                self.previous.pop(write.name, None)
                seconds = 0 if self.revoked_then else self.overlap_then
                if seconds:
                    until = math.ceil((self.now_then + timedelta(seconds=seconds)).timestamp())
                    self.previous[write.name] = (api_key.digest(before).hex(), until)
        return True

    def look(self):
        before = self.standing()
        decision = self.world.look()
        self.now_then, self.overlap_then = self.world.now, self.overlap
        self.revoked_then = self.world.resource["spec"].get("mode") == "Revoked"
        self.check(decision)
        source = None
        if isinstance(decision.write, Create):
            text = base64.b64decode(decision.write.body["data"]["api-key"]).decode()
            source = next((name for name in sorted(before) if self.world.text(name) == text), None)
            assert (source is not None) == bool(before), "a key that stands somewhere is never replaced by a new one"
        return decision.write, source

    def check(self, decision) -> None:
        standing = self.standing()
        if not isinstance(decision.issued, IssuedKey):
            assert not standing, "a key that stands in a Secret of the APIKey is published"
            return
        where = {name for name in standing if self.world.digest(name) == decision.issued.digest}
        assert where, "what is published stands in a Secret of the APIKey"
        counted = {
            self.previous[name]
            if name in self.previous and self.previous[name][1] > self.world.now.timestamp()
            else None
            for name in where
        }
        said = decision.issued.previous
        found = None if said is None else (said.digest, said.expires_at_ms / 1000)
        assert found in {None if each and each[0] == decision.issued.digest else each for each in counted}

    @invariant()
    def truth(self) -> None:
        self.check(self.world.look())

    # The operator.

    @rule()
    def step(self) -> None:
        write, source = self.look()
        if write is not None:
            assert self.apply(write, source), "what was just read can be written"

    @rule()
    def dies_with_a_write_on_its_way(self) -> None:
        """The write is done later, or never; deletions are not sent so late."""
        write, source = self.look()
        if isinstance(write, (Create, Patch)):
            self.late.append((write, source, self.now_then, self.overlap_then, self.revoked_then))

    @precondition(lambda self: self.late)
    @rule()
    def a_late_write_arrives(self) -> None:
        write, source, self.now_then, self.overlap_then, self.revoked_then = self.late.pop(0)
        if source is not None and source not in self.world.secrets:
            return
        self.apply(write, source)

    @rule()
    def comes_to_rest(self) -> None:
        for _ in range(8):
            write, source = self.look()
            if write is None:
                break
            self.apply(write, source)
        else:
            raise AssertionError("the operator never comes to rest")
        target = self.world.resource["spec"]["secretName"]
        if target in self.standing():
            assert {name for name in self.world.secrets if self.mine(name) and self.noted(name)} == {target}
        assert target in self.world.secrets

    # People.

    @rule(name=NAMES)
    def rename(self, name: str) -> None:
        self.world.resource["spec"]["secretName"] = name

    @rule(overlap=st.sampled_from([None, 0, 1, 60, 3600]))
    def rotate(self, overlap: int | None) -> None:
        self.rotations += 1
        self.overlap = 86_400 if overlap is None else overlap
        text = "" if overlap is None else str(overlap)
        self.world.annotate(rotate=str(self.rotations), rotate_overlap_seconds=text)

    @rule(overlap=st.sampled_from([None, 1, 60]))
    def rotate_and_rest(self, overlap: int | None) -> None:
        self.rotate(overlap)
        self.comes_to_rest()

    @rule(name=NAMES)
    def rename_and_step(self, name: str) -> None:
        self.rename(name)
        self.step()

    @rule(seconds=st.sampled_from([0.3, 1, 30, 4000, 100_000]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(mode=st.sampled_from(["Active", "Revoked"]))
    def set_mode(self, mode: str) -> None:
        self.world.resource["spec"]["mode"] = mode

    @rule(name=NAMES)
    def delete_secret(self, name: str) -> None:
        self.world.secrets.pop(name, None)
        self.previous.pop(name, None)

    @rule(name=NAMES, seed=st.integers(1000, 1200), key=st.booleans())
    def write_a_secret_of_their_own(self, name: str, seed: int, key: bool) -> None:
        if name not in self.world.secrets:
            self.world.put(name, {"api-key": new_key(seed).text} if key else {"password": "x"})

    @rule(name=NAMES, seed=st.integers(2000, 2200), key=st.booleans())
    def overwrite_the_text(self, name: str, seed: int, key: bool) -> None:
        if name in self.world.secrets:
            self.world.write_text(name, new_key(seed).text if key else "damaged")

    @rule()
    def delete_and_make_the_apikey_anew(self) -> None:
        name = self.world.resource["spec"]["secretName"]
        self.world.pass_time(1)
        self.world.apply_resource(name)
        self.late.clear()

    @rule()
    def delete_the_apikey_but_keep_its_secrets(self) -> None:
        for name in list(self.world.secrets):
            if self.mine(name):
                self.world.secrets[name]["metadata"]["ownerReferences"] = []
        self.delete_and_make_the_apikey_anew()

    @rule()
    def collect_garbage(self) -> None:
        self.world.collect_garbage()
        self.previous = {name: each for name, each in self.previous.items() if name in self.world.secrets}


TestIssuing = Issuing.TestCase
TestIssuing.settings = settings(stateful_step_count=40)
