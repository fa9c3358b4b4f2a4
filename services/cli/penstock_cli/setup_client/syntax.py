"""What a configuration file's language must be able to do, so that everything else in the file stays as it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from penstock_cli.errors import CommandError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

Path = tuple[str, ...]
"""Names from the outermost table or object inwards."""


class UnreadableError(ValueError):
    """A file's text is not what its language allows; the message never shows the text itself."""


class Syntax(Protocol):
    """One language. Texts go in and come out; nothing is read or written here."""

    def get(self, text: str, path: Path) -> Any:
        """Return the value at a path; None when there is none. Raises UnreadableError."""
        ...

    def put(self, text: str, path: Path, value: Any) -> str:
        """Return the text with this value at a path. Raises UnreadableError."""
        ...

    def drop(self, text: str, path: Path) -> str:
        """Return the text without what is at a path. Raises UnreadableError."""
        ...

    def empty(self, text: str) -> bool:
        """Say whether a text holds nothing at all."""
        ...


@contextmanager
def naming(path: pathlib.Path) -> Iterator[None]:
    """Turn an UnreadableError into a CommandError that names the file."""
    try:
        yield
    except UnreadableError as error:
        raise CommandError(f"{path}: {error}; nothing was written") from error
