"""What people give as address and key, and the checksum that shells share."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_cli.setup_client import target, variables
from penstock_cli.setup_client.cksum import cksum
from penstock_cli.setup_client.clients import CODEX_FALLBACK_MODEL, codex_model, opencode_provider
from penstock_cli.setup_client.target import Target


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://gateway.example.com", "https://gateway.example.com"),
        (" https://gateway.example.com/v1/ ", "https://gateway.example.com"),
        ("http://127.0.0.1:8080/v1beta", "http://127.0.0.1:8080"),
        ("https://example.com/llm/v1", "https://example.com/llm"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_address(given, url):
    assert target.gateway_url(given) == url


@pytest.mark.parametrize(
    "given",
    [
        *("", "gateway", "ftp://x", "https://", "https://u:p@x", "https://x?a=b", "https://x#y", "https://x/$(id)"),
        *("https://x/a b", "https://x:99999", "https://x:0", "https://x/'"),
    ],
)
def test_not_an_address(given):
    with pytest.raises(ValueError, match=r"."):
        target.gateway_url(given)


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("https://x.example", False),
        ("http://x.example", True),
        ("http://10.0.0.1", True),
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://localhost", False),
    ],
)
def test_an_address_that_shows_the_key(url, exposed):
    assert target.is_exposed(url) == exposed


def test_a_key():
    assert target.api_key(" psk_abc-1.2\n") == "psk_abc-1.2"
    for wrong in ("", "  ", "two words", "a\nb", 'a"b', "a'b", "$(id)", "a`b", "ä", "x" * 600):
        with pytest.raises(ValueError, match="key") as refused:
            target.api_key(wrong)
        assert not wrong.strip() or wrong not in str(refused.value)
    assert "secret" not in repr(Target("http://x", "secret"))


@given(st.binary(max_size=700))
def test_the_checksum_of_known_bytes_is_stable(data):
    assert cksum(data).endswith(f" {len(data)}")


@pytest.mark.parametrize("data", [b"", b"a", b"penstock\n" * 50, bytes(range(256)) * 3])
def test_the_checksum_is_that_of_the_command(data):
    said = subprocess.run(["cksum"], input=data, capture_output=True, check=True).stdout.decode()
    assert cksum(data) == said.strip()


@pytest.mark.parametrize(
    ("asked", "existing", "served", "chosen"),
    [
        ("m", "x", ["y"], "m"),
        (None, "x", ["y", "x"], "x"),
        (None, "x", [], "x"),
        (None, "gone", ["claude-opus-4-8", "gpt-9", "gpt-5.3-codex", "gpt-5-codex"], "gpt-5.3-codex"),
        (None, None, ["claude-haiku-4-5", "gpt-9"], "gpt-9"),
        (None, 3, ["claude-haiku-4-5", "claude-sonnet-4-6"], "claude-sonnet-4-6"),
        (None, None, ["gemini-2.5-flash"], "gemini-2.5-flash"),
        (None, None, [], CODEX_FALLBACK_MODEL),
    ],
)
def test_the_model_of_codex(asked, existing, served, chosen):
    assert codex_model(asked, existing, served) == chosen


@pytest.mark.parametrize(
    ("model", "provider"),
    [("claude-haiku-4-5", "anthropic"), ("gemini-2.5-pro", "google"), ("gpt-5.3-codex", "openai"), ("qwen", "openai")],
)
def test_the_wire_format_that_opencode_speaks(model, provider):
    assert opencode_provider(model) == provider


def test_a_shell_reads_the_variables():
    text = variables.exports(Target("https://x.example/it", "psk_k"))
    names = " ".join(f"${name}" for name in variables.NAMES)
    shell = subprocess.run(
        ["sh", "-ec", f'{text}\necho "{names}" "${{GOOGLE_API_KEY-none}}"\n{variables.unsets()}\necho "{names}"'],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "GOOGLE_API_KEY": "other"},
    ).stdout.splitlines()
    base = "https://x.example/it"
    assert shell[0] == f"{base} psk_k {base}/v1 psk_k {base} psk_k psk_k none"
    assert not shell[1].strip()
