"""The definitions as manifests: names, columns, status, and rules that every supported Kubernetes (1.28 on) takes."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.chart import cel_rules, cluster
from tests.chart.custom_resources import CRDS, DEFINITIONS, SCHEMAS, cases

NAMES = {"UpstreamAccount": "ua", "Model": "mdl", "Plan": "plan", "APIKey": "ak"}
COLUMNS = {
    "UpstreamAccount": ["Provider", "Mode"],
    "Model": ["OwnedBy", "ReadyAccounts", "TotalAccounts"],
    "Plan": ["Credit", "OverBudget", "OnStoreOutage"],
    "APIKey": ["Project", "Plan", "Mode", "Prefix", "Expires"],
}
STATUS = {
    "UpstreamAccount": {"credentialHash", "cooldowns"},
    "Model": {"readyAccounts", "totalAccounts"},
    "Plan": set(),
    "APIKey": {"keyPrefix", "issuedTime"},
}
# What apiextensions.k8s.io/v1 has had since 1.28, as far as we use it. Newer words are dropped by older servers.
SCHEMA_WORDS = {
    "type", "format", "description", "default", "enum", "required", "properties", "items", "minimum", "maximum",
    "minLength", "maxLength", "minItems", "maxItems", "pattern", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}  # fmt: skip
RULES = [
    pytest.param(schema, rule, id=f"{kind} {path or 'all'} {index}")
    for kind, root in SCHEMAS.items()
    for index, (path, schema, rule) in enumerate(cel_rules.rules(root))
]


def schemas(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from schemas(below, f"{path}.{name}")
    if "items" in schema:
        yield from schemas(schema["items"], f"{path}[]")


@pytest.mark.parametrize(("kind", "short"), NAMES.items())
def test_names(kind, short):
    crd, plural = CRDS[kind], f"{kind.lower()}s"
    assert (crd["apiVersion"], crd["kind"]) == ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    assert crd["metadata"] == {"name": f"{plural}.penstock.dev"}
    assert set(crd["spec"]) == {"group", "scope", "names", "versions"}
    assert (crd["spec"]["group"], crd["spec"]["scope"]) == ("penstock.dev", "Namespaced")
    assert crd["spec"]["names"] == {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
        "categories": ["penstock"],
    }
    (version,) = crd["spec"]["versions"]
    assert {name: version[name] for name in ("name", "served", "storage", "subresources")} == {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
    }
    assert (DEFINITIONS / f"{plural}.yaml").exists()


def test_there_are_no_other_definitions():
    assert set(CRDS) == set(NAMES)
    assert len(list(DEFINITIONS.iterdir())) == len(NAMES)


@pytest.mark.parametrize("kind", CRDS)
def test_columns_show_fields_that_there_are(kind):
    columns = CRDS[kind]["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns] == [*COLUMNS[kind], "Ready", "Reason", "Age"]
    for column in columns[:-3]:
        schema = SCHEMAS[kind]
        for name in column["jsonPath"].split(".")[1:]:
            schema = schema["properties"][name]
        assert schema["type"] == column["type"]
    assert columns[-3:] == [
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {
            "name": "Reason",
            "type": "string",
            "priority": 1,
            "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_is_described_and_typed_in_words_that_all_servers_know(kind):
    for path, schema in schemas(SCHEMAS[kind]):
        if path == ".metadata":
            assert schema == {"type": "object"}
            continue
        assert set(schema) <= SCHEMA_WORDS, path
        assert schema["type"] in {"object", "array", "string", "integer"}, path
        assert schema["description"].endswith("."), path
        assert schema["type"] != "array" or {"x-kubernetes-list-type", "maxItems"} <= set(schema), path
        assert schema["type"] != "object" or "properties" in schema, path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], path


@pytest.mark.parametrize("kind", CRDS)
def test_defaults_fit_their_own_fields(kind):
    for path, schema in schemas(SCHEMAS[kind]):
        if "default" in schema:
            jsonschema_rs.validator_for(schema).validate(schema["default"])
            assert list(cel_rules.broken(schema, schema["default"], schema["default"])) == [], path


@pytest.mark.parametrize("kind", CRDS)
def test_status(kind):
    status = SCHEMAS[kind]["properties"]["status"]["properties"]
    assert set(status) == STATUS[kind] | {"observedGeneration", "conditions"}
    conditions = status["conditions"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    # The bounds of meta/v1 Condition.
    item = conditions["items"]
    assert set(item["required"]) == {"type", "status", "reason", "message", "lastTransitionTime"}
    facts = {name: {k: v for k, v in field.items() if k != "description"} for name, field in item["properties"].items()}
    assert facts == {
        "type": {
            "type": "string",
            "maxLength": 316,
            "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "message": {"type": "string", "maxLength": 32768},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
    }


@pytest.mark.parametrize("kind", CRDS)
def test_descriptions_tell_the_defaults(kind):
    for path, schema in schemas(SCHEMAS[kind]):
        value = schema.get("default")
        if isinstance(value, str | int):
            assert schema["description"].endswith((f" Default {value}.", f" If left out, {value}.")), path


TIME = "2026-11-21T17:00:00Z"
CONDITION = {
    "type": "Ready",
    "status": "False",
    "reason": "Cooling",
    "message": "",
    "lastTransitionTime": TIME,
    "observedGeneration": 2,
}
STATUSES = {
    "UpstreamAccount": {
        "credentialHash": "0123456789ab",
        "cooldowns": [
            {"reason": "429 from upstream", "until": TIME},
            {"model": "claude-opus-4-5", "operation": "count_tokens", "reason": "Throttled", "until": TIME},
        ],
    },
    "Model": {"readyAccounts": 0, "totalAccounts": 2},
    "Plan": {},
    "APIKey": {"keyPrefix": "psk_abcdefghij", "issuedTime": TIME},
}


@pytest.mark.parametrize("kind", CRDS)
def test_a_status_as_the_operator_writes_it_is_taken(kind):
    status = {"observedGeneration": 2, "conditions": [CONDITION, {**CONDITION, "type": "Accepted"}], **STATUSES[kind]}
    assert set(status) == set(SCHEMAS[kind]["properties"]["status"]["properties"])
    example = next(case.document for case in cases("good") if case.kind == kind)
    assert cluster.answers({**example, "status": status}) == []
    for bad in (
        {"phase": "Ready"},
        {"conditions": [CONDITION, CONDITION]},
        {"conditions": [{**CONDITION, "status": "No"}]},
    ):
        assert cluster.answers({**example, "status": bad})


def test_where_an_account_rests():
    rest = SCHEMAS["UpstreamAccount"]["properties"]["status"]["properties"]["cooldowns"]["items"]
    assert set(rest["properties"]) == {"model", "operation", "reason", "until"}


@pytest.mark.parametrize(("schema", "rule"), RULES)
def test_a_rule_compiles_speaks_plainly_and_has_a_bounded_cost(schema, rule):
    cel_rules.compiled(rule["rule"], schema["type"])
    assert set(rule) <= {"rule", "message", "fieldPath", "reason"}
    assert rule["message"]
    assert "\n" not in rule["message"]
    if "fieldPath" in rule:
        assert rule["fieldPath"].removeprefix(".") in schema["properties"]
    if schema["type"] == "object":
        used = [below for name, below in schema["properties"].items() if f"self.{name}" in rule["rule"]]
        assert used
        bounded = [below for below in used if below["type"] in {"string", "array"}]
    else:
        bounded = [below for _, below in schemas(schema) if below["type"] in {"string", "array"}]
    assert all({"maxLength", "maxItems", "enum"} & set(below) for below in bounded)


@pytest.mark.parametrize(("schema", "rule"), RULES)
def test_a_rule_on_a_form_repeats_the_pattern(schema, rule):
    """A pattern is for tools, its rule for people: the message of a pattern is the pattern."""
    if "pattern" in schema and "matches(r'" in rule["rule"]:
        assert f"self.matches(r'{schema['pattern']}')" in rule["rule"]


def test_a_rule_that_does_not_compile_is_noticed():
    for rule in ("self +", "self + 1", "self.size()"):
        with pytest.raises((RuntimeError, AssertionError)):
            cel_rules.compiled(rule, "string")
