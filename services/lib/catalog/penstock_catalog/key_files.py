"""Declared keys in local mode: made once and kept in files, as the operator keeps them in Secrets.

`<root>/<secretName>/api-key` holds the text of a key (0600), `.owner` beside it the name of its `APIKey`. A key that is
there is used again; a changed `secretName` moves it and removes its old folder; a deleted file means a new key.
"""

import errno
from collections.abc import Collection, Sequence
from pathlib import Path

from penstock_catalog import api_key
from penstock_catalog.api_key import RandomBytes
from penstock_catalog.compiler import IssuedKey, KeyFailure
from penstock_catalog.documents import write_private
from penstock_catalog.resources import APIKey

_OWNER = ".owner"


class KeyFiles:
    """The keys below one directory."""

    def __init__(self, root: Path, *, prefix: str, random_bytes: RandomBytes) -> None:
        self._root = root
        self._prefix = prefix
        self._random_bytes = random_bytes

    def path(self, secret_name: str) -> Path:
        """Say which file holds the key of this Secret's name."""
        return self._root / secret_name / "api-key"

    def issue(self, keys: Sequence[APIKey], taken: Collection[str]) -> dict[str, IssuedKey | KeyFailure]:
        """Have a file for every key, by the resource's name. `taken` names Secrets that are somebody else's.

        `OSError` when the disk refuses.
        """
        owners = self._owners()
        issued: dict[str, IssuedKey | KeyFailure] = {}
        texts: dict[str, str] = {}
        targets: dict[str, APIKey] = {}
        for key in keys:
            secret = key.spec.secret_name
            if secret in taken or secret in targets:
                whose = targets[secret].id if secret in targets else f"Secret/{secret}"
                issued[key.name] = KeyFailure("SecretConflict", f"the Secret's name {secret} is taken by {whose}")
                continue
            targets[secret] = key
            text = self._kept(key, owners) or api_key.generate(self._prefix, self._random_bytes).text
            if api_key.well_formed(text):
                texts[secret] = text
                issued[key.name] = _public(text)
            else:
                message = f"{self.path(secret)} does not hold an API key; remove it to have a new one"
                issued[key.name] = KeyFailure("SecretInvalid", message)
        # Every key has been read before the first one is written: two may have changed places.
        for secret, text in texts.items():
            self._write(secret, text, targets[secret].name, owners)
        self._remove_moved(targets)
        return issued

    def _owners(self) -> dict[str, str]:
        """Say by secret name whose the kept keys are, as it is recorded; "" where it is not."""
        files = sorted(self._root.glob("*/api-key"))
        return {file.parent.name: _read(file.with_name(_OWNER)) for file in files}

    def _kept(self, key: APIKey, owners: dict[str, str]) -> str:
        """Read this key's text from where it should be, else from where it was; "" when there is none."""
        secret = key.spec.secret_name
        if owners.get(secret) in {"", key.name}:
            return _read(self.path(secret))
        before = next((name for name, owner in owners.items() if owner == key.name), None)
        return _read(self.path(before)) if before is not None else ""

    def _write(self, secret: str, text: str, owner: str, owners: dict[str, str]) -> None:
        file = self.path(secret)
        if _read(file) != text:
            write_private(file, text.encode())
        file.chmod(0o600)
        if owners.get(secret) != owner:
            write_private(file.with_name(_OWNER), owner.encode())

    def _remove_moved(self, targets: dict[str, APIKey]) -> None:
        """Remove what a changed `secretName` left behind; a folder with anything else in it stays."""
        moved = {key.name for key in targets.values()}
        for mark in sorted(self._root.glob(f"*/{_OWNER}")):
            if mark.parent.name not in targets and _read(mark) in moved:
                self.path(mark.parent.name).unlink(missing_ok=True)
                # Last of the two: without it nobody would know whose the key was.
                mark.unlink(missing_ok=True)
                _remove_if_empty(mark.parent)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def _public(text: str) -> IssuedKey:
    return IssuedKey(id=api_key.public_id(text), prefix=api_key.shown(text), digest=api_key.digest(text).hex())
