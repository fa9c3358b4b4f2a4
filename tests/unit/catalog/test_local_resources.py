"""What local mode runs on without resources: providers' keys in the environment, or the simulator."""

import pytest

from penstock_catalog import api_key
from penstock_catalog.local import LocalCatalog
from penstock_catalog.local_resources import DEMO_SECRET_NAME, from_environment, simulator_resources
from penstock_catalog.problems import InvalidResources

GATEWAY = "http://127.0.0.1:8080"
PENSTOCK_KEY = api_key.generate("psk_", bytes).text
OPENAI = {"OPENAI_API_KEY": "sk-openai"}


def accounts(environment, tmp_path):
    found = from_environment(environment, GATEWAY)
    state = LocalCatalog(found.resources, tmp_path).publish()
    assert state.problems == ()
    assert len(state.compiled.auth.api_keys) == len(state.compiled.auth.plans) == 1
    return found, {account.name: account for account in state.compiled.router.accounts}


async def test_the_simulator_is_an_account_for_each_provider(tmp_path):
    keys = {"Anthropic": "sk-1", "OpenAI": "sk-2", "Gemini": "sk-3"}
    local = LocalCatalog(simulator_resources("http://127.0.0.1:9000", keys), tmp_path)
    state = local.publish()
    assert (state.problems, state.refused) == ((), False)
    found = {account.name: account for account in state.compiled.router.accounts}
    assert {name: (one.provider, one.api_key, one.base_url) for name, one in found.items()} == {
        "simulator-anthropic": ("Anthropic", "sk-1", "http://127.0.0.1:9000"),
        "simulator-openai": ("OpenAI", "sk-2", "http://127.0.0.1:9000/v1"),
        "simulator-gemini": ("Gemini", "sk-3", "http://127.0.0.1:9000"),
    }
    assert "claude-opus-4-8" in found["simulator-anthropic"].models
    assert "gpt-5.3-codex" in found["simulator-openai"].models
    assert "gemini-2.5-flash" in found["simulator-gemini"].models
    (plan,) = state.compiled.auth.plans
    assert (plan.name, plan.translation, plan.messages_translation) == ("default", "Allow", "Allow")
    assert [(key.name, key.project, key.plan) for key in state.compiled.auth.api_keys] == [("demo", "demo", "default")]
    assert api_key.well_formed(local.key_path(DEMO_SECRET_NAME).read_text())
    assert [state async for state in local.changes()] == []


@pytest.mark.parametrize(
    ("environment", "variables", "expected"),
    [
        (
            {"ANTHROPIC_API_KEY": " sk-ant-x\n", "ANTHROPIC_BASE_URL": GATEWAY},
            ("ANTHROPIC_API_KEY",),
            {"anthropic": ("Anthropic", "sk-ant-x", "https://api.anthropic.com")},
        ),
        (OPENAI, ("OPENAI_API_KEY",), {"openai": ("OpenAI", "sk-openai", "https://api.openai.com/v1")}),
        (
            {**OPENAI, "OPENAI_BASE_URL": "https://eu.api.openai.com/v1/"},
            ("OPENAI_API_KEY",),
            {"openai": ("OpenAI", "sk-openai", "https://eu.api.openai.com/v1")},
        ),
        (
            {**OPENAI, "OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"},
            ("OPENAI_API_KEY",),
            {"openai-compatible": ("OpenAICompatible", "sk-openai", "http://127.0.0.1:11434/v1")},
        ),
        (
            {"GEMINI_API_KEY": "g-1"},
            ("GEMINI_API_KEY",),
            {"gemini": ("Gemini", "g-1", "https://generativelanguage.googleapis.com")},
        ),
        (
            {"GEMINI_API_KEY": "g-1", "GOOGLE_API_KEY": "g-2", "GOOGLE_GEMINI_BASE_URL": "https://g.example"},
            ("GOOGLE_API_KEY",),
            {"gemini": ("Gemini", "g-2", "https://g.example")},
        ),
        (
            {**OPENAI, "ANTHROPIC_API_KEY": "sk-ant-x", "GEMINI_API_KEY": "g-1", "OPENAI_BASE_URL": " "},
            ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"),
            {
                "anthropic": ("Anthropic", "sk-ant-x", "https://api.anthropic.com"),
                "openai": ("OpenAI", "sk-openai", "https://api.openai.com/v1"),
                "gemini": ("Gemini", "g-1", "https://generativelanguage.googleapis.com"),
            },
        ),
    ],
)
def test_accounts_from_the_environment(tmp_path, environment, variables, expected):
    found, made = accounts(environment, tmp_path)
    assert (found.variables, found.remarks) == (variables, ())
    assert {name: (one.provider, one.api_key, one.base_url) for name, one in made.items()} == expected


@pytest.mark.parametrize(
    ("more", "served", "not_served"),
    [
        ({}, {"gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash"}, set()),
        ({"ANTHROPIC_API_KEY": "x"}, {"gpt-4o-mini", "gemini-2.5-flash"}, {"claude-haiku-4-5"}),
        (
            {"ANTHROPIC_API_KEY": "x", "GOOGLE_API_KEY": "x"},
            {"gpt-4o-mini"},
            {"claude-haiku-4-5", "gemini-2.5-flash"},
        ),
    ],
)
def test_a_server_elsewhere_serves_what_no_other_key_is_for(tmp_path, more, served, not_served):
    _, made = accounts({**OPENAI, "OPENAI_BASE_URL": "http://llm.example:4000", **more}, tmp_path)
    assert served <= set(made["openai-compatible"].models)
    assert not not_served & set(made["openai-compatible"].models)


@pytest.mark.parametrize(
    "environment", [{}, {"ANTHROPIC_API_KEY": ""}, {"GEMINI_API_KEY": " "}, {"OPENAI_BASE_URL": "https://x.example"}]
)
def test_nothing_from_the_environment(environment):
    found = from_environment(environment, GATEWAY)
    assert (found.resources, found.variables, found.remarks) == ((), (), ())


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/v1",
        "http://localhost:8080/v1",
        "http://penstock.localhost:8080/v1",
        "http://[::1]:8080/v1",
        "http://0.0.0.0:8080",
    ],
)
@pytest.mark.parametrize(
    ("variable", "base"), [("OPENAI_API_KEY", "OPENAI_BASE_URL"), ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL")]
)
def test_the_gateway_is_not_an_account_of_itself(variable, base, url):
    found = from_environment({variable: "x", base: url}, GATEWAY)
    assert found.resources == ()
    assert found.remarks == (f"{variable} is not used: {base} is this gateway",)


@pytest.mark.parametrize(
    ("url", "gateway"),
    [
        ("http://127.0.0.1:8081/v1", GATEWAY),
        ("http://other.example:8080/v1", GATEWAY),
        ("https://127.0.0.1/v1", "http://127.0.0.1:80"),
        ("http://127.0.0.1:8080/v1", "http://10.0.0.1:9090"),
    ],
)
def test_another_gateway_may_be_an_account(url, gateway):
    found = from_environment({"OPENAI_API_KEY": PENSTOCK_KEY, "OPENAI_BASE_URL": url}, gateway)
    assert (found.variables, found.remarks) == (("OPENAI_API_KEY",), ())


@pytest.mark.parametrize(
    ("variable", "provider"),
    [("ANTHROPIC_API_KEY", "Anthropic"), ("OPENAI_API_KEY", "OpenAI"), ("GEMINI_API_KEY", "Gemini")],
)
def test_a_gateways_key_is_not_sent_to_a_provider(variable, provider):
    found = from_environment({variable: PENSTOCK_KEY}, GATEWAY)
    assert found.resources == ()
    assert found.remarks == (f"{variable} is not used: it is a gateway's key, not {provider}'s",)
    assert PENSTOCK_KEY not in repr(found)


@pytest.mark.parametrize("url", ["localhost:11434/v1", "http://x:99999/v1", "http://[nonsense/v1", "ftp://x/v1"])
def test_a_base_url_that_is_none_is_told(url):
    with pytest.raises(InvalidResources) as caught:
        from_environment({**OPENAI, "OPENAI_BASE_URL": url}, GATEWAY)
    (problem,) = caught.value.problems
    assert str(problem).startswith("the environment: UpstreamAccount/openai-compatible spec.baseURL: must be a URL")
