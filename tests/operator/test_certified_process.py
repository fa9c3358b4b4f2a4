"""The operator as a process that issues certificates: its own too, with which a router knows it."""

import asyncio
import base64
import contextlib
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis.identity import Component
from penstock_chassis.rpc_settings import RpcSettings
from penstock_chassis.rpc_transport import Transport
from tests.kube import NAMESPACE, KubeServer
from tests.stack import clean_environment, free_port, wait_until

pytestmark = pytest.mark.xdist_group("certified-process")

DOMAIN = "penstock.gateway.penstock.internal"
COMPONENTS = ("edge", "auth", "router", "status", "operator")


class Router(router_pb2_grpc.RouterServiceServicer):
    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def WatchObserved(self, request, context):
        self.seen.append(next(iter(context.auth_context()["x509_pem_cert"])))
        yield router_pb2.Observed(catalog_version="1")
        await asyncio.sleep(0.5)  # Then it ends, as it does when a connection has come to an age.


@pytest.fixture(scope="module")
def kube():
    with KubeServer().in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def operator(kube: KubeServer, ports, tmp_path_factory):
    folder = tmp_path_factory.mktemp("operator")
    settings = {
        "NAMESPACE": NAMESPACE,
        "RELEASE": "penstock",
        "CERTIFICATES": "Issue",
        "TLS_DOMAIN": DOMAIN,
        "TLS_DIR": str(folder / "tls"),
        "TLS_POLL_SECONDS": "0.2",
        "AUTHORITY_STEP_SECONDS": "1",
        "ADMIN_TOKEN_SECRET": "penstock-admin",
        "ROUTER_ADDRESSES": f"127.0.0.1:{ports[0]}",
        "METRICS_PORT": str(ports[1]),
    }
    told = {f"PENSTOCK_OPERATOR_{name}": value for name, value in settings.items()}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock_operator.main"],
            env=clean_environment(KUBECONFIG=str(kube.kubeconfig(folder)), **told),
            stderr=log,
            cwd=folder,
        )
    yield folder
    process.terminate()
    assert process.wait(20) == 0


def data(kube: KubeServer, name: str) -> dict[str, bytes]:
    found = kube.get("Secret", name)
    return {key: base64.b64decode(value) for key, value in found["data"].items()} if found else {}


def mount(kube: KubeServer, component: str, folder: Path) -> RpcSettings:
    folder.mkdir(exist_ok=True)
    for name, content in data(kube, f"penstock-{component}-tls").items():
        (folder / name).write_bytes(content)
    return RpcSettings(
        tls_cert_file=folder / "tls.crt", tls_key_file=folder / "tls.key", tls_ca_file=folder / "ca.crt", tls_domain=DOMAIN
    )  # fmt: skip


def metric(port: int, name: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_it_makes_everything_that_the_pods_wait_for(operator, kube, ports) -> None:
    names = {"penstock-ca", "penstock-admin", *(f"penstock-{one}-tls" for one in COMPONENTS)}
    wait_until("all Secrets are there", lambda: all(kube.get("Secret", name) for name in names), 30)
    ready = f"http://127.0.0.1:{ports[1]}/readyz"
    wait_until("it is ready", lambda: httpx.get(ready, timeout=30).status_code == 200, 30)
    days = metric(ports[1], 'penstock_operator_certificate_days_until_expiry{of="edge"}')
    assert 89 < days < 90.01
    assert ("Normal", "CertificateIssued") in {event[:2] for event in kube.events("penstock-edge-tls")}


async def test_a_router_knows_it_and_knows_it_again_after_a_renewal(operator, kube, ports, tmp_path) -> None:
    router = Router()
    transport = Transport(Component.ROUTER, mount(kube, "router", tmp_path / "router"))
    server = transport.server(f"127.0.0.1:{ports[0]}", max_connection_age_seconds=300)
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    await server.begin()
    try:
        async with asyncio.timeout(30):
            while not router.seen:
                await asyncio.sleep(0.05)
            assert router.seen[0].split() == data(kube, "penstock-operator-tls")["tls.crt"].split()
            kube.delete("Secret", "penstock-operator-tls")
            while len(set(router.seen)) < 2:
                await asyncio.sleep(0.05)
    finally:
        await server.end(0)
    assert router.seen[-1].split() == data(kube, "penstock-operator-tls")["tls.crt"].split()


def test_a_deleted_secret_is_back_at_once(operator, kube) -> None:
    before = data(kube, "penstock-edge-tls")
    kube.delete("Secret", "penstock-edge-tls")
    wait_until("it is back", lambda: kube.get("Secret", "penstock-edge-tls"), 10)
    after = data(kube, "penstock-edge-tls")
    assert after["tls.crt"] != before["tls.crt"]
    assert after["ca.crt"] == before["ca.crt"]


def test_an_authority_is_exchanged_when_somebody_asks(operator, kube) -> None:
    before = data(kube, "penstock-edge-tls")["ca.crt"]
    ca = kube.get("Secret", "penstock-ca")
    ca["metadata"]["annotations"]["penstock.dev/rotate"] = "now"
    kube.apply(ca)
    wait_until("both are believed", lambda: before in data(kube, "penstock-edge-tls")["ca.crt"] != before, 10)
    wait_until("it is over", lambda: before not in data(kube, "penstock-edge-tls")["ca.crt"], 20)
    assert set(data(kube, "penstock-ca")) == {"tls.crt", "tls.key"}
    wait_until(
        "it is told", lambda: ("Normal", "AuthorityExchanged") in {row[:2] for row in kube.events("penstock-ca")}
    )


def test_nothing_secret_is_in_its_log(operator, kube) -> None:
    log = (operator / "log").read_text()
    assert "certificate_secret_written" in log
    assert data(kube, "penstock-admin")["token"].decode() not in log
    for name in ("penstock-ca", *(f"penstock-{one}-tls" for one in COMPONENTS)):
        for line in data(kube, name)["tls.key"].decode().splitlines()[1:-1]:
            assert line not in log
    assert not re.search("Traceback|task_ended", log)
    with contextlib.suppress(FileNotFoundError):
        assert (operator / "tls" / "current" / "tls.key").stat().st_mode & 0o077 == 0
