"""Every panel's query and every alert on a real Prometheus that reads a real gateway with traffic."""

import json
import re

import httpx
import pytest
from scripts import dashboards, metrics_page

from tests.chart import alerting, rendering, scraped
from tests.stack import MODEL, plan, running, wait_until

FOLDER = dashboards.FOLDER
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(panel, target, id=f"{name}: {panel['title']} {target['refId']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", [])
]
# No data in a gateway that is well, or that has neither operator nor certificates, as on one machine.
MAY_BE_EMPTY = {
    "Quarantine", "Failures of the routers' store", "gRPC calls that failed", "Refused callers", "Resources",
    "Days until certificates expire", "Turns of the operator", "Time of a turn", "Writes of the operator",
}  # fmt: skip
# What comes last: the batches that edges send to auth and the router, and what follows from them.
LATE = (
    "penstock_edge_requests_total", "penstock_auth_settlements_total", "penstock_router_outcomes_total",
    "penstock_router_cooldowns_begun_total", "penstock_router_probes_total", "penstock_auth_allow_total",
)  # fmt: skip
BROKEN = "claude-sonnet-4-5"
BODY = {"max_tokens": 30, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Three accounts: one whose key is refused, one that throttles; a model that fails everywhere."""
    folder = tmp_path_factory.mktemp("scraped")
    with running(
        folder,
        plans=[plan("open"), plan("tiny", limits=[{"name": "few", "unit": "Requests", "amount": 1, "window": "1m"}])],
        account_spec={"limits": {"requestsPerMinute": 6000, "maxConcurrentRequests": 64}},
    ) as (gateway, simulator):
        simulator.faults("c", {"operation": "any", "set": {"fault": "401"}})
        simulator.faults("*", {"model": f"{BROKEN}*", "set": {"fault": "500"}})
        yield gateway


@pytest.fixture(scope="module")
def prometheus(gateway, tmp_path_factory):
    """It has read the gateway before, during and after some traffic."""
    with scraped.prometheus(tmp_path_factory.mktemp("prometheus") / "data", gateway) as asked:
        wait_until("all targets are read", lambda: asked.query("up") and asked.value("min(up)") == 1)
        _traffic(gateway)
        after = 'sum(penstock_auth_settlements_total{result="committed"}) > 10'
        wait_until("what was settled is read", lambda: asked.query(after))
        # A rate needs two samples of each series.
        wait_until("all series were read thrice", lambda: all(_samples(asked, name) >= 3 for name in LATE), 60)
        yield asked


def _samples(asked, name):
    return min((float(one["value"][1]) for one in asked.query(f"min(count_over_time({name}[2m]))")), default=0)


def _traffic(gateway):
    key, tiny = gateway.key(), gateway.key("demo", "tiny")
    with httpx.Client(base_url=gateway.url, timeout=60) as client:

        def ask(model=MODEL, secret=key, path="/v1/messages", **more):
            body = BODY | {"model": model} | more
            if "count_tokens" in path:
                del body["max_tokens"]
            return client.post(path, json=body, headers={"x-api-key": secret}).status_code

        for _ in range(4):
            assert [ask(), ask(stream=True), ask(path="/v1/messages/count_tokens")] == [200, 200, 200]
        assert ask(secret="psk_" + "0" * 32) == 401
        assert sorted(ask(secret=tiny) for _ in range(2)) == [200, 429]
        assert ask(BROKEN) >= 500
        for _ in range(8):
            assert ask() == 200


def test_the_files_are_what_the_tables_say():
    wanted = {each.name: dashboards.written(each) for each in dashboards.ALL}
    assert wanted == DASHBOARDS, "run .venv/bin/python scripts/dashboards.py"


@pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_is_one_that_grafana_takes(dashboard):
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    taken = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(set(taken)) == len(taken), "panels lie upon each other"
    assert max(x for x, _ in taken) < dashboards.WIDTH
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(panels)))
    assert used <= variables
    assert dashboard["uid"].startswith("penstock-")


@pytest.mark.parametrize(("panel", "target"), PANELS)
def test_a_panel_names_metrics_and_labels_that_exist(panel, target):
    query = target["expr"].replace("$__rate_interval", "1m").replace("$gateway", ".+")
    named = alerting.metrics_in(query)
    assert named
    assert named <= metrics_page.series()
    labels = {label for one in metrics_page.instruments() if set(one.series) & named for label in one.labels}
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels | alerting.TARGET_LABELS


def test_no_metric_has_a_label_that_scraping_uses():
    taken = {one.name: set(one.labels) & alerting.TARGET_LABELS for one in metrics_page.instruments()}
    assert not {name: labels for name, labels in taken.items() if labels}


def test_the_chart_ships_the_dashboards():
    made = rendering.template(values="observability: {dashboards: {enabled: true, annotations: {folder: Gateways}}}")
    assert made.returncode == 0, made.stderr
    shipped = [
        one
        for one in rendering.of_kind(rendering.objects(made.stdout), "ConfigMap")
        if "-dashboard-" in one["metadata"]["name"]
    ]
    assert {one["metadata"]["name"] for one in shipped} == {f"penstock-dashboard-{name}" for name in DASHBOARDS}
    for one in shipped:
        ((file, text),) = one["data"].items()
        assert json.loads(text) == DASHBOARDS[file.removesuffix(".json")]
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"folder": "Gateways"}


def test_the_monitor_reads_every_process_under_the_labels_that_all_stands_on():
    made = rendering.template(
        values="observability: {serviceMonitor: {enabled: true, labels: {release: stack}}}\nsimulator: {enabled: true}"
    )
    assert made.returncode == 0, made.stderr
    release = rendering.objects(made.stdout)
    (monitor,) = rendering.of_kind(release, "ServiceMonitor")
    service = rendering.named(release, "Service", "penstock-metrics")
    assert rendering.selects(monitor["spec"]["selector"]["matchLabels"], service)
    others = [one for one in rendering.of_kind(release, "Service") if one is not service]
    assert not any(rendering.selects(monitor["spec"]["selector"]["matchLabels"], one) for one in others)
    read = set()
    for component, pod in rendering.pods(release):
        if rendering.selects(service["spec"]["selector"], pod) and component != "test":
            ports = {port["name"]: port["containerPort"] for port in rendering.container(pod)["ports"]}
            assert ports[service["spec"]["ports"][0]["targetPort"]] == 9090
            read.add(component)
    assert read == set(rendering.COMPONENTS)
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    relabelled = {each.get("targetLabel"): each for each in endpoint["relabelings"]}
    assert relabelled["gateway"]["replacement"] == f"{rendering.NAMESPACE}/penstock"
    assert relabelled["component"]["sourceLabels"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_component"]
    assert {"action": "labeldrop", "regex": "endpoint"} in endpoint["relabelings"]
    assert monitor["metadata"]["labels"]["release"] == "stack"


@pytest.mark.xdist_group("scraped")
@pytest.mark.parametrize(("panel", "target"), PANELS)
def test_a_panel_shows_what_a_real_gateway_does(prometheus, panel, target):
    query = target["expr"].replace("$__rate_interval", "2m").replace("$gateway", ".+")
    found = prometheus.query(query)
    assert found or panel["title"] in MAY_BE_EMPTY
    legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert all(legend <= set(series["metric"]) for series in found)


@pytest.mark.xdist_group("scraped")
def test_figures_are_those_of_the_traffic(prometheus):
    assert prometheus.value('sum(penstock_edge_requests_total{endpoint="messages", status="200"})') == 17
    assert prometheus.value('sum(penstock_edge_requests_total{status=~"5.."})') == 1
    assert prometheus.value('sum(penstock_edge_refused_total{reason="REQUESTS"})') == 1
    assert prometheus.value('max(penstock_router_cooldowns{account="c", class="CredentialInvalid"})') == 1
    assert prometheus.value(f'max(penstock_router_model_accounts{{model="{MODEL}", state="taking"}})') == 2
    assert prometheus.value("sum(penstock_auth_charged_micro_usd_total)") > 0
    assert prometheus.value('sum(penstock_rpc_calls_total{method=~".*/Settle", code="OK"})') > 0


@pytest.mark.xdist_group("scraped")
def test_alerts_are_calm_where_all_is_well_and_see_what_is_not(prometheus):
    def judged():
        rules = prometheus.rules()
        return rules if all(rule["lastEvaluation"] > "0001-01-02" for rule in rules) else []

    rules = wait_until("all rules were judged", judged)
    assert {rule["name"] for rule in rules} == set(alerting.alerts()) | alerting.recorded()
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    # One account's key is refused, one model fails everywhere, and on one machine there is no operator.
    expected = {"PenstockAccountRefused", "PenstockNoReadyOperator"}
    allowed = expected | {"PenstockModelOut", "PenstockAccountOutForLong", "PenstockLoopBlocked"}

    def noticed():
        return {rule["name"] for rule in prometheus.rules() if rule.get("state") in {"pending", "firing"}}

    # A reading that a busy machine missed looks like a process that is gone, for a second.
    wait_until("all else is calm", lambda: expected <= noticed() <= allowed)
