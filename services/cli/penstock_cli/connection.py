"""Which server a command speaks to, and with which token: options, then environment, then the data directory."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from penstock_cli.data_dir import DataDir
from penstock_cli.errors import UnreachableError
from penstock_cli.settings import DEFAULT_DATA_DIR, CliSettings

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Connection:
    """Base URL of the admin API, and its token."""

    server: str
    token: str = field(repr=False)


def find(data_dir: Path | None, server: str | None, environment: CliSettings) -> Connection:
    """Work out the connection from what was said. Raises UnreachableError.

    A data directory given as an option wins over a server in the environment. The token of a data directory is sent
    to the server which that directory names, or to one on this machine, or when both were given together.
    """
    folder = DataDir(data_dir or environment.data_dir or DEFAULT_DATA_DIR)
    url = server or (None if data_dir else environment.server)
    stated = environment.admin_token.reveal().strip() if environment.admin_token else None
    if url is None:
        own = _read(folder.admin_url)
        if own is None:
            raise UnreachableError(
                f"no gateway has written its address to {folder.admin_url}; start one with `penstock up`, "
                "or name one with --server, --data-dir, PENSTOCK_SERVER or PENSTOCK_DATA_DIR"
            )
        url = own
        token = (_read(folder.admin_token) or stated) if data_dir else (stated or _read(folder.admin_token))
    else:
        trusted = data_dir is not None or same_machine(url) or url.rstrip("/") == _read(folder.admin_url)
        token = stated or (_read(folder.admin_token) if trusted else None)
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise UnreachableError(f"the token for {url} is not one word of plain signs; check where it comes from")
    if not token:
        raise UnreachableError(f"there is no token for {url}; set PENSTOCK_ADMIN_TOKEN, or name its --data-dir")
    return Connection(url.rstrip("/"), token)


def gateway_of(data_dir: Path | None, server: str | None, environment: CliSettings) -> str:
    """Return the URL that clients of a local gateway use. Raises UnreachableError."""
    folder = DataDir(data_dir or environment.data_dir or DEFAULT_DATA_DIR)
    own = _read(folder.gateway_url)
    named = server or (None if data_dir else environment.server)
    if own is None or (named is not None and named.rstrip("/") != _read(folder.admin_url)):
        where = f"{named} is an admin API" if named else f"no gateway has written its address to {folder.gateway_url}"
        raise UnreachableError(f"{where}; name the gateway with --url, such as --url https://gateway.example.com")
    return own


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreachableError(f"cannot read {path}: {error.strerror}") from error


def same_machine(url: str) -> bool:
    """Say whether a URL leads to this machine's loopback, where no proxy is asked. Raises UnreachableError."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError as error:
        raise UnreachableError(f"{url} is not an http or https URL") from error
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
