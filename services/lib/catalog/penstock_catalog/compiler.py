"""Desired state compiled: resources and built-in models into the two catalog documents. Pure.

A resource that cannot be used (its Secret is missing, its plan does not exist) is marked so and spoils no other one.
The operator makes conditions of the statuses, local mode prints them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from penstock_catalog import addresses, models, names
from penstock_catalog import documents as doc
from penstock_catalog import resources as res
from penstock_catalog.builtin import built_in_models
from penstock_catalog.problems import Problem

Condition = Literal["Accepted", "ResolvedRefs", "Ready"]

# Who owns the models that a provider has. Others have those whose `upstreamNames` name the provider.
_OWNERS = {"Anthropic": "anthropic", "OpenAI": "openai", "Gemini": "google"}


@dataclass(frozen=True, slots=True)
class Options:
    """What depends on the release and on where it runs. `private_addresses` holds where an account says nothing."""

    served: frozenset[str] = frozenset({"Anthropic", "OpenAI", "Gemini", "OpenAICompatible"})
    private_addresses: Literal["Allow", "Deny"] = "Deny"


@dataclass(frozen=True, slots=True)
class KeyFailure:
    """Why a declared key has not been issued, or not as its resource asks."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A declared key's public side. `prefix` includes the id; `digest` is hexadecimal SHA-256 of the text.

    `previous` is the text that a rotation replaced, as long as it still counts. `failure` says what is wrong with a key
    that works all the same: it stands in another Secret than the resource names, say.
    """

    id: str
    prefix: str
    digest: str
    previous: doc.PreviousKey | None = None
    failure: KeyFailure | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """How one resource fares. When it is not ready, `condition` is the one that fails, and why."""

    resource: res.Resource
    condition: Condition = "Ready"
    reason: str = "Ready"
    message: str = ""
    field: str = ""

    @property
    def ready(self) -> bool:
        """Whether it takes full part, as far as desired state tells."""
        return self.reason == "Ready"

    def problem(self) -> Problem:
        """Say the same as a problem, for people."""
        return Problem(self.resource.place, self.reason, self.message, self.resource.id, self.field)


@dataclass(frozen=True, slots=True)
class Compiled:
    """Both documents, sealed, and how each resource fares, in the order given."""

    router: doc.RouterCatalog
    auth: doc.AuthCatalog
    statuses: tuple[Status, ...] = field(default=())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is worth telling people."""
        return tuple(status.problem() for status in self.statuses if not status.ready)


def compile_catalog(
    resources: Sequence[res.Resource],
    *,
    options: Options,
    keys: Mapping[str, IssuedKey | KeyFailure],
    built_in: Sequence[doc.Model] | None = None,
) -> Compiled:
    """Compile. `keys` has what became of each `APIKey` resource's key, by the resource's name.

    Equal input gives equal versions, whatever the order of the resources (but for the one that wins a NameConflict).
    """
    build = _Build(resources, options, built_in_models() if built_in is None else built_in)
    build.models()
    build.accounts()
    build.plans()
    build.api_keys(keys)
    catalog_models = tuple(sorted(build.model_entries.values(), key=lambda model: (-model.created_at_ms, model.name)))
    return Compiled(
        router=doc.RouterCatalog(accounts=_by_name(build.account_entries), models=catalog_models).sealed(),
        auth=doc.AuthCatalog(
            plans=_by_name(build.plan_entries), api_keys=_by_name(build.key_entries), models=catalog_models
        ).sealed(),
        statuses=tuple(build.failed.get(resource.id, Status(resource)) for resource in resources),
    )


Named = TypeVar("Named", doc.Account, doc.Plan, doc.DeclaredKey)
Kind = TypeVar("Kind", bound=res.Resource)


def _by_name(entries: Iterable[Named]) -> tuple[Named, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.name))


class _Build:
    """One compilation on its way."""

    def __init__(self, resources: Sequence[res.Resource], options: Options, built_in: Sequence[doc.Model]) -> None:
        self._resources = resources
        self._options = options
        self._secrets = {secret.name: secret for secret in self._of(res.Secret)}
        self.model_entries = {model.name: model for model in built_in}
        self.account_entries: list[doc.Account] = []
        self.plan_entries: list[doc.Plan] = []
        self.key_entries: list[doc.DeclaredKey] = []
        self.failed: dict[str, Status] = {}

    def models(self) -> None:
        """Lay `Model` resources over the built-in ones, or beside them. Who claims a name first, the oldest, has it."""
        built_in = dict(self.model_entries)
        claims = {name: name for name in built_in}
        written = self._of(res.Model)
        for model in self._oldest_first(written):
            entry = self._model(model, built_in.get(model.name))
            if entry is None:
                continue
            claimed = {model.name, *(model.spec.aliases or ())}
            clash = next((name for name in sorted(claimed) if claims.get(name, model.name) != model.name), None)
            if clash is None:
                self.model_entries[model.name] = entry
                claims |= dict.fromkeys(claimed, model.name)
            else:
                self._fail(
                    model, "Accepted", "NameConflict", f"{clash} belongs to model {claims[clash]}", "spec.aliases"
                )
        self._take_aliases(claims)
        self._resolve_fallbacks(written)

    def _model(self, model: res.Model, built_in: doc.Model | None) -> doc.Model | None:
        if built_in is not None:
            return models.overridden(built_in, model.spec)
        if lacking := models.missing(model.spec):
            message = f"is not built in, so it needs {', '.join(lacking)}"
            self._fail(model, "Accepted", "Incomplete", message, "spec")
            return None
        return models.added(model.name, model.spec, model.created_at_ms)

    def _take_aliases(self, claims: Mapping[str, str]) -> None:
        """Take from the built-in models those aliases that a resource claims for another model."""
        for name, model in self.model_entries.items():
            kept = tuple(alias for alias in model.aliases if claims.get(alias, name) == name)
            if kept != model.aliases:
                self.model_entries[name] = model.model_copy(update={"aliases": kept})

    def _resolve_fallbacks(self, written: Sequence[res.Model]) -> None:
        known = {name: model.name for model in self.model_entries.values() for name in names.spoken_of(model)}
        for resource in written:
            if resource.id in self.failed:
                continue
            model = self.model_entries[resource.name]
            found = dict.fromkeys(known[name] for name in model.fallbacks if name in known)
            unknown = [name for name in model.fallbacks if name not in known]
            fallbacks = tuple(name for name in found if name != model.name)
            self.model_entries[model.name] = model.model_copy(update={"fallbacks": fallbacks})
            if unknown:
                message = f"no model {', '.join(unknown)}; the other fallbacks hold"
                self._fail(resource, "ResolvedRefs", "ModelNotFound", message, "spec.fallbacks")

    def accounts(self) -> None:
        """Give every account its models and its credential, or the reason why it is not served."""
        for account in self._of(res.UpstreamAccount):
            spec = account.spec
            allowed = (spec.allow_private_address or self._options.private_addresses) == "Allow"
            refusal = "" if allowed or not spec.endpoint else addresses.refusal(spec.endpoint)
            if refusal:
                self._fail(account, "Accepted", "AddressNotAllowed", refusal, "spec.baseURL")
            elif spec.provider not in self._options.served:
                message = f"provider {spec.provider} is not served yet"
                self._fail(account, "Ready", "ProviderNotServed", message, "spec.provider")
            credential = self._credential(account)
            served = tuple(sorted(model.name for model in self.model_entries.values() if serves(spec, model)))
            if not served:
                none = "write Model resources for what it has" if spec.models is None else "no model has such a name"
                self._fail(account, "Ready", "NoModels", f"it serves no model: {none}", "spec.models")
            self.account_entries.append(self._account(account, credential, served, allowed=allowed))
        self._look_for_servers()

    def _account(
        self, account: res.UpstreamAccount, credential: str, served: tuple[str, ...], *, allowed: bool
    ) -> doc.Account:
        spec, failure = account.spec, self.failed.get(account.id)
        return doc.Account(
            name=account.name,
            provider=spec.provider,
            base_url=spec.endpoint,
            api_key=credential,
            credential_hash=hashlib.sha256(credential.encode()).hexdigest()[:12] if credential else "",
            models=served,
            tier=spec.tier,
            weight=spec.weight,
            mode=spec.mode,
            limits=doc.Capacity(**spec.limits.model_dump()),
            timeouts=doc.Timeouts(
                connect_ms=spec.timeouts.connect_seconds * 1000,
                first_byte_ms=spec.timeouts.first_byte_seconds * 1000,
                idle_ms=spec.timeouts.idle_seconds * 1000,
                response_ms=spec.timeouts.response_seconds * 1000,
            ),
            allow_private_address=allowed,
            generation=account.generation,
            not_served=failure.reason if failure else "",
            not_served_message=failure.message if failure else "",
        )

    def _credential(self, account: res.UpstreamAccount) -> str:
        """Find the credential; "" and a failure without. Blanks around it, such as a last newline, are not of it."""
        way = account.spec.auth.api_key
        if way is None:
            return ""
        reference, where = way.secret_ref, "spec.auth.apiKey.secretRef"
        secret = self._secrets.get(reference.name)
        if secret is None:
            self._fail(account, "ResolvedRefs", "SecretNotFound", f"there is no Secret {reference.name}", where)
            return ""
        value = secret.values.get(reference.key, "").strip()
        if not value:
            message = f"Secret {secret.name} has nothing under {reference.key}"
            self._fail(account, "ResolvedRefs", "SecretKeyMissing", message, where)
        elif not (value.isascii() and value.isprintable() and " " not in value):
            message = f"Secret {secret.name} holds under {reference.key} what no header can carry"
            self._fail(account, "ResolvedRefs", "SecretKeyInvalid", message, where)
            return ""
        return value

    def _look_for_servers(self) -> None:
        served = {name for account in self.account_entries if not account.not_served for name in account.models}
        for model in self._of(res.Model):
            if model.id not in self.failed and model.name not in served:
                self._fail(model, "Ready", "NoReadyAccount", "no account can serve it", "")

    def plans(self) -> None:
        """Write every plan down; a plan refers to nothing."""
        for plan in self._of(res.Plan):
            self.plan_entries.append(doc.Plan(name=plan.name, **plan.spec.model_dump()))

    def api_keys(self, keys: Mapping[str, IssuedKey | KeyFailure]) -> None:
        """Write every issued key down, also one whose plan is missing: its holder is told so.

        Of two resources with one key (somebody copied a Secret's content), it is the older one's.
        """
        plans = {plan.name for plan in self.plan_entries}
        taken: dict[str, str] = {}
        by_name = sorted(self._of(res.APIKey), key=lambda key: key.name)
        for key in self._oldest_first(by_name):
            spec, issued = key.spec, keys.get(key.name)
            if spec.plan_ref.name not in plans:
                message = f"there is no Plan {spec.plan_ref.name}"
                self._fail(key, "ResolvedRefs", "PlanNotFound", message, "spec.planRef")
            if issued is None or isinstance(issued, KeyFailure):
                failure = issued or KeyFailure("NotIssued", "its key has not been made yet")
                self._fail(key, "ResolvedRefs", failure.reason, failure.message, "spec.secretName")
                continue
            if (whose := taken.setdefault(issued.digest, key.name)) != key.name:
                self._fail(key, "ResolvedRefs", "KeyTaken", f"its key is that of APIKey/{whose}", "spec.secretName")
                continue
            if issued.failure is not None:
                self._fail(key, "ResolvedRefs", issued.failure.reason, issued.failure.message, "spec.secretName")
            self.key_entries.append(
                doc.DeclaredKey(
                    name=key.name,
                    id=issued.id,
                    prefix=issued.prefix,
                    digest=issued.digest,
                    project=spec.project,
                    plan=spec.plan_ref.name,
                    expires_at_ms=spec.expires_at_ms or 0,
                    spend_limit_micro=spec.spend_limit.micro_usd if spec.spend_limit else 0,
                    spend_limit_period=spec.spend_limit.period if spec.spend_limit else "Total",
                    mode=spec.mode,
                    previous=issued.previous,
                )
            )

    def _of(self, kind: type[Kind]) -> list[Kind]:
        return [resource for resource in self._resources if isinstance(resource, kind)]

    @staticmethod
    def _oldest_first(resources: Sequence[Kind]) -> list[Kind]:
        return sorted(resources, key=lambda resource: resource.created_at_ms or float("inf"))

    def _fail(self, resource: res.Resource, condition: Condition, reason: str, message: str, where: str) -> None:
        """Mark a resource; what was found first stands."""
        self.failed.setdefault(resource.id, Status(resource, condition, reason, message, where))


def serves(spec: res.UpstreamAccountSpec, model: doc.Model) -> bool:
    """Whether an account serves a model: its `models` patterns decide, else whose model it is.

    Without patterns an account serves its provider's own models, and those whose `upstreamNames` say what the provider
    calls them. To an OpenAI-compatible one belongs what no provider of its own name has.
    """
    if spec.models is not None:
        return names.matches(spec.models, names.spoken_of(model))
    if spec.provider in model.upstream_names:
        return True
    if spec.provider == "OpenAICompatible":
        return model.owned_by not in _OWNERS.values()
    return model.owned_by == _OWNERS.get(spec.provider)
