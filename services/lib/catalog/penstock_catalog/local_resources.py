"""What `penstock up` runs on when it is given no resources: accounts from the environment, else the simulator.

These are the same resources that a user would write, made here instead of read from files.

Providers' keys are looked for where their own SDKs look, and so are the base URLs of OpenAI and Gemini. A shell may
also be set up for *using* a gateway, perhaps this one: `ANTHROPIC_BASE_URL` is therefore not looked at, a base URL that
is this gateway makes no account, and neither does a key of Penstock's own where a provider would get it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from penstock_catalog import api_key, reader
from penstock_catalog.problems import Place
from penstock_catalog.resources import GROUP_VERSION, Resource

DEMO_SECRET_NAME = "demo-key"  # noqa: S105 - the name of a Secret
"""`secretName` of the demo key."""

_OPENAI_HOST = "api.openai.com"


@dataclass(frozen=True, slots=True)
class Environment:
    """What the environment gives: resources (none without a key), the keys' variables, and what is left out and why."""

    resources: tuple[Resource, ...]
    variables: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A provider's key in the environment. An empty `base_url` is the provider's public one."""

    provider: str
    variable: str
    key: str
    base_variable: str
    base_url: str

    @property
    def elsewhere(self) -> bool:
        """It is for a server of another host that speaks as OpenAI does."""
        return self.provider == "OpenAI" and bool(self.base_url) and not _of_openai(self.base_url)


def from_environment(environment: Mapping[str, str], gateway_url: str) -> Environment:
    """Make an account of each provider's key, with a plan and a key to use them by.

    `gateway_url` is where the gateway itself will be. Raises `InvalidResources` for a base URL that is none.
    """
    usable: list[_Found] = []
    remarks: list[str] = []
    for found in _found(environment):
        if refusal := _refusal(found, gateway_url):
            remarks.append(f"{found.variable} is not used: {refusal}")
        else:
            usable.append(found)
    if not usable:
        return Environment((), (), tuple(remarks))
    owned = {found.provider for found in usable if not found.elsewhere}
    accounts = [part for found in usable for part in _of_key(found, owned)]
    resources = _read("the environment", [*accounts, *_ACCESS])
    return Environment(tuple(resources), tuple(found.variable for found in usable), tuple(remarks))


def simulator_resources(simulator_url: str, keys: Mapping[str, str]) -> list[Resource]:
    """Make an account of the simulator for each provider with a key, with a plan and a key to use them by."""
    accounts = [
        part
        for provider, key in keys.items()
        for part in _account(
            f"simulator-{provider.lower()}",
            key,
            {
                "provider": provider,
                "baseURL": simulator_url + ("/v1" if provider == "OpenAI" else ""),
                "allowPrivateAddress": "Allow",
            },
        )
    ]
    return _read("the simulator", [*accounts, *_ACCESS])


# The plan lets any dialect reach any model, so that whatever a newcomer tries answers.
_ACCESS: list[dict[str, object]] = [
    {
        "apiVersion": GROUP_VERSION,
        "kind": "Plan",
        "metadata": {"name": "default"},
        "spec": {"maxConcurrentRequests": 256, "messagesTranslation": "Allow"},
    },
    {
        "apiVersion": GROUP_VERSION,
        "kind": "APIKey",
        "metadata": {"name": "demo"},
        "spec": {"project": "demo", "planRef": {"name": "default"}, "secretName": DEMO_SECRET_NAME},
    },
]


def _found(environment: Mapping[str, str]) -> Iterator[_Found]:
    def value(name: str) -> str:
        return environment.get(name, "").strip()

    google = "GOOGLE_API_KEY" if value("GOOGLE_API_KEY") else "GEMINI_API_KEY"  # Google's SDK prefers it so.
    for provider, variable, base_variable in (
        ("Anthropic", "ANTHROPIC_API_KEY", ""),
        ("OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
        ("Gemini", google, "GOOGLE_GEMINI_BASE_URL"),
    ):
        if key := value(variable):
            yield _Found(provider, variable, key, base_variable, value(base_variable))


def _refusal(found: _Found, gateway_url: str) -> str:
    if found.base_url:
        return f"{found.base_variable} is this gateway" if _same(found.base_url, gateway_url) else ""
    return f"it is a gateway's key, not {found.provider}'s" if api_key.well_formed(found.key) else ""


def _of_key(found: _Found, owned: set[str]) -> list[dict[str, object]]:
    """Make the account of one key. A server elsewhere serves the models of all owners but those with their own key."""
    spec: dict[str, object] = {"provider": found.provider}
    if found.base_url:
        spec["baseURL"] = found.base_url
    if not found.elsewhere:
        return _account(found.provider.lower(), found.key, spec)
    owners = {"Anthropic": "anthropic", "OpenAI": "openai", "Gemini": "google"}
    models = [f"{owner}/*" for provider, owner in owners.items() if provider not in owned]
    return _account("openai-compatible", found.key, {**spec, "provider": "OpenAICompatible", "models": models})


def _of_openai(url: str) -> bool:
    host = _host(url)
    return host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")


def _same(url: str, gateway_url: str) -> bool:
    """Whether a URL leads to the gateway, as far as its text tells."""
    try:
        ports = {urlsplit(one).port or {"http": 80}.get(urlsplit(one).scheme, 443) for one in (url, gateway_url)}
    except ValueError:
        return False
    host = _host(url)
    return len(ports) == 1 and (host == _host(gateway_url) or _here(host))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _here(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _account(name: str, key: str, spec: Mapping[str, object]) -> list[dict[str, object]]:
    auth = {"apiKey": {"secretRef": {"name": name, "key": "api-key"}}}
    return [
        {
            "apiVersion": GROUP_VERSION,
            "kind": "UpstreamAccount",
            "metadata": {"name": name},
            "spec": {**spec, "auth": auth},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"api-key": key}},
    ]


def _read(origin: str, objects: Sequence[dict[str, object]]) -> list[Resource]:
    return [resource for content in objects for resource in reader.read_object(content, Place(origin))]
