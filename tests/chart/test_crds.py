"""The custom resources' schemas beside the typed readers: YAML on a laptop and in a cluster means the same.

The schema is judged by `cluster`, which does as an API server does; the reader is the one that local mode and the
operator have.
"""

import string
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock_catalog import quantities, reader
from penstock_catalog import resources as res
from penstock_catalog.compiler import Options, compile_catalog
from penstock_catalog.problems import InvalidResources, Place
from tests.chart import cluster
from tests.chart.custom_resources import ROOT, SCHEMAS, Case, cases, document, said
from tests.effort import examples

GOOD, BAD, CHANGES = cases("good"), cases("bad"), cases("changes")
SPECS = {
    "UpstreamAccount": res.UpstreamAccountSpec,
    "Model": res.ModelSpec,
    "Plan": res.PlanSpec,
    "APIKey": res.APIKeySpec,
}
FACTS = ("type", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems")

# The reader turns these strings into numbers, so its schema says nothing of their form.
DECIMAL = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
DURATION = "^([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,9}s)?$"
TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
QUANTITIES = {DECIMAL: 16, DURATION: 31, TIME: 40}
# The same in another spelling: Go's \s knows blanks of ASCII only, and not even the vertical tab.
SPELLINGS = {r"^[^\s\x0b\x85\p{Z}]+$": r"^\S+$"}
# Bounds that keep rules cheap and objects small in a cluster. A file has no such need.
CLUSTER_BOUNDS = {
    ("UpstreamAccount", "spec.baseURL"): {"maxLength": 1024},
    ("UpstreamAccount", "spec.models"): {"maxItems": 256},
    ("Plan", "spec.models"): {"maxItems": 256},
    ("Model", "spec.aliases"): {"maxItems": 64},
    ("Model", "spec.upstreamNames"): {"maxItems": 7},
    ("Model", "spec.fallbacks"): {"maxItems": 64},
    ("Model", "spec.prices"): {"maxItems": 64},
}


def local(resource: Any) -> list[str]:
    """What is said of a resource from a file, by field; none when it is taken."""
    try:
        (read,) = reader.read_object(resource, Place("f.yaml"))
    except InvalidResources as error:
        return [f"{problem.field}: {problem.message}" for problem in error.problems]
    problems = compile_catalog([read], options=Options(), keys={}).problems
    # A private address by https is a matter of conditions, in a cluster as here.
    return [f"{problem.field}: {problem.message}" for problem in problems if problem.message.startswith("http is")]


def spec_of(resource: Any) -> Any:
    (read,) = reader.read_object(resource, Place("f.yaml"))
    return read.spec


def facts_of(schema: Any, root: Any, path: str, *, required: bool = True) -> dict[str, dict[str, Any]]:
    """Everything that a JSON schema says of each field, by its path."""
    if "anyOf" in schema:
        (schema,) = (branch for branch in schema["anyOf"] if branch != {"type": "null"})
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    found = {path: {fact: schema[fact] for fact in FACTS if fact in schema} | {"required": required}}
    for name, below in schema.get("properties", {}).items():
        found |= facts_of(below, root, f"{path}.{name}", required=name in schema.get("required", ()))
    if "items" in schema:
        found |= facts_of(schema["items"], root, f"{path}[]")
    return found


def as_a_reader_says(kind: str, path: str, facts: dict[str, Any]) -> dict[str, Any]:
    """A field's facts without what a cluster alone has."""
    facts = {fact: value for fact, value in facts.items() if CLUSTER_BOUNDS.get((kind, path), {}).get(fact) != value}
    pattern = facts.get("pattern")
    if pattern in QUANTITIES:
        assert facts.pop("maxLength") == QUANTITIES[facts.pop("pattern")], path
    elif pattern in SPELLINGS:
        facts["pattern"] = SPELLINGS[pattern]
    elif pattern is not None and pattern.endswith("{0,62}$"):
        assert facts.pop("maxLength") == 63, "what the pattern says too"
    return facts


@pytest.mark.parametrize("kind", SPECS)
def test_schema_and_reader_have_the_same_fields_types_bounds_and_words(kind):
    written = SPECS[kind].model_json_schema(by_alias=True)
    schema = facts_of(SCHEMAS[kind]["properties"]["spec"], {}, "spec", required="spec" in SCHEMAS[kind]["required"])
    assert {path: as_a_reader_says(kind, path, facts) for path, facts in schema.items()} == facts_of(
        written, written, "spec"
    )


def test_the_kinds_are_those_of_the_reader():
    assert set(SCHEMAS) == set(SPECS) == {kind for kind in reader._KINDS if kind != "Secret"}


def test_the_ways_in_are_those_of_the_reader():
    auth = SCHEMAS["UpstreamAccount"]["properties"]["spec"]["properties"]["auth"]
    (rule,) = auth["x-kubernetes-validations"]
    ways = list(auth["properties"])
    assert rule["rule"] == f"[{', '.join(f'has(self.{way})' for way in ways)}].exists_one(given, given)"
    assert rule["message"] == f"needs exactly one way in (of: {', '.join(ways)})"


def defaults_of(schema: Any, path: str) -> dict[str, Any]:
    found = {path: schema["default"]} if "default" in schema else {}
    for name, below in schema.get("properties", {}).items():
        found |= defaults_of(below, f"{path}.{name}")
    return found | (defaults_of(schema["items"], f"{path}[]") if "items" in schema else {})


def reader_defaults(model: type[res.Strict], path: str) -> dict[str, Any]:
    written = model.model_json_schema(by_alias=True)
    found: dict[str, Any] = {}

    def walk(schema: Any, path: str) -> None:
        if "anyOf" in schema:
            (below,) = (branch for branch in schema["anyOf"] if branch != {"type": "null"})
            schema = {**below, **{name: value for name, value in schema.items() if name == "default"}}
        default = schema.get("default")
        # What holds nothing but absent fields is absent.
        if default is not None and (
            not isinstance(default, dict) or any(value is not None for value in default.values())
        ):
            found[path] = default
        if "$ref" in schema:
            schema = written["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        for name, below in schema.get("properties", {}).items():
            walk(below, f"{path}.{name}")
        if "items" in schema:
            walk(schema["items"], f"{path}[]")

    walk(written, path)
    return found


@pytest.mark.parametrize("kind", SPECS)
def test_schema_and_reader_have_the_same_defaults(kind):
    schema = SCHEMAS[kind]["properties"]["spec"]
    found = defaults_of(schema, "spec")
    if kind == "UpstreamAccount":
        # The reader leaves this one to the process: local mode allows what a cluster does not.
        assert found.pop("spec.allowPrivateAddress") == Options().private_addresses
        assert found["spec.timeouts"] == {}, "an object whose fields have the defaults"
        found["spec.timeouts"] = cluster._complete(schema["properties"]["timeouts"], {})
    if kind == "Plan":
        found["spec.priceMultiplier"] = quantities.micro(found["spec.priceMultiplier"])
    assert found == reader_defaults(SPECS[kind], "spec")


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_both_sides_take_what_is_good_and_understand_the_same(case: Case):
    assert cluster.answers(case.document) == []
    assert local(case.document) == []
    same_meaning(case.document)


def same_meaning(resource: Any) -> None:
    """What a cluster stores, with its defaults, reads as the file does."""
    stored, written = spec_of(cluster.admitted(resource)), spec_of(resource)
    if isinstance(written, res.UpstreamAccountSpec) and written.allow_private_address is None:
        written = written.model_copy(update={"allow_private_address": Options().private_addresses})
    assert stored == written


@pytest.mark.parametrize("case", BAD, ids=str)
def test_both_sides_refuse_what_is_bad_and_say_why(case: Case):
    answers = cluster.answers(case.document)
    assert said(case.cluster, answers), answers
    assert case.local in local(case.document)


@pytest.mark.parametrize("case", CHANGES, ids=str)
def test_a_cluster_refuses_changes_of_what_is_immutable(case: Case):
    before = document(case.kind, case.before)
    assert local(case.document) == local(before) == cluster.answers(before) == cluster.answers(case.document) == []
    answers = cluster.answers(case.document, before)
    assert said(case.cluster, answers) if case.cluster else answers == [], answers


def test_the_example_that_people_copy_passes_both_sides():
    resources = cluster_resources((ROOT / "docs" / "examples" / "resources.yaml").read_text())
    assert {resource["kind"] for resource in resources} == set(SPECS)
    for resource in resources:
        assert cluster.answers(resource) == [], resource["metadata"]["name"]
        assert local(resource) == []
        same_meaning(resource)


def cluster_resources(text: str) -> list[Any]:
    parts = [reader.plain(part) for part in text.split("\n---\n")]
    return [part for part in parts if part["kind"] in SPECS]


def paths(schema: Any, value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """Every place in a value where something may stand, and the schema there."""
    found = [(path, schema)] if path else []
    if isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            found += paths(below, value.get(name), (*path, name))
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += paths(schema["items"], item, (*path, index))
    return found


BASES = [case for case in GOOD if case.name == "everything"]
# No whole number as a float (JSON has no such thing, so a cluster takes 1.0 as 1) and no null (a cluster drops it).
ANYTHING = st.one_of(
    st.booleans(),
    st.integers(-2, 2**54),
    st.just(0.5),
    st.text(max_size=20),
    st.lists(st.sampled_from(["a", "claude-*", 1]), max_size=3),
    st.dictionaries(st.sampled_from(["name", "key", "x"]), st.just("a"), max_size=2),
)
URLS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["https://", "http://", "HTTPS://", "ftp://", "https:/", "//", ""]),
    st.sampled_from(["example.com", "a", "", "me@example.com", "é.example", "a_b!", "10.0.0.1"]),
    st.text("a:/@019.-_%é ", max_size=9),
)
TIMES = st.builds(
    "{}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
    st.sampled_from(["1969", "1970", "2026", "2028", "9998", "26"]),
    st.integers(0, 13),
    st.sampled_from([0, 1, 28, 29, 30, 31, 32]),
    st.sampled_from("Tt "),
    st.integers(0, 24),
    st.sampled_from([0, 59, 60]),
    st.sampled_from([0, 59, 60]),
    st.sampled_from(["", ".5", ".123456789", ".1234567890", "."]),
    st.sampled_from(["Z", "z", "+05:30", "-23:59", "+24:00", "", "+0100"]),
)
NUMBER = st.one_of(
    st.integers(0, 10**7).map(str), st.sampled_from(["", "00", "31", "30", "2678400", "2678401", "744", "745"])
)
DURATIONS = st.one_of(
    st.builds("{}{}".format, NUMBER, st.sampled_from(["s", "m", "h", "d", "ms", ""])),
    st.lists(st.tuples(NUMBER, st.sampled_from("dhms")), max_size=4).map(lambda parts: "".join(map("".join, parts))),
)
DECIMALS = st.builds("{}{}{}".format, NUMBER, st.sampled_from(["", ".", ","]), NUMBER)


def likely(schema: Any) -> st.SearchStrategy[Any]:
    """Values near what a field takes."""
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], schema["enum"][0].lower(), "None"])
    if schema["type"] == "integer":
        ends = {bound + step for bound in (schema["minimum"], schema["maximum"]) for step in (-1, 0, 1)}
        return st.sampled_from(sorted(ends))
    if schema["type"] == "array":
        return st.lists(likely(schema["items"]), max_size=3)
    if schema["type"] == "object":
        required = {name: likely(schema["properties"][name]) for name in schema.get("required", ())}
        rest = {name: likely(below) for name, below in schema["properties"].items() if name not in required}
        return st.fixed_dictionaries(required, optional=rest)
    special = {TIME: TIMES, DURATION: DURATIONS, DECIMAL: DECIMALS}.get(schema.get("pattern"))
    if special is not None:
        return special
    if "pattern" not in schema:
        return URLS
    return st.text(string.ascii_letters + string.digits + "-._*/ \t\v\x85\u00a0\u2003é", max_size=6)


@st.composite
def altered(draw: st.DrawFn) -> Any:
    """A good resource in which one or two fields are other than they were, or gone."""
    base = draw(st.sampled_from(BASES))
    spec = deepcopy(base.spec)
    for _ in range(draw(st.integers(1, 2))):
        path, schema = draw(st.sampled_from(paths(SCHEMAS[base.kind]["properties"]["spec"], spec)))
        place = spec
        for step in path[:-1]:
            place = place[step]
        if isinstance(place, dict) and draw(st.integers(0, 4)) == 0:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = draw(st.one_of(likely(schema), likely(schema), ANYTHING))
    return document(base.kind, spec)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(altered())
def test_both_sides_judge_alike_whatever_is_altered(resource):
    answers, faults = cluster.answers(resource), local(resource)
    assert bool(answers) == bool(faults), (answers, faults)
    if not answers:
        same_meaning(resource)


@pytest.mark.parametrize("strategy", [TIMES, DURATIONS, DECIMALS, URLS], ids=["times", "durations", "decimals", "URLs"])
def test_both_sides_judge_every_notation_alike(strategy):
    bases = {
        TIMES: (
            "APIKey",
            lambda text: {"project": "a", "planRef": {"name": "a"}, "secretName": "a", "expirationTime": text},
        ),
        DURATIONS: ("Plan", lambda text: {"limits": [{"name": "a", "unit": "Requests", "amount": 1, "window": text}]}),
        DECIMALS: ("Plan", lambda text: {"priceMultiplier": text}),
        URLS: (
            "UpstreamAccount",
            lambda text: {
                "provider": "OpenAI",
                "baseURL": text,
                "auth": {"apiKey": {"secretRef": {"name": "a", "key": "k"}}},
            },
        ),
    }
    kind, spec = bases[strategy]

    @settings(max_examples=examples(60), deadline=None)
    @given(strategy)
    def judge(text):
        resource = document(kind, spec(text))
        answers, faults = cluster.answers(resource), local(resource)
        assert bool(answers) == bool(faults), (text, answers, faults)

    judge()
