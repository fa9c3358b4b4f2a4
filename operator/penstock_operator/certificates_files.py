"""The operator's own certificate as files that its gRPC channels follow, switched all at once as kubelets do it."""

from __future__ import annotations

import errno
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from penstock_chassis.certificates import CertificateFiles, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from penstock_operator.settings import OperatorSettings

_CURRENT: Final = "current"
_PART: Final = "content-"


class OwnFiles:
    """`tls.crt`, `tls.key` and `ca.crt` in a folder that nobody else can open. OSError when it cannot be made so."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder", str(folder))
        folder.chmod(0o700)  # PermissionError when it is somebody else's.
        self._written: Mapping[str, bytes] = {}
        # What an earlier life left belongs to a certificate that may be renewed by now.
        (folder / _CURRENT).unlink(missing_ok=True)
        self._clear(keep="")

    def write(self, contents: Mapping[str, bytes]) -> bool:
        """Put all files in place of those before; False when they are there already."""
        if contents == self._written:
            return False
        part = Path(tempfile.mkdtemp(prefix=_PART, dir=self._folder))
        for name, content in contents.items():
            path = part / name
            path.touch(mode=0o600)
            path.write_bytes(content)
        link = self._folder / f"{part.name}.link"
        link.symlink_to(part.name)
        link.replace(self._folder / _CURRENT)
        self._clear(keep=part.name)
        self._written = dict(contents)
        return True

    def see(self, name: str) -> None:
        """See that peers would believe them, and that they are those of `name`. Raises CertificateError."""
        current = self._folder / _CURRENT
        load(CertificateFiles(current / "tls.crt", current / "tls.key", current / "ca.crt"), name)

    def told(self, settings: OperatorSettings) -> OperatorSettings:
        """Return the settings with these files in them."""
        current = self._folder / _CURRENT
        return msgspec.structs.replace(
            settings,
            tls_cert_file=current / "tls.crt",
            tls_key_file=current / "tls.key",
            tls_ca_file=current / "ca.crt",
        )

    def _clear(self, *, keep: str) -> None:
        for path in self._folder.glob(f"{_PART}*"):
            if path.name == keep:
                continue
            if path.is_symlink():
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path, ignore_errors=True)
