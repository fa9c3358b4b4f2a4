"""The exclusive right to a spool folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from penstock_chassis import logs

if TYPE_CHECKING:
    from pathlib import Path

_log = logs.get(__name__)

_LOCK_NAME: Final = "lock"


class FolderLock:
    """The exclusive right to a spool folder; the kernel ends it with the process."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path) -> FolderLock | None:
        """Take the lock, without waiting; None when somebody has it or the folder is just being removed."""
        try:
            descriptor = os.open(folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A folder that was removed while we opened its lock is not the one that others will find.
            if (folder / _LOCK_NAME).stat().st_ino == os.fstat(descriptor).st_ino:
                return cls(folder, descriptor)
        except OSError:
            pass
        os.close(descriptor)
        return None

    def release(self, *, remove: bool = False) -> None:
        """Give it up; with `remove`, the folder goes too if nothing else is in it and the disk lets it go."""
        try:
            if remove and [entry.name for entry in self.folder.iterdir()] == [_LOCK_NAME]:
                (self.folder / _LOCK_NAME).unlink()
                self.folder.rmdir()
        except OSError as error:
            _log.warning("spool_folder_not_removed", folder=self.folder.name, error=error.strerror)
        finally:
            os.close(self._descriptor)
