"""Real gRPC between real transports, with the certificates that the keeper makes."""

import asyncio
import contextlib
import time
from collections import Counter
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_chassis.identity import Component
from penstock_chassis.rpc_settings import RpcSettings
from penstock_chassis.rpc_transport import Transport
from penstock_operator.certificates import Terms
from penstock_operator.certificates_files import OwnFiles
from penstock_operator.certificates_keeper import CertificateKeeper
from penstock_operator.certificates_secrets import leaf_secret
from penstock_operator.settings import OperatorSettings
from tests.operator.secrets_in_memory import SecretsInMemory

RELEASE = "penstock"
DOMAIN = "penstock.gateway.penstock.internal"
MOUNTING = (Component.EDGE, Component.AUTH, Component.ROUTER, Component.STATUS)
POLL_SECONDS = 0.05
MOUNT_SECONDS = 0.2
TERMS = Terms(hold_seconds=1.0)


class Kubelet:
    """Brings Secrets into the folders of pods, each a little late and at another time."""

    def __init__(self, secrets: SecretsInMemory, folder: Path) -> None:
        self._secrets = secrets
        self._files = {one: OwnFiles(folder / one) for one in MOUNTING}

    def mount(self, component: Component) -> None:
        data = self._secrets.data(leaf_secret(RELEASE, component))
        self._files[component].write(data)

    def settings(self, component: Component) -> RpcSettings:
        told = self._files[component].told(OperatorSettings(tls_domain=DOMAIN, tls_poll_seconds=POLL_SECONDS))
        return RpcSettings(**{name: getattr(told, name) for name in RpcSettings.__struct_fields__})

    async def run(self) -> None:
        while True:
            for component in MOUNTING:
                await asyncio.sleep(MOUNT_SECONDS / len(MOUNTING))
                self.mount(component)


class Router(router_pb2_grpc.RouterServiceServicer):
    """Notes how many times each caller's certificate was shown."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()

    async def Report(self, request, context):
        self.seen[next(iter(context.auth_context()["x509_pem_cert"]))] += 1
        return router_pb2.ReportResponse(accepted_seq=request.seq)


@pytest.fixture
def secrets() -> SecretsInMemory:
    return SecretsInMemory()


@pytest.fixture
def own(tmp_path: Path) -> OwnFiles:
    return OwnFiles(tmp_path / "own")


@pytest.fixture
async def kubelet(secrets: SecretsInMemory, keeper: CertificateKeeper, tmp_path: Path) -> Kubelet:
    """All Secrets are there and mounted."""
    await keeper.look()
    made = Kubelet(secrets, tmp_path)
    for component in MOUNTING:
        made.mount(component)
    return made


@pytest.fixture
def keeper(secrets: SecretsInMemory, own: OwnFiles) -> CertificateKeeper:
    return CertificateKeeper(secrets, RELEASE, DOMAIN, files=own, terms=TERMS, look_seconds=POLL_SECONDS)


@contextlib.asynccontextmanager
async def going(*work):
    tasks = [asyncio.create_task(one) for one in work]
    yield
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_authority_is_exchanged_under_calls_and_none_fails(keeper, secrets, kubelet, own) -> None:
    operator = own.told(OperatorSettings(tls_domain=DOMAIN, tls_poll_seconds=POLL_SECONDS))
    transports = {one: Transport(one, kubelet.settings(one)) for one in MOUNTING}
    transports[Component.OPERATOR] = Transport(Component.OPERATOR, operator)
    router = Router()
    # Short-lived connections: a new handshake several times a second.
    server = transports[Component.ROUTER].server("127.0.0.1:0", max_connection_age_seconds=0.2)
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    await server.begin()
    address = f"127.0.0.1:{server.port}"
    async with (
        transports[Component.EDGE].channel(address, Component.ROUTER) as edge,
        transports[Component.OPERATOR].channel(address, Component.ROUTER) as far,
        going(keeper.run(), kubelet.run(), *(one.run() for one in transports.values())),
    ):
        report, health = router_pb2_grpc.RouterServiceStub(edge), health_pb2_grpc.HealthStub(far)
        secrets.annotate("penstock-ca", rotate="now")
        begun, calls, stepped = time.monotonic(), 0, False
        while time.monotonic() < begun + 30:
            answer = await report.Report(router_pb2.ReportRequest(seq=calls), timeout=5)
            assert answer.accepted_seq == calls
            await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            calls += 1
            exchanging = "previous.crt" in secrets.data("penstock-ca")
            stepped = stepped or exchanging
            if stepped and not exchanging:
                break
            await asyncio.sleep(0.01)
        assert stepped
        assert not exchanging, "the exchange did not end"
        for _ in range(20):
            await report.Report(router_pb2.ReportRequest(), timeout=5)
            await asyncio.sleep(0.02)
    await server.end(0)
    assert calls > 50
    assert len(router.seen) == 2


async def test_components_are_taken_for_what_they_are(kubelet) -> None:
    router = Router()
    server = Transport(Component.ROUTER, kubelet.settings(Component.ROUTER)).server(
        "127.0.0.1:0", max_connection_age_seconds=300
    )
    router_pb2_grpc.add_RouterServiceServicer_to_server(router, server.server)
    await server.begin()
    address = f"127.0.0.1:{server.port}"

    async def ask(component: Component, to: Component = Component.ROUTER) -> grpc.StatusCode:
        async with Transport(component, kubelet.settings(component)).channel(address, to) as channel:
            try:
                await router_pb2_grpc.RouterServiceStub(channel).Report(router_pb2.ReportRequest(), timeout=5)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    assert await ask(Component.EDGE) is grpc.StatusCode.OK
    assert await ask(Component.STATUS) is grpc.StatusCode.PERMISSION_DENIED
    assert await ask(Component.EDGE, to=Component.AUTH) is grpc.StatusCode.UNAVAILABLE
    elsewhere = CertificateKeeper(other := SecretsInMemory(), RELEASE, DOMAIN)
    await elsewhere.look()
    kubelet._files[Component.EDGE].write(other.data("penstock-edge-tls"))
    assert await ask(Component.EDGE) is grpc.StatusCode.UNAVAILABLE
    await server.end(0)
