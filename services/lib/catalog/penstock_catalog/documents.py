"""The two catalog documents: what the compiler writes, and what router and auth read.

Account credentials stand in the router's document only, plans and key digests in auth's only, models and prices in
both. A document carries the version of its schema and, as `version`, a digest of its own content: equal content has an
equal version, and a reader refuses a document whose content does not match.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from penstock_catalog.prices import PriceRow

SCHEMA_VERSION = 1

_VERSION_LENGTH = 16

Provider = Literal["Anthropic", "OpenAI", "Gemini", "OpenAICompatible", "Bedrock", "Vertex", "AzureOpenAI"]
AccountMode = Literal["Active", "Draining", "Disabled"]
LimitUnit = Literal["Requests", "InputTokens", "OutputTokens", "TotalTokens", "CostMicroUSD"]
LimitScope = Literal["Key", "Project"]
SpendPeriod = Literal["Total", "Month"]


class DocumentError(Exception):
    """A catalog document cannot be read. The message names the file and the reason, never its content."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Timeouts(_Part):
    """Deadlines of one account's attempts, in ms; `first_byte_ms` and `idle_ms` are for streams."""

    connect_ms: int = 5_000
    first_byte_ms: int = 120_000
    idle_ms: int = 120_000
    response_ms: int = 600_000


class Capacity(_Part):
    """What an account can take; None: not limited."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent_requests: int | None = None


class Account(_Part):
    """An upstream account. `models` are public names, sorted; `not_served` says why it takes no requests at all."""

    name: str
    provider: Provider
    base_url: str
    api_key: str = Field(repr=False)
    credential_hash: str
    models: tuple[str, ...]
    tier: int = 0
    weight: int = 100
    mode: AccountMode = "Active"
    limits: Capacity = Capacity()
    timeouts: Timeouts = Timeouts()
    allow_private_address: bool = False
    generation: int = 1
    not_served: str = ""
    not_served_message: str = ""


class Model(_Part):
    """A model. `prices` ascend by effective time; `upstream_names` is by provider, see `penstock_catalog.names`.

    `retires_at_ms` 0: no date is known. A retired model stays usable for as long as an account serves it.
    """

    name: str
    aliases: tuple[str, ...] = ()
    owned_by: str = ""
    display_name: str = ""
    context_tokens: int
    max_output_tokens: int
    created_at_ms: int = 0
    retires_at_ms: int = 0
    prices: tuple[PriceRow, ...]
    fallbacks: tuple[str, ...] = ()
    upstream_names: dict[str, str] = {}


class PlanLimit(_Part):
    """A limit over a sliding window."""

    name: str
    unit: LimitUnit
    amount: int
    window_ms: int
    scope: LimitScope = "Key"


class Plan(_Part):
    """A plan. `price_multiplier_ppm` 1,000,000 is 1.00."""

    name: str
    models: tuple[str, ...] = ("*",)
    limits: tuple[PlanLimit, ...] = ()
    max_concurrent_requests: int = 64
    max_keys_per_project: int = 100
    credit: Literal["Required", "NotRequired"] = "NotRequired"
    over_budget: Literal["Settled", "Strict"] = "Settled"
    on_store_outage: Literal["Closed", "Degraded"] = "Closed"
    price_multiplier_ppm: int = 1_000_000
    translation: Literal["Allow", "Deny"] = "Allow"
    messages_translation: Literal["Allow", "Deny"] = "Deny"
    error_profile: Literal["Default", "ForbiddenWhenOutOfCredit"] = "Default"
    route_header: Literal["Hide", "Show"] = "Hide"

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what earlier versions do not know where it is as usual: they read on during an upgrade."""
        content: dict[str, Any] = write(self)
        if self.route_header == "Hide":
            del content["route_header"]
        return content


class PreviousKey(_Part):
    """What a declared key was before it was rotated. It is the same key by its old text, until `expires_at_ms`."""

    id: str
    prefix: str
    digest: str
    expires_at_ms: int


class DeclaredKey(_Part):
    """A key from an `APIKey` resource. `digest` is hexadecimal, `prefix` includes the id and may be shown; 0: none."""

    name: str
    id: str
    prefix: str
    digest: str
    project: str
    plan: str
    expires_at_ms: int = 0
    spend_limit_micro: int = 0
    spend_limit_period: SpendPeriod = "Total"
    mode: Literal["Active", "Revoked"] = "Active"
    previous: PreviousKey | None = None


class Document(_Part):
    """What both documents have. Make one with `sealed()`, so that `version` is the digest of its content."""

    kind: ClassVar[str]

    schema_version: Literal[1] = 1
    version: str = ""

    def sealed(self) -> Self:
        """Fill in the version."""
        return self.model_copy(update={"version": _digest(self.model_dump(mode="json"), self.kind)})


class RouterCatalog(Document):
    """What the router serves from, credentials included: for the router only."""

    kind: ClassVar[str] = "RouterCatalog"

    accounts: tuple[Account, ...] = ()
    models: tuple[Model, ...] = ()


class AuthCatalog(Document):
    """What auth decides by: plans, declared keys by digest, and models for their prices."""

    kind: ClassVar[str] = "AuthCatalog"

    plans: tuple[Plan, ...] = ()
    api_keys: tuple[DeclaredKey, ...] = ()
    models: tuple[Model, ...] = ()


AnyDocument = TypeVar("AnyDocument", bound=Document)


def dumps(document: Document) -> str:
    """Render a sealed document as JSON text."""
    return json.dumps({"kind": document.kind, **document.model_dump(mode="json")}, ensure_ascii=False)


def loads(text: str | bytes, kind: type[AnyDocument], name: str = "document") -> AnyDocument:
    """Read a document. `DocumentError` when it is of another kind or schema, damaged, or does not match its version."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"{name}: not JSON") from error
    if not isinstance(raw, dict) or raw.pop("kind", None) != kind.kind:
        raise DocumentError(f"{name}: not a {kind.kind}")
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise DocumentError(f"{name}: its schema version is not {SCHEMA_VERSION}; it is of another release")
    if raw.get("version") != _digest(raw, kind.kind):
        raise DocumentError(f"{name}: its content does not match its version; it is damaged")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise DocumentError(f"{name}: {where} is not as this release expects") from None


def read(path: Path, kind: type[AnyDocument]) -> AnyDocument:
    """Read a document's file; `DocumentError` as for `loads`, and when the file cannot be read."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}") from error
    return loads(text, kind, str(path))


def write(path: Path, document: Document) -> None:
    """Replace the file at `path`, whole or not at all, readable by its owner only. `OSError` when the disk refuses."""
    write_private(path, dumps(document).encode())


def write_private(path: Path, content: bytes) -> None:
    """Replace a 0600 file, whole or not at all, also when the machine stops; missing folders are made with 0700."""
    for folder in reversed([folder for folder in path.parents if not folder.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _digest(content: dict[str, object], kind: str) -> str:
    body = {"kind": kind, **{name: value for name, value in content.items() if name != "version"}}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_VERSION_LENGTH]
