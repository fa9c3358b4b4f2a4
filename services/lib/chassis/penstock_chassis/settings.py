"""What every process is told at its start: read once in `main`, frozen, passed down."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import msgspec
from msgspec import Meta

from penstock_chassis import variables
from penstock_chassis.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec.structs import FieldInfo


class SettingsError(ValueError):
    """The environment will not do; the message names the variables and says what they take, never what they hold."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What environment variables say: the field `port` is `<prefix>PORT`. A list is given as JSON.

    The constructor is for code and takes values of the right types; `__post_init__` may refuse by ValueError what does
    not go together.
    """

    prefix: ClassVar[str] = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return what the environment, this process's own if there is no other, says. Raises SettingsError."""
        told = {name.upper(): text for name, text in (os.environ if environment is None else environment).items()}
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for field in msgspec.structs.fields(cls):
            variable = cls.variable(field.name)
            try:
                if variable in told:
                    values[field.name] = variables.value(told[variable], field.type)
                elif field.required:
                    wrong.append(f"{variable} is not set: give {variables.wanted(field.type)}")
            except variables.UnfitError as error:
                wrong.append(_unfit(variable, field, str(error)))
        if wrong:
            raise SettingsError("; ".join(wrong))
        try:
            return cls(**values)
        except ValueError as error:
            raise SettingsError(f"{error} (in the environment each name is {cls.prefix}<NAME>)") from None

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the name of a field's variable."""
        return f"{cls.prefix}{name}".upper()


def _unfit(variable: str, field: FieldInfo, reason: str) -> str:
    advice = f"{variable} will not do{f' ({reason})' if reason else ''}: give {variables.wanted(field.type)}"
    default = field.default
    if field.required:
        return advice
    hidden = default is None or isinstance(default, Secret | tuple)
    return f"{advice}, or take it away{'' if hidden else f' for {default}'}"


class ProcessSettings(Settings, frozen=True, kw_only=True):
    """Settings that all processes share; each process subclasses this with its own `prefix`."""

    name: str = "penstock"
    """Stable name of this process among its siblings, such as `edge-0`."""
    run_dir: Path | None = None
    """Where `<name>.json` (pid and ports) is written for local mode; nothing is written without it."""
    metrics_host: str = "127.0.0.1"
    """Address of /metrics, /healthz and /readyz."""
    metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Port of the same; 0 takes any free one, which `<name>.json` then tells."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    drain_seconds: Annotated[float, Meta(ge=0)] = 8.0
    """How long open work may go on after SIGTERM."""
    ending_file: Path | None = None
    """Local mode: the file that says who is to end; SIGTERM is put off while it says `first`."""
    ending_seconds: Annotated[float, Meta(ge=0)] = 30.0
    """How long that may last; a second signal ends it at once."""
    dies_with_parent: bool = False
    """Ask the kernel to end this process when the one that started it dies (local mode)."""
