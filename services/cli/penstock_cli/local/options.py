"""What `penstock up` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of `penstock up`, with their defaults filled in. `data_dir` is absolute."""

    data_dir: Path
    resources: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    admin_port: int = 8081
    database_url: str | None = None
    redis_url: str | None = None
    edges: int = 1
    drain_seconds: float = 8.0
    log_level: str = "info"
    log_format: str = "json"
