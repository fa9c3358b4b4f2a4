"""The clients: where each keeps its configuration, and what belongs into it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock_cli.setup_client.dotenv_text import DotEnv
from penstock_cli.setup_client.entries import Entry
from penstock_cli.setup_client.json_text import Json
from penstock_cli.setup_client.syntax import naming
from penstock_cli.setup_client.toml_text import Toml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from penstock_cli.setup_client.syntax import Path as EntryPath
    from penstock_cli.setup_client.syntax import Syntax
    from penstock_cli.setup_client.target import Target

    Read = Callable[[Path], str]

CODEX_KEY = "PENSTOCK_API_KEY"
"""The variable that Codex reads the key from; it loads the file `.env` beside its configuration."""
CODEX_FALLBACK_MODEL = "gpt-5.3-codex"
"""What Codex is given when nobody says what the gateway serves."""


class ClientName(StrEnum):
    """The clients that can be set up; `env` stands for everything that reads variables."""

    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    OPENCODE = "opencode"
    ENV = "env"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file of a client: its entries now, and every path that a set-up may ever have written."""

    path: Path
    syntax: Syntax
    entries: Sequence[Entry]
    paths: Sequence[EntryPath]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a client's configuration is: a directory given by hand, else what the variables say, else home."""

    home: Path
    variables: Mapping[str, str]
    config_dir: Path | None = None

    def directory(self, variable: str, default: str, *inner: str) -> Path:
        """Return the directory of one client."""
        if self.config_dir is not None:
            return self.config_dir
        stated = self.variables.get(variable)
        return (Path(stated) if stated else self.home / default).joinpath(*inner)


def files(name: ClientName, places: Places, target: Target, served: Sequence[str], read: Read) -> list[ConfigFile]:
    """Return the files of a client; `read` returns a file's text, empty where there is none. Raises CommandError."""
    match name:
        case ClientName.CLAUDE_CODE:
            return [_claude_code(places, target, read)]
        case ClientName.CODEX:
            return _codex(places, target, served, read)
        case ClientName.OPENCODE:
            return [_opencode(places, target, read)]
        case ClientName.ENV:
            return []


def _present(path: Path, syntax: Syntax, entry: EntryPath, read: Read) -> Any:
    with naming(path):
        return syntax.get(read(path), entry)


def _claude_code(places: Places, target: Target, read: Read) -> ConfigFile:
    path = places.directory("CLAUDE_CONFIG_DIR", ".claude") / "settings.json"
    syntax = Json()
    entries = [
        Entry(("env", "ANTHROPIC_BASE_URL"), target.url),
        Entry(("env", "ANTHROPIC_AUTH_TOKEN"), target.key),
    ]
    other = ("env", "ANTHROPIC_API_KEY")
    if places.variables.get("ANTHROPIC_API_KEY") or _present(path, syntax, other, read):
        # It would be sent beside the token, and win: somebody else's key would go to the gateway.
        entries.append(Entry(other, ""))
    if target.model:
        entries.append(Entry(("env", "ANTHROPIC_MODEL"), target.model))
    names = ("ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_MODEL")
    return ConfigFile(path, syntax, entries, [("env", name) for name in names])


def _codex(places: Places, target: Target, served: Sequence[str], read: Read) -> list[ConfigFile]:
    folder = places.directory("CODEX_HOME", ".codex")
    syntax, provider = Toml(), ("model_providers", "penstock")
    existing = _present(folder / "config.toml", syntax, ("model",), read)
    facts = {"name": "Penstock", "base_url": target.openai, "env_key": CODEX_KEY, "wire_api": "responses"}
    entries = [
        Entry(("model",), codex_model(target.model, existing, served)),
        Entry(("model_provider",), "penstock"),
        Entry(provider, facts, only_if_absent=True),
        *(Entry((*provider, name), value) for name, value in facts.items()),
    ]
    paths: list[EntryPath] = [("model",), ("model_provider",), provider]
    return [
        ConfigFile(folder / "config.toml", syntax, entries, paths),
        ConfigFile(folder / ".env", DotEnv(), [Entry((CODEX_KEY,), target.key)], [(CODEX_KEY,)]),
    ]


def codex_model(asked: str | None, existing: Any, served: Sequence[str]) -> str:
    """Choose Codex's model: the one asked for, else the present one if it is served, else the newest fitting one."""
    if asked:
        return asked
    if isinstance(existing, str) and (not served or existing in served):
        return existing
    for part in ("-codex", "gpt-", "claude-sonnet", ""):
        found = next((name for name in served if part in name), None)
        if found:
            return found
    return CODEX_FALLBACK_MODEL


def _opencode(places: Places, target: Target, read: Read) -> ConfigFile:
    folder = places.directory("XDG_CONFIG_HOME", ".config", "opencode")
    path = folder / "opencode.jsonc"
    if not read(path).strip():
        path = folder / "opencode.json"
    bases = {"anthropic": target.openai, "openai": target.openai, "google": target.google}
    entries = []
    for provider, base in bases.items():
        options = ("provider", provider, "options")
        entries += [Entry((*options, "baseURL"), base), Entry((*options, "apiKey"), target.key)]
    paths: list[EntryPath] = [entry.path for entry in entries]
    if target.model:
        provider = opencode_provider(target.model)
        entries += [
            Entry(("model",), f"{provider}/{target.model}"),
            # A model that opencode has not heard of is unknown to it unless it is named here.
            Entry(("provider", provider, "models", target.model), {}, only_if_absent=True),
        ]
    syntax = Json(comments=True)
    chosen = _present(path, syntax, ("model",), read)
    if isinstance(chosen, str):
        provider, _, model = chosen.partition("/")
        listed = ("provider", provider, "models", model)
        if _present(path, syntax, listed, read) == {}:
            paths.append(listed)
    return ConfigFile(path, syntax, entries, [*paths, ("model",)])


def opencode_provider(model: str) -> str:
    """Return opencode's name for the wire format that a model is best spoken to in."""
    if model.startswith("claude"):
        return "anthropic"
    return "google" if model.startswith("gemini") else "openai"
