"""Local mode's counterpart of the operator: resources in, catalog documents and key files out.

`penstock up` publishes once before it starts the other processes and then follows `changes`; auth and router watch the
documents. A resource file that cannot be taken up changes nothing: the documents of the last good state stay.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock_catalog import documents
from penstock_catalog.api_key import DEFAULT_PREFIX, RandomBytes
from penstock_catalog.compiler import Compiled, Options, compile_catalog
from penstock_catalog.key_files import KeyFiles
from penstock_catalog.problems import InvalidResources, Place, Problem
from penstock_catalog.resources import APIKey, Resource, Secret
from penstock_catalog.sources import ResourceFiles

LOCAL_OPTIONS = Options(private_addresses="Allow")
"""What this release serves, with the private addresses that a laptop's upstreams have."""


@dataclass(frozen=True, slots=True)
class LocalState:
    """What came of one attempt to publish.

    `compiled` is the state in force: the new one, or the last good one when `refused`; None when none ever was good.
    `problems` says why it was refused, or which resources are not ready.
    """

    compiled: Compiled | None
    problems: tuple[Problem, ...]
    refused: bool


class LocalCatalog:
    """Desired state of one data directory, from resource files or from resources made up by `local_resources`."""

    def __init__(
        self,
        resources: ResourceFiles | Sequence[Resource],
        data_dir: Path,
        *,
        options: Options = LOCAL_OPTIONS,
        key_prefix: str = DEFAULT_PREFIX,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._resources = resources
        self._options = options
        self._keys = KeyFiles(data_dir / "secrets", prefix=key_prefix, random_bytes=random_bytes)
        self._data_dir = data_dir
        self._good: Compiled | None = None

    @property
    def router_path(self) -> Path:
        """Where the router's document is."""
        return self._data_dir / "catalog" / "router.json"

    @property
    def auth_path(self) -> Path:
        """Where auth's document is."""
        return self._data_dir / "catalog" / "auth.json"

    def key_path(self, secret_name: str) -> Path:
        """Where the key of an `APIKey` with this `secretName` is."""
        return self._keys.path(secret_name)

    def publish(self) -> LocalState:
        """Read, make the keys that are missing, compile and write both documents. Never raises for what users wrote."""
        try:
            resources = self._resources.read() if isinstance(self._resources, ResourceFiles) else self._resources
            declared = [resource for resource in resources if isinstance(resource, APIKey)]
            taken = {resource.name for resource in resources if isinstance(resource, Secret)}
            keys = self._keys.issue(declared, taken)
            compiled = compile_catalog(resources, options=self._options, keys=keys)
            # Auth comes first: it should know a model's price before the edges are told of the model.
            documents.write(self.auth_path, compiled.auth)
            documents.write(self.router_path, compiled.router)
        except InvalidResources as error:
            return LocalState(self._good, error.problems, refused=True)
        except OSError as error:
            problem = Problem(Place(str(error.filename or self._data_dir)), "Unwritable", str(error.strerror))
            return LocalState(self._good, (problem,), refused=True)
        self._good = compiled
        return LocalState(compiled, compiled.problems, refused=False)

    async def changes(self) -> AsyncIterator[LocalState]:
        """Publish again whenever a resource file has changed. Ends at once when there are no files to change."""
        if not isinstance(self._resources, ResourceFiles):
            return
        while True:
            await self._resources.changed()
            yield await asyncio.to_thread(self.publish)
