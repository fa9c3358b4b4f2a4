"""What of a release speaks with what: Services, policies, rights, budgets, autoscalers, ways in."""

import pytest
import yaml

from penstock_catalog.shards import secret_names
from penstock_edge.settings import EdgeSettings
from penstock_operator import kinds
from tests.chart.rendering import (
    CASES,
    CHART,
    NAMESPACE,
    WORKLOADS,
    component,
    container,
    named,
    of_kind,
    pods,
    rendered,
    selects,
    template,
    value,
    variables,
    workload,
)

pytestmark = pytest.mark.xdist_group("chart")  # one process renders everything, once

NUMBERS = {"edge": 8080, "auth": 7001, "router": 7002, "status": 8081, "simulator": 8090}
CALLS = {"auth": {"edge", "status", "operator"}, "router": {"edge", "status", "operator"}}


def ports(pod):
    return {port["name"]: port["containerPort"] for port in container(pod).get("ports", ())}


@pytest.mark.parametrize("case", CASES)
def test_services_lead_to_ports_that_there_are(case):
    made = rendered(case)
    everybody = list(pods(made))
    for service in of_kind(made, "Service"):
        chosen = [(whose, pod) for whose, pod in everybody if selects(service["spec"]["selector"], pod)]
        for port in service["spec"]["ports"]:
            assert any(port["targetPort"] in ports(pod) for _, pod in chosen), service["metadata"]["name"]
        if component(service) in NUMBERS:
            assert {whose for whose, _ in chosen} == {component(service)}
    for name in ("edge", "auth", "router", "status"):
        only = [service for service in of_kind(made, "Service") if component(service) == name]
        plain = [service for service in only if "clusterIP" not in service["spec"]]
        assert len(plain) == 1
        assert ports(dict(everybody)[name])[plain[0]["spec"]["ports"][0]["name"]] == NUMBERS[name]


@pytest.mark.parametrize("case", CASES)
def test_workloads_select_their_own_pods_only(case):
    made = rendered(case)
    for one in of_kind(made, *WORKLOADS):
        labels = one["spec"]["selector"]["matchLabels"]
        assert {whose for whose, pod in pods(made) if selects(labels, pod)} == {component(one)}
    for budget in of_kind(made, "PodDisruptionBudget"):
        labels = budget["spec"]["selector"]["matchLabels"]
        assert {whose for whose, pod in pods(made) if selects(labels, pod)} == {component(budget)}
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("case", CASES)
def test_addresses_are_services_of_this_release(case):
    made = rendered(case)
    services = {
        (one["metadata"]["name"], port["port"]): one
        for one in of_kind(made, "Service")
        for port in one["spec"]["ports"]
    }

    def led_to(address):
        host, _, port = address.rpartition(":")
        return services[host, int(port)]

    for name in ("edge", "status"):
        pod = dict(pods(made))[name]
        for to in ("auth", "router"):
            service = led_to(value(pod, f"PENSTOCK_{name.upper()}_{to.upper()}_ADDRESS"))
            assert component(service) == to
    operator = dict(pods(made))["operator"]
    for to in ("auth", "router"):
        service = led_to(value(operator, f"PENSTOCK_OPERATOR_{to.upper()}_ADDRESSES"))
        # Each address is a replica: the Service's own would hide all but one.
        assert (component(service), service["spec"]["clusterIP"]) == (to, "None")
    test = dict(pods(made))["test"]
    assert component(led_to(value(test, "TEST_URL").removeprefix("http://"))) == "edge"
    if workload(made, "edge")["kind"] == "StatefulSet":
        headless = workload(made, "edge")["spec"]["serviceName"]
        assert named(made, "Service", headless)["spec"]["clusterIP"] == "None"


# Rights


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["auth", "router"])
def test_each_reads_its_own_catalog_and_nothing_else(case, name):
    made = rendered(case)
    (role,) = [one for one in of_kind(made, "Role") if component(one) == name]
    prefix = value(dict(pods(made))[name], f"PENSTOCK_{name.upper()}_CATALOG_SECRETS")
    release = value(dict(pods(made))["operator"], "PENSTOCK_OPERATOR_RELEASE")
    assert prefix == f"{release}-{name}-catalog"
    (rule,) = role["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": list(secret_names(prefix)),
        "verbs": ["get", "list", "watch"],
    }


def test_the_operator_has_what_it_needs_and_no_more():
    (role,) = [one for one in of_kind(rendered("default"), "Role") if component(one) == "operator"]
    rights = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert rights == {
        **{(kind.group, kind.plural): {"get", "list", "watch"} for kind in kinds.CUSTOM},
        **{(kind.group, f"{kind.plural}/status"): {"patch"} for kind in kinds.CUSTOM},
        (kinds.SECRET.group, kinds.SECRET.plural): {"get", "list", "watch", "create", "patch", "delete"},
        (kinds.EVENT.group, kinds.EVENT.plural): {"create", "patch"},
    }


@pytest.mark.parametrize("case", CASES)
def test_rights_go_to_those_who_run(case):
    made = rendered(case)
    roles = {one["metadata"]["name"]: component(one) for one in of_kind(made, "Role")}
    assert set(roles.values()) == {"auth", "router", "operator"}
    bindings = of_kind(made, "RoleBinding")
    assert len(bindings) == len(roles)
    for binding in bindings:
        whose = roles[binding["roleRef"]["name"]]
        assert binding["roleRef"]["kind"] == "Role"
        assert binding["subjects"] == [
            {
                "kind": "ServiceAccount",
                "name": dict(pods(made))[whose]["spec"]["serviceAccountName"],
                "namespace": NAMESPACE,
            }
        ]


def test_people_with_roles_of_a_namespace_may_be_given_its_resources():
    """The roles admin, edit and view of Kubernetes take up what bears these labels; nobody is bound to anything."""
    roles = {one["metadata"]["name"]: one for one in of_kind(rendered("monitoring"), "ClusterRole")}
    assert set(roles) == {f"{NAMESPACE}-penstock-edit", f"{NAMESPACE}-penstock-view"}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    for name, (into, verbs) in {
        "edit": ({"admin", "edit"}, {"create", "delete", "deletecollection", "patch", "update"}),
        "view": ({"admin", "edit", "view"}, {"get", "list", "watch"}),
    }.items():
        role = roles[f"{NAMESPACE}-penstock-{name}"]
        assert {key.removeprefix(prefix) for key in role["metadata"]["labels"] if key.startswith(prefix)} == into
        (rule,) = role["rules"]
        assert (rule["apiGroups"], set(rule["verbs"])) == (["penstock.dev"], verbs)
        assert set(rule["resources"]) == {kind.plural for kind in kinds.CUSTOM}
    assert not of_kind(rendered("monitoring"), "ClusterRoleBinding")


# Policies


def policies(case):
    return {component(one): one["spec"] for one in of_kind(rendered(case), "NetworkPolicy")}


def peers(rules, side):
    return [peer for rule in rules for peer in rule.get(side, ())]


@pytest.mark.parametrize("case", [case for case in CASES if case != "bare"])
def test_everything_is_closed_but_what_is_listed(case):
    made, found = rendered(case), policies(case)
    closed = found.pop("all")
    assert {key for key in closed if key != "podSelector"} == {"policyTypes"}
    assert all(selects(closed["podSelector"]["matchLabels"], pod) for _, pod in pods(made))
    assert set(found) == {whose for whose, _ in pods(made)}
    for name, spec in found.items():
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        assert {whose for whose, pod in pods(made) if selects(spec["podSelector"]["matchLabels"], pod)} == {name}


@pytest.mark.parametrize("case", [case for case in CASES if case != "bare"])
def test_peers_of_this_release_are_there_and_have_the_ports(case):
    made = rendered(case)
    for name, spec in policies(case).items():
        for side, rules in (("from", spec.get("ingress", ())), ("to", spec.get("egress", ()))):
            for rule in rules:
                for peer in rule.get(side, ()):
                    labels = peer.get("podSelector", {}).get("matchLabels", {})
                    if "app.kubernetes.io/component" not in labels:
                        continue
                    there = [pod for _, pod in pods(made) if selects(labels, pod)]
                    assert there, (name, labels)
                    numbers = {port["port"] for port in rule["ports"]}
                    served = {name} if side == "from" else {labels["app.kubernetes.io/component"]}
                    assert numbers <= {NUMBERS[whose] for whose in served}, (name, rule)


def components_in(rules, side):
    return {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for peer in peers(rules, side)
        if "app.kubernetes.io/component" in peer.get("podSelector", {}).get("matchLabels", {})
    }


@pytest.mark.parametrize("case", ["default", "simulator", "large"])
def test_who_may_call_whom(case):
    found = policies(case)
    for name, callers in CALLS.items():
        assert components_in(found[name]["ingress"], "from") == callers
    reached = {name: components_in(spec.get("egress", ()), "to") for name, spec in found.items()}
    outside = {"simulator"} if case == "simulator" else set()
    assert reached == {
        "all": set(),
        "edge": {"auth", "router"} | outside,
        "auth": set(),
        "router": outside,
        "status": {"auth", "router"},
        "operator": {"auth", "router"},
        "test": {"edge"},
        **{name: set() for name in outside},
    }
    if outside:
        assert components_in(found["simulator"]["ingress"], "from") == {"edge", "router"}


def egress_ports(spec):
    return {port["port"] for rule in spec["egress"] for port in rule["ports"]}


def test_where_each_may_go_outside():
    default, large = policies("default"), policies("large")
    names, api, upstreams = {53, 5353}, {443, 6443, 8443, 16443}, {443}
    assert egress_ports(default["edge"]) == names | upstreams | {7001, 7002}
    assert egress_ports(default["router"]) == names | api | upstreams
    assert egress_ports(default["auth"]) == names | api
    assert egress_ports(large["auth"]) == names | api | {5432, 6379}
    assert egress_ports(large["router"]) == names | api | upstreams | {6379}
    assert egress_ports(default["status"]) == names | {7001, 7002}
    assert egress_ports(default["operator"]) == names | api | {7001, 7002}
    assert egress_ports(default["test"]) == names | {8080}
    assert "egress" not in policies("simulator")["simulator"]
    for name in ("edge", "auth", "router", "status", "operator"):
        assert egress_ports(policies("monitoring")[name]) == egress_ports(default[name]) | {4318}


def test_upstreams_are_outside_of_the_cluster_unless_listed():
    (rule,) = [one for one in policies("default")["edge"]["egress"] if one["ports"][0]["port"] == 443]
    blocks = {peer["ipBlock"]["cidr"]: set(peer["ipBlock"]["except"]) for peer in rule["to"]}
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= blocks["0.0.0.0/0"]
    assert {"fc00::/7", "fe80::/10"} <= blocks["::/0"]
    only = {
        "networkPolicy": {"upstreams": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 8443}]}]}
    }
    text = template("--show-only", "templates/network/policies.yaml", values=yaml.safe_dump(only)).stdout
    assert text.count("203.0.113.0/24") == 2
    assert "0.0.0.0/0" not in text


def test_who_may_come_in():
    def sources(case, name, number):
        (rule,) = [one for one in policies(case)[name]["ingress"] if one["ports"][0]["port"] == number]
        return rule.get("from")

    prometheus = [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}]
    for name in ("edge", "auth", "router", "status", "operator"):
        assert sources("default", name, 9090) == prometheus
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert sources("monitoring", "auth", 9090)[-1:] == monitoring
    assert sources("default", "edge", 8080) is None
    tests_own, ingress = sources("large", "edge", 8080)
    assert tests_own["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert ingress == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    assert [port["port"] for rule in policies("default")["status"]["ingress"] for port in rule["ports"]] == [9090]
    assert sources("large", "status", 8081) == [{"podSelector": {"matchLabels": {"app": "console"}}}]


def test_policies_can_be_left_out():
    assert not of_kind(rendered("bare"), "NetworkPolicy")


# Numbers of pods


def test_budgets():
    for name in ("edge", "auth", "router", "status"):
        assert named(rendered("default"), "PodDisruptionBudget", f"penstock-{name}")["spec"]["maxUnavailable"] == 1
    assert named(rendered("large"), "PodDisruptionBudget", "penstock-edge")["spec"]["maxUnavailable"] == "25%"
    assert not of_kind(rendered("bare"), "PodDisruptionBudget")


def test_edges_scale_on_open_requests_and_cpu():
    spec = named(rendered("large"), "HorizontalPodAutoscaler", "penstock-edge")["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "penstock-edge"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 30)
    requests, cpu = spec["metrics"]
    metric = requests["pods"]["metric"]["name"]
    assert requests["pods"]["target"] == {"type": "AverageValue", "averageValue": "150"}
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert f"`{metric}`" in (CHART.parents[1] / "docs" / "metrics.md").read_text()


def test_where_an_autoscaler_decides_the_chart_does_not():
    made = rendered("large")
    for name in ("edge", "router"):
        assert "replicas" not in workload(made, name)["spec"]
        assert of_kind([named(made, "HorizontalPodAutoscaler", f"penstock-{name}")], "HorizontalPodAutoscaler")
    for name in ("auth", "status"):
        assert workload(made, name)["spec"]["replicas"] == 2
    assert "replicas" not in workload(rendered("keda"), "edge")["spec"]


def test_keda_asks_prometheus():
    spec = named(rendered("keda"), "ScaledObject", "penstock-edge")["spec"]
    assert not of_kind(rendered("keda"), "HorizontalPodAutoscaler")
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "penstock-edge"}
    prometheus, cpu = spec["triggers"]
    assert prometheus["metadata"] == {
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": 'sum(penstock_edge_active_requests{namespace="gw",pod=~"penstock-edge-.*"})',
        "threshold": "200",
    }
    assert prometheus["authenticationRef"] == {"name": "prometheus"}
    assert cpu == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}}


# Ways in


def test_nginx_lets_streams_through():
    ingress = named(rendered("large"), "Ingress", "penstock-edge")
    of_nginx = {
        key.removeprefix("nginx.ingress.kubernetes.io/"): text
        for key, text in ingress["metadata"]["annotations"].items()
    }
    assert of_nginx["proxy-buffering"] == of_nginx["proxy-request-buffering"] == "off"
    assert of_nginx["proxy-http-version"] == "1.1"
    # The longest stream is 1800 s there, and people's own annotations win.
    assert int(of_nginx["proxy-read-timeout"]) == int(of_nginx["proxy-send-timeout"]) == 1830
    assert of_nginx["proxy-body-size"] == "70m"
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "gateway.example.com"
    (path,) = rule["http"]["paths"]
    assert path["backend"] == {"service": {"name": "penstock-edge", "port": {"name": "http"}}}
    assert ingress["spec"]["tls"] == [{"secretName": "gateway-certificate", "hosts": ["gateway.example.com"]}]


def test_proxies_take_what_edges_take():
    asked = ("--show-only", "templates/network/ingress.yaml", "--set", "ingress.enabled=true")
    plain = yaml.safe_load(template(*asked).stdout)["metadata"]["annotations"]
    largest = EdgeSettings().max_body_bytes
    assert plain["nginx.ingress.kubernetes.io/proxy-body-size"] == str(largest)
    more = yaml.safe_load(template(*asked, "--set", "edge.settings.max_body_bytes=134217728").stdout)
    assert more["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-body-size"] == "134217728"


def test_other_controllers_get_their_own_words():
    annotations = named(rendered("plain"), "Ingress", "penstock-gateway-edge")["metadata"]["annotations"]
    assert annotations["alb.ingress.kubernetes.io/load-balancer-attributes"] == "idle_timeout.timeout_seconds=930"
    assert not [key for key in annotations if key.startswith("nginx")]


def test_a_route_has_no_limit_but_the_edges_own():
    route = named(rendered("keda"), "HTTPRoute", "penstock-edge")["spec"]
    (rule,) = route["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    service = named(rendered("keda"), "Service", rule["backendRefs"][0]["name"])
    assert rule["backendRefs"][0]["port"] in {port["port"] for port in service["spec"]["ports"]}
    assert route["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "https"}]
    older = template(
        *("--show-only", "templates/network/httproute.yaml", "--set", "httpRoute.enabled=true"),
        *("--set", "httpRoute.parentRefs[0].name=public,httpRoute.timeout="),
    )
    assert "timeouts" not in older.stdout


def test_the_service_is_as_the_values_say():
    service = named(rendered("large"), "Service", "penstock-edge")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert service["metadata"]["annotations"] == {"example.com/scheme": "internal"}


def test_ipv6_addresses_are_written_with_brackets():
    made = dict(pods(rendered("plain")))
    assert value(made["auth"], "PENSTOCK_AUTH_ADDRESS") == "[::]:7001"
    assert value(made["router"], "PENSTOCK_ROUTER_ADDRESS") == "[::]:7002"
    assert value(made["edge"], "PENSTOCK_EDGE_HOST") == "::"
    assert value(dict(pods(rendered("default")))["auth"], "PENSTOCK_AUTH_ADDRESS") == "0.0.0.0:7001"


def test_long_names_stay_names():
    result = template("--set", f"fullnameOverride={'a' * 40}")
    assert result.returncode == 0
    for one in yaml.load_all(result.stdout, Loader=yaml.CSafeLoader):
        if one and one["kind"] != "CustomResourceDefinition":
            assert len(one["metadata"]["name"]) <= 63, one["metadata"]["name"]
    assert len(f"{'a' * 40}-router-catalog") <= 63


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_in_the_release(case):
    """Whoever may read a release's Secret could read it there; keys are made in the cluster or named."""
    assert not of_kind(rendered(case), "Secret")
    for _, pod in pods(rendered(case)):
        for name, given in variables(pod).items():
            if name.endswith(("_URL", "_KEY", "_TOKEN")) and not given.get("value", "").startswith(
                ("sqlite:", "http:")
            ):
                assert "secretKeyRef" in given["valueFrom"], name
