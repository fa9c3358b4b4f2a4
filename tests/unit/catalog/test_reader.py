"""Resources from YAML: what is read, and what is said about what cannot be."""

from pathlib import Path
from textwrap import dedent

import pytest

from penstock_catalog import reader
from penstock_catalog.problems import InvalidResources, Place, Problem
from penstock_catalog.resources import APIKey, Model, Plan, Secret, UpstreamAccount

EXAMPLE = Path(__file__).parent / "data" / "resources.yaml"


def read(text: str):
    return reader.read_text(dedent(text), "f.yaml")


def problems_of(text: str) -> list[str]:
    with pytest.raises(InvalidResources) as caught:
        read(text)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_the_example_reads_in_full():
    account, secret, plan, key, model = reader.read_text(EXAMPLE.read_text(), "resources.yaml")
    assert isinstance(account, UpstreamAccount)
    assert (account.name, account.place.line, account.spec.provider, account.spec.tier) == (
        "anthropic-a",
        3,
        "Anthropic",
        0,
    )
    assert account.spec.endpoint == "https://api.anthropic.com"
    assert account.spec.allow_private_address == "Deny"
    assert account.spec.auth.api_key.secret_ref.model_dump() == {"name": "anthropic-a", "key": "api-key"}
    assert account.spec.models == ["claude-*"]
    assert account.spec.limits.model_dump() == {
        "requests_per_minute": 4000, "tokens_per_minute": 400_000, "max_concurrent_requests": 64,
    }  # fmt: skip
    assert account.spec.timeouts.response_seconds == 600
    assert isinstance(secret, Secret)
    assert secret.values == {"api-key": "sk-ant-example"}
    assert isinstance(plan, Plan)
    assert [(limit.name, limit.window_ms, limit.scope) for limit in plan.spec.limits] == [
        ("per-minute", 60_000, "Key"), ("five-hours", 18_000_000, "Project"),
    ]  # fmt: skip
    assert (plan.spec.on_store_outage, plan.spec.price_multiplier_ppm) == ("Degraded", 1_000_000)
    assert isinstance(key, APIKey)
    assert (key.spec.project, key.spec.plan_ref.name, key.spec.secret_name) == ("demo", "team", "ci-key")
    assert key.spec.expires_at_ms == 1_798_761_600_000
    assert key.spec.spend_limit.model_dump() == {"micro_usd": 50_000_000, "period": "Month"}
    assert isinstance(model, Model)
    assert model.spec.prices[0].cache_write_5m_micro == 3_750_000
    assert model.spec.prices[0].long_context.output_micro == 22_500_000


def test_defaults_of_a_bare_plan_and_account():
    plan, account = read("""
        {apiVersion: penstock.dev/v1alpha1, kind: Plan, metadata: {name: p}, spec: {}}
        ---
        apiVersion: penstock.dev/v1alpha1
        kind: UpstreamAccount
        metadata: {name: a}
        spec: {provider: OpenAI, auth: {apiKey: {secretRef: {name: s, key: k}}}}
    """)
    assert plan.spec.model_dump() == {
        "models": ["*"], "limits": [], "max_concurrent_requests": 64, "max_keys_per_project": 100, "credit": "NotRequired",
        "over_budget": "Settled", "on_store_outage": "Closed", "price_multiplier_ppm": 1_000_000, "translation": "Allow",
        "messages_translation": "Deny", "error_profile": "Default", "route_header": "Hide",
    }  # fmt: skip
    assert account.spec.endpoint == "https://api.openai.com/v1"
    spec = account.spec.model_dump(exclude={"auth"})
    assert spec == {
        "provider": "OpenAI", "base_url": None, "allow_private_address": None, "models": None,
        "tier": 0, "weight": 100, "mode": "Active",
        "limits": {"requests_per_minute": None, "tokens_per_minute": None, "max_concurrent_requests": None},
        "timeouts": {"connect_seconds": 5, "first_byte_seconds": 120, "idle_seconds": 120, "response_seconds": 600},
    }  # fmt: skip


@pytest.mark.parametrize(
    "provider", ["Anthropic", "OpenAI", "Gemini", "OpenAICompatible", "Bedrock", "Vertex", "AzureOpenAI"]
)
def test_every_provider_is_valid_from_the_start(provider):
    (account,) = read(account_with(f"provider: {provider}\n          baseURL: https://x.example/v1/"))
    assert account.spec.provider == provider
    assert account.spec.endpoint == "https://x.example/v1"


def account_with(lines: str) -> str:
    return f"""
        apiVersion: penstock.dev/v1alpha1
        kind: UpstreamAccount
        metadata: {{name: a}}
        spec:
          auth: {{apiKey: {{secretRef: {{name: s, key: k}}}}}}
          {lines}
    """


def test_lists_empty_documents_and_what_a_cluster_adds():
    resources = read("""
        # only a comment
        ---
        ---
        apiVersion: v1
        kind: List
        items:
          - apiVersion: v1
            kind: Secret
            metadata:
              name: s
              namespace: penstock
              uid: 1f
              resourceVersion: "7"
              generation: 3
              creationTimestamp: 2026-01-01T00:00:00Z
              managedFields: [{manager: kubectl}]
            type: Opaque
            immutable: true
            data: {a: aGVsbG8=, b: aGVsbG8=}
            stringData: {b: wins}
          - apiVersion: penstock.dev/v1alpha1
            kind: Plan
            metadata: {name: p}
            spec: {}
            status: {conditions: [{type: Ready}]}
    """)
    secret, plan = resources
    assert secret.values == {"a": "hello", "b": "wins"}
    assert (secret.generation, secret.created_at_ms, secret.place) == (3, 1_767_225_600_000, Place("f.yaml", 8))
    assert (plan.id, plan.place.line) == ("Plan/p", 22)
    assert "hello" not in repr(secret)
    assert "wins" not in repr(secret)


def test_what_kubectl_makes_without_a_cluster_is_read():
    (secret,) = read("""
        apiVersion: v1
        data:
          api-key: c2stYQ==
        kind: Secret
        metadata:
          creationTimestamp: null
          name: a
    """)
    assert (secret.name, secret.values, secret.created_at_ms) == ("a", {"api-key": "sk-a"}, 0)


def test_anchors_and_merges_keep_their_lines():
    resources = read("""
        apiVersion: penstock.dev/v1alpha1
        kind: UpstreamAccount
        metadata: {name: a}
        spec:
          auth: &auth {apiKey: {secretRef: {name: s, key: k}}}
          provider: Anthropic
          timeouts: &t {connectSeconds: 3}
        ---
        apiVersion: penstock.dev/v1alpha1
        kind: Plan
        metadata: {name: p}
        spec:
          limits:
            - &l {name: a, unit: Requests, amount: 1, window: 1m}
            - {<<: *l, name: b, amount: 2}
    """)
    assert [(limit.name, limit.amount) for limit in resources[1].spec.limits] == [("a", 1), ("b", 2)]


def laughs(shape: str, lines: int, times: int = 10) -> str:
    """Return a document of which each line stands for some of the line before."""
    rows = ["a0: &a0 {}", *(f"a{n}: &a{n} {shape % ', '.join([f'*a{n - 1}'] * times)}" for n in range(1, lines))]
    return "\n".join(rows) + "\n"


PLAN = "apiVersion: penstock.dev/v1alpha1\nkind: Plan\nmetadata: {name: p}\nspec:\n"
KEY = (
    "apiVersion: penstock.dev/v1alpha1\nkind: APIKey\nmetadata: {name: k}\nspec:\n"
    "  project: demo\n  planRef: {name: p}\n  secretName: s\n"
)
RISING = (
    "  prices: [{effectiveTime: 2026-01-01T00:00:00Z, inputPerMillionTokens: '0.000001', outputPerMillionTokens: '1',"
    " cacheReadPerMillionTokens: '999999999',"
    " longContext: {aboveInputTokens: 2, inputPerMillionTokens: '2', outputPerMillionTokens: '1'}}]\n"
)
MODEL = "apiVersion: penstock.dev/v1alpha1\nkind: Model\nmetadata: {name: m}\nspec:\n"
ACCOUNT = (
    "apiVersion: penstock.dev/v1alpha1\nkind: UpstreamAccount\nmetadata: {name: a}\nspec:\n"
    "  provider: Anthropic\n  auth: {apiKey: {secretRef: {name: s, key: k}}}\n"
)
BARE = "apiVersion: penstock.dev/v1alpha1\nkind: UpstreamAccount\nmetadata: {name: a}\nspec:\n"
AUTH = "  auth: {apiKey: {secretRef: {name: s, key: k}}}\n"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
NAME_WORDS = "must be lower-case letters, digits, '-' and '.', with a letter or digit at both ends"
PROVIDERS = "Anthropic, OpenAI, Gemini, OpenAICompatible, Bedrock, Vertex or AzureOpenAI"
LIMIT = "{name: l, unit: Requests, amount: 1, window: 1m"

BAD = [
    # Documents
    ("- 1\n", "f.yaml:1: a resource is a mapping"),
    ("a: b\n", "f.yaml:1: kind: is required; expected one of UpstreamAccount, Model, Plan, APIKey, Secret"),
    ("# x\nkind: 3\n", "f.yaml:2: kind: is required; expected one of UpstreamAccount, Model, Plan, APIKey, Secret"),
    ("apiVersion: v1\nkind: ConfigMap\n", "f.yaml:2: kind: ConfigMap is not a kind known here; expected one of UpstreamAccount, Model, Plan, APIKey, Secret"),
    ("kind: List\n", "f.yaml:1: kind: List is not a kind known here; expected one of UpstreamAccount, Model, Plan, APIKey, Secret"),
    ("apiVersion: v1\nkind: List\nitems:\n  - kind: List\n    items:\n      - kind: X\n", "f.yaml:6: kind: X is not a kind known here; expected one of UpstreamAccount, Model, Plan, APIKey, Secret"),
    ("apiVersion: penstock.dev/v1\nkind: Plan\nmetadata: {name: p}\n", "f.yaml:1: Plan/p apiVersion: must be penstock.dev/v1alpha1"),
    ("kind: Secret\nmetadata: {name: p}\n", "f.yaml:1: Secret/p apiVersion: must be v1"),
    ("a: [1\n", "f.yaml:2: is not valid YAML: did not find expected ',' or ']'"),
    ("a: 1\na: 2\n", "f.yaml:2: is not valid YAML: a is given twice"),
    ("a: 1\n? [b]\n: 2\n", "f.yaml:2: is not valid YAML: a key must be a string"),
    ("a: !!python/name:os.system x\n", "f.yaml:1: is not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:os.system'"),
    ("a: *b\n", "f.yaml:1: is not valid YAML: found undefined alias"),
    ("a: 1\nb: !!int x\n", "f.yaml:2: is not valid YAML: the value is not of its type, int"),
    ("a: !!int ''\n", "f.yaml:1: is not valid YAML: the value is not of its type, int"),
    (f"a: {'9' * 5000}\n", "f.yaml:1: is not valid YAML: the value is not of its type, int"),
    ("a: !!float ''\n", "f.yaml:1: is not valid YAML: the value is not of its type, float"),
    ("a: !!bool maybe\n", "f.yaml:1: is not valid YAML: the value is not of its type, bool"),
    ("a: !!timestamp soon\n", "f.yaml:1: is not valid YAML: the value is not of its type, timestamp"),
    ("&a\nkind: List\nitems: [*a]\n", "f.yaml:1: is not valid YAML: it is nested too deeply"),
    ("&a\nkind: Plan\n<<: *a\n", "f.yaml:1: is not valid YAML: it is nested too deeply"),
    (laughs("{kind: List, items: [%s]}", 9), "f.yaml:8: is not valid YAML: its aliases stand for too much"),
    (laughs("{<<: [%s]}", 9), "f.yaml:8: is not valid YAML: its aliases stand for too much"),
    (laughs("[%s]", 70, times=1), "f.yaml:63: is not valid YAML: it is nested too deeply"),
    ("a: \x01\n", "f.yaml:1: is not valid YAML: ReaderError"),
    ("[" * 200_000 + "]" * 200_000, "f.yaml:1: is not valid YAML: it is nested too deeply"),
    # Metadata
    (PLAN.replace("{name: p}", "{}") + "  {}\n", "f.yaml:3: Plan metadata.name: is required"),
    (PLAN.replace("name: p", "name: P_1") + "  {}\n", f"f.yaml:3: Plan/P_1 metadata.name: {NAME_WORDS}"),
    (PLAN.replace("name: p", "name: p, label: x") + "  {}\n", "f.yaml:3: Plan/p metadata.label: is not a known field"),
    (PLAN.replace("name: p", "name: 5") + "  {}\n", "f.yaml:3: Plan metadata.name: must be a string (put it in quotes)"),
    (PLAN, "f.yaml:4: Plan/p spec: must be a mapping of fields"),
    (PLAN.removesuffix("spec:\n"), "f.yaml:1: Plan/p spec: is required"),
    (PLAN + "  {}\nspce: {}\n", "f.yaml:6: Plan/p spce: is not a known field"),
    # UpstreamAccount
    (BARE + AUTH, "f.yaml:4: UpstreamAccount/a spec.provider: is required"),
    (BARE + AUTH + "  provider: anthropic\n", f"f.yaml:6: UpstreamAccount/a spec.provider: must be {PROVIDERS}"),
    (BARE + "  provider: Anthropic\n", "f.yaml:4: UpstreamAccount/a spec.auth: is required"),
    (BARE + "  provider: Anthropic\n  auth: {}\n", "f.yaml:6: UpstreamAccount/a spec.auth: needs exactly one way in (of: apiKey)"),
    (BARE + "  provider: Anthropic\n  auth:\n    apiKey:\n      secretRef:\n        name: s\n", "f.yaml:8: UpstreamAccount/a spec.auth.apiKey.secretRef.key: is required"),
    (BARE + "  provider: Anthropic\n  auth: {apiKey: {secretRef: {name: s, key: a/b}}}\n", "f.yaml:6: UpstreamAccount/a spec.auth.apiKey.secretRef.key: must be letters, digits, '-', '_' and '.'"),
    (BARE + "  provider: Anthropic\n  auth: {apiKey: {value: sk-secret, secretRef: {name: s, key: k}}}\n", "f.yaml:6: UpstreamAccount/a spec.auth.apiKey.value: is not a known field"),
    (BARE + AUTH + "  provider: OpenAICompatible\n", "f.yaml:4: UpstreamAccount/a spec.baseURL: is required: OpenAICompatible has no public endpoint"),
    (ACCOUNT + "  baseURL: api.anthropic.com\n", "f.yaml:7: UpstreamAccount/a spec.baseURL: must be a URL such as https://api.example.com"),
    (ACCOUNT + "  baseURL: ftp://x.example\n", "f.yaml:7: UpstreamAccount/a spec.baseURL: must be a URL such as https://api.example.com"),
    (ACCOUNT + "  baseURL: 'https://x.example:0'\n", "f.yaml:7: UpstreamAccount/a spec.baseURL: must be a URL such as https://api.example.com"),
    (ACCOUNT + "  baseURL: 'https://x.example:99999'\n", "f.yaml:7: UpstreamAccount/a spec.baseURL: must be a URL such as https://api.example.com"),
    (ACCOUNT + "  baseURL: https://u:p@x.example\n", "f.yaml:7: UpstreamAccount/a spec.baseURL: must hold no user, query or fragment"),
    (ACCOUNT + "  baseURL: https://x.example?a=b\n", "f.yaml:7: UpstreamAccount/a spec.baseURL: must hold no user, query or fragment"),
    (ACCOUNT + "  baseUrl: https://x.example\n", "f.yaml:7: UpstreamAccount/a spec.baseUrl: is not a known field"),
    (ACCOUNT + "  allowPrivateAddress: true\n", "f.yaml:7: UpstreamAccount/a spec.allowPrivateAddress: must be Deny or Allow"),
    (ACCOUNT + "  models:\n    - a\n    - 'b c'\n", "f.yaml:9: UpstreamAccount/a spec.models[1]: must hold no blanks"),
    (ACCOUNT + "  models: ['']\n", "f.yaml:7: UpstreamAccount/a spec.models[0]: must not be empty"),
    (ACCOUNT + "  models: claude-*\n", "f.yaml:7: UpstreamAccount/a spec.models: must be a list"),
    (ACCOUNT + "  tier: -1\n", "f.yaml:7: UpstreamAccount/a spec.tier: must be at least 0"),
    (ACCOUNT + "  tier: '1'\n", "f.yaml:7: UpstreamAccount/a spec.tier: must be a whole number"),
    (ACCOUNT + "  tier: true\n", "f.yaml:7: UpstreamAccount/a spec.tier: must be a whole number"),
    (ACCOUNT + "  weight: 0\n", "f.yaml:7: UpstreamAccount/a spec.weight: must be at least 1"),
    (ACCOUNT + "  weight: 10001\n", "f.yaml:7: UpstreamAccount/a spec.weight: must be at most 10000"),
    (ACCOUNT + "  limits:\n    requestsPerMinute: 0\n", "f.yaml:8: UpstreamAccount/a spec.limits.requestsPerMinute: must be at least 1"),
    (ACCOUNT + "  limits:\n    rpm: 5\n", "f.yaml:8: UpstreamAccount/a spec.limits.rpm: is not a known field"),
    (ACCOUNT + "  timeouts: {idleSeconds: 1.5}\n", "f.yaml:7: UpstreamAccount/a spec.timeouts.idleSeconds: must be a whole number"),
    (ACCOUNT + "  timeouts: {idleSeconds: 0}\n", "f.yaml:7: UpstreamAccount/a spec.timeouts.idleSeconds: must be at least 1"),
    (ACCOUNT + "  mode: Paused\n", "f.yaml:7: UpstreamAccount/a spec.mode: must be Active, Draining or Disabled"),
    # Plan
    (PLAN + f"  limits: [{LIMIT}, scope: Team}}]\n", "f.yaml:5: Plan/p spec.limits[0].scope: must be Key or Project"),
    (PLAN + f"  limits:\n    - {LIMIT}}}\n    - {LIMIT}}}\n", "f.yaml:7: Plan/p spec.limits[1].name: limit l is given twice"),
    (PLAN + "  limits:\n    - name: l\n      unit: Tokens\n      amount: 1\n      window: 1m\n", "f.yaml:7: Plan/p spec.limits[0].unit: must be Requests, InputTokens, OutputTokens, TotalTokens or CostMicroUSD"),
    (PLAN + "  limits:\n    - name: l\n      unit: Requests\n      window: 1m\n", "f.yaml:6: Plan/p spec.limits[0].amount: is required"),
    (PLAN + "  limits: [{name: l, unit: Requests, amount: 0, window: 1m}]\n", "f.yaml:5: Plan/p spec.limits[0].amount: must be at least 1"),
    (PLAN + "  limits: [{name: l, unit: Requests, amount: 9007199254740992, window: 1m}]\n", "f.yaml:5: Plan/p spec.limits[0].amount: must be at most 9007199254740991"),
    (PLAN + "  limits: [{name: l, unit: Requests, amount: 1, window: 60}]\n", "f.yaml:5: Plan/p spec.limits[0].window: must be a string, in quotes"),
    (PLAN + "  limits: [{name: l, unit: Requests, amount: 1, window: 1 minute}]\n", "f.yaml:5: Plan/p spec.limits[0].window: must be a duration such as 30s, 1m or 5h"),
    (PLAN + "  limits: [{name: l, unit: Requests, amount: 1, window: 32d}]\n", "f.yaml:5: Plan/p spec.limits[0].window: must be at most 2678400000"),
    (PLAN + "  limits: [{name: 'a b', unit: Requests, amount: 1, window: 1m}]\n", "f.yaml:5: Plan/p spec.limits[0].name: must be 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit first"),
    (PLAN + "  maxConcurrentRequests: 0\n", "f.yaml:5: Plan/p spec.maxConcurrentRequests: must be at least 1"),
    (PLAN + "  credit: 'Yes'\n", "f.yaml:5: Plan/p spec.credit: must be Required or NotRequired"),
    (PLAN + "  overBudget: Loose\n", "f.yaml:5: Plan/p spec.overBudget: must be Settled or Strict"),
    (PLAN + "  onStoreOutage: Open\n", "f.yaml:5: Plan/p spec.onStoreOutage: must be Closed or Degraded"),
    (PLAN + "  priceMultiplier: 1.5\n", "f.yaml:5: Plan/p spec.priceMultiplier: must be a string, in quotes"),
    (PLAN + "  priceMultiplier: '-1'\n", 'f.yaml:5: Plan/p spec.priceMultiplier: must be a decimal such as "12.50", with at most six places'),
    (PLAN + "  errorProfile: X\n", "f.yaml:5: Plan/p spec.errorProfile: must be Default or ForbiddenWhenOutOfCredit"),
    (PLAN + "  limits: {}\n", "f.yaml:5: Plan/p spec.limits: must be a list"),
    (PLAN + "  limits: [5]\n", "f.yaml:5: Plan/p spec.limits[0]: must be a mapping of fields"),
    # APIKey
    (KEY.replace("demo", "'a/b'"), "f.yaml:5: APIKey/k spec.project: must be 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit first"),
    (KEY.replace("secretName: s", "secretName: ../../etc"), f"f.yaml:7: APIKey/k spec.secretName: {NAME_WORDS}"),
    (KEY.replace("{name: p}", "p"), "f.yaml:6: APIKey/k spec.planRef: must be a mapping of fields"),
    (KEY + "  expirationTime: 2027-01-01\n", "f.yaml:8: APIKey/k spec.expirationTime: must be a time with its zone, such as 2027-01-01T00:00:00Z"),
    (KEY + "  spendLimit: {usd: '0', period: Month}\n", "f.yaml:8: APIKey/k spec.spendLimit.usd: must be more than 0"),
    (KEY + "  spendLimit: {usd: 5, period: Month}\n", "f.yaml:8: APIKey/k spec.spendLimit.usd: must be a string, in quotes"),
    (KEY + "  spendLimit: {usd: '5', period: Day}\n", "f.yaml:8: APIKey/k spec.spendLimit.period: must be Total or Month"),
    (KEY + "  mode: Off\n", "f.yaml:8: APIKey/k spec.mode: must be Active or Revoked"),
    # Model
    (MODEL + "  aliases: [a, a]\n", "f.yaml:5: Model/m spec.aliases[1]: alias a is given twice"),
    (MODEL + "  contextTokens: 0\n", "f.yaml:5: Model/m spec.contextTokens: must be at least 1"),
    (MODEL + "  prices: []\n", "f.yaml:5: Model/m spec.prices: must have at least 1"),
    (MODEL + "  prices:\n    - inputPerMillionTokens: '1'\n      outputPerMillionTokens: '1'\n", "f.yaml:6: Model/m spec.prices[0].effectiveTime: is required"),
    (MODEL + "  prices:\n" + "    - {effectiveTime: 2026-01-01T00:00:00Z, inputPerMillionTokens: '1', outputPerMillionTokens: '1'}\n" * 2, "f.yaml:7: Model/m spec.prices[1].effectiveTime: two prices take effect at this time"),
    (MODEL + "  prices: [{effectiveTime: 2026-01-01T00:00:00Z, inputPerMillionTokens: 3.00, outputPerMillionTokens: '1'}]\n", "f.yaml:5: Model/m spec.prices[0].inputPerMillionTokens: must be a string, in quotes"),
    (MODEL + RISING, "f.yaml:5: Model/m spec.prices[0].longContext.inputPerMillionTokens: raises a cache price beyond all prices"),
    (PLAN.replace("name: p", "name: p, generation: -1") + "  {}\n", "f.yaml:3: Plan/p metadata.generation: must be at least 0"),
    (PLAN.replace("name: p", f"name: p, generation: {2**63}") + "  {}\n", f"f.yaml:3: Plan/p metadata.generation: must be at most {2**63 - 1}"),
    (MODEL + "  upstreamNames:\n    - {provider: Bedrock, name: a}\n    - {provider: Bedrock, name: b}\n", "f.yaml:7: Model/m spec.upstreamNames[1].provider: provider Bedrock is given twice"),
    # Secret
    (SECRET + "data: {k: 'é'}\n", "f.yaml:4: Secret/s data.k: must be base64 of UTF-8 text"),
    (SECRET + "data: {k: '!!!'}\n", "f.yaml:4: Secret/s data.k: must be base64 of UTF-8 text"),
    (SECRET + "data: {k: /w==}\n", "f.yaml:4: Secret/s data.k: must be base64 of UTF-8 text"),
    (SECRET + "stringData:\n  k: 12345\n", "f.yaml:5: Secret/s stringData.k: must be a string (put it in quotes)"),
    (SECRET + "spec: {}\n", "f.yaml:4: Secret/s spec: is not a known field"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD, ids=[f"{index}" for index in range(len(BAD))])
def test_what_is_refused_and_in_which_words(text, expected):
    with pytest.raises(InvalidResources) as caught:
        reader.read_text(text, "f.yaml")
    assert [str(problem) for problem in caught.value.problems] == [expected]


def test_every_problem_of_a_file_is_told_in_order_of_lines():
    text = ACCOUNT + "  weight: 0\n  tier: -1\n---\nkind: X\n---\n" + PLAN + "  credit: X\n"
    with pytest.raises(InvalidResources) as caught:
        reader.read_text(text, "f.yaml")
    assert [(problem.place.line, problem.field) for problem in caught.value.problems] == [
        (7, "spec.weight"), (8, "spec.tier"), (10, "kind"), (16, "spec.credit"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        SECRET + "stringData: {k: [sk-hidden]}\n",
        SECRET + "data: {k: sk-hidden}\n",
        SECRET + "stringData: 'sk-hidden'\n",
        SECRET + "type: [sk-hidden]\n",
        "stringData: {k: sk-hidden\n",
    ],
)
def test_a_secret_is_never_repeated(text):
    assert "hidden" not in "".join(problems_of(text))


def test_objects_from_an_api_have_no_lines():
    with pytest.raises(InvalidResources) as caught:
        reader.read_object({"kind": "List", "items": [{"kind": "X"}, 5]}, Place("the cluster"))
    assert [str(problem) for problem in caught.value.problems] == [
        "the cluster: kind: X is not a kind known here; expected one of UpstreamAccount, Model, Plan, APIKey, Secret",
        "the cluster: a resource is a mapping",
    ]
    (plan,) = reader.read_object(
        {"apiVersion": "penstock.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "p"}, "spec": {}},
        Place("the cluster"),
    )
    assert plan.place == Place("the cluster")


def test_duplicates_name_both_places():
    first = read(PLAN + "  {}\n")
    other = reader.read_text("---\n" + PLAN + "  {}\n---\n" + SECRET.replace("name: s", "name: p"), "g.yaml")
    assert reader.duplicates([*first, *other]) == [
        Problem(Place("g.yaml", 2), "Duplicate", "is defined twice, first at f.yaml:1", "Plan/p", "metadata.name")
    ]
