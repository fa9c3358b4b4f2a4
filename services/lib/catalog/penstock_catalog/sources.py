"""Where desired state comes from: catalog documents for auth and router, resource files for local mode."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Generic

from penstock_catalog import documents, reader, watching
from penstock_catalog.documents import AnyDocument, DocumentError
from penstock_catalog.problems import InvalidResources, Place, Problem
from penstock_catalog.resources import Resource

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class DocumentSource(Generic[AnyDocument]):
    """The catalog document in one file. `on_problem` hears of each state of the file that cannot be used."""

    def __init__(
        self,
        path: Path,
        kind: type[AnyDocument],
        *,
        on_problem: Callable[[str], None] = lambda _: None,
        poll_seconds: float = watching.POLL_SECONDS,
    ) -> None:
        self._path = path
        self._kind = kind
        self._on_problem = on_problem
        self._poll_seconds = poll_seconds

    def read(self) -> AnyDocument:
        """Read the document as it is now. `DocumentError` when it is missing, damaged or of another release."""
        return documents.read(self._path, self._kind)

    async def changes(self) -> AsyncIterator[AnyDocument]:
        """Give the document as soon as there is one, and again whenever its version changes; for ever.

        What cannot be used is skipped, so that whoever iterates keeps the last good one.
        """
        version: str | None = None
        seen: watching.Fingerprint | None = None
        while True:
            now = watching.fingerprint([self._path])
            if now != seen:
                seen = now
                document = await self._try()
                if document is not None and document.version != version:
                    version = document.version
                    yield document
            await asyncio.sleep(self._poll_seconds)

    async def _try(self) -> AnyDocument | None:
        try:
            return await asyncio.to_thread(self.read)
        except DocumentError as error:
            self._on_problem(str(error))
            return None


class ResourceFiles:
    """Resources in YAML files: each path is a file, or a directory whose YAML files are read, not those below it."""

    def __init__(self, paths: Sequence[Path], *, poll_seconds: float = watching.POLL_SECONDS) -> None:
        self._paths = tuple(paths)
        self._poll_seconds = poll_seconds
        self._seen: watching.Fingerprint = ()

    def read(self) -> list[Resource]:
        """Read every resource. `InvalidResources` with all problems of all files when there is any."""
        self._seen = self._look()
        resources: list[Resource] = []
        problems: list[Problem] = []
        for file in self._files():
            try:
                resources += reader.read_text(_text(file), str(file))
            except InvalidResources as error:
                problems += error.problems
        problems += reader.duplicates(resources)
        if problems:
            raise InvalidResources(problems)
        return resources

    async def changed(self) -> None:
        """Wait until any file differs from what was last read: less than a second after it was written."""
        self._seen = await watching.changed(self._look, self._seen, self._poll_seconds)

    def _look(self) -> watching.Fingerprint:
        return watching.fingerprint(self._files())

    def _files(self) -> list[Path]:
        """List the files in order. Hidden ones are left out: editors' drafts, and the links below mounted volumes."""
        files: list[Path] = []
        for path in self._paths:
            try:
                inside = sorted(path.iterdir())
            except OSError:  # A file, or a directory that has just gone, which reading it as a file will say.
                files.append(path)
                continue
            files += (file for file in inside if _holds_resources(file))
        return list(dict.fromkeys(files))


def _holds_resources(file: Path) -> bool:
    return file.suffix in _SUFFIXES and not file.name.startswith(".") and _may_be_read(file)


def _may_be_read(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # Nobody may look at it, say: reading it will tell.
        return True


def _text(file: Path) -> str:
    """Read a file; `InvalidResources` when that is not possible."""
    try:
        with file.open("rb") as opened:
            content = opened.read(reader.MAX_BYTES + 1)
        if len(content) <= reader.MAX_BYTES:
            return content.decode("utf-8-sig")
        message = f"holds more than {reader.MAX_BYTES} bytes"
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        message = "is not UTF-8 text"
    raise InvalidResources([Problem(Place(str(file)), "UnreadableFile", message)])
