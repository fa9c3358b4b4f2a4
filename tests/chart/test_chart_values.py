"""What values the chart takes, what it refuses and in which words, and that its page and schema are made from them."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from scripts import chart_rules

from tests.chart.rendering import CHART, helm, template

pytestmark = pytest.mark.xdist_group("chart")  # one process renders everything, once

ROOT = CHART.parents[1]
REFUSALS = yaml.safe_load((Path(__file__).parent / "refusals.yaml").read_text())


@pytest.fixture(scope="module")
def answers():
    """What Helm says to every row."""
    with ThreadPoolExecutor(4) as pool:
        said = pool.map(lambda row: template(values=yaml.safe_dump(row["values"])), REFUSALS)
    return {row["case"]: result for row, result in zip(REFUSALS, said, strict=True)}


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row["case"])
def test_what_cannot_work_is_refused_in_words(row, answers):
    result = answers[row["case"]]
    assert result.returncode != 0
    assert row["says"] in result.stderr


@pytest.mark.parametrize("row", [row for row in REFUSALS if "takes" in row], ids=lambda row: row["case"])
def test_the_same_without_the_mistake_is_taken(row):
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text()), row["takes"])
    jsonschema_rs.validator_for(schema).validate(values)


def merged(below, above):
    """Values as Helm lays them over each other."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: merged(below.get(key), text) for key, text in above.items()}}


def test_every_rule_is_tried():
    said = [row["says"].removesuffix(" is required") for row in REFUSALS]
    for words in chart_rules.RULES:
        one_of_several = words.partition(".")[2]
        assert any(words.startswith(one) or one_of_several in one for one in said), words


def test_helm_takes_the_schema_for_a_chart_within_a_chart(tmp_path):
    """A chart above gives `global` to all below it."""
    (tmp_path / "Chart.yaml").write_text(
        "apiVersion: v2\nname: above\nversion: 0.1.0\n"
        "dependencies: [{name: penstock, version: 0.1.0, repository: ''}]\n"
    )
    (tmp_path / "values.yaml").write_text("global: {team: a}\npenstock: {image: {tag: v1}}\n")
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "penstock").symlink_to(CHART)
    result = helm("template", "gateway", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert 'image: "penstock:v1"' in result.stdout


def test_page_and_schema_are_made_from_the_values():
    check = [sys.executable, str(ROOT / "scripts" / "chart_docs.py"), "--check"]
    result = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_a_value_without_a_word_about_it_is_refused():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import chart_docs
    finally:
        sys.path.pop(0)
    with pytest.raises(chart_docs.DocumentError, match=r"values.yaml:2: b needs a comment that begins with its name"):
        chart_docs.read("a: 1\nb: 2\n".replace("a: 1", "# a: First."))
    values = chart_docs.read(
        '# a: First.\n# @schema {"minimum": 1}\na: 1\n#\n# b: Second,\n# on two lines.\nb:\n  # c: Third.\n  c: ""\n'
    )
    assert values["b"].meaning == "Second, on two lines."
    assert chart_docs.schema_of(values["a"]) == {"type": "integer", "description": "First.", "minimum": 1}
    assert chart_docs.schema_of(values["b"])["required"] == ["c"]


def test_component_blocks_have_the_same_keys_in_the_same_order():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    common = [
        "replicaCount", "settings", "resources", "autoscaling", "podDisruptionBudget", "service", "serviceAccount",
        "podAnnotations", "podLabels", "priorityClassName", "nodeSelector", "tolerations", "affinity",
        "topologySpreadConstraints", "extraEnv", "extraVolumes", "extraVolumeMounts",
    ]  # fmt: skip
    own = {
        "longestStreamSeconds",
        "updateMaxUnavailable",
        "endpointRemovalSeconds",
        "persistence",
        "adminToken",
        "enabled",
    }
    for name in ("edge", "auth", "router", "status", "operator", "simulator"):
        keys = [key for key in values[name] if key not in own]
        assert keys == [key for key in common if key in keys], name
        missing = set(common) - set(keys)
        assert missing <= {"operator": {"replicaCount", "autoscaling", "podDisruptionBudget", "service"},
                           "simulator": {"autoscaling", "podDisruptionBudget"}}.get(name, set())  # fmt: skip
