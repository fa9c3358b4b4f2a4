"""Every alert is valid, fires when it must and not otherwise, says what is true of its labels, and has a runbook."""

import re

import pytest
import yaml
from scripts import metrics_page

from tests.chart import alerting, rendering
from tests.chart.custom_resources import CASES

# All scalars are text: 0x30 is thirty zeros, not a number.
TABLE = yaml.load((CASES.parent / "alerts.yaml").read_text(), yaml.BaseLoader)
ALERTS = alerting.alerts()
RECORDED = [rule for group in alerting.groups("G") for rule in group["rules"] if "record" in rule]
SECTIONS = ["## Meaning", "## Impact", "## Look", "## Do"]


def test_promtool_takes_all_rules(tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": alerting.groups("ns/penstock")}))
    checked = alerting.promtool("check", "rules", rules)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # It calls doubtful rules out loud without failing.
    assert "error" not in (checked.stdout + checked.stderr).lower().replace("error_ratio", "")


def test_each_alert_fires_when_it_must_and_not_otherwise(tmp_path):
    written = [_promtool_file(tmp_path, name, cases) for name, cases in TABLE.items()]
    tested = alerting.promtool("test", "rules", *written)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def _promtool_file(folder, name, cases):
    """Each alert alone with what is recorded: promtool evaluates all rules for every case, minute by minute."""
    alert = {key: value for key, value in ALERTS[name].items() if key != "annotations"}
    rules = [rule for rule in RECORDED if rule["record"] in alert["expr"]]
    (folder / f"{name}.rules.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "tested", "rules": [*rules, alert]}]})
    )
    path = folder / f"{name}.yaml"
    tests = [_promtool_test(name, case) for case in cases]
    path.write_text(yaml.safe_dump({"rule_files": [f"{name}.rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    return path


def _promtool_test(name, case):
    severity = ALERTS[name]["labels"]["severity"]
    expected = [{"exp_labels": {"severity": severity, **labels}} for labels in case.get("fires", [])]
    return {
        "name": f"{name}: {case['case']}",
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case["series"].items()],
        "alert_rule_test": [{"eval_time": case["at"], "alertname": name, "exp_alerts": expected}],
    }


def test_the_table_has_every_alert_firing_and_silent():
    assert set(TABLE) == set(ALERTS)
    for name, cases in TABLE.items():
        assert any("fires" in case for case in cases), name
        assert any("fires" not in case for case in cases), name


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_names_metrics_that_exist(name):
    known = metrics_page.series() | alerting.recorded() | {"up"}
    named = alerting.metrics_in(ALERTS[name]["expr"])
    assert named
    assert named <= known


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_whom_it_wakes_and_in_words_what_is_wrong(name):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description"}
    said = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    assert "gateway" in said
    for case in TABLE[name]:
        for labels in case.get("fires", []):
            assert said <= set(labels), f"{case['case']}: says more than it knows"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_a_runbook(name):
    text = (alerting.RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert f"**{ALERTS[name]['labels']['severity']}**" in text
    for metric in re.findall(r"\b(?:penstock|process)_[a-z0-9_]+\b", text):
        assert metric in metrics_page.series(), metric


@pytest.mark.parametrize(
    "page", ["docs/runbooks/*.md", "docs/kind.md", "docs/metrics.md", "deploy/environments/**/*.md"]
)
def test_links_lead_somewhere(page):
    for path in alerting.ROOT.glob(page):
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_runbooks_are_listed_and_there_is_none_too_many():
    names = {path.stem for path in alerting.RUNBOOKS.glob("Penstock*.md")}
    assert names == set(ALERTS)
    index = (alerting.RUNBOOKS / "README.md").read_text()
    assert set(re.findall(r"\]\((\w+)\.md\)", index)) == names


def _shipped(*options):
    given = "observability: {prometheusRule: {enabled: true}}"
    made = rendering.template("--show-only", "templates/observability/alerts.yaml", *options, values=given)
    assert made.returncode == 0, made.stderr
    (rule,) = rendering.objects(made.stdout)
    return rule


def _by_name(rule):
    return {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}


def test_the_chart_ships_the_alerts_for_its_release_with_their_runbooks(tmp_path):
    rule = _shipped()
    shipped = _by_name(rule)
    assert set(shipped) == set(ALERTS)
    for name, alert in shipped.items():
        assert alert["annotations"].pop("runbook_url") == f"docs/runbooks/{name}.md"
        assert alert == alerting.alerts(f"{rendering.NAMESPACE}/{rendering.RELEASE}")[name]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    assert alerting.promtool("check", "rules", tmp_path / "rules.yaml").returncode == 0


def test_what_can_be_said_of_the_alerts():
    said = "observability.prometheusRule"
    quiet = f"{said}.disabled.PenstockModelOut=true"
    url, label = f"{said}.runbooksUrl=https://example.org/runbooks/", f"{said}.alertLabels.team=gateways"
    rule = _shipped(
        "--set", f"{quiet},{url},{label},{said}.labels.release=stack", "--set-string", f"{said}.objective=0.99"
    )
    shipped = _by_name(rule)
    assert set(shipped) == set(ALERTS) - {"PenstockModelOut"}
    alert = shipped["PenstockErrorBudgetBurnsFast"]
    assert alert["annotations"]["runbook_url"] == "https://example.org/runbooks/PenstockErrorBudgetBurnsFast.md"
    assert alert["labels"] == {"severity": "page", "team": "gateways"}
    assert "14.4 * (1 - 0.99)" in alert["expr"]
    assert rule["metadata"]["labels"]["release"] == "stack"


def test_an_alert_that_does_not_exist_cannot_be_switched_off():
    typo = "observability.prometheusRule.enabled=true,observability.prometheusRule.disabled.PenstockModelGone=true"
    made = rendering.template("--set", typo)
    assert made.returncode != 0
    assert "there is no alert PenstockModelGone" in made.stderr
