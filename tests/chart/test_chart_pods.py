"""Every pod of every case: what it may do, how it lives and ends, and what it is told."""

from pathlib import Path

import pytest
import yaml
from scripts import chart_settings

from penstock_auth.settings import AuthSettings
from penstock_chassis.identity import Component, dns_name
from penstock_chassis.telemetry_settings import TelemetrySettings
from penstock_chassis.tracing import Sampling
from penstock_edge.settings import EdgeSettings
from penstock_operator.settings import OperatorSettings
from penstock_router.settings import RouterSettings
from penstock_simulator.settings import SimulatorSettings
from penstock_status.settings import StatusSettings
from tests.chart.rendering import (
    CASES,
    COMPONENTS,
    NAMESPACE,
    component,
    container,
    named,
    of_kind,
    pods,
    rendered,
    template,
    value,
    variables,
    workload,
)

pytestmark = pytest.mark.xdist_group("chart")  # one process renders everything, once

SETTINGS = {
    "edge": EdgeSettings,
    "auth": AuthSettings,
    "router": RouterSettings,
    "status": StatusSettings,
    "operator": OperatorSettings,
    "simulator": SimulatorSettings,
}
PLACEHOLDERS = {"url": "redis://example", "uri": "postgresql://example/books", "headers": "authorization=none"}
PODS = [
    pytest.param(case, name, id=f"{case}-{name}")
    for case in CASES
    for name in (*COMPONENTS, "test")
    if name != "simulator" or case == "simulator"
]


def pod_of(case, name):
    return next(pod for whose, pod in pods(rendered(case)) if whose == name)


def told(case, name, monkeypatch):
    """The settings that a component would read, as its own class reads them."""
    for variable, given in variables(pod_of(case, name)).items():
        source = given.get("valueFrom", {})
        text = given.get("value", f"penstock-{name}-0")
        if "secretKeyRef" in source:
            text = PLACEHOLDERS[source["secretKeyRef"]["key"]]
        monkeypatch.setenv(variable, text)
    return SETTINGS[name].read()


@pytest.mark.parametrize(("case", "name"), PODS)
def test_pod_security_is_restricted(case, name):
    """The rules of https://kubernetes.io/docs/concepts/security/pod-security-standards, one by one."""
    spec = pod_of(case, name)["spec"]
    (only,) = spec["containers"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(spec)
    assert {kind for volume in spec.get("volumes", ()) for kind in volume if kind != "name"} <= {
        "configMap", "emptyDir", "persistentVolumeClaim", "secret",
    }  # fmt: skip
    of_pod, of_container = spec["securityContext"], only["securityContext"]
    assert of_pod["runAsNonRoot"] is of_container["runAsNonRoot"] is True
    assert of_pod["seccompProfile"] == of_container["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container["allowPrivilegeEscalation"] is False
    assert of_container["capabilities"] == {"drop": ["ALL"]}
    assert not {"privileged", "procMount", "runAsUser", "seLinuxOptions"} & set(of_container)
    # Beyond the profile.
    assert of_container["readOnlyRootFilesystem"] is True
    identity = [of_pod.get(field) for field in ("runAsUser", "runAsGroup", "fsGroup")]
    assert identity == ([None] * 3 if case == "plain" else [10001] * 3)
    assert not any("hostPort" in port for port in only.get("ports", ()))


@pytest.mark.parametrize(("case", "name"), PODS)
def test_only_those_who_speak_with_the_api_can(case, name):
    spec = pod_of(case, name)["spec"]
    assert spec["automountServiceAccountToken"] is (name in {"auth", "router", "operator"})
    accounts = of_kind(rendered(case), "ServiceAccount")
    assert all(one["automountServiceAccountToken"] is False for one in accounts)
    account = spec.get("serviceAccountName", "default")
    assert account in {one["metadata"]["name"] for one in accounts} | {"default", "keeper"}


@pytest.mark.parametrize(("case", "name"), PODS)
def test_variables_of_services_are_not_taken_for_settings(case, name):
    """A Service called penstock-edge would set PENSTOCK_EDGE_PORT to tcp://..., and no edge would start."""
    assert pod_of(case, name)["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize(("case", "name"), PODS)
def test_everything_that_is_mounted_is_there(case, name):
    pod = pod_of(case, name)
    volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
    if name == "edge" and workload(rendered(case), "edge")["kind"] == "StatefulSet":
        volumes.add("spool")
    mounts = container(pod).get("volumeMounts", ())
    assert {mount["name"] for mount in mounts} == volumes
    places = [mount["mountPath"] for mount in mounts]
    assert len(set(places)) == len(places)
    assert name == "test" or "/tmp" in places


def test_probes_are_on_the_metrics_port():
    for name, pod in pods(rendered("simulator")):
        if name == "test":
            continue
        only = container(pod)
        assert {"name": "metrics", "containerPort": 9090} in only["ports"]
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            assert only[probe]["httpGet"] == {"path": path, "port": "metrics"}
        # A slow start is no death, and one late answer neither: the process itself calls 5 s a standstill.
        assert only["startupProbe"]["periodSeconds"] * only["startupProbe"]["failureThreshold"] >= 60
        assert only["livenessProbe"]["timeoutSeconds"] > 5
        assert only["livenessProbe"]["periodSeconds"] * only["livenessProbe"]["failureThreshold"] >= 30


@pytest.mark.parametrize("case", CASES)
def test_there_is_time_to_end(case):
    """SIGTERM comes after the pause; then the drain, and what the process takes to close."""
    for name, pod in pods(rendered(case)):
        if name == "test":
            continue
        drain = float(variables(pod).get(f"PENSTOCK_{name.upper()}_DRAIN_SECONDS", {}).get("value", 8))
        pause = 0
        if "lifecycle" in container(pod):
            command = container(pod)["lifecycle"]["preStop"]["exec"]["command"]
            assert command[:2] == ["/opt/penstock/bin/python", "-c"]
            pause = int(command[2].removeprefix("import time; time.sleep(").removesuffix(")"))
        assert pod["spec"]["terminationGracePeriodSeconds"] >= pause + drain + 10


def test_an_edge_ends_after_its_longest_stream():
    edge = pod_of("default", "edge")
    assert value(edge, "PENSTOCK_EDGE_DRAIN_SECONDS") == "900"
    assert edge["spec"]["terminationGracePeriodSeconds"] == 10 + 900 + 15
    assert value(pod_of("large", "edge"), "PENSTOCK_EDGE_DRAIN_SECONDS") == "1800"
    assert "lifecycle" not in container(pod_of("simulator", "edge"))


@pytest.mark.parametrize("name", COMPONENTS)
@pytest.mark.parametrize("case", CASES)
def test_processes_understand_what_they_are_told(case, name, monkeypatch):
    """Every variable is a setting of that process, and its class takes the values."""
    if name == "simulator" and case != "simulator":
        return
    pod = pod_of(case, name)
    prefix = f"PENSTOCK_{name.upper()}_"
    others = {"GREETING", "NODE"} | {one for one in variables(pod) if one.startswith("OTEL_")}
    given = {one.removeprefix(prefix).lower() for one in variables(pod) if one not in others}
    assert given <= set(SETTINGS[name].__struct_fields__)
    settings = told(case, name, monkeypatch)
    assert settings.name == f"penstock-{name}-0"
    assert variables(pod)[f"{prefix}NAME"]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert settings.metrics_port == 9090
    assert settings.metrics_host == ("::" if case == "plain" else "0.0.0.0")


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_setting_is_decided_or_given(name):
    """The schema knows every setting of the classes but those that the chart decides itself."""
    decided, offered = chart_settings.decided(name), {one.name for one in chart_settings.settings(name)}
    assert decided | offered == set(SETTINGS[name].__struct_fields__)
    assert not decided & offered
    rendered_ones = {
        one.removeprefix(f"PENSTOCK_{name.upper()}_").lower()
        for case in CASES
        for whose, pod in pods(rendered(case))
        if whose == name
        for one in variables(pod)
        if one.startswith("PENSTOCK_")
    }
    # Files that only a laptop has are decided by being left alone.
    unused = {"run_dir", "dies_with_parent", "ready_files", "catalog_path", "catalog_namespace"}
    unused |= {"port_is_reserved", "ending_file", "ending_seconds"}
    assert decided - unused - {"insecure_plaintext", "tls_cert_file", "tls_key_file", "tls_ca_file", "tls_domain"} <= (
        rendered_ones
    )


def test_settings_of_the_values_arrive(monkeypatch):
    edge = told("large", "edge", monkeypatch)
    assert (edge.max_body_bytes, edge.keepalive_seconds, edge.drain_seconds) == (67_108_864, 10.0, 1800.0)
    auth = told("large", "auth", monkeypatch)
    assert (auth.key_prefix, auth.database_connections, auth.redis_cluster) == ("acme_", 8, True)
    assert auth.database_url.reveal() == "postgresql://example/books"
    assert told("large", "operator", monkeypatch).key_prefix == auth.key_prefix
    assert told("large", "router", monkeypatch).redis_cluster is True
    simulator = told("simulator", "simulator", monkeypatch)
    assert (simulator.seed, simulator.max_body_bytes) == (7, 67_108_864)
    assert variables(pod_of("large", "edge"))["GREETING"]["value"] == "hello"
    assert variables(pod_of("large", "edge"))["NODE"]["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}


@pytest.mark.parametrize("case", CASES)
def test_who_is_traced_and_where_to(case, monkeypatch):
    for name, pod in pods(rendered(case)):
        told = {one: given for one, given in variables(pod).items() if one.startswith("OTEL_")}
        if case != "monitoring" or name in {"simulator", "test"}:
            assert told == {}
            continue
        headers = told.pop("OTEL_EXPORTER_OTLP_HEADERS")
        assert headers["valueFrom"] == {"secretKeyRef": {"name": "collector", "key": "headers"}}
        for one, given in told.items():
            monkeypatch.setenv(one, given["value"])
        settings = TelemetrySettings.read()
        assert settings.wanted()
        assert settings.sampling() == Sampling(0.000005, parent_based=True)
        attributes = told["OTEL_RESOURCE_ATTRIBUTES"]["value"]
        assert attributes == "service.namespace=gw/penstock,k8s.namespace.name=gw"


def test_own_variables_win_over_the_charts():
    values = {
        "tracing": {"endpoint": "http://collector:4318"},
        "edge": {"extraEnv": {"OTEL_TRACES_SAMPLER": "always_on"}},
    }
    text = template("--show-only", "templates/edge/workload.yaml", values=yaml.safe_dump(values)).stdout
    assert text.count("name: OTEL_TRACES_SAMPLER\n") == 1
    assert 'value: "always_on"' in text


@pytest.mark.parametrize("case", CASES)
def test_all_believe_the_same_names(case, monkeypatch):
    domains = set()
    for name in ("edge", "auth", "router", "status", "operator"):
        settings = told(case, name, monkeypatch)
        files = [settings.tls_cert_file, settings.tls_key_file, settings.tls_ca_file]
        mounted = {volume["name"]: volume for volume in pod_of(case, name)["spec"]["volumes"]}
        own = case not in {"plain", "cert-manager", "issuer", "existing-secrets"} and name == "operator"
        assert settings.insecure_plaintext is (case == "plain")
        if case == "plain" or own:
            assert files == [None, None, None]
            assert "tls" not in mounted
        else:
            place = Path("/etc/penstock/tls")
            assert files == [place / "tls.crt", place / "tls.key", place / "ca.crt"]
            secret = f"tls-{name}" if case == "existing-secrets" else f"{fullname(case)}-{name}-tls"
            assert mounted["tls"]["secret"] == {"secretName": secret, "defaultMode": 0o440}
        domains.add(settings.tls_domain)
        if name == "operator":
            assert settings.certificates == ("Issue" if own else "Given")
    expected = {"plain": "penstock.internal", "issuer": "gateway.example"}
    assert domains == {expected.get(case, f"{fullname(case)}.{NAMESPACE}.penstock.internal")}


def fullname(case):
    return {"simulator": "demo", "plain": "penstock-gateway"}.get(case, "penstock")


def test_certificates_are_asked_for_by_the_names_that_are_believed():
    for case, domain in (("cert-manager", "penstock.gw.penstock.internal"), ("issuer", "gateway.example")):
        made = rendered(case)
        for name in (Component.EDGE, Component.AUTH, Component.ROUTER, Component.STATUS, Component.OPERATOR):
            certificate = named(made, "Certificate", f"penstock-{name}")["spec"]
            assert certificate["dnsNames"] == [dns_name(name, domain)]
            assert {"server auth", "client auth"} <= set(certificate["usages"])
            assert certificate["secretName"] == f"penstock-{name}-tls"
    assert named(rendered("issuer"), "Certificate", "penstock-edge")["spec"]["issuerRef"] == {
        "name": "company",
        "kind": "ClusterIssuer",
        "group": "cert-manager.io",
    }
    assert not of_kind(rendered("issuer"), "Issuer")
    own = named(rendered("cert-manager"), "Issuer", "penstock-ca")["spec"]["ca"]["secretName"]
    assert named(rendered("cert-manager"), "Certificate", "penstock-ca")["spec"]["secretName"] == own
    # The operator's own authority has another Secret: a change of mode must not mix the two.
    assert own != "penstock-ca"


def test_memory_is_bounded_and_cpu_is_not():
    for name, pod in pods(rendered("simulator")):
        resources = container(pod)["resources"]
        assert set(resources["limits"]) == {"memory"}, name
        assert set(resources["requests"]) == {"cpu", "memory"}, name
    assert "resources" not in container(pod_of("bare", "edge"))


def test_pods_go_where_the_values_say():
    spec = pod_of("large", "edge")["spec"]
    assert spec["priorityClassName"] == "important"
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["tolerations"] == [{"key": "gateway", "operator": "Exists"}]
    (spread,) = spec["topologySpreadConstraints"]
    assert (spread["whenUnsatisfiable"], spread["topologyKey"]) == ("DoNotSchedule", "topology.kubernetes.io/zone")
    by_default = pod_of("default", "edge")["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in by_default] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for one in [spread, *by_default]:
        assert one["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "edge"
    auth = pod_of("large", "auth")
    assert auth["metadata"]["annotations"] == {"example.com/note": "books"}
    assert {"name": "authority", "mountPath": "/etc/postgres", "readOnly": True} in container(auth)["volumeMounts"]


def test_a_new_chart_alone_starts_no_pod_anew():
    for _, pod in pods(rendered("default")):
        assert "helm.sh/chart" not in pod["metadata"]["labels"] or pod.get("kind") == "Pod"


def test_edges_and_router_believe_the_authorities_they_are_given(monkeypatch):
    for case, source in (
        ("large", {"configMap": {"name": "corporate-authorities", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}),
        (
            "existing-secrets",
            {"secret": {"secretName": "authorities", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}},
        ),
    ):
        for name in ("edge", "router"):
            assert told(case, name, monkeypatch).upstream_ca_file == Path("/etc/penstock/upstreams/ca.crt")
            (volume,) = [one for one in pod_of(case, name)["spec"]["volumes"] if one["name"] == "upstreams"]
            assert {key: volume[key] for key in volume if key != "name"} == source
        assert "upstreams" not in {one["name"] for one in pod_of(case, "auth")["spec"]["volumes"]}


def test_one_writer_where_state_is_not_shared():
    """Two auths on one SQLite file, or two routers with memories of their own, would lend twice."""
    strategies = {
        (case, name): workload(rendered(case), name)["spec"]["strategy"]["type"]
        for case in ("default", "large", "existing-secrets")
        for name in ("auth", "router", "operator", "status")
    }
    for case in ("default", "large", "existing-secrets"):
        assert strategies[case, "operator"] == "Recreate"
        assert strategies[case, "status"] == "RollingUpdate"
    assert strategies["default", "auth"] == strategies["default", "router"] == "Recreate"
    assert strategies["large", "auth"] == strategies["large", "router"] == "RollingUpdate"
    # Redis without PostgreSQL: routers share, auths do not.
    assert strategies["existing-secrets", "auth"] == "Recreate"
    assert strategies["existing-secrets", "router"] == "RollingUpdate"


def test_the_ledger_is_on_its_volume():
    claim = {"name": "ledger", "persistentVolumeClaim": {"claimName": "penstock-auth-ledger"}}
    assert claim in pod_of("default", "auth")["spec"]["volumes"]
    given = {"name": "ledger", "persistentVolumeClaim": {"claimName": "ledger"}}
    assert given in pod_of("existing-secrets", "auth")["spec"]["volumes"]
    assert not of_kind(rendered("existing-secrets"), "PersistentVolumeClaim")
    assert not of_kind(rendered("large"), "PersistentVolumeClaim")
    assert "ledger" not in {one["name"] for one in pod_of("large", "auth")["spec"]["volumes"]}
    assert {"name": "ledger", "emptyDir": {}} in pod_of("simulator", "auth")["spec"]["volumes"]


def test_edges_keep_their_spools():
    stateful = workload(rendered("large"), "edge")["spec"]
    (claim,) = stateful["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"] == {"requests": {"storage": "10Gi"}}
    assert stateful["podManagementPolicy"] == "Parallel"
    assert stateful["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "20%"}
    assert workload(rendered("default"), "edge")["spec"]["updateStrategy"] == {"type": "RollingUpdate"}
    assert {"name": "spool", "emptyDir": {}} in pod_of("simulator", "edge")["spec"]["volumes"]
    assert workload(rendered("simulator"), "edge")["kind"] == "Deployment"
    none = template("--set", "edge.persistence.storageClass=-", "--show-only", "templates/edge/workload.yaml").stdout
    assert 'storageClassName: ""' in none


def test_the_admin_token_comes_from_where_the_values_say(monkeypatch):
    for case, secret, key in (("default", "penstock-admin", "token"), ("large", "admin", "bearer")):
        assert told(case, "status", monkeypatch).admin_token_file == Path("/etc/penstock/admin/token")
        (volume,) = [one for one in pod_of(case, "status")["spec"]["volumes"] if one["name"] == "admin"]
        assert volume["secret"] == {
            "secretName": secret,
            "defaultMode": 0o440,
            "items": [{"key": key, "path": "token"}],
        }
    assert told("default", "operator", monkeypatch).admin_token_secret == "penstock-admin"
    monkeypatch.delenv("PENSTOCK_OPERATOR_ADMIN_TOKEN_SECRET")
    assert told("large", "operator", monkeypatch).admin_token_secret == ""


def test_components_are_whole():
    assert {component(one) for one in of_kind(rendered("simulator"), "Deployment", "StatefulSet")} == set(COMPONENTS)
