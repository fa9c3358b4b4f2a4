"""What every process is told at its start: read once in `main`, frozen, passed down."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


class ProcessSettings(BaseSettings):
    """Settings that all processes share; each process subclasses this with its own `env_prefix`."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    name: str = "penstock"
    """Stable name of this process among its siblings, such as `edge-0`."""
    run_dir: Path | None = None
    """Where `<name>.json` (pid and ports) is written for local mode; nothing is written without it."""
    metrics_host: str = "127.0.0.1"
    """Address of /metrics, /healthz and /readyz."""
    metrics_port: int = 0
    """Port of the same; 0 takes any free one, which `<name>.json` then tells."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    drain_seconds: float = 8.0
    """How long open work may go on after SIGTERM."""
    ending_file: Path | None = None
    """Local mode: the file that says who is to end; SIGTERM is put off while it says `first`."""
    ending_seconds: float = 30.0
    """How long that may last; a second signal ends it at once."""
    dies_with_parent: bool = False
    """Ask the kernel to end this process when the one that started it dies (local mode)."""
