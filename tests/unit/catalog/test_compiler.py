"""From resources to documents: references, names, statuses, stable versions."""

import random
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from penstock_catalog import compiler, reader
from penstock_catalog.compiler import IssuedKey, KeyFailure, Options, compile_catalog
from penstock_catalog.documents import PreviousKey

EXAMPLE = Path(__file__).parent / "data" / "resources.yaml"
ISSUED = IssuedKey(id="abc", prefix="psk_abc", digest="00" * 32)
OPTIONS = Options()


def resources_of(text: str):
    return reader.read_text(dedent(text), "f.yaml")


def compiled(text: str, options: Options = OPTIONS, keys=None):
    resources = resources_of(text)
    issued = {resource.name: ISSUED for resource in resources} if keys is None else keys
    return compile_catalog(resources, options=options, keys=issued)


def statuses(result):
    return {status.resource.id: (status.condition, status.reason) for status in result.statuses}


def account(name="a", provider="Anthropic", secret="s", more=""):
    return f"""
---
apiVersion: penstock.dev/v1alpha1
kind: UpstreamAccount
metadata: {{name: {name}}}
spec: {{provider: {provider}, auth: {{apiKey: {{secretRef: {{name: {secret}, key: api-key}}}}}}{more}}}
"""


def secret(name="s", value="sk-ant-1"):
    return f"""
---
{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}, stringData: {{api-key: "{value}"}}}}
"""


def model(name, more="", created=""):
    return f"""
---
{{apiVersion: penstock.dev/v1alpha1, kind: Model, metadata: {{name: {name}{created}}}, spec: {{{more}}}}}
"""


FULL = (
    "contextTokens: 1000, maxOutputTokens: 100, prices: [{effectiveTime: '2026-01-01T00:00:00Z', "
    "inputPerMillionTokens: '1', outputPerMillionTokens: '2'}]"
)
PLAN = "\n---\n{apiVersion: penstock.dev/v1alpha1, kind: Plan, metadata: {name: p}, spec: {}}\n"


def key(name="k", plan="p", more=""):
    return f"""
---
apiVersion: penstock.dev/v1alpha1
kind: APIKey
metadata: {{name: {name}}}
spec: {{project: demo, planRef: {{name: {plan}}}, secretName: {name}{more}}}
"""


def test_the_example_compiles_without_problems():
    result = compiled(EXAMPLE.read_text())
    assert result.problems == ()
    (upstream,) = result.router.accounts
    assert (upstream.name, upstream.api_key, upstream.not_served) == ("anthropic-a", "sk-ant-example", "")
    assert upstream.limits.requests_per_minute == 4000
    assert upstream.timeouts.response_ms == 600_000
    assert "claude-opus-4-8" in upstream.models
    (plan,) = result.auth.plans
    assert [limit.window_ms for limit in plan.limits] == [60_000, 18_000_000]
    (declared,) = result.auth.api_keys
    assert declared.model_dump() == {
        "name": "ci", "id": "abc", "prefix": "psk_abc", "digest": "00" * 32, "project": "demo", "plan": "team",
        "expires_at_ms": 1_798_761_600_000, "spend_limit_micro": 50_000_000, "spend_limit_period": "Month", "mode": "Active",
        "previous": None,
    }  # fmt: skip
    sonnet = next(entry for entry in result.auth.models if entry.name == "claude-sonnet-4-6")
    assert (sonnet.context_tokens, sonnet.fallbacks) == (200_000, ("claude-sonnet-4-5",))
    assert sonnet.upstream_names == {"Bedrock": "anthropic.claude-sonnet-4-6-v1"}
    assert [row.input for row in sonnet.prices] == [3_000_000]
    assert result.router.models == result.auth.models
    assert [entry.created_at_ms for entry in result.router.models] == sorted(
        (entry.created_at_ms for entry in result.router.models), reverse=True
    )


def test_versions_do_not_depend_on_order_but_on_content():
    text = EXAMPLE.read_text() + account("b", secret="anthropic-a") + PLAN + key()
    resources = reader.read_text(text, "f.yaml")
    keys = {"ci": ISSUED, "k": replace(ISSUED, digest="11" * 32)}
    first = compile_catalog(resources, options=OPTIONS, keys=keys)
    for seed in range(5):
        shuffled = random.Random(seed).sample(resources, len(resources))
        again = compile_catalog(shuffled, options=OPTIONS, keys=keys)
        assert (again.router, again.auth) == (first.router, first.auth)
    other = compile_catalog(resources[:-1], options=OPTIONS, keys=keys)
    assert other.router.version == first.router.version
    assert other.auth.version != first.auth.version


def test_each_document_holds_only_its_readers_secrets():
    result = compiled(EXAMPLE.read_text())
    assert "sk-ant" not in result.auth.model_dump_json()
    assert "00" * 32 not in result.router.model_dump_json()
    assert "sk-ant" not in repr(result)


@pytest.mark.parametrize(
    ("text", "reason", "condition", "problem"),
    [
        (account(), "SecretNotFound", "ResolvedRefs", "spec.auth.apiKey.secretRef: there is no Secret s"),
        (account() + secret(value=""), "SecretKeyMissing", "ResolvedRefs", "spec.auth.apiKey.secretRef: Secret s has nothing under api-key"),
        (account() + secret().replace("api-key", "other"), "SecretKeyMissing", "ResolvedRefs", "spec.auth.apiKey.secretRef: Secret s has nothing under api-key"),
        (account() + secret(value="sk-\\nx"), "SecretKeyInvalid", "ResolvedRefs", "spec.auth.apiKey.secretRef: Secret s holds under api-key what no header can carry"),
        (account(provider="Vertex") + secret(), "ProviderNotServed", "Ready", "spec.provider: provider Vertex is not served yet"),
        (account(provider="Bedrock") + secret(), "ProviderNotServed", "Ready", "spec.provider: provider Bedrock is not served yet"),
        (account(more=", baseURL: 'http://localhost'") + secret(), "AddressNotAllowed", "Accepted", "spec.baseURL: http is for private addresses, and those are not allowed"),
        (account(more=", baseURL: 'https://10.0.0.1'") + secret(), "AddressNotAllowed", "Accepted", "spec.baseURL: private addresses are not allowed"),
    ],
)  # fmt: skip
def test_an_account_that_cannot_be_used_spoils_no_other(text, reason, condition, problem):
    result = compiled(account("good", secret="ok") + secret("ok") + text)
    good = {"UpstreamAccount/good": ("Ready", "Ready"), "Secret/ok": ("Ready", "Ready"), "Secret/s": ("Ready", "Ready")}
    assert statuses(result) == {"UpstreamAccount/a": (condition, reason)} | {
        name: status for name, status in good.items() if name in statuses(result)
    }
    assert [str(entry) for entry in result.problems] == [f"f.yaml:12: UpstreamAccount/a {problem}"]
    bad, fine = result.router.accounts
    assert (bad.not_served, fine.not_served) == (reason, "")
    assert bad.not_served_message


@pytest.mark.parametrize(
    ("address", "option", "allowed"),
    [("", "Deny", False), ("", "Allow", True), (", allowPrivateAddress: Deny", "Allow", False), (", allowPrivateAddress: Allow", "Deny", True)],
)  # fmt: skip
def test_private_addresses(address, option, allowed):
    text = account(more=f", baseURL: 'http://127.0.0.1:9000'{address}") + secret()
    result = compiled(text, Options(private_addresses=option))
    (upstream,) = result.router.accounts
    assert upstream.allow_private_address is allowed
    assert (upstream.not_served == "") is allowed


def test_a_provider_that_is_not_served_needs_no_secret_to_say_so():
    assert compiled(account(provider="Bedrock")).router.accounts[0].not_served == "ProviderNotServed"


def test_the_served_providers_are_an_option():
    result = compiled(account(provider="OpenAI") + secret(), Options(served=frozenset({"Anthropic"})))
    assert result.router.accounts[0].not_served == "ProviderNotServed"


@pytest.mark.parametrize(
    ("provider", "more", "endpoint"),
    [
        ("Anthropic", "", "https://api.anthropic.com"),
        ("OpenAI", "", "https://api.openai.com/v1"),
        ("Gemini", "", "https://generativelanguage.googleapis.com"),
        ("Gemini", ", baseURL: 'https://gemini.example/'", "https://gemini.example"),
        ("OpenAICompatible", ", baseURL: 'https://llm.example/v1'", "https://llm.example/v1"),
    ],
)
def test_each_dialects_provider_is_served(provider, more, endpoint):
    text = account(provider=provider, more=more) + secret() + model("m", FULL)
    (upstream,) = compiled(text).router.accounts
    assert (upstream.not_served, upstream.base_url) == ("", endpoint)


def test_a_credential_loses_the_blanks_around_it_and_shows_as_a_hash():
    first, second = (compiled(account() + secret(value=value)).router.accounts[0] for value in ("sk-1\\n", "sk-1"))
    assert first == second
    assert len(first.credential_hash) == 12
    assert compiled(account() + secret(value="sk-2")).router.accounts[0].credential_hash != first.credential_hash


BUILT_IN = {entry.name for entry in compiler.built_in_models()}
CLAUDE, GPT, GEMINI = (
    {entry.name for entry in compiler.built_in_models() if entry.owned_by == owner}
    for owner in ("anthropic", "openai", "google")
)


@pytest.mark.parametrize(
    ("provider", "patterns", "expected"),
    [
        ("Anthropic", None, CLAUDE | {"named"}),
        ("Anthropic", "['claude-opus-4-*']", {name for name in CLAUDE if name.startswith("claude-opus-4-")}),
        ("Anthropic", "['claude-sonnet-4-20250514']", {"claude-sonnet-4-0"}),
        ("Anthropic", "['anthropic/*']", CLAUDE),
        ("Anthropic", "[ours, none]", {"ours"}),
        ("Anthropic", "['*']", BUILT_IN | {"ours", "named", "theirs", "here"}),
        ("Anthropic", "[]", set()),
        ("OpenAI", None, GPT | {"theirs", "here"}),
        ("OpenAI", "['gpt-4o*']", {name for name in GPT if name.startswith("gpt-4o")}),
        ("OpenAI", "['openai/*']", GPT),
        ("Gemini", None, GEMINI),
        ("Gemini", "['gcp/gemini-2.5-*-eu']", {"gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"}),
        ("OpenAICompatible", None, {"ours", "named", "here"}),
        ("OpenAICompatible", "['claude-*']", CLAUDE),
        ("OpenAICompatible", "['openai/gpt-4o-mini', ours]", {"gpt-4o-mini", "ours"}),
        ("Bedrock", None, set()),
    ],
)
def test_which_models_an_account_serves(provider, patterns, expected):
    more = ", baseURL: 'https://x.example'" + (f", models: {patterns}" if patterns else "")
    result = compiled(
        account(provider=provider, more=more)
        + secret()
        + model("ours", FULL)
        + model("theirs", FULL + ", ownedBy: openai")
        + model("named", FULL + ", ownedBy: acme, upstreamNames: [{provider: Anthropic, name: x}]")
        + model("here", FULL + ", ownedBy: openai, upstreamNames: [{provider: OpenAICompatible, name: 'gpt-oss:20b'}]")
    )
    assert set(result.router.accounts[0].models) == expected


@pytest.mark.parametrize(
    ("provider", "models", "message"),
    [
        ("OpenAICompatible", "", "it serves no model: write Model resources for what it has"),
        ("OpenAICompatible", ", models: [llama3]", "it serves no model: no model has such a name"),
        ("Anthropic", ", models: []", "it serves no model: no model has such a name"),
    ],
)
def test_an_account_without_models_is_told_and_takes_nothing(provider, models, message):
    text = account(provider=provider, more=", baseURL: 'https://x.example/v1'" + models) + secret()
    result = compiled(text)
    assert statuses(result)["UpstreamAccount/a"] == ("Ready", "NoModels")
    assert [str(problem) for problem in result.problems] == [f"f.yaml:3: UpstreamAccount/a spec.models: {message}"]
    assert (result.router.accounts[0].not_served, result.router.accounts[0].not_served_message) == ("NoModels", message)
    served = compiled(text.replace("[llama3]", "['llama*']").replace("[]", "[llama3]") + model("llama3", FULL))
    assert served.problems == ()
    assert served.router.accounts[0].models == ("llama3",)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (model("m"), {"m": "Incomplete"}),
        (model("m", FULL), {"m": "Ready"}),
        (model("claude-opus-4-8"), {"claude-opus-4-8": "Ready"}),
        (model("m", FULL + ", aliases: [n]") + model("n", FULL), {"m": "Ready", "n": "NameConflict"}),
        (
            model("m", FULL + ", aliases: [x]") + model("n", FULL + ", aliases: [x]"),
            {"m": "Ready", "n": "NameConflict"},
        ),
        (
            model("m", FULL + ", aliases: [x]", ", creationTimestamp: '2026-02-01T00:00:00Z'")
            + model("n", FULL + ", aliases: [x]", ", creationTimestamp: '2026-01-01T00:00:00Z'"),
            {"m": "NameConflict", "n": "Ready"},
        ),
        (model("m", FULL + ", aliases: [claude-opus-4-8]"), {"m": "NameConflict"}),
        (model("claude-opus-4-8", "aliases: [claude-opus-5]"), {"claude-opus-4-8": "NameConflict"}),
        (model("m", FULL + ", fallbacks: [nowhere, claude-opus-4-8]"), {"m": "ModelNotFound"}),
    ],
)
def test_how_models_fare(models, expected):
    result = compiled(account(more=", models: ['*']") + secret() + models)
    found = {name.removeprefix("Model/"): reason for name, (_, reason) in statuses(result).items() if "Model/" in name}
    assert found == expected
    there = {entry.name for entry in result.router.models}
    assert {name for name, reason in expected.items() if reason in {"Ready", "ModelNotFound"}} <= there
    assert there >= BUILT_IN
    words = [word for entry in result.router.models for word in (entry.name, *entry.aliases)]
    assert len(words) == len(set(words))


def test_a_refused_override_leaves_the_built_in_model_as_it_was():
    result = compiled(model("claude-opus-4-8", "contextTokens: 5, aliases: [claude-opus-5]"))
    assert next(entry for entry in result.router.models if entry.name == "claude-opus-4-8").context_tokens == 1_000_000


@pytest.mark.parametrize("more", [FULL + ", aliases: [claude-sonnet-4-5-20250929]", FULL])
def test_a_resource_may_take_an_alias_of_a_built_in_model(more):
    name = "m" if "aliases" in more else "claude-sonnet-4-5-20250929"
    result = compiled(account() + secret() + model(name, more + ", ownedBy: anthropic"))
    assert result.problems == ()
    by_name = {entry.name: entry for entry in result.router.models}
    assert "claude-sonnet-4-5-20250929" not in by_name["claude-sonnet-4-5"].aliases
    assert "anthropic/claude-sonnet-4.5" in by_name["claude-sonnet-4-5"].aliases
    assert name in by_name


def test_fallbacks_become_public_names():
    result = compiled(
        account(more=", models: ['*']") + secret()
        + model("m", FULL + ", aliases: [x], fallbacks: [claude-sonnet-4-20250514, x, nowhere, claude-sonnet-4-0, claude-opus-5]")
    )  # fmt: skip
    entry = next(entry for entry in result.router.models if entry.name == "m")
    assert entry.fallbacks == ("claude-sonnet-4-0", "claude-opus-5")
    assert [problem.message for problem in result.problems] == ["no model nowhere; the other fallbacks hold"]


def test_a_model_that_no_account_serves_is_told():
    result = compiled(account(provider="Vertex", more=", models: ['*']") + secret() + model("m", FULL))
    assert statuses(result)["Model/m"] == ("Ready", "NoReadyAccount")


def test_a_key_without_its_plan_is_known_but_not_ready():
    keys = {"lost": ISSUED, "fine": replace(ISSUED, digest="11" * 32)}
    result = compiled(key("lost", "nowhere") + key("fine") + PLAN, keys=keys)
    assert statuses(result)["APIKey/lost"] == ("ResolvedRefs", "PlanNotFound")
    assert [(entry.name, entry.plan) for entry in result.auth.api_keys] == [("fine", "p"), ("lost", "nowhere")]
    assert [str(problem) for problem in result.problems] == [
        "f.yaml:3: APIKey/lost spec.planRef: there is no Plan nowhere"
    ]


def test_keys_that_were_not_issued_are_left_out():
    keys = {"b": KeyFailure("SecretConflict", "taken"), "c": ISSUED}
    result = compiled(PLAN + key("a") + key("b") + key("c", more=", mode: Revoked"), keys=keys)
    assert statuses(result)["APIKey/a"] == ("ResolvedRefs", "NotIssued")
    assert statuses(result)["APIKey/b"] == ("ResolvedRefs", "SecretConflict")
    (declared,) = result.auth.api_keys
    assert (declared.name, declared.mode, declared.expires_at_ms, declared.spend_limit_micro) == ("c", "Revoked", 0, 0)


def test_a_key_that_was_rotated_carries_its_previous_text():
    before = PreviousKey(id="old", prefix="psk_old", digest="11" * 32, expires_at_ms=7)
    result = compiled(PLAN + key("a"), keys={"a": replace(ISSUED, previous=before)})
    (declared,) = result.auth.api_keys
    assert (declared.id, declared.previous) == ("abc", before)
    assert result.auth.version != compiled(PLAN + key("a"), keys={"a": ISSUED}).auth.version
    assert statuses(result)["APIKey/a"] == ("Ready", "Ready")


def test_a_key_that_stands_elsewhere_works_and_is_marked():
    keys = {"a": replace(ISSUED, failure=KeyFailure("SecretConflict", "taken"))}
    result = compiled(PLAN + key("a"), keys=keys)
    assert [entry.name for entry in result.auth.api_keys] == ["a"]
    assert statuses(result)["APIKey/a"] == ("ResolvedRefs", "SecretConflict")


def test_one_key_is_not_two_resources():
    result = compiled(PLAN + key("b") + key("a"))
    assert [entry.name for entry in result.auth.api_keys] == ["a"]
    assert statuses(result)["APIKey/b"] == ("ResolvedRefs", "KeyTaken")


def test_nothing_at_all_compiles_too():
    result = compile_catalog([], options=OPTIONS, keys={}, built_in=())
    assert (result.router.accounts, result.router.models, result.auth.plans, result.statuses) == ((), (), (), ())
    assert result.router.version
