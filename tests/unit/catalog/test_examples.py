"""The example that people copy from."""

from pathlib import Path

import pytest

from penstock_catalog import names, reader
from penstock_catalog.compiler import IssuedKey, Options, compile_catalog
from penstock_catalog.local import LOCAL_OPTIONS

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "resources.yaml"
KEYS = {"ci": IssuedKey(id="abc", prefix="psk_abc", digest="00" * 32)}


@pytest.mark.parametrize("options", [Options(), LOCAL_OPTIONS], ids=["in a cluster", "on a laptop"])
def test_the_example_compiles_without_problems(options):
    result = compile_catalog(reader.read_text(EXAMPLE.read_text(), "f.yaml"), options=options, keys=KEYS)
    assert result.problems == ()
    accounts = {account.name: account for account in result.router.accounts}
    assert {name: account.provider for name, account in accounts.items()} == {
        "anthropic-a": "Anthropic",
        "openai-a": "OpenAI",
        "gemini-a": "Gemini",
        "ollama": "OpenAICompatible",
    }
    assert "gpt-4o-mini" in accounts["openai-a"].models
    assert "text-embedding-3-small" in accounts["openai-a"].models
    assert "o3" not in accounts["openai-a"].models
    assert "gemini-2.5-flash" in accounts["gemini-a"].models
    assert accounts["ollama"].models == ("qwen3-8b",)
    (qwen,) = (model for model in result.router.models if model.name == "qwen3-8b")
    assert names.upstream_name(qwen, "OpenAICompatible", "qwen3-8b") == "qwen3:8b"
