"""A whole gateway of real processes for tests: `penstock up` before a simulator process, on free loopback ports."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BIN = Path(sys.executable).parent
MODEL = "claude-haiku-4-5"
START_SECONDS = 120.0
PROVIDER_VARIABLES = ("ANTHROPIC_", "OPENAI_", "GEMINI_", "GOOGLE_", "PENSTOCK_")


def clean_environment(**more: str) -> dict[str, str]:
    """Our environment without anything that would point a process at a real provider or another gateway."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PROVIDER_VARIABLES)}
    return kept | {"COLUMNS": "200"} | more


def wait_until(what: str, holds: Callable[[], Any], seconds: float = 90.0, pause: float = 0.05) -> Any:
    """Wait until `holds()` is truthy and return it; fails with `what` after `seconds`.

    The usual time is for a machine that is busy with other tests, not what a user would wait.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)


class Simulator:
    """A simulator process with some accounts; `own`: further settings of an account, by its name."""

    def __init__(self, folder: Path, accounts: Sequence[str] = ("a", "b", "c"), **settings: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.accounts = list(accounts)
        limits = settings.pop("limits", {})
        own: Mapping[str, Mapping[str, Any]] = settings.pop("own", {})
        played = [
            {"name": name, "key": f"sim-key-{name}", "limits": limits} | dict(own.get(name, {})) for name in accounts
        ]
        env = {"PORT": str(self.port), "ACCOUNTS": json.dumps(played), "RUN_DIR": str(folder / "simulator")}
        env |= {
            name.upper(): value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()
        }
        self._log = (folder / "simulator.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "penstock_simulator.main"],
            env=clean_environment(**{f"PENSTOCK_SIMULATOR_{name}": value for name, value in env.items()}),
            stderr=self._log,
        )
        self._client = httpx.Client(base_url=f"{self.url}/simulator", timeout=60)
        wait_until("the simulator answers", self._up, START_SECONDS)

    def _up(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        try:
            return self._client.get("/accounts").is_success
        except httpx.TransportError:
            return False

    def faults(self, account: str, *rules: Mapping[str, Any]) -> None:
        """Put these rules in force for one account (`*`: for all), in place of its others."""
        answer = self._client.put(f"/faults/{account}", json=list(rules))
        assert answer.is_success, answer.text

    def clear(self) -> None:
        """Take all rules away."""
        self._client.delete("/faults").raise_for_status()

    def forget(self) -> None:
        """Drop all records."""
        self._client.delete("/records").raise_for_status()

    def records(self, **filters: str | int) -> list[dict[str, Any]]:
        """What was served, oldest first; fails when some were dropped."""
        answer = self._client.get("/records", params=filters)
        assert answer.headers["simulator-records-dropped"] == "0"
        # Split at \n only: str.splitlines cuts at characters that may stand inside JSON strings.
        return [json.loads(line) for line in answer.content.split(b"\n") if line]

    def messages(self, **filters: str | int) -> list[dict[str, Any]]:
        """The records of POST /v1/messages alone."""
        return self.records(operation="messages", **filters)

    def body(self, record: Mapping[str, Any]) -> bytes:
        """The raw body of a record, of a simulator with `keep_bodies`."""
        return base64.b64decode(record["body"])

    def peaks(self) -> dict[str, dict[str, Any]]:
        """Each account's figures by name."""
        return {account["name"]: account for account in self._client.get("/accounts").json()}

    def end(self) -> None:
        """End the process."""
        self._client.close()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def account(name: str, base_url: str, key: str, **spec: Any) -> list[dict[str, Any]]:
    """An UpstreamAccount with its Secret, as users write them."""
    reference = {"secretRef": {"name": name, "key": "api-key"}}
    head = {"apiVersion": "penstock.dev/v1alpha1", "metadata": {"name": name}}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"api-key": key}},
        head
        | {
            "kind": "UpstreamAccount",
            "spec": {"provider": "Anthropic", "baseURL": base_url, "auth": {"apiKey": reference}} | spec,
        },
    ]


def plan(name: str, **spec: Any) -> dict[str, Any]:
    """A Plan."""
    return {"apiVersion": "penstock.dev/v1alpha1", "kind": "Plan", "metadata": {"name": name}, "spec": spec}


class Gateway:
    """`penstock up` with resources, on free ports. `resources` are documents as in YAML."""

    def __init__(
        self,
        folder: Path,
        resources: Sequence[Mapping[str, Any]] | None,
        *arguments: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = folder / "data"
        self.resources = folder / "resources.yaml"
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        command = [str(BIN / "penstock"), "up", "--port", str(self.port), "--admin-port", str(self.admin_port)]
        command += ["--data-dir", str(self.data_dir), *arguments]
        if resources is not None:
            self.write(resources)
            command += ["--resources", str(self.resources)]
        self.stdout_path, self.log_path = folder / "up.stdout", folder / "up.log"
        with self.stdout_path.open("ab") as stdout, self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=stdout,
                stderr=log,
                env=clean_environment(**(env or {})),
                cwd=folder,
                start_new_session=True,
            )
        try:
            wait_until("the gateway is ready", self.ready, START_SECONDS)
        except BaseException:
            sys.stderr.write(self.log()[-8000:])
            self.end()
            raise

    def write(self, resources: Sequence[Mapping[str, Any]]) -> None:
        """Replace the resources file in one step."""
        part = self.resources.with_suffix(".part")
        part.write_text(yaml.safe_dump_all(resources))
        part.replace(self.resources)

    def ready(self) -> bool:
        """Whether /readyz says so now."""
        assert self.process.poll() is None, f"penstock up ended with {self.process.returncode}:\n{self.log()[-8000:]}"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=20).status_code == 200
        except httpx.TransportError:
            return False

    def await_catalog(self, edges: int = 1) -> None:
        """Wait until that many edges have loaded what the router was told last."""
        wanted = json.loads((self.data_dir / "catalog" / "router.json").read_text())["version"]

        def loaded() -> bool:
            lines = [line for line in self.log().split("\n")[:-1] if '"snapshot_loaded"' in line]
            newest = {line["process"]: line["version"] for line in map(json.loads, lines)}
            return list(newest.values()).count(wanted) == edges

        wait_until("the edges have loaded the catalog", loaded)

    def log(self) -> str:
        """Everything that the processes wrote to stderr."""
        return self.log_path.read_text()

    def pid(self, process: str) -> int:
        """The pid of `edge-0`, `auth-0`, ..."""
        return int((self.data_dir / "run" / f"{process}.pid").read_text())

    def kill(self, process: str) -> int:
        """SIGKILL one process and return the pid that it had."""
        pid = self.pid(process)
        os.kill(pid, signal.SIGKILL)
        return pid

    def await_restart(self, process: str, old_pid: int, seconds: float = 90.0) -> None:
        """Wait until `penstock up` has started another one in its place."""
        wait_until(f"{process} is started again", lambda: self.pid(process) != old_pid, seconds)

    def metrics(self, process: str) -> str:
        """One process's /metrics; empty when it is not up."""
        try:
            port = json.loads((self.data_dir / "run" / f"{process}.json").read_text())["metrics_port"]
            return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
        except (OSError, httpx.TransportError):
            return ""

    def metric(self, process: str, name: str) -> float:
        """The sum of one metric's samples over all labels."""
        total = 0.0
        for line in self.metrics(process).splitlines():
            if line.split("{")[0].split(" ")[0] == name:
                total += float(line.rpartition(" ")[2])
        return total

    def cli(self, *arguments: str, code: int = 0) -> Any:
        """Run `penstock ...` with JSON output and return the document; fails when the exit code is another."""
        command = [str(BIN / "penstock"), *arguments, "--data-dir", str(self.data_dir), "--output", "json"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=clean_environment(), timeout=240, check=False
        )
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def key(self, project: str = "demo", plan: str = "open", *more: str) -> str:
        """Make a key and return it."""
        return str(self.cli("keys", "create", "--project", project, "--plan", plan, *more)["key"])

    def admin(self, path: str, **query: str | int) -> Any:
        """Ask the admin API; cheaper than a command, for tests that look again and again."""
        token = (self.data_dir / "admin-token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}

        def answered() -> httpx.Response | None:
            # 503: a process behind the admin API was killed a moment ago.
            answer = httpx.get(f"{self.admin_url}/admin/v1/{path}", params=query, headers=headers, timeout=30)
            return None if answer.status_code == 503 else answer

        answer = wait_until(f"the admin API answers {path}", answered, 60, 0.2)
        assert answer.is_success, answer.text
        return answer.json()

    def accounts(self) -> list[dict[str, Any]]:
        """Every account as the router sees it."""
        return list(self.admin("accounts"))

    def usage(self, project: str = "demo") -> list[dict[str, Any]]:
        """Every usage row of a project."""
        rows: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self.admin("usage", project=project, limit=1_000, page_token=token)
            rows += page["rows"]
            token = page["next_page_token"] or ""
            if not token:
                return rows

    def end(self) -> int:
        """SIGTERM, wait, and return the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()


@contextlib.contextmanager
def running(
    folder: Path,
    *arguments: str,
    accounts: Sequence[str] = ("a", "b", "c"),
    plans: Sequence[Mapping[str, Any]] | None = None,
    account_spec: Mapping[str, Any] | None = None,
    simulator: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[tuple[Gateway, Simulator]]:
    """A gateway before a simulator with one UpstreamAccount per simulated account; plan `open` unless others are given."""
    folder.mkdir(parents=True, exist_ok=True)
    played = Simulator(folder, accounts, **(simulator or {}))
    try:
        documents: list[Mapping[str, Any]] = list(
            plans if plans is not None else [plan("open", maxConcurrentRequests=4096)]
        )
        for name in accounts:
            documents += account(name, played.url, f"sim-key-{name}", **(account_spec or {}))
        gateway = Gateway(folder, documents, *arguments, env=env)
        try:
            yield gateway, played
        finally:
            gateway.end()
    finally:
        played.end()
