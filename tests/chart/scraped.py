"""A real Prometheus that reads the processes of a gateway under the labels of the chart's ServiceMonitor."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.chart import alerting
from tests.stack import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.stack import Gateway

GATEWAY = "local/penstock"


class Prometheus:
    """What can be asked of it."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def query(self, query: str) -> list[dict[str, Any]]:
        """The result of a query now; fails when Prometheus does not take it."""
        answer = self._client.post("/api/v1/query", data={"query": query}).json()
        assert answer["status"] == "success", f"{query}: {answer.get('error')}"
        assert not answer.get("warnings"), f"{query}: {answer['warnings']}"
        result = answer["data"]["result"]
        return result if answer["data"]["resultType"] == "vector" else [{"metric": {}, "value": result}]

    def value(self, query: str) -> float:
        """The one value of a query."""
        (only,) = self.query(query)
        return float(only["value"][1])

    def rules(self) -> list[dict[str, Any]]:
        """All rules with their health and state."""
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def close(self) -> None:
        """Forget the connection."""
        self._client.close()


def targets(gateway: Gateway) -> list[dict[str, Any]]:
    """Every process of a gateway that `penstock up` started, as a target."""
    found = []
    for path in sorted((gateway.data_dir / "run").glob("*-*.json")):
        port = json.loads(path.read_text()).get("metrics_port")
        if port:
            labels = {"gateway": GATEWAY, "component": path.stem.rpartition("-")[0], "pod": path.stem}
            found.append({"targets": [f"127.0.0.1:{port}"], "labels": labels})
    return found


@contextlib.contextmanager
def prometheus(folder: Path, gateway: Gateway) -> Iterator[Prometheus]:
    """Prometheus with the chart's rules, reading and judging every second."""
    folder.mkdir()
    rules = [group | {"interval": "1s"} for group in alerting.groups(GATEWAY)]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": rules}))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "penstock", "static_configs": targets(gateway)}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--storage.tsdb.path={folder}/data"], stderr=log, stdout=log)
    asked = Prometheus(port)
    try:
        wait_until("Prometheus is ready", asked.ready)
        yield asked
    finally:
        asked.close()
        process.terminate()
        process.wait(20)
