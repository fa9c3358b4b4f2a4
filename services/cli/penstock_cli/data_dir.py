"""The data directory of a local gateway: what stands where, and who may read it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from penstock_cli.errors import CommandError

SOCKET_PATH_BYTES = 100
"""A unix socket's path has 108 bytes on Linux; what is longer moves to a short directory."""
_NOT_IN_ADDRESSES = frozenset("%#?,")
"""gRPC reads the address of a socket as a URI, or as several."""


@dataclass(frozen=True, slots=True)
class DataDir:
    """Paths below one directory. Nothing is touched before `prepare`."""

    root: Path

    @property
    def admin_url(self) -> Path:
        """File with the URL of the admin API."""
        return self.root / "admin-url"

    @property
    def gateway_url(self) -> Path:
        """File with the URL that clients use."""
        return self.root / "gateway-url"

    @property
    def admin_token(self) -> Path:
        """File with the bearer token of the admin API."""
        return self.root / "admin-token"

    @property
    def run(self) -> Path:
        """Pid files, ports, sockets."""
        return self.root / "run"

    @property
    def ready(self) -> Path:
        """Exists while the admin API answers; the edges look at it."""
        return self.run / "ready"

    @property
    def ending(self) -> Path:
        """Says which processes are to end, while everything ends."""
        return self.run / "ending"

    @property
    def catalog(self) -> Path:
        """The compiled documents."""
        return self.root / "catalog"

    @property
    def secrets(self) -> Path:
        """Keys of APIKey resources."""
        return self.root / "secrets"

    @property
    def spool(self) -> Path:
        """The edges' open and unacknowledged requests."""
        return self.root / "spool"

    @property
    def database(self) -> Path:
        """The ledger, when no database URL is given."""
        return self.root / "penstock.sqlite3"

    @property
    def database_url(self) -> str:
        """URL of the same, in which `?` and what looks like an escape would name another file."""
        return "sqlite:///" + str(self.database).replace("%", "%25").replace("?", "%3F")

    @property
    def banner_key(self) -> Path:
        """Key that the banner shows when the resources declare none."""
        return self.root / "banner-key"

    def prepare(self) -> None:
        """Make the directories, readable by their owner only. Raises CommandError."""
        try:
            if self.root.exists() and self.root.stat().st_mode & stat.S_ISVTX:
                raise CommandError(f"{self.root} is shared with others; name a directory of its own, such as one in it")
            for path in (self.root, self.run, self.catalog, self.secrets, self.spool):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.chmod(0o700)
        except OSError as error:
            raise CommandError(f"cannot use {self.root} as data directory: {error.strerror}") from error

    def sockets(self) -> Path:
        """Return the directory of the unix sockets, made: `run`, or a short one where that cannot be an address."""
        longest = self.run / "router.sock"
        if len(os.fsencode(longest)) <= SOCKET_PATH_BYTES and not _NOT_IN_ADDRESSES & set(str(longest)):
            return self.run
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        short = Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}-{digest}"
        short.mkdir(mode=0o700, exist_ok=True)
        _check_private(short)
        return short

    def lock(self) -> int:
        """Take the directory for this process until it ends; returns the open lock. Raises CommandError."""
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
            os.close(handle)
            raise CommandError(
                f"another `penstock up`{f' (pid {owner})' if owner else ''} uses the data directory {self.root}; "
                "stop it, or give this one a --data-dir of its own"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle

    def token(self) -> str:
        """Return the admin token, made at the first call and kept."""
        if self.admin_token.exists():
            kept = self.admin_token.read_text(encoding="utf-8").strip()
            if kept:
                self.admin_token.chmod(0o600)
                return kept
        made = secrets.token_urlsafe(32)
        write_private(self.admin_token, made + "\n")
        return made


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, at once and whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    part.replace(path)


def forget(path: Path) -> None:
    """Remove a file where that is possible. It is left on a disk that has become read-only, and nothing fails by it."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _check_private(path: Path) -> None:
    """Refuse a directory in a shared place that somebody else could have made."""
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise CommandError(f"{path} is not a private directory of this user; remove it, or use a shorter --data-dir")
