"""What the simulator is told at its start: where it listens, which accounts it plays, and their limits."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from penstock_chassis.settings import ProcessSettings
from penstock_simulator.faults import RuleSpec


class AccountLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one account; an absent one is no limit. Token buckets hold one minute and refill all the time."""

    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    input_tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    """Cache reads do not count, as with the real ones."""
    output_tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    """Counted as they are sent; a request is refused only when the bucket is empty."""
    count_tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    concurrent_requests: Annotated[int, Meta(ge=1)] | None = None


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One account: the credential in a request picks it."""

    name: str
    key: str
    limits: AccountLimits = AccountLimits()
    models: tuple[str, ...] = ("*",)
    """Patterns of the models that it may use; the others are answered with 404."""
    compatible: bool = False
    """Play a server that is only compatible with OpenAI: any model that `models` allows, on chat and embeddings,
    without the rules of OpenAI's models."""


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model beyond the built-in ones."""

    id: str
    format: Literal["anthropic", "openai", "gemini"] = "anthropic"
    """Whose model it is."""
    context_tokens: int = 200_000
    max_output_tokens: int = 64_000


class SimulatorSettings(ProcessSettings, frozen=True, kw_only=True):
    """Settings of the simulator; in the environment with the prefix `PENSTOCK_SIMULATOR_`, lists as JSON."""

    prefix: ClassVar[str] = "PENSTOCK_SIMULATOR_"

    name: str = "simulator-0"
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Port of the wire formats and of /simulator; 0 takes any free one."""
    port_is_reserved: bool = False
    """Local mode: `penstock up` holds the port for this process, which binds beside it."""
    accounts: tuple[AccountSettings, ...] = (AccountSettings(name="sim-a", key="sim-key-a"),)
    models: tuple[ModelSettings, ...] = ()
    faults: tuple[RuleSpec, ...] = ()
    """Fault rules in force from the start."""
    control: bool = True
    """Serve /simulator (faults, records); it has no password, so the listening address decides who may use it."""
    seed: int = 0
    """Changes all generated text."""
    default_tokens: Annotated[int, Meta(ge=1)] = 48
    """Output of a request that does not say; a request-dependent part of up to as much again is added."""
    max_body_bytes: Annotated[int, Meta(ge=1)] = 32 * 1024 * 1024
    max_records: Annotated[int, Meta(ge=1)] = 200_000
    keep_bodies: bool = False
    """Keep raw bodies and headers (credentials blotted out) in the records; for tests that compare bytes."""
    cache_minimum_tokens: Annotated[int, Meta(ge=1)] = 1024
    """The shortest prefix that is cached."""
    silence_seconds: Annotated[float, Meta(ge=0)] = 3600.0
    """After this long a connection that was told to be silent is cut."""

    def __post_init__(self) -> None:
        names = [account.name for account in self.accounts]
        keys = [account.key for account in self.accounts]
        if not names or len(set(names)) < len(names) or len(set(keys)) < len(keys):
            raise ValueError("accounts: at least one, with distinct names and distinct keys")
