"""What `penstock up` runs on when it is given no resources: an account from the environment, else the simulator.

These are the same resources that a user would write, made here instead of read from files.
"""

from collections.abc import Mapping, Sequence

from penstock_catalog import reader
from penstock_catalog.problems import Place
from penstock_catalog.resources import GROUP_VERSION, Resource

DEMO_SECRET_NAME = "demo-key"  # noqa: S105 - the name of a Secret
"""`secretName` of the demo key."""

_MOST_ACCOUNTS = 26


def environment_account(environment: Mapping[str, str]) -> list[Resource]:
    """Make an account of `ANTHROPIC_API_KEY`, with a plan and a key to use it by; nothing when it is not set.

    `ANTHROPIC_BASE_URL` is not looked at: in a shell that is set up for a gateway it names the gateway, perhaps this
    one.
    """
    key = environment.get("ANTHROPIC_API_KEY", "").strip()
    if not key:
        return []
    return _read("the environment", [*_account("anthropic", key, {}), *_ACCESS])


def simulator_resources(simulator_url: str, keys: Sequence[str]) -> list[Resource]:
    """Make an account of the simulator for each of its keys (26 at most), with a plan and a key to use them by."""
    if not 0 < len(keys) <= _MOST_ACCOUNTS:
        raise ValueError(f"the simulator has 1 to {_MOST_ACCOUNTS} keys")
    address = {"baseURL": simulator_url, "allowPrivateAddress": "Allow"}
    accounts = [
        part
        for letter, key in zip("abcdefghijklmnopqrstuvwxyz", keys, strict=False)
        for part in _account(f"simulator-{letter}", key, address)
    ]
    return _read("the simulator", [*accounts, *_ACCESS])


_ACCESS: list[dict[str, object]] = [
    {
        "apiVersion": GROUP_VERSION,
        "kind": "Plan",
        "metadata": {"name": "default"},
        "spec": {"maxConcurrentRequests": 256},
    },
    {
        "apiVersion": GROUP_VERSION,
        "kind": "APIKey",
        "metadata": {"name": "demo"},
        "spec": {"project": "demo", "planRef": {"name": "default"}, "secretName": DEMO_SECRET_NAME},
    },
]


def _account(name: str, key: str, spec: Mapping[str, str]) -> list[dict[str, object]]:
    auth = {"apiKey": {"secretRef": {"name": name, "key": "api-key"}}}
    return [
        {
            "apiVersion": GROUP_VERSION,
            "kind": "UpstreamAccount",
            "metadata": {"name": name},
            "spec": {"provider": "Anthropic", "auth": auth, **spec},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"api-key": key}},
    ]


def _read(origin: str, objects: Sequence[dict[str, object]]) -> list[Resource]:
    return [resource for content in objects for resource in reader.read_object(content, Place(origin))]
