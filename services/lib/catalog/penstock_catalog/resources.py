"""Typed readers of the resources that people write: `UpstreamAccount`, `Model`, `Plan`, `APIKey` and `Secret`.

Field names, defaults and meanings are those of the custom resources; `reader` turns YAML into these. Values are checked
here as far as one resource alone can tell; what it refers to is the compiler's business. Quantities become integers in
the units of the catalog: ms, micro-USD, millionths.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from penstock_catalog import quantities
from penstock_catalog.documents import AccountMode, LimitScope, LimitUnit, Provider, SpendPeriod
from penstock_catalog.problems import Place

GROUP_VERSION = "penstock.dev/v1alpha1"

_PUBLIC_ENDPOINTS = {
    "Anthropic": "https://api.anthropic.com",
    "OpenAI": "https://api.openai.com/v1",
    "Gemini": "https://generativelanguage.googleapis.com",
}
_ENDPOINT_BY_REGION = frozenset({"Bedrock", "Vertex"})
_MAX_AMOUNT = 2**53 - 1  # what every store and every JSON reader holds exactly
_MAX_PRICE_MICRO = 10**15 - 1  # the highest that can be written
_MAX_WINDOW_MS = 31 * 86_400_000
_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_WORD = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
_UNBROKEN = r"^\S+$"
_ENTRY = r"^[-._A-Za-z0-9]+$"
PATTERNS: Mapping[str, str] = {
    _SUBDOMAIN: "must be lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
    _WORD: "must be 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit first",
    _UNBROKEN: "must hold no blanks",
    _ENTRY: "must be letters, digits, '-', '_' and '.'",
}
"""What each pattern of a field means, in words."""


def fault(message: str, *path: str | int) -> PydanticCustomError:
    """Make an error in its own words, at a path below the checked field."""
    return PydanticCustomError("fault", "{message}", {"message": message, "path": path})


def _quantity(read: Callable[[str], int]) -> BeforeValidator:
    def convert(value: object) -> int:
        if not isinstance(value, str):
            raise fault("must be a string, in quotes")
        return read(value)

    return BeforeValidator(convert)


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise fault("must be a URL such as https://api.example.com")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise fault("must hold no user, query or fragment")
    return text.rstrip("/")


def _unique(items: Iterable[object], what: str, *below: str) -> None:
    seen = set()
    for index, item in enumerate(items):
        if item in seen:
            raise fault(f"{what} {item} is given twice", index, *below)
        seen.add(item)


_TEXT = WithJsonSchema({"type": "string"})
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=_SUBDOMAIN)]
Word = Annotated[str, Field(pattern=_WORD)]
ModelName = Annotated[str, Field(min_length=1, max_length=256, pattern=_UNBROKEN)]
Duration = Annotated[int, _quantity(quantities.duration_ms), Field(ge=1000, le=_MAX_WINDOW_MS), _TEXT]
Micro = Annotated[int, _quantity(quantities.micro), _TEXT]
Time = Annotated[int, _quantity(quantities.time_ms), _TEXT]
Count = Annotated[int, Field(ge=1, le=_MAX_AMOUNT)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]


class Strict(BaseModel):
    """Every part of a resource: exact names, exact types, nothing unknown, nothing changed afterwards."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True, strict=True
    )


class SecretRef(Strict):
    """A value in a Secret of the same namespace."""

    name: Name
    key: str = Field(min_length=1, max_length=253, pattern=_ENTRY)


class ApiKeyAuth(Strict):
    """An API key from a Secret."""

    secret_ref: SecretRef


class Auth(Strict):
    """How Penstock authenticates itself to an account: exactly one way."""

    api_key: ApiKeyAuth | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Auth":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            ways = ", ".join(to_camel(name) for name in type(self).model_fields)
            raise fault(f"needs exactly one way in (of: {ways})")
        return self


class AccountLimits(Strict):
    """What an account can take; each is optional."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    max_concurrent_requests: Count | None = None


class AccountTimeouts(Strict):
    """Deadlines: `first_byte_seconds` and `idle_seconds` for streams, `response_seconds` for the rest."""

    connect_seconds: Seconds = 5
    first_byte_seconds: Seconds = 120
    idle_seconds: Seconds = 120
    response_seconds: Seconds = 600


class UpstreamAccountSpec(Strict):
    """An upstream account. Without `models` it serves every model of its provider."""

    provider: Provider
    base_url: Annotated[str, AfterValidator(_base_url)] | None = Field(default=None, alias="baseURL")
    allow_private_address: Literal["Deny", "Allow"] | None = None
    auth: Auth
    models: list[ModelName] | None = None
    tier: int = Field(default=0, ge=0, le=1000)
    weight: int = Field(default=100, ge=1, le=10_000)
    limits: AccountLimits = AccountLimits()
    timeouts: AccountTimeouts = AccountTimeouts()
    mode: AccountMode = "Active"

    @model_validator(mode="after")
    def _has_endpoint(self) -> "UpstreamAccountSpec":
        if not self.endpoint and self.provider not in _ENDPOINT_BY_REGION:
            raise fault(f"is required: {self.provider} has no public endpoint", "baseURL")
        return self

    @property
    def endpoint(self) -> str:
        """The base URL, or the provider's public one; "" where that follows from a region."""
        return self.base_url or _PUBLIC_ENDPOINTS.get(self.provider, "")


class Limit(Strict):
    """A limit of a plan over a sliding window."""

    name: Word
    unit: LimitUnit
    amount: Count
    window_ms: Duration = Field(alias="window")
    scope: LimitScope = "Key"


class PlanSpec(Strict):
    """Limits and model access given to keys."""

    models: list[ModelName] = ["*"]
    limits: list[Limit] = Field(default=[], max_length=32)
    max_concurrent_requests: int = Field(default=64, ge=1, le=1_000_000)
    max_keys_per_project: int = Field(default=100, ge=1, le=1_000_000)
    credit: Literal["Required", "NotRequired"] = "NotRequired"
    over_budget: Literal["Settled", "Strict"] = "Settled"
    on_store_outage: Literal["Closed", "Degraded"] = "Closed"
    price_multiplier_ppm: Annotated[Micro, Field(le=1_000_000_000)] = Field(default=1_000_000, alias="priceMultiplier")
    translation: Literal["Allow", "Deny"] = "Allow"
    messages_translation: Literal["Allow", "Deny"] = "Deny"
    error_profile: Literal["Default", "ForbiddenWhenOutOfCredit"] = "Default"
    route_header: Literal["Hide", "Show"] = "Hide"

    @field_validator("limits")
    @classmethod
    def _names_differ(cls, limits: list[Limit]) -> list[Limit]:
        _unique((limit.name for limit in limits), "limit", "name")
        return limits


class PlanRef(Strict):
    """A plan of the same namespace."""

    name: Name


class SpendLimit(Strict):
    """The most that a key may spend, altogether or in a calendar month (UTC)."""

    micro_usd: Micro = Field(alias="usd")
    period: SpendPeriod

    @field_validator("micro_usd")
    @classmethod
    def _positive(cls, value: int) -> int:
        if value == 0:
            raise fault("must be more than 0")
        return value


class APIKeySpec(Strict):
    """A declared key: Penstock makes it and writes it to the Secret `secret_name`, under `api-key`."""

    project: Word
    plan_ref: PlanRef
    secret_name: Name
    expires_at_ms: Time | None = Field(default=None, alias="expirationTime")
    spend_limit: SpendLimit | None = None
    mode: Literal["Active", "Revoked"] = "Active"


class UpstreamName(Strict):
    """What a provider calls a model."""

    provider: Provider
    name: ModelName


class LongContext(Strict):
    """The prices of requests whose whole input is above a size. Cache prices rise as the input price does."""

    above_input_tokens: Count
    input_micro: Micro = Field(alias="inputPerMillionTokens")
    output_micro: Micro = Field(alias="outputPerMillionTokens")


class Price(Strict):
    """Prices from a moment on, per million tokens. A cache price that is not given is the input price."""

    effective_at_ms: Time = Field(alias="effectiveTime")
    input_micro: Micro = Field(alias="inputPerMillionTokens")
    output_micro: Micro = Field(alias="outputPerMillionTokens")
    cache_write_5m_micro: Micro | None = Field(default=None, alias="cacheWrite5mPerMillionTokens")
    cache_write_1h_micro: Micro | None = Field(default=None, alias="cacheWrite1hPerMillionTokens")
    cache_read_micro: Micro | None = Field(default=None, alias="cacheReadPerMillionTokens")
    long_context: LongContext | None = None

    @model_validator(mode="after")
    def _risen_in_reach(self) -> "Price":
        """Refuse cache prices that rise beyond all prices: no document could carry them, nor the models beside them."""
        tier, caches = self.long_context, (self.cache_write_5m_micro, self.cache_write_1h_micro, self.cache_read_micro)
        highest = max((price for price in caches if price is not None), default=0)
        if tier is not None and self.input_micro and highest * tier.input_micro > _MAX_PRICE_MICRO * self.input_micro:
            raise fault("raises a cache price beyond all prices", "longContext", "inputPerMillionTokens")
        return self


class ModelSpec(Strict):
    """A model, or what differs from the built-in one of the same name; None: not said."""

    aliases: list[ModelName] | None = None
    owned_by: Word | None = None
    context_tokens: Count | None = None
    max_output_tokens: Count | None = None
    upstream_names: list[UpstreamName] | None = None
    fallbacks: list[ModelName] | None = None
    prices: list[Price] | None = Field(default=None, min_length=1)

    @field_validator("aliases")
    @classmethod
    def _aliases_differ(cls, aliases: list[str] | None) -> list[str] | None:
        _unique(aliases or (), "alias")
        return aliases

    @field_validator("upstream_names")
    @classmethod
    def _providers_differ(cls, names: list[UpstreamName] | None) -> list[UpstreamName] | None:
        _unique((entry.provider for entry in names or ()), "provider", "provider")
        return names

    @field_validator("prices")
    @classmethod
    def _times_differ(cls, prices: list[Price] | None) -> list[Price] | None:
        seen: set[int] = set()
        for index, price in enumerate(prices or ()):
            if price.effective_at_ms in seen:
                raise fault("two prices take effect at this time", index, "effectiveTime")
            seen.add(price.effective_at_ms)
        return prices


class SecretValues(Strict):
    """A Secret's `data` (base64) and `stringData`, of which the latter wins."""

    data: dict[str, str] | None = Field(default=None, repr=False)
    string_data: dict[str, str] | None = Field(default=None, repr=False)
    type: str | None = None
    immutable: bool | None = None

    @field_validator("data")
    @classmethod
    def _base64(cls, data: dict[str, str] | None) -> dict[str, str] | None:
        for key, value in (data or {}).items():
            try:
                base64.b64decode(value, validate=True).decode()
            except ValueError:
                raise fault("must be base64 of UTF-8 text", key) from None
        return data

    def decoded(self) -> dict[str, str]:
        """Join both fields into plain text values."""
        data = {key: base64.b64decode(value).decode() for key, value in (self.data or {}).items()}
        return data | (self.string_data or {})


class Metadata(Strict):
    """An object's metadata, as `kubectl get -o yaml` may give it too; Penstock looks at few of these."""

    name: Name
    namespace: Name | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    generation: int = Field(default=1, ge=0, le=2**63 - 1)
    created_at_ms: Time | None = Field(default=None, alias="creationTimestamp")
    uid: str | None = None
    resource_version: str | None = None
    finalizers: list[str] | None = None
    owner_references: list[Any] | None = None
    managed_fields: list[Any] | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    self_link: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What every resource has. `created_at_ms` is 0 where nobody has recorded it."""

    kind: ClassVar[str]
    api_version: ClassVar[str] = GROUP_VERSION

    name: str
    place: Place
    generation: int = 1
    created_at_ms: int = 0

    @property
    def id(self) -> str:
        """`Kind/name`, unique in a namespace."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class UpstreamAccount(Resource):
    """An `UpstreamAccount` as written."""

    kind: ClassVar[str] = "UpstreamAccount"
    spec: UpstreamAccountSpec


@dataclass(frozen=True, kw_only=True)
class Model(Resource):
    """A `Model` as written."""

    kind: ClassVar[str] = "Model"
    spec: ModelSpec


@dataclass(frozen=True, kw_only=True)
class Plan(Resource):
    """A `Plan` as written."""

    kind: ClassVar[str] = "Plan"
    spec: PlanSpec


@dataclass(frozen=True, kw_only=True)
class APIKey(Resource):
    """An `APIKey` as written."""

    kind: ClassVar[str] = "APIKey"
    spec: APIKeySpec


@dataclass(frozen=True, kw_only=True)
class Secret(Resource):
    """A Secret with its values decoded; they never show in a repr."""

    kind: ClassVar[str] = "Secret"
    api_version: ClassVar[str] = "v1"
    values: Mapping[str, str] = field(repr=False)
