"""Tags on thinking: whose it is survives any path, and nobody is shown what another signed."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_edge import signatures

PROVIDERS = st.sampled_from(["Anthropic", "OpenAI", "Gemini", "OpenAICompatible"])


@given(st.text(), PROVIDERS, PROVIDERS)
def test_only_its_maker_gets_a_signature_back(signature, maker, other):
    tagged = signatures.tag(signature.encode("utf-8", "replace").decode(), maker)
    plain = signature.encode("utf-8", "replace").decode()
    base64.b64decode(tagged, validate=True)
    assert signatures.origin(tagged) == maker
    assert signatures.own(tagged, other) == (plain if other == maker else None)


@given(st.text())
def test_a_signature_without_a_tag_has_no_known_maker(signature):
    assert signatures.origin(signature) is None
    assert signatures.own(signature, "Anthropic") is None


def test_a_tag_in_the_alphabet_of_urls_is_known():
    tagged = signatures.tag("~~~???>>>", "OpenAI")
    in_urls = tagged.replace("+", "-").replace("/", "_")
    assert in_urls != tagged
    assert signatures.own(in_urls, "OpenAI") == "~~~???>>>"


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_a_damaged_tag_is_no_tag(cut):
    tagged = signatures.tag("sig", "Gemini")
    assert signatures.origin(tagged[:-cut]) is None or signatures.own(tagged[:-cut], "Gemini") != "sig"
    assert signatures.origin(tagged[: len(signatures._SHOWN)]) is None


@given(st.lists(st.tuples(PROVIDERS, st.text(max_size=40).map(lambda t: t.encode("utf-8", "replace").decode()))))
def test_the_makers_in_a_body_are_found_without_decoding_it(parts):
    blocks = [{"type": "thinking", "signature": signatures.tag(text, maker)} for maker, text in parts]
    body = json.dumps({"messages": [{"content": blocks}], "other": "sig"}).encode()
    assert signatures.origins(body) == {maker for maker, _ in parts}


_SHOWN = signatures._SHOWN_BYTES
_PIECES = st.sampled_from([_SHOWN, _SHOWN[:3], _SHOWN[:-1], _SHOWN[2:], b"V", b"cGV", b"V" * 40, b'"', b" words "])


@given(st.lists(_PIECES, max_size=60).map(b"".join))
def test_a_tag_is_found_wherever_it_stands_and_whatever_resembles_it(body):
    assert signatures._any(body) == (_SHOWN in body)


def test_what_others_signed_is_left_out_and_named():
    own, foreign = signatures.tag("mine", "Gemini"), signatures.tag("theirs", "Anthropic")
    document = {
        "contents": [
            {"parts": [{"text": "t", "thought": True, "thoughtSignature": foreign}, {"text": "kept"}]},
            {"parts": [{"functionCall": {"name": "f"}, "thoughtSignature": foreign}]},
            {"parts": [{"functionCall": {"name": "g"}, "thoughtSignature": own}, {"text": "x", "signature": "raw"}]},
        ],
        "input": [{"type": "reasoning", "encrypted_content": foreign}, {"type": "message", "content": "m"}],
    }
    cleaned, dropped = signatures.cleaned(document, "Gemini")
    assert cleaned == {
        "contents": [
            {"parts": [{"text": "kept"}]},
            {"parts": [{"functionCall": {"name": "f"}, "thoughtSignature": signatures.UNSIGNED_CALL}]},
            {"parts": [{"functionCall": {"name": "g"}, "thoughtSignature": "mine"}, {"text": "x", "signature": "raw"}]},
        ],
        "input": [{"type": "message", "content": "m"}],
    }
    assert dropped == ["contents.0.parts.0", "contents.1.parts.0.thoughtSignature", "input.0"]
