"""How to reach the Kubernetes API: as a pod with a service account, or as a kubeconfig says."""

import base64
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class AccessError(Exception):
    """The API cannot be reached like this. The message says what to do and holds no credential."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Where the API is. `token` and `tls` read their files anew at every call, because both are rotated."""

    server: str
    namespace: str
    token: Callable[[], str]
    """Return the bearer token, "" when there is none. Raises AccessError."""
    tls: Callable[[], ssl.SSLContext]
    """Return whom to trust, and with which certificate to come. Raises AccessError."""


def find_access(environment: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> ClusterAccess:
    """Return the access that `KUBECONFIG` names, else the pod's own. `AccessError` when there is neither."""
    if environment.get("KUBECONFIG"):
        return from_kubeconfig(Path(environment["KUBECONFIG"]))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise AccessError(
            "this is no pod of a Kubernetes cluster (KUBERNETES_SERVICE_HOST is not set): run it in one, "
            "name a kubeconfig in KUBECONFIG, or give catalog_path instead of catalog_secrets"
        )
    if not (service_account / "token").exists():
        raise AccessError(
            f"{service_account}/token is missing: give the pod a service account and automountServiceAccountToken: true"
        )
    return ClusterAccess(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=_read(service_account / "namespace").strip(),
        token=lambda: _read(service_account / "token").strip(),
        tls=lambda: _trusting(_read(service_account / "ca.crt")),
    )


def from_kubeconfig(path: Path) -> ClusterAccess:
    """Return the access of a kubeconfig's current context: by token, token file or client certificate."""
    try:
        config = yaml.safe_load(_read(path))
        context = _named(config, "context", config["current-context"])
        cluster = _named(config, "cluster", context["cluster"])
        user = (_named(config, "user", context["user"]) or {}) if context.get("user") else {}
        server = str(cluster["server"]).rstrip("/")
        plugin = "exec" in user or "auth-provider" in user
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        # What such an error says could hold a part of the file.
        raise AccessError(f"{path}: not a kubeconfig with a current context, its cluster and its user") from None
    if plugin:
        raise AccessError(f"{path}: its user needs a plugin; make one with a token, such as of a service account")
    return ClusterAccess(
        server=server,
        namespace=str(context.get("namespace") or "default"),
        token=lambda: _read(path.parent / user["tokenFile"]).strip() if "tokenFile" in user else user.get("token", ""),
        tls=lambda: _tls(path.parent, cluster, user),
    )


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {entry["name"]: entry[kind] for entry in config[f"{kind}s"]}
    return found[name]


def _tls(folder: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = _content(folder, cluster, "certificate-authority")
    context = _trusting(authority) if authority else ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _content(folder, user, "client-certificate"), _content(folder, user, "client-key")
    if certificate and key:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as both:  # 0600; Python reads it from a file only.
            both.write(f"{certificate}\n{key}")
            both.flush()
            try:
                context.load_cert_chain(both.name)
            except ssl.SSLError:
                raise AccessError("the kubeconfig's client certificate and key do not fit") from None
    return context


def _content(folder: Path, entry: dict[str, Any], name: str) -> str:
    if f"{name}-data" in entry:
        try:
            return base64.b64decode(entry[f"{name}-data"], validate=True).decode()
        except ValueError:
            raise AccessError(f"the kubeconfig's {name}-data is not base64 of text") from None
    return _read(folder / entry[name]) if name in entry else ""


def _trusting(authority: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise AccessError("the cluster's certificate authority is no PEM certificate") from None
    # Python 3.13 asks for key identifiers, which the authorities of many clusters do not have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise AccessError(f"{path}: {reason}") from None
