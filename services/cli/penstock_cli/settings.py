"""What the command line takes from the environment; options win over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from penstock_chassis.secret import Secret
from penstock_chassis.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DATA_DIR = Path(".penstock")
_SECRET_ENDINGS = ("_API_KEY", "_AUTH_TOKEN", "_ADMIN_TOKEN")


class CliSettings(Settings, frozen=True, kw_only=True):
    """Read from `PENSTOCK_<NAME>`; what is empty is not set."""

    prefix: ClassVar[str] = "PENSTOCK_"

    data_dir: Path | None = None
    """Where a local gateway keeps everything."""
    server: str | None = None
    """URL of the admin API."""
    admin_token: Secret | None = None
    """Bearer token of the admin API."""
    api_key: Secret | None = None
    """A client's key, for setting up clients."""

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Return what the environment says. An empty path would be the working directory, which nobody means."""
        given = os.environ if environment is None else environment
        return super().read({name: text for name, text in given.items() if text})


def environment() -> dict[str, str]:
    """Return the whole environment: providers' keys are looked for there, and processes inherit most of it."""
    return dict(os.environ)


def inheritable(variables: dict[str, str]) -> dict[str, str]:
    """Return what a process of a local gateway may see: everything but credentials, which it has no use for."""
    return {name: value for name, value in variables.items() if not name.endswith(_SECRET_ENDINGS)}
