"""The four processes as in a cluster: over TCP, each with its certificate, while the certificates change."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import grpc
import httpx
import pytest
import yaml

from penstock.router.v1 import router_pb2, router_pb2_grpc
from penstock_catalog import documents, reader
from penstock_catalog.compiler import Options, compile_catalog
from penstock_chassis import rpc
from penstock_chassis.identity import Component
from tests.client import Exchange, exchange, payload
from tests.ports import free_port
from tests.stack import Simulator, account, clean_environment, plan, wait_until
from tests.unit.chassis.certificate_files import DOMAIN, Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("mutual_tls")

TOKEN = "an-admin-token-for-tests"
COMPONENTS = ("auth", "router", "edge", "status")


class Fleet:
    """The processes, their ports and their certificates."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder = folder
        self.authority = Authority(folder / "tls")
        self.ports = {name: free_port() for name in COMPONENTS}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        resources = [plan("open"), *account("a", simulator.url, "sim-key-a")]
        compiled = compile_catalog(
            reader.read_text(yaml.safe_dump_all(resources), "resources.yaml"),
            options=Options(private_addresses="Allow"),
            keys={},
        )
        documents.write(folder / "router-catalog.json", compiled.router)
        documents.write(folder / "auth-catalog.json", compiled.auth)
        (folder / "token").write_text(TOKEN)

    def start(self, name: str, **told: str) -> None:
        files = self.authority.issue(name)
        told |= {"TLS_CERT_FILE": str(files.chain), "TLS_KEY_FILE": str(files.key), "TLS_CA_FILE": str(files.authorities)}  # fmt: skip
        told |= {"NAME": name, "RUN_DIR": str(self.folder / "run"), "TLS_POLL_SECONDS": "0.1"}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", f"penstock_{name}.main"],
                env=clean_environment(**{f"PENSTOCK_{name.upper()}_{field}": value for field, value in told.items()}),
                stderr=log,
            )

    def start_all(self) -> None:
        folder, at = self.folder, {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        others = {"AUTH_ADDRESS": at["auth"], "ROUTER_ADDRESS": at["router"]}
        self.start("auth", ADDRESS=at["auth"], CATALOG_PATH=str(folder / "auth-catalog.json"), DATABASE_URL=f"sqlite:///{folder}/ledger.db")  # fmt: skip
        self.start("router", ADDRESS=at["router"], CATALOG_PATH=str(folder / "router-catalog.json"))
        self.start("edge", PORT=str(self.ports["edge"]), SPOOL_DIR=str(folder / "spool"), **others)
        self.start("status", PORT=str(self.ports["status"]), ADMIN_TOKEN_FILE=str(folder / "token"), **others)
        for name in ("edge", "status"):
            wait_until(f"{name} is ready", lambda name=name: self.ready(name))

    def ready(self, name: str) -> bool:
        for one, process in self.processes.items():
            assert process.poll() is None, (self.folder / f"{one}.log").read_text()[-4000:]
        try:
            return httpx.get(f"http://127.0.0.1:{self.ports[name]}/readyz", timeout=90).is_success
        except httpx.TransportError:
            return False

    def metrics(self, name: str) -> str:
        port = json.loads((self.folder / "run" / f"{name}.json").read_text())["metrics_port"]
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=90).text

    def key(self) -> str:
        answer = httpx.post(
            f"http://127.0.0.1:{self.ports['status']}/admin/v1/keys",
            json={"project": "demo", "plan": "open"},
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=60,
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    def end(self) -> None:
        for name in ("edge", "status", "router", "auth"):
            if (process := self.processes.get(name)) is not None:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("mutual-tls")
    simulator = Simulator(folder, ["a"])
    started = Fleet(folder, simulator)
    try:
        started.start_all()
        yield started
    finally:
        started.end()
        simulator.end()


def test_a_stream_and_its_books_outlive_new_certificates_everywhere(fleet: Fleet) -> None:
    key = fleet.key()

    def all_change() -> None:
        before = {name: taken(fleet.metrics(name)) for name in COMPONENTS}
        for name in COMPONENTS:
            fleet.authority.issue(name, days=60)
        for name in COMPONENTS:
            wait_until(f"{name} has taken it", lambda name=name: taken(fleet.metrics(name)) > before[name])

    async def stream_while_all_change(pace: int) -> bool:
        """Whether it took less time than a stream with this pace."""
        seen = Exchange()
        body = payload(f"chunks=30 pace={pace}ms tokens=90", stream=True)
        streaming = asyncio.create_task(exchange(fleet.ports["edge"], key, body, seen=seen))
        await asyncio.to_thread(wait_until, "it streams", lambda: seen.output_at)
        await asyncio.to_thread(all_change)
        assert (await exchange(fleet.ports["edge"], fleet.key(), payload())).good
        outlived = not streaming.done()
        assert (await streaming).good
        return outlived

    paces = (100, 300, 900, 2700)
    tries = next(number for number, pace in enumerate(paces, 1) if asyncio.run(stream_while_all_change(pace)))

    def settled() -> bool:
        return f'penstock_edge_settlements_total{{result="committed"}} {2 * tries}' in fleet.metrics("edge")

    wait_until("all are settled", settled)


def taken(metrics: str) -> float:
    """How often new files have been taken; nothing counts while those that are there are refused."""
    if "penstock_tls_files_refused 0.0" not in metrics:
        return -1.0
    found = re.findall(r'^penstock_tls_readings_total\{result="taken"\} (.*)$', metrics, re.MULTILINE)
    return sum(map(float, found))


def test_nobody_but_an_edge_hears_of_credentials(fleet: Fleet) -> None:
    async def watch(component: Component) -> grpc.StatusCode:
        certificates = fleet.authority.certificates(component, into=f"{component}-visiting")
        address = f"127.0.0.1:{fleet.ports['router']}"
        async with rpc.secure_channel(address, certificates, f"router.{DOMAIN}") as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            call = stub.Watch(router_pb2.WatchRequest(edge_session="visitor"), timeout=60)
            try:
                update = await call.read()
            except grpc.aio.AioRpcError as error:
                return error.code()
            assert update.snapshot.accounts[0].api_key == "sim-key-a"
            return grpc.StatusCode.OK

    assert asyncio.run(watch(Component.EDGE)) == grpc.StatusCode.OK
    for stranger in (Component.STATUS, Component.OPERATOR, Component.AUTH, Component.CLI):
        assert asyncio.run(watch(stranger)) == grpc.StatusCode.PERMISSION_DENIED
    method = "/penstock.router.v1.RouterService/Watch"
    assert f'penstock_rpc_refused_total{{caller="status",method="{method}"}} 1.0' in fleet.metrics("router")
    log = (fleet.folder / "router.log").read_text()
    assert log.count("call_refused") == 4
    assert "sim-key-a" not in log


@pytest.mark.parametrize("name", ["auth", "router", "edge", "status"])
def test_no_process_speaks_plain_text_by_accident(tmp_path: Path, name: str) -> None:
    at = f"127.0.0.1:{free_port()}"
    told = {"ADDRESS": at, "CATALOG_PATH": str(tmp_path / "catalog.json")}
    if name in {"edge", "status"}:
        told = {"AUTH_ADDRESS": at, "ROUTER_ADDRESS": at, "PORT": "0"}
    if name == "status":
        told["ADMIN_TOKEN_FILE"] = str(tmp_path / "token")
    if name == "auth":
        told["DATABASE_URL"] = f"sqlite:///{tmp_path}/ledger.db"
        documents.write(tmp_path / "catalog.json", documents.AuthCatalog().sealed())
    ended = subprocess.run(
        [sys.executable, "-m", f"penstock_{name}.main"],
        env=clean_environment(**{f"PENSTOCK_{name.upper()}_{field}": value for field, value in told.items()}),
        capture_output=True,
        timeout=90,
        cwd=tmp_path,
        check=False,
    )
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
    last = json.loads(ended.stderr.splitlines()[-1])
    assert last["event"] == "start_failed"
    assert last["reason"].startswith(f"{at} would be spoken to in plain text: give tls_cert_file")
