"""What the command line takes from the environment; options win over it."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_DATA_DIR = Path(".penstock")


class CliSettings(BaseSettings):
    """Read from `PENSTOCK_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", frozen=True, extra="ignore")

    data_dir: Path | None = None
    """Where a local gateway keeps everything."""
    server: str | None = None
    """URL of the admin API."""
    admin_token: SecretStr | None = None
    """Bearer token of the admin API."""
