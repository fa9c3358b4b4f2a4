"""Changes configuration files: keeps what was there beside them, and gives it back.

Beside `settings.json` stand `settings.json.penstock-backup`, the file as it was (absent where there was none), and
`settings.json.penstock-sum`, what `cksum` says of the file as it was written; it marks a file that was set up. The
script that the gateway serves keeps the same two.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from penstock_cli.errors import CommandError
from penstock_cli.setup_client.cksum import cksum
from penstock_cli.setup_client.entries import put_in, take_out
from penstock_cli.setup_client.syntax import naming

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from penstock_cli.setup_client.clients import ConfigFile

PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: written, unchanged, restored, removed or cleaned (only our entries taken out)."""

    path: Path
    action: str
    backup: Path | None = None


@dataclass(frozen=True, slots=True)
class _Change:
    """A file about to be written, and what its backup shall hold; None: as it is."""

    file: ConfigFile
    text: str
    original: str | None


def backup_of(path: Path) -> Path:
    """Return where the file as it was is kept."""
    return path.with_name(path.name + ".penstock-backup")


def sum_of(path: Path) -> Path:
    """Return where the checksum of the file as it was written is kept."""
    return path.with_name(path.name + ".penstock-sum")


def read(path: Path) -> str:
    """Return a file's text as it is, empty where there is none. Raises CommandError."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise CommandError(f"{path} is not UTF-8 text; nothing was written") from error
    except OSError as error:
        raise CommandError(f"cannot read {path}: {error.strerror}; nothing was written") from error


def set_up(files: Sequence[ConfigFile]) -> list[Outcome]:
    """Put each file's entries in; all are worked out before the first is written. Raises CommandError."""
    changes = [_change(file) for file in files]
    return [_apply(change) for change in changes]


def undo(files: Sequence[ConfigFile]) -> list[Outcome]:
    """Give each file back as it was; where it has changed since, take only our entries out. Raises CommandError."""
    ours = [file for file in files if sum_of(file.path).exists()]
    cleaned = {file.path: _cleaned(file) for file in ours if not _as_written(file.path)}
    return [_undo_one(file, cleaned.get(file.path)) for file in ours]


def _as_written(path: Path) -> bool:
    return read(sum_of(path)).strip() == cksum(read(path).encode())


def _cleaned(file: ConfigFile) -> str:
    with naming(file.path):
        return take_out(file.syntax, read(file.path), read(backup_of(file.path)), file.paths)


def _change(file: ConfigFile) -> _Change:
    text = read(file.path)
    with naming(file.path):
        changed = put_in(file.syntax, text, file.entries)
    if not sum_of(file.path).exists():
        return _Change(file, changed, text)
    # What was set up and then edited by its owner is the file to go back to, less our entries.
    return _Change(file, changed, None if _as_written(file.path) else _cleaned(file))


def _apply(change: _Change) -> Outcome:
    path = change.file.path
    kept = backup_of(path) if backup_of(path).exists() else None
    try:
        if change.text == read(path):
            _make_private(path)
            return Outcome(path, "unchanged", kept)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if change.original is not None:
            kept = _keep(change.file, change.original)
        _write(sum_of(path), cksum(change.text.encode()) + "\n", PRIVATE)
        _write(path, change.text, PRIVATE)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or path}: {error.strerror}") from error
    return Outcome(path, "written", kept)


def _keep(file: ConfigFile, original: str) -> Path | None:
    """Write the backup; a file that is not there, or would hold nothing without us, needs none."""
    path, backup = file.path, backup_of(file.path)
    made_by_us = sum_of(path).exists() and not backup.exists()
    if not path.exists() or (made_by_us and file.syntax.empty(original)):
        backup.unlink(missing_ok=True)
        return None
    mode = (backup if backup.exists() and sum_of(path).exists() else path).stat().st_mode & 0o777
    _write(backup, original, mode)
    return backup


def _undo_one(file: ConfigFile, cleaned: str | None) -> Outcome:
    path, backup = file.path, backup_of(file.path)
    try:
        if cleaned is not None and path.exists() and not (file.syntax.empty(cleaned) and not backup.exists()):
            _write(path, cleaned, PRIVATE)
            action = "cleaned"
        elif backup.exists():
            _write(path, read(backup), backup.stat().st_mode & 0o777)
            action = "restored"
        else:
            path.unlink(missing_ok=True)
            action = "removed"
        backup.unlink(missing_ok=True)
        sum_of(path).unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or path}: {error.strerror}") from error
    return Outcome(path, action)


def _make_private(path: Path) -> None:
    if path.exists() and path.stat().st_mode & 0o077:
        path.chmod(PRIVATE)


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file at once and whole; a link stays a link."""
    target = path.resolve()
    part = target.with_name(f".{target.name}.penstock-part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode())
    part.chmod(mode)
    part.replace(target)
