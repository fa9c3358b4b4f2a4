"""A namespace of Secrets and one APIKey in it, and an operator that takes one step at a time."""

from __future__ import annotations

import base64
import copy
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock_catalog import api_key, reader
from penstock_catalog.compiler import IssuedKey
from penstock_catalog.problems import Place
from penstock_operator.issuing import Create, Delete, Patch, decide
from penstock_operator.key_secrets import Holder, KeySecrets, time_text

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def new_key(seed: int) -> api_key.ApiKey:
    return api_key.generate("psk_", lambda count: bytes((seed * 31 + place * 7) % 256 for place in range(count)))


def merged(held: Any, patch: Any) -> Any:
    if not isinstance(held, dict) or not isinstance(patch, dict):
        return copy.deepcopy(patch)
    left = {name: value for name, value in held.items() if name not in patch}
    return left | {name: merged(held.get(name, {}), value) for name, value in patch.items() if value is not None}


class World:
    """The API server, the APIKey `ci`, and all that the operator has said and published."""

    def __init__(self) -> None:
        self.now = START
        self.secrets: dict[str, dict[str, Any]] = {}
        self.numbers = itertools.count(1)
        self.seeds = itertools.count(1)
        self.events: list[Any] = []
        self.decision: Any = None
        self.writes = 0
        self.status: dict[str, str] = {}
        self.resource: dict[str, Any] = {}
        self.apply_resource("ci-key")

    # People.

    def apply_resource(self, secret_name: str, **spec: str) -> None:
        """Make the APIKey, with a uid of its own."""
        self.status = {}
        self.resource = {
            "apiVersion": "penstock.dev/v1alpha1", "kind": "APIKey",
            "metadata": {"name": "ci", "uid": f"uid-{next(self.numbers)}", "creationTimestamp": time_text(self.now)},
            "spec": {"project": "demo", "planRef": {"name": "p"}, "secretName": secret_name, **spec},
        }  # fmt: skip

    def annotate(self, **notes: str) -> None:
        held = self.resource["metadata"].setdefault("annotations", {})
        held |= {f"penstock.dev/{name.replace('_', '-')}": value for name, value in notes.items()}

    def put(self, name: str, data: dict[str, str], *, owners: list[dict[str, Any]] | None = None, **notes: str) -> None:
        metadata = {"name": name, "ownerReferences": owners or [], "annotations": notes}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.secrets.pop(name, None)
        self._store({"metadata": metadata, "type": "Opaque", "data": encoded})

    def write_text(self, name: str, text: str) -> None:
        self.secrets[name]["data"] = {"api-key": base64.b64encode(text.encode()).decode()}
        self._store(self.secrets[name])

    # The API server.

    def _store(self, secret: dict[str, Any]) -> None:
        metadata = secret["metadata"]
        metadata.setdefault("uid", f"uid-{next(self.numbers)}")
        metadata.setdefault("creationTimestamp", time_text(self.now))
        metadata["resourceVersion"] = str(next(self.numbers))
        self.secrets[metadata["name"]] = secret

    def do(self, write: Any) -> bool:
        """Do a write as the API server does; say whether it was taken."""
        held = self.secrets.get(write.name)
        match write:
            case Create():
                if held is not None:
                    return False
                self._store(copy.deepcopy(write.body))
            case Patch():
                guard = write.body["metadata"]
                if held is None or any(held["metadata"][name] != guard[name] for name in ("uid", "resourceVersion")):
                    return False
                self._store(merged(held, write.body))
            case Delete():
                if held is None or held["metadata"]["uid"] != write.uid:
                    return False
                del self.secrets[write.name]
        self.writes += 1
        return True

    def collect_garbage(self) -> None:
        """Remove Secrets all of whose owners are gone, as Kubernetes does."""
        mine = self.resource["metadata"]["uid"]
        for name, secret in list(self.secrets.items()):
            owners = secret["metadata"].get("ownerReferences") or []
            if owners and all(owner["uid"] != mine for owner in owners):
                del self.secrets[name]

    # The operator.

    @property
    def holder(self) -> Holder:
        resource, problem = reader.read_object(self.resource, Place("test"))[0], None
        assert problem is None
        return Holder.of(resource, self.resource | {"status": self.status})

    def look(self) -> Any:
        """Decide on what is there now, and publish it."""
        target, others = KeySecrets(copy.deepcopy(list(self.secrets.values()))).of(self.holder)
        self.decision = decide(
            self.holder, target, others, release="r", now=self.now, make_key=lambda: new_key(next(self.seeds))
        )
        assert not self.shows_text(self.decision)
        return self.decision

    def step(self) -> bool:
        """Look, and do what is to be written; say whether there was anything."""
        decision = self.look()
        if decision.write is None:
            self.status = {"keyPrefix": decision.key_prefix}
            return False
        if self.do(decision.write):
            self.events += decision.events
        return True

    def settle(self) -> IssuedKey:
        """Run until nothing is left to do."""
        for _ in range(6):
            if not self.step():
                return self.decision.issued
        raise AssertionError("the operator never comes to rest")

    def shows_text(self, decision: Any) -> bool:
        """Whether a key's text stands in what is said of a decision, or anywhere in what is written but in `data`."""
        body = getattr(decision.write, "body", {})
        data = dict(body.get("data", {}))
        said = repr(decision) + json.dumps({name: value for name, value in body.items() if name != "data"})
        texts = [base64.b64decode(value).decode() for value in data.values()]
        texts += [self.text(name) for name in self.secrets]
        return any(text[-38:] in said for text in texts if text)

    # What is so.

    def text(self, name: str) -> str:
        data = self.secrets[name].get("data") or {}
        return base64.b64decode(data.get("api-key", "")).decode(errors="replace").strip()

    def digest(self, name: str) -> str:
        return api_key.digest(self.text(name)).hex()

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.events]
