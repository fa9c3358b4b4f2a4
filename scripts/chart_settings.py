"""Which settings of which process may be given as `<component>.settings` in the chart's values, and how they read."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from penstock_auth.settings import AuthSettings
from penstock_chassis import variables
from penstock_edge.settings import EdgeSettings
from penstock_operator.settings import OperatorSettings
from penstock_router.settings import RouterSettings
from penstock_simulator.settings import SimulatorSettings
from penstock_status.settings import StatusSettings

if TYPE_CHECKING:
    from penstock_chassis.settings import ProcessSettings

CLASSES: dict[str, type[ProcessSettings]] = {
    "edge": EdgeSettings,
    "auth": AuthSettings,
    "router": RouterSettings,
    "status": StatusSettings,
    "operator": OperatorSettings,
    "simulator": SimulatorSettings,
}

_EVERYWHERE = {"name", "run_dir", "metrics_host", "metrics_port", "dies_with_parent", "ending_file", "ending_seconds"}
_RPC = {"tls_cert_file", "tls_key_file", "tls_ca_file", "tls_domain", "insecure_plaintext"}
_CATALOG = {"address", "catalog_path", "catalog_secrets", "catalog_namespace", "redis_url", "redis_cluster"}
_OWN = {
    "edge": {"host", "port", "auth_address", "router_address", "spool_dir", "ready_files", "upstream_ca_file"}
    | {"drain_seconds"},
    "auth": {*_CATALOG, "database_url"},
    "router": {*_CATALOG, "upstream_ca_file"},
    "status": {"host", "port", "auth_address", "router_address", "admin_token_file"} | {"port_is_reserved"},
    "operator": {"namespace", "release", "router_addresses", "auth_addresses", "key_prefix", "certificates", "tls_dir"}
    | {"admin_token_secret"},
    "simulator": {"host", "port", "port_is_reserved"},
}
_KEPT = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "pattern")


@dataclass(frozen=True)
class Setting:
    """One setting as people give it."""

    name: str
    schema: dict[str, Any]
    default: str
    meaning: str


def decided(component: str) -> set[str]:
    """Return the settings that the chart gives itself, from other values."""
    return (_EVERYWHERE | _RPC | _OWN[component]) & set(CLASSES[component].__struct_fields__)


def settings(component: str) -> list[Setting]:
    """List the others, in the order of the class, its own first."""
    kind = CLASSES[component]
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    meanings: dict[str, str] = {}
    order: list[str] = []
    for one in kind.__mro__:
        if one.__module__.startswith("penstock_"):
            found = {name: text for name, text in _meanings(one).items() if name in fields}
            order += [name for name in found if name not in order]
            meanings = found | meanings
    return [
        Setting(name, _schema(fields[name].type), _default(fields[name].default), meanings[name])
        for name in order
        if name not in decided(component)
    ]


def _meanings(kind: type) -> dict[str, str]:
    """Return the fields that a class declares itself, with the text below each."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    last = ""
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            found[last] = ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last:
            found[last] = " ".join(str(node.value.value).split())
        else:
            last = ""
    return found


def _schema(kind: Any) -> dict[str, Any]:
    described = variables.schema(kind)
    if get_origin(kind) is Literal:
        described = {"type": "string", "enum": list(get_args(kind))}
    kept = {word: described[word] for word in _KEPT if word in described}
    if kept.get("type") == "array":
        kept["items"] = {"type": described.get("items", {}).get("type", "object")}
    return kept


def _default(default: Any) -> str:
    if default is None or default is msgspec.NODEFAULT:
        return ""
    if isinstance(default, tuple):
        return json.dumps(msgspec.to_builtins(default))
    return str(default).lower() if isinstance(default, bool) else str(default)
