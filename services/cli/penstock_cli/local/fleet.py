"""Which processes a local gateway consists of, and what each is told. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from penstock_catalog.builtin import built_in_models
from penstock_catalog.names import spoken_of
from penstock_cli.local.processes import Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from penstock_cli.data_dir import DataDir
    from penstock_cli.local.options import UpOptions

SIMULATOR_KEYS = {"Anthropic": "sim-key-anthropic", "OpenAI": "sim-key-openai", "Gemini": "sim-key-gemini"}
"""The providers that the simulator plays, an account each, and their keys, which open nothing else."""

FIRST, LAST = range(2)
"""Stages of the end: edges tell auth and router what they hold, so all others go after them, at once."""
QUICK_DRAIN_SECONDS = 0.2
"""Drain of all but the edges: their callers are gone by then."""
QUICK_END_SECONDS = 3.0
_FAREWELL_SECONDS = 1.0
TOTAL_MARGIN_SECONDS = 1.5
"""What the end of everything may take beyond the edges' drain; an edge settles in it, the rest ends."""


def _played() -> list[dict[str, str | int]]:
    """List the catalogue's models as the simulator's settings: what the gateway lists, the simulator plays."""
    formats = {"anthropic": "anthropic", "openai": "openai", "google": "gemini"}
    return [
        {
            "id": name,
            "format": formats[model.owned_by],
            "context_tokens": model.context_tokens,
            "max_output_tokens": model.max_output_tokens,
        }
        for model in built_in_models()
        for name in spoken_of(model)
        if "/" not in name
    ]


class Fleet:
    """The processes of one data directory."""

    def __init__(
        self,
        options: UpOptions,
        folder: DataDir,
        sockets: Path,
        inherited: Mapping[str, str],
        *,
        simulator_port: int | None,
    ) -> None:
        self._options = options
        self._folder = folder
        self._auth = f"unix:{sockets}/auth.sock"
        self._router = f"unix:{sockets}/router.sock"
        self._inherited = inherited
        self._simulator_port = simulator_port

    def programs(self) -> list[Program]:
        """List all of them."""
        return [*self._simulators(), self._auth_program(), self._router_program(), self._status(), *self._edges()]

    def _simulators(self) -> Iterator[Program]:
        if self._simulator_port is None:
            return
        accounts = [{"name": f"sim-{provider.lower()}", "key": key} for provider, key in SIMULATOR_KEYS.items()]
        told = {"HOST": "127.0.0.1", "PORT": str(self._simulator_port), "PORT_IS_RESERVED": "true"}
        told["ACCOUNTS"] = json.dumps(accounts)
        told["MODELS"] = json.dumps(_played())
        yield self._program("simulator", 0, LAST, told)

    def _auth_program(self) -> Program:
        options = self._options
        told = {
            "ADDRESS": self._auth,
            "CATALOG_PATH": str(self._folder.catalog / "auth.json"),
            "DATABASE_URL": options.database_url or self._folder.database_url,
        }
        if options.redis_url:
            told["REDIS_URL"] = options.redis_url
        return self._program("auth", 0, LAST, told)

    def _router_program(self) -> Program:
        told = {"ADDRESS": self._router, "CATALOG_PATH": str(self._folder.catalog / "router.json")}
        if self._options.redis_url:
            told["REDIS_URL"] = self._options.redis_url
        return self._program("router", 0, LAST, told)

    def _status(self) -> Program:
        told = {
            "HOST": self._options.host,
            "PORT": str(self._options.admin_port),
            "PORT_IS_RESERVED": "true",
            "AUTH_ADDRESS": self._auth,
            "ROUTER_ADDRESS": self._router,
            "ADMIN_TOKEN_FILE": str(self._folder.admin_token),
        }
        return self._program("status", 0, LAST, told)

    def _edges(self) -> Iterator[Program]:
        drain = self._options.drain_seconds
        ready: Sequence[Path] = (self._folder.admin_url, self._folder.admin_token, self._folder.ready)
        for number in range(self._options.edges):
            told = {
                "HOST": self._options.host,
                "PORT": str(self._options.port),
                "AUTH_ADDRESS": self._auth,
                "ROUTER_ADDRESS": self._router,
                "SPOOL_DIR": str(self._folder.spool),
                "FAREWELL_SECONDS": str(_FAREWELL_SECONDS),
                "READY_FILES": json.dumps([str(path) for path in ready]),
            }
            yield self._program("edge", number, FIRST, told, drain=drain, end=drain + TOTAL_MARGIN_SECONDS)

    def _program(
        self,
        process: str,
        number: int,
        stage: int,
        told: Mapping[str, str],
        *,
        drain: float = QUICK_DRAIN_SECONDS,
        end: float = QUICK_END_SECONDS,
    ) -> Program:
        name = f"{process}-{number}"
        common = {
            "NAME": name,
            "RUN_DIR": str(self._folder.run),
            "DRAIN_SECONDS": str(drain),
            "LOG_LEVEL": self._options.log_level,
            "LOG_FORMAT": self._options.log_format,
        }
        if stage == LAST:
            common |= {
                "ENDING_FILE": str(self._folder.ending),
                "ENDING_SECONDS": str(self._options.drain_seconds + TOTAL_MARGIN_SECONDS),
            }
        prefix = f"PENSTOCK_{process.upper()}_"
        environment = {**self._inherited, **{prefix + field: value for field, value in {**common, **told}.items()}}
        return Program(name, f"penstock_{process}.main", environment, stage, end)
