"""The kinds of objects that the operator reads and writes, as the Kubernetes API names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from penstock_catalog.resources import GROUP_VERSION


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `api_version` is `v1` or `group/version`."""

    name: str
    plural: str
    api_version: str

    @property
    def group(self) -> str:
        """The API group; "" for the core's."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str, name: str = "", below: str = "") -> str:
        """Return the path of all such objects of a namespace, of one, or of what is below one."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        parts = [f"{root}/namespaces/{namespace}/{self.plural}", *(part for part in (name, below) if part)]
        return "/".join(parts)


UPSTREAM_ACCOUNT: Final = Kind("UpstreamAccount", "upstreamaccounts", GROUP_VERSION)
MODEL: Final = Kind("Model", "models", GROUP_VERSION)
PLAN: Final = Kind("Plan", "plans", GROUP_VERSION)
API_KEY: Final = Kind("APIKey", "apikeys", GROUP_VERSION)
SECRET: Final = Kind("Secret", "secrets", "v1")
EVENT: Final = Kind("Event", "events", "v1")

CUSTOM: Final = (UPSTREAM_ACCOUNT, MODEL, PLAN, API_KEY)
"""The kinds of ours, whose status the operator writes."""
WATCHED: Final = (*CUSTOM, SECRET)
"""All that decisions are made of."""
