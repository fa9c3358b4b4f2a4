"""Where a process finds its catalog: in a file, or in the Secrets of a cluster. The rest of it sees a source."""

import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from penstock_catalog.cluster_access import find_access
from penstock_catalog.documents import AnyDocument, Document
from penstock_catalog.sources import DocumentSource

_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_Given_co = TypeVar("_Given_co", bound=Document, covariant=True)


class CatalogSource(Protocol[_Given_co]):
    """Where documents come from."""

    def changes(self) -> AsyncIterator[_Given_co]:
        """Give the document as soon as there is one, and again whenever its version changes; for ever."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """A file's path, or the prefix of Secrets' names with their namespace; "" is the pod's own. ValueError: not one."""

    path: Path | None = None
    secrets: str | None = None
    namespace: str = ""

    def __post_init__(self) -> None:
        if self.path is None and self.secrets is None:
            raise ValueError(
                "no catalog is named: set catalog_path to the document's file, "
                "or in a cluster catalog_secrets to the prefix of its Secrets' names"
            )
        if self.path is not None and self.secrets is not None:
            raise ValueError("catalog_path and catalog_secrets are both set: take one of them away")
        if self.secrets is not None and not _PREFIX.fullmatch(self.secrets):
            raise ValueError(
                "catalog_secrets is no prefix of Secrets' names: "
                "use up to 63 of a-z, 0-9 and -, such as penstock-router"
            )
        if self.path is not None and self.namespace:
            raise ValueError("catalog_namespace is for catalog_secrets: take it away, or name the Secrets")
        if self.namespace and not _PREFIX.fullmatch(self.namespace):
            raise ValueError("catalog_namespace is no namespace's name: use up to 63 of a-z, 0-9 and -")

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        return f"in Secrets {self.secrets}-*" + (f" of namespace {self.namespace}" if self.namespace else "")

    def open(self, kind: type[AnyDocument], on_problem: Callable[[str], None]) -> CatalogSource[AnyDocument]:
        """Return the source. `cluster_access.AccessError` when there is no way to a cluster."""
        if self.path is not None:
            return DocumentSource(self.path, kind, on_problem=on_problem)
        # Who reads files needs no HTTP client, and starts sooner.
        from penstock_catalog.cluster_secrets import ClusterSecrets  # noqa: PLC0415 -- see above
        from penstock_catalog.secret_source import SecretSource  # noqa: PLC0415 -- see above

        secrets = ClusterSecrets(find_access(os.environ), self.namespace)
        return SecretSource(secrets, self.secrets or "", kind, on_problem=on_problem)
