"""Each folder of deploy/environments is an installation that Helm, Kubernetes and the gateway itself would take."""

import re
from functools import lru_cache

import kubernetes_validate
import pytest
import yaml

from penstock_catalog import compiler, reader
from penstock_catalog.resources import APIKey, Secret, UpstreamAccount
from penstock_simulator.settings import SimulatorSettings
from tests.chart import alerting, cluster
from tests.chart.rendering import CHART, VERSIONS, container, helm, named, objects, of_kind, pods, value, workload
from tests.chart.test_chart import FOREIGN, _read_schemas_once  # noqa: F401 -- a fixture that spares reading megabytes

FOLDER = alerting.ROOT / "deploy" / "environments"
ENVIRONMENTS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
NAMESPACE = "penstock"


@lru_cache
def release(environment, version=VERSIONS[-1]):
    """All that `helm install penstock` as in the README would make, and `helm test`."""
    asked = ["--namespace", NAMESPACE, "--kube-version", f"{version}.0"]
    values = FOLDER / environment / "values.yaml"
    made = helm("template", "penstock", str(CHART), *asked, "--values", str(values))
    assert made.returncode == 0, made.stderr
    return objects(made.stdout)


def applied(environment):
    """The documents of resources.yaml."""
    return objects((FOLDER / environment / "resources.yaml").read_text())


def test_they_are_those_that_the_page_names():
    assert ENVIRONMENTS == ["demo", "production", "small"]
    page = (FOLDER / "README.md").read_text()
    for environment in ENVIRONMENTS:
        assert f"({environment}/README.md)" in page
        assert (FOLDER / environment / "README.md").is_file()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_helm_and_kubernetes_take_the_release(environment):
    linted = helm("lint", "--strict", "--values", str(FOLDER / environment / "values.yaml"), str(CHART))
    assert linted.returncode == 0, linted.stdout
    for one in release(environment):
        if one["kind"] not in FOREIGN.get(one["apiVersion"], ()):
            kubernetes_validate.validate(one, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_api_server_takes_the_resources(environment):
    for document in applied(environment):
        if document["kind"] == "Secret":
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
        else:
            assert cluster.answers(document) == [], document["metadata"]["name"]
        assert "namespace" not in document["metadata"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_resources_mean_something_together(environment):
    """Read by the gateway's own readers and compiled, with the Secrets that the README has people make."""
    written = (FOLDER / environment / "resources.yaml").read_text()
    resources = reader.read_text(written, "resources.yaml")
    there = {one.name for one in resources if isinstance(one, Secret)}
    missing = {
        one.spec.auth.api_key.secret_ref.name: one.spec.auth.api_key.secret_ref.key
        for one in resources
        if isinstance(one, UpstreamAccount) and one.spec.auth.api_key.secret_ref.name not in there
    }
    told = (FOLDER / environment / "README.md").read_text()
    for name, key in missing.items():
        assert name in told
        assert f"--from-file={key}=" in told
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: f"sk-{name}"}}
        written += "---\n" + yaml.safe_dump(secret)
    keys = {
        one.name: compiler.IssuedKey(id=f"key-{number}", digest=f"{number:064x}", prefix=f"psk_{number}")
        for number, one in enumerate(resources)
        if isinstance(one, APIKey)
    }
    compiled = compiler.compile_catalog(
        reader.read_text(written, "resources.yaml"), options=compiler.Options(), keys=keys
    )
    assert [str(problem) for problem in compiled.problems] == []
    assert len(compiled.router.accounts) == sum(isinstance(one, UpstreamAccount) for one in resources)
    assert all(account.models for account in compiled.router.accounts)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_helm_test_has_a_key_that_the_resources_make(environment):
    made = {one["spec"]["secretName"] for one in applied(environment) if one["kind"] == "APIKey"}
    (pod,) = of_kind(release(environment), "Pod")
    needed = {
        ref["name"]
        for one in container(pod)["env"]
        if (ref := one.get("valueFrom", {}).get("secretKeyRef")) is not None
    }
    assert needed
    assert needed <= made


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_readme_installs_these_very_files(environment):
    told = (FOLDER / environment / "README.md").read_text()
    home = f"deploy/environments/{environment}"
    assert re.search(rf"helm upgrade --install penstock charts/penstock .*--values {home}/values.yaml", told)
    assert f"kubectl -n penstock apply -f {home}/resources.yaml" in told
    assert "helm test penstock" in told


# What is particular to each.


def test_the_demo_has_what_the_release_itself_offers_and_more():
    offered = objects(named(release("demo"), "ConfigMap", "penstock-demo")["data"]["resources.yaml"])
    ours = {(one["kind"], one["metadata"]["name"]): one for one in applied("demo")}
    for one in offered:
        other = ours[one["kind"], one["metadata"]["name"]]
        if one["kind"] == "Secret":
            assert one["stringData"].items() <= other["stringData"].items()
        else:
            assert one["spec"].items() <= other["spec"].items()


def test_the_demos_accounts_are_the_simulators(monkeypatch):
    for name, one in _environment("demo", "simulator").items():
        if name.endswith("_ACCOUNTS"):
            monkeypatch.setenv(name, one)
    played = SimulatorSettings.read().accounts
    (secret,) = [one for one in applied("demo") if one["kind"] == "Secret"]
    assert {account.key for account in played} == set(secret["stringData"].values())
    service = named(release("demo"), "Service", "penstock-simulator")
    address = f"http://penstock-simulator.{NAMESPACE}.svc:{service['spec']['ports'][0]['port']}"
    for one in applied("demo"):
        if one["kind"] == "UpstreamAccount":
            assert one["spec"]["baseURL"].startswith(address)


def _environment(environment, component):
    pod = workload(release(environment), component)["spec"]["template"]
    return {one["name"]: one.get("value", "") for one in container(pod)["env"]}


def test_small_needs_no_stores():
    made = release("small")
    assert workload(made, "auth")["spec"]["replicas"] == 1
    assert value(workload(made, "auth")["spec"]["template"], "PENSTOCK_AUTH_DATABASE_URL").startswith("sqlite:")
    assert not [one for _, pod in pods(made) for one in container(pod)["env"] if "REDIS" in one["name"]]


def test_production_is_spread_scaled_and_closed():
    made = release("production")
    for component in ("edge", "auth", "router", "status"):
        one = workload(made, component)
        spread = {
            constraint["topologyKey"]: constraint["whenUnsatisfiable"]
            for constraint in one["spec"]["template"]["spec"]["topologySpreadConstraints"]
        }
        assert spread["topology.kubernetes.io/zone"] == "DoNotSchedule"
        assert named(made, "PodDisruptionBudget", one["metadata"]["name"])
        assert one["spec"].get("replicas", 6) >= 2
    scaler = named(made, "HorizontalPodAutoscaler", "penstock-edge")["spec"]
    assert [metric["type"] for metric in scaler["metrics"]] == ["Pods", "Resource"]
    adapter = yaml.safe_load((FOLDER / "production" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    assert rule["seriesQuery"].startswith(scaler["metrics"][0]["pods"]["metric"]["name"] + "{")
    for name in ("edge", "auth", "router", "status", "operator"):
        assert named(made, "NetworkPolicy", f"penstock-{name}")
    assert named(made, "NetworkPolicy", "penstock-edge")["spec"]["ingress"][0]["from"]
    (ingress,) = of_kind(made, "Ingress")
    assert ingress["spec"]["tls"][0]["hosts"] == ["llm.example.com"]
    assert of_kind(made, "ServiceMonitor")
    assert of_kind(made, "PrometheusRule")
    assert len([one for one in of_kind(made, "ConfigMap") if "-dashboard-" in one["metadata"]["name"]]) == 4


def test_production_gets_secrets_by_name_only():
    told = (FOLDER / "production" / "README.md").read_text()
    assert not of_kind(release("production"), "Secret")
    assert not [one for one in applied("production") if one["kind"] == "Secret"]
    for component, variable in [("auth", "DATABASE_URL"), ("auth", "REDIS_URL"), ("router", "REDIS_URL")]:
        pod = workload(release("production"), component)["spec"]["template"]
        (reference,) = [
            one["valueFrom"]["secretKeyRef"]
            for one in container(pod)["env"]
            if one["name"] == f"PENSTOCK_{component.upper()}_{variable}"
        ]
        assert f"create secret generic {reference['name']} --from-file={reference['key']}=" in told


def test_production_with_cert_manager_as_its_comment_says():
    written = (FOLDER / "production" / "values.yaml").read_text()
    commented = re.sub(r'\n  # (mode: "CertManager"|certManager:|  issuerRef: .*)', r"\n  \1", written)
    changed = commented.replace('  mode: "Operator"\n', "")
    assert yaml.safe_load(changed)["tls"]["mode"] == "CertManager"
    asked = ["--namespace", NAMESPACE, "--kube-version", f"{VERSIONS[-1]}.0"]
    made = helm("template", "penstock", str(CHART), *asked, "--values", "-", values=changed)
    assert made.returncode == 0, made.stderr
    issuers = {one["spec"]["issuerRef"]["name"] for one in of_kind(objects(made.stdout), "Certificate")}
    assert issuers == {"internal-ca"}
