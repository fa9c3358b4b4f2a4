"""The image: what is in it and what is not, and that every process runs from it as locked up as a pod of a cluster.

PENSTOCK_TEST_IMAGE names an image that is tested instead of one that is built here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from scripts import compiled

from tests.image import containers
from tests.image.containers import CANARY, NAME, SOURCES, pod, podman
from tests.stack import MODEL, free_port, wait_until

pytestmark = [pytest.mark.xdist_group("image"), pytest.mark.timeout(1500)]

OURS = {"auth", "catalog", "chassis", "cli", "edge", "operator", "protos", "router", "routing", "simulator", "status"}
PROGRAMS = {"auth", "edge", "operator", "router", "simulator", "status"}
MOST_BYTES = 220_000_000
"""What we put onto the base: 186 MB, of which bytecode is a quarter, and compiled modules 6 MB."""
WHENCE = "import penstock_edge.relay, penstock_routing.pool as pool; print(penstock_edge.relay.__file__, pool.__file__)"
READY_SECONDS = 120.0
GIVEN = os.environ.get("PENSTOCK_TEST_IMAGE")
LOCK = Path("requirements/image.txt")

if not GIVEN and (reason := containers.why_not()):
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="session")
def image():
    if GIVEN:
        return GIVEN
    if reason := containers.base():
        pytest.skip(reason)
    containers.build()
    return NAME


@pytest.fixture(scope="session")
def built(image):
    """The image, where it was built here."""
    if image != NAME:
        pytest.skip("says nothing of an image that was built elsewhere")
    return image


@pytest.fixture(scope="session")
def inside(image):
    """What look.py finds inside."""
    program = (Path(__file__).parent / "look.py").read_text()
    return json.loads(containers.answer(image, program))


@pytest.fixture(scope="session")
def config(image):
    return containers.config(image)


def test_runs_as_a_user_with_a_name_who_owns_nothing_but_places_for_volumes(inside, config):
    assert inside["user"] == ["penstock", 10001, 10001, [10001], "/tmp"]
    assert inside["folder"] == "/"
    assert sorted(inside["owned"]) == ["/etc/penstock", "/run/penstock", "/var/lib/penstock"]
    # The chart can say runAsNonRoot only of a number.
    assert config["Config"]["User"] == "10001:10001"


def test_nothing_in_it_lends_rights_or_can_be_overwritten(inside):
    assert inside["setuid"] == []
    assert inside["writable"] == []


def test_holds_the_processes_and_no_tools(inside):
    programs = {name for name in inside["programs"] if not name.startswith("python")}
    assert programs == {"penstock"} | {f"penstock-{name}" for name in PROGRAMS}
    assert inside["tools"] == []
    assert inside["modules"] == []
    assert inside["headers"] == []
    assert inside["tests"] == []
    assert inside["caches"] == []
    assert inside["editable"] == []


def test_is_compiled_beforehand(inside):
    assert inside["uncompiled"] == []
    assert inside["stdlib_compiled"]


def test_the_modules_on_every_requests_way_are_compiled_to_c(inside, built):
    named = {f"{package}/{name}" for package, names in compiled.HOT.items() for name in names.split()}
    assert set(inside["extensions"]) == named | {f"{package}/compiled__mypyc" for package in compiled.HOT}
    assert all(file.endswith(".so") for file in containers.answer(built, WHENCE).split())


def test_a_container_can_be_told_to_run_the_sources(image):
    files = containers.answer(image, WHENCE, "--env=PYTHONPATH=").split()
    assert all(file.endswith(".py") and "/site-packages/" in file for file in files), files


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed")
def test_what_is_compiled_runs_on_other_processors_than_the_builders(built, tmp_path):
    library = tmp_path / "library.so"
    find = "import glob, sys; sys.stdout.buffer.write(open(*glob.glob('/opt/penstock/compiled/penstock_edge/compiled__*'), 'rb').read())"
    with library.open("wb") as file:
        command = ["podman", "run", "--rm", *containers.LOCKED, built, "python3", "-c", find]
        subprocess.run(command, stdout=file, check=True, timeout=120)
    script = f"objdump --disassemble --no-show-raw-insn {library} | grep -cE '%ymm|%zmm'"
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False).stdout.strip() == "0"


def test_an_image_of_the_sources_alone_can_be_asked_for(built):
    """Most of it is there from the build before."""
    containers.build(SOURCES, COMPILED="0")
    program = f"{WHENCE}; import os; print(os.listdir('/opt/penstock/compiled'))"
    *files, left = containers.answer(SOURCES, program).split()
    assert all(file.endswith(".py") for file in files), files
    assert left == "[]"


def test_holds_the_locked_versions_and_our_packages(inside):
    pins = dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", LOCK.read_text(), re.MULTILINE))
    held = {normal(name): version for name, version in inside["distributions"]}
    assert {name for name in held if name.startswith("penstock-")} == {f"penstock-{name}" for name in OURS}
    others = {name: version for name, version in held.items() if not name.startswith("penstock-")}
    assert others.items() <= {normal(name): version for name, version in pins.items()}.items()
    assert {"grpcio", "kopf", "psycopg-binary", "uvloop"} <= others.keys()


def test_its_list_of_parts_is_what_is_in_it(inside):
    document = inside["sbom"]
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "penstock"
    listed = [part for part in document["components"] if part["purl"].startswith("pkg:pypi/")]
    assert sorted([normal(part["name"]), part["version"]] for part in listed) == sorted(
        [normal(name), version] for name, version in inside["distributions"]
    )
    debian = [part for part in document["components"] if part["purl"].startswith("pkg:deb/")]
    assert sorted([part["name"], part["version"]] for part in debian) == sorted(inside["packages"])
    assert len(debian) > 30
    references = [part["bom-ref"] for part in document["components"]]
    assert len(references) == len(set(references))
    known = {*references, document["metadata"]["component"]["bom-ref"]}
    assert {link["ref"] for link in document.get("dependencies", [])} <= known


def test_its_list_of_parts_is_laid_into_dist(inside, built):
    assert json.loads(Path("dist/penstock-test.cdx.json").read_text()) == inside["sbom"]


def test_says_what_it_is(config):
    labels = {
        name.removeprefix("org.opencontainers.image."): value for name, value in config["Config"]["Labels"].items()
    }
    assert labels["title"] == "Penstock"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", labels["version"])
    assert re.fullmatch(r"[0-9a-f]{40}(-modified)?", labels["revision"])
    assert re.match(r"\d{4}-\d\d-\d\dT", labels["created"])
    assert labels["base.name"]
    # An image that docker has only here has no digest.
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", labels["base.digest"]) or (GIVEN and not labels["base.digest"])


def test_is_configured_for_a_read_only_root(config):
    environment = dict(line.split("=", 1) for line in config["Config"]["Env"])
    assert environment["PATH"].split(":")[0] == "/opt/penstock/bin"
    assert environment["HOME"] == "/tmp"
    assert environment["USER"] == "penstock"
    assert environment["PYTHONUNBUFFERED"] == environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not config["Config"].get("Entrypoint")
    assert config["Config"]["StopSignal"] in {"SIGTERM", "15"}


def test_knows_nothing_of_where_it_was_built(inside, config, built):
    assert inside["configuration"] == []
    told = json.dumps([config["Config"], config["History"]])
    for host in (CANARY, "pypi", "pythonhosted", "debian.org", "index-url"):
        assert host not in told
    # And no layer that the image is made of holds what the build was told.
    script = f"podman save --format docker-archive {built} | grep -c --binary-files=text {CANARY}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "0", done.stderr


def test_is_small(config, built):
    base = containers.config(containers.BASE)
    assert config["Size"] - base["Size"] < MOST_BYTES


def test_a_build_stands_on_the_digest_that_is_asked_for(built):
    environment = os.environ | {"BASE_IMAGE": containers.BASE, "BASE_DIGEST": "sha256:" + "0" * 64, "TAG": "none"}
    environment |= {"BUILDER": "podman"}
    done = subprocess.run(["scripts/images.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "0" * 64 in done.stderr


def normal(name: str) -> str:
    """A distribution's name, however it is written."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Release:
    """The services of compose.yaml, each in a container, and an operator; all on this machine's network."""

    def __init__(self, made: containers.Pod, folder: Path) -> None:
        self.pod = made
        self.ports = {name: free_port() for name in ("edge", "simulator", "status")}
        self.metrics = {name: free_port() for name in PROGRAMS}
        resources = folder / "resources"
        resources.mkdir(mode=0o755)
        text = Path("deploy/compose/resources/demo.yaml").read_text()
        (resources / "demo.yaml").write_text(text.replace("http://simulator:8090", self.url("simulator")))
        for process, service in yaml.safe_load(Path("deploy/compose/compose.yaml").read_text())["services"].items():
            volumes: dict[str, str] = {}
            mounts: dict[Path, str] = {}
            for volume in service.get("volumes", ()):
                source, place = re.fullmatch(r"(\$\{.*\}|[a-z]+):(/.+)", volume).groups()
                if source.startswith("$"):
                    mounts[resources] = place
                else:
                    volumes[source] = place
            variables = self._here(process, service.get("environment", {}))
            made.start(process, service["command"], variables, volumes, mounts)
        self._operator(folder / "kubeconfig.yaml")

    def _here(self, process: str, environment: dict[str, str]) -> dict[str, str]:
        """Give each process ports of its own, as they share a network."""
        prefix = f"PENSTOCK_{process.upper()}_"
        own = {"METRICS_HOST": "127.0.0.1", "METRICS_PORT": self.metrics.get(process), "HOST": "127.0.0.1"}
        own |= {"PORT": self.ports.get(process)}
        changed = {prefix + name: str(value) for name, value in own.items()} | {"PENSTOCK_SERVER": self.url("status")}
        return environment | {name: value for name, value in changed.items() if name in environment}

    def _operator(self, kubeconfig: Path) -> None:
        kubeconfig.write_text(yaml.safe_dump(unreachable_cluster(free_port())))
        kubeconfig.chmod(0o644)
        settings = {"ROUTER_ADDRESSES": "127.0.0.1:1", "AUTH_ADDRESSES": "127.0.0.1:1", "INSECURE_PLAINTEXT": "true"}
        settings |= {"METRICS_PORT": str(self.metrics["operator"])}
        variables = {f"PENSTOCK_OPERATOR_{name}": value for name, value in settings.items()}
        variables["KUBECONFIG"] = "/tmp/kubeconfig.yaml"
        self.pod.start("operator", ["penstock-operator"], variables, {}, {kubeconfig: "/tmp/kubeconfig.yaml:ro"})

    def url(self, process: str) -> str:
        """Where a process serves."""
        return f"http://127.0.0.1:{self.ports[process]}"

    def probe(self, process: str, path: str) -> int:
        """Ask a probe for its status; 0 when nothing listens yet."""
        state = self.pod.state(process)
        assert state["Running"], f"{process} has ended: {self.pod.logs(process)[-3000:]}"
        try:
            return httpx.get(f"http://127.0.0.1:{self.metrics[process]}{path}", timeout=5, trust_env=False).status_code
        except httpx.TransportError:
            return 0


def unreachable_cluster(port: int) -> dict:
    """A kubeconfig of a cluster that never answers."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "none",
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none", "namespace": "penstock"}}],
        "clusters": [{"name": "none", "cluster": {"server": f"https://127.0.0.1:{port}"}}],
        "users": [{"name": "none", "user": {"token": "none"}}],
    }


@pytest.fixture(scope="module")
def release(image, tmp_path_factory):
    with pod(image) as made:
        yield Release(made, tmp_path_factory.mktemp("release"))


@pytest.mark.parametrize("process", sorted(PROGRAMS))
def test_every_process_lives_as_a_pod_of_a_restricted_namespace_does(release, process):
    wait_until(f"{process} is alive", lambda: release.probe(process, "/healthz") == 200, READY_SECONDS)
    assert release.probe(process, "/metrics") == 200


def test_the_processes_say_which_of_their_modules_are_compiled(release, built):
    for process, least in {"edge": 40, "router": 10, "auth": 0}.items():
        wait_until(
            f"{process} has started", lambda one=process: "compiled_modules" in release.pod.logs(one), READY_SECONDS
        )
        metrics = httpx.get(f"http://127.0.0.1:{release.metrics[process]}/metrics", timeout=5, trust_env=False).text
        many = int(float(re.search(r"^penstock_process_compiled_modules (.*)$", metrics, re.MULTILINE)[1]))
        assert f'"compiled_modules": {many}' in release.pod.logs(process)
        assert many > least or many == least == 0, (process, many)


def test_the_operator_says_that_its_cluster_does_not_answer(release):
    wait_until("the operator is alive", lambda: release.probe("operator", "/healthz") == 200, READY_SECONDS)
    assert release.probe("operator", "/readyz") == 503


def test_a_request_goes_through_all_of_them_and_is_booked(release):
    wait_until("the edge is ready", lambda: release.probe("edge", "/readyz") == 200, READY_SECONDS)
    key = release.pod.execute("desired", "cat", "/var/lib/penstock/secrets/demo-key/api-key").strip()
    body = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}

    heard: list[str] = []

    def answered():
        answer = httpx.post(
            f"{release.url('edge')}/v1/messages", json=body, headers={"x-api-key": key}, timeout=60, trust_env=False
        )
        heard.append(f"{answer.status_code} {answer.text[:300]}")
        return answer if answer.status_code == 200 else None

    # Seldom: the key's plan allows only so many in a minute.
    try:
        answer = wait_until("an answer", answered, READY_SECONDS, pause=1)
    except AssertionError:
        pytest.fail(f"answers: {[*heard[:2], *heard[-2:]]}; the edge said {release.pod.logs('edge')[-2000:]}")
    assert answer.json()["type"] == "message"
    wait_until("the status is ready", lambda: release.probe("status", "/readyz") == 200, READY_SECONDS)
    command = ["penstock", "usage", "list", "--project", "demo", "--output", "json"]

    def booked():
        return json.loads(release.pod.execute("status", *command))

    rows = wait_until("a row", booked, READY_SECONDS, pause=1)
    assert [row["request_id"] for row in rows] == [answer.headers["request-id"]]


def test_every_process_ends_in_order_when_it_is_told_to(release):
    """Process 1 gets only the signals that it asked for: without handlers each would be killed after 30 s."""
    names = ["edge", "status", "router", "auth", "simulator", "operator", "desired"]
    podman("stop", "--time", "30", *(f"{release.pod.name}-{name}" for name in names), seconds=300)
    ended = {name: release.pod.state(name)["ExitCode"] for name in names}
    assert ended == dict.fromkeys(names, 0), release.pod.logs(next(name for name in names if ended[name]))[-3000:]


def test_without_a_command_it_tells_what_it_can_do(image):
    done = podman("run", "--rm", *containers.LOCKED, image, check=False)
    assert "compile" in done.stdout + done.stderr
