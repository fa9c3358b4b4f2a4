"""deploy/kind with stand-ins for kind, kubectl, helm and the rest that write down how they were called."""

import base64
import os
import shutil
import subprocess

import pytest
import yaml

from tests.chart import alerting
from tests.chart.rendering import CHART, container, helm, named, objects, workload

FOLDER = alerting.ROOT / "deploy" / "kind"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
BASE = ("bash", "sed", "tail", "mktemp", "dirname", "base64", "cat", "rm", "env")
ID = "sha256:0123456789abcdef0123456789abcdef"
TAG = "kind-0123456789ab"
# Each call is a line of the log: the command and its words. What follows the log line is what a stand-in does.
HEAD = '#!/bin/bash\nprintf "%s\\n" "${0##*/} $*" >>"$LOG"\n'
STAND_INS = {
    "kind": """
case "$1 $2" in
  "get clusters") [ ! -e "$STATE/cluster" ] || echo penstock ;;
  "create cluster") [ -z "$NO_CLUSTER" ] || exit 1; while [ $# -gt 0 ]; do [ "$1" = --config ] && cat "$2" >"$STATE/config"; shift; done; : >"$STATE/cluster" ;;
  "delete cluster") rm "$STATE/cluster" ;;
  "load image-archive") [ -s "$3" ] || exit 1 ;;
esac""",
    "kubectl": f"""
case "$*" in
  *jsonpath*) printf %s {base64.b64encode(b"psk_demo").decode()} ;;
  *"rollout status"*) case "$*" in *"$NOT_READY"*) [ -z "$NOT_READY" ] || exit 1 ;; esac ;;
esac""",
    "helm": "echo notes",
    "curl": 'echo \'{"type": "message"}\'',
    "make": "echo some words of the build; echo penstock:0.1.0",
    "docker": f"""
case "$1" in
  info) [ -z "$NO_DOCKER" ] ;;
  image) echo {ID} ;;
  save) echo image >"$3" ;;
  port) echo 127.0.0.1:9999; echo '[::1]:9999' ;;
esac""",
}
STAND_INS["podman"] = STAND_INS["docker"].replace("$NO_DOCKER", "$NO_PODMAN")


class Machine:
    """A machine with these tools and no others."""

    def __init__(self, folder, *missing):
        self.bin, self.state, self.log = folder / "bin", folder / "state", folder / "log"
        self.bin.mkdir()
        self.state.mkdir()
        self.log.touch()
        for name in BASE:
            (self.bin / name).symlink_to(shutil.which(name))
        for name, does in STAND_INS.items():
            if name not in missing:
                (self.bin / name).write_text(HEAD + does)
                (self.bin / name).chmod(0o755)

    def run(self, script, **environment):
        """Run a script and return what it said; `calls` has what it called."""
        env = {"PATH": str(self.bin), "LOG": str(self.log), "STATE": str(self.state), "TMPDIR": str(self.state)}
        self.log.write_text("")
        return subprocess.run(
            [str(self.bin / "bash"), str(FOLDER / script)],
            env=env | environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    @property
    def calls(self):
        return self.log.read_text().splitlines()

    def at(self, *words):
        """Where the one call with all of these words is among the calls."""
        found = [index for index, call in enumerate(self.calls) if all(word in call for word in words)]
        assert len(found) == 1, f"{words}: {found} of {self.calls}"
        return found[0]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_shellcheck_has_nothing_to_say():
    checked = subprocess.run(
        ["shellcheck", "--external-sources", "--source-path", FOLDER, *SCRIPTS],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def test_from_nothing_to_a_request_in_this_order(machine):
    done = machine.run("up.sh")
    assert done.returncode == 0, done.stderr
    archive = machine.calls[machine.at("docker save")].split()[3]
    order = [
        machine.at("kind create cluster", "--name penstock", "--wait"),
        machine.at("make --silent", f"--directory {alerting.ROOT}", "images"),
        machine.at(f"docker tag penstock:0.1.0 localhost/penstock:{TAG}"),
        machine.at(f"docker save --output {archive} localhost/penstock:{TAG}"),
        machine.at(f"kind load image-archive {archive} --name penstock"),
        machine.at("helm upgrade penstock", "--install", "--kube-context kind-penstock", f"image.tag={TAG}"),
        machine.at("kubectl", "wait --for=condition=Established", "crd/upstreamaccounts.penstock.dev"),
        machine.at("kubectl", "apply --filename", "deploy/environments/demo/resources.yaml"),
        machine.at("kubectl", "rollout status deployment/penstock-operator"),
        machine.at("kubectl", "rollout status statefulset/penstock-edge"),
        machine.at("kubectl", "wait --for=condition=Ready", "upstreamaccounts.penstock.dev --all"),
        machine.at("kubectl", "wait --for=condition=Ready", "apikeys.penstock.dev --all"),
        machine.at("docker port penstock-control-plane 30080/tcp"),
        machine.at("curl", "http://127.0.0.1:9999/v1/messages", "x-api-key: psk_demo"),
    ]
    assert order == sorted(order)
    assert all("--context kind-penstock" in call for call in machine.calls if call.startswith("kubectl"))
    assert '{"type": "message"}' in done.stdout
    assert "The gateway is at http://127.0.0.1:9999" in done.stdout
    assert "psk_demo" not in done.stdout + done.stderr
    assert not list(machine.state.glob("tmp*")), "it leaves files behind"


def test_the_cluster_maps_the_port_that_the_service_has(machine):
    assert machine.run("up.sh", PENSTOCK_KIND_PORT="8123").returncode == 0
    (node,) = yaml.safe_load((machine.state / "config").read_text())["nodes"]
    (mapping,) = node["extraPortMappings"]
    assert (mapping["hostPort"], mapping["listenAddress"]) == (8123, "127.0.0.1")
    made = _release(machine)
    service = named(made, "Service", "penstock-edge")["spec"]
    assert service["type"] == "NodePort"
    assert service["ports"][0]["nodePort"] == mapping["containerPort"]


def _release(machine):
    """What the helm that was called would make, by the real one."""
    words = machine.calls[machine.at("helm upgrade")].split()[4:]
    assert words[:3] == ["--install", "--kube-context", "kind-penstock"]
    options = [word for word in words[3:] if word != "--create-namespace"]
    made = helm("template", "penstock", str(CHART), "--kube-version", "1.36.0", *options)
    assert made.returncode == 0, made.stderr
    return objects(made.stdout)


def test_what_it_waits_for_is_what_the_release_has(machine):
    assert machine.run("up.sh").returncode == 0
    waited = {call.split("rollout status ")[1].split()[0] for call in machine.calls if "rollout status" in call}
    made = _release(machine)
    workloads = [one for one in made if one["kind"] in {"Deployment", "StatefulSet"}]
    assert waited == {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in workloads}
    image = container(workload(made, "edge")["spec"]["template"])["image"]
    assert image == f"localhost/penstock:{TAG}"
    assert {container(one["spec"]["template"])["imagePullPolicy"] for one in workloads} == {"Never"}


def test_again_it_uses_the_cluster_that_is_there(machine):
    assert machine.run("up.sh").returncode == 0
    again = machine.run("up.sh")
    assert again.returncode == 0
    assert "cluster penstock is there" in again.stderr
    assert not [call for call in machine.calls if call.startswith("kind create")]
    assert machine.at("kind export kubeconfig --name penstock")
    assert machine.at("helm upgrade penstock")


def test_an_image_that_is_there_is_not_built(machine):
    assert machine.run("up.sh", PENSTOCK_KIND_IMAGE="registry.example/penstock:1").returncode == 0
    assert not [call for call in machine.calls if call.startswith("make")]
    assert machine.at(f"docker tag registry.example/penstock:1 localhost/penstock:{TAG}")


def test_podman_where_docker_does_not_answer(machine):
    done = machine.run("up.sh", NO_DOCKER="1")
    assert done.returncode == 0, done.stderr
    assert [call for call in machine.calls if call.startswith("docker")] == ["docker info"]
    assert machine.at("podman save")


@pytest.mark.parametrize("tool", ["kind", "kubectl", "helm"])
def test_a_missing_tool_is_named_with_where_to_get_it(tmp_path, tool):
    machine = Machine(tmp_path, tool)
    done = machine.run("up.sh")
    assert done.returncode == 1
    assert f"missing: {tool}." in done.stderr
    assert f"  {tool}: https://" in done.stderr
    assert machine.calls == []


def test_all_missing_tools_are_named_at_once(tmp_path):
    done = Machine(tmp_path, "kind", "helm", "curl").run("up.sh")
    assert "missing: kind helm curl." in done.stderr
    assert "sudo apt-get install curl" in done.stderr


def test_without_anything_that_runs_containers(machine):
    done = machine.run("up.sh", NO_DOCKER="1", NO_PODMAN="1")
    assert done.returncode == 1
    assert "neither docker (with a daemon that answers) nor podman works here" in done.stderr
    assert "sudo apt-get install podman" in done.stderr


def test_a_port_that_is_taken_is_suspected(machine):
    done = machine.run("up.sh", NO_CLUSTER="1")
    assert done.returncode == 1
    assert "is port 8080 taken (PENSTOCK_KIND_PORT names another)?" in done.stderr
    assert not [call for call in machine.calls if call.startswith(("make", "helm"))]


def test_what_does_not_come_up_is_shown(machine):
    done = machine.run("up.sh", NOT_READY="deployment/penstock-auth")
    assert done.returncode == 1
    assert "deployment/penstock-auth is not ready" in done.stderr
    assert machine.at("get pods") < machine.at("get events")
    assert not [call for call in machine.calls if call.startswith("curl")]


def test_down_removes_what_there_is(machine):
    assert machine.run("up.sh").returncode == 0
    assert machine.run("down.sh").returncode == 0
    assert machine.at("kind delete cluster --name penstock") >= 0
    again = machine.run("down.sh")
    assert again.returncode == 0
    assert "there is no cluster penstock" in again.stderr
    assert not [call for call in machine.calls if "delete" in call]


def test_scripts_can_be_run():
    assert all(os.access(FOLDER / name, os.X_OK) for name in ("up.sh", "down.sh"))
