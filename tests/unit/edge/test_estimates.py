"""Estimates: by size, learned from what really was used."""

from __future__ import annotations

import base64
import json

import pytest

from penstock_edge.estimates import Estimates, has_blobs
from penstock_edge.records import Usage


def need(estimates, body=b"x" * 400, **changes):
    facts = {
        "model": "m",
        "max_tokens": 5000,
        "context_tokens": 200_000,
        "digest": b"d",
        "strict": False,
        "price": None,
        "multiplier_ppm": 1_000_000,
    }
    return estimates.need(body=body, **(facts | changes))


def test_text_counts_by_its_size(play):
    got = need(Estimates(), price=play.price)
    assert (got.input_tokens, got.output_tokens) == (101, 1024)
    assert got.micro_usd == 101 * 3 + 1024 * 15


def test_strict_holds_all_that_may_come():
    assert need(Estimates(), strict=True).output_tokens == 5000
    assert need(Estimates(), max_tokens=10).output_tokens == 10
    assert need(Estimates(), max_tokens=-1, strict=True).output_tokens == 0


@pytest.mark.parametrize("asked", [10**12, 2**63, 10**30])
def test_what_no_model_can_write_still_fits_where_holds_are_written(play, asked):
    got = need(Estimates(), max_tokens=asked, strict=True, price=play.price)
    assert 10**6 < got.output_tokens < 2**31
    assert got.micro_usd < 2**63


def test_count_tokens_needs_nothing():
    got = need(Estimates(), kind="count_tokens")
    assert (got.kind, got.input_tokens, got.output_tokens, got.micro_usd) == ("count_tokens", 0, 0, 0)


def test_images_and_documents_count_as_fixed_amounts():
    def body(media, kind):
        data = base64.b64encode(b"\0" * 3_000_000).decode()
        return json.dumps({"type": kind, "source": {"type": "base64", "media_type": media, "data": data}}).encode()

    estimates = Estimates()
    image = estimates.input_tokens(body("image/png", "image"), "m", 0, blobs=True)
    document = estimates.input_tokens(body("application/pdf", "document"), "m", 0, blobs=True)
    assert 1600 < image < 1700
    assert 6000 < document < 6100
    assert estimates.input_tokens(body("image/png", "image") * 3, "m", 0, blobs=True) > 3 * 1600


@pytest.mark.parametrize(
    ("wire", "blob"),
    [
        ("chat", '{"type":"image_url","image_url":{"url":"data:image/png;base64,DATA"}}'),
        ("responses", '{"type":"input_file","file_data":"data:application/pdf;base64,DATA"}'),
        ("responses", '{"type":"image_generation_call","id":"ig_1","status":"completed","result":"DATA"}'),
        ("generate", '{"inlineData":{"mimeType":"image/png","data":"DATA"}}'),
        ("generate", '{"inline_data":{"mime_type":"application/pdf","data": "DATA"}}'),
    ],
)
def test_blobs_of_other_formats(wire, blob):
    body = blob.replace("DATA", base64.b64encode(b"\0" * 3_000_000).decode()).encode()
    tokens = Estimates().input_tokens(body, "m", 0, blobs=has_blobs(body, wire))
    assert tokens == pytest.approx(6_000 if "pdf" in blob else 1_600, abs=100)


def test_the_context_is_a_bound():
    assert need(Estimates(), body=b"x" * 4_000_000).input_tokens == 200_000


def learn(estimates, usage, **changes):
    facts = {"digest": b"d", "model": "m", "body_bytes": 400, "has_blobs": False, "characters": 0}
    estimates.learn(**(facts | changes), usage=usage)


def test_output_is_what_that_keys_model_usually_gives():
    estimates = Estimates()
    for _ in range(30):
        learn(estimates, Usage(100, 200))
    assert need(estimates).output_tokens == 201
    assert need(estimates, digest=b"other").output_tokens == 1024
    for _ in range(100):
        learn(estimates, Usage(100, 400))
    assert need(estimates).output_tokens == pytest.approx(401, abs=2)


def test_the_size_of_a_token_is_learned():
    estimates = Estimates()
    for _ in range(50):
        learn(estimates, Usage(50, 100), characters=700)
    assert need(estimates).input_tokens == 51
    assert estimates.relayed_tokens(7000, "m") == 1000
    assert estimates.relayed_tokens(7000, "other") == 1750
    assert estimates.relayed_tokens(0, "m") == 0
    assert estimates.relayed_tokens(1, "m") == 1


def test_blobs_teach_nothing_of_text():
    estimates = Estimates()
    learn(estimates, Usage(50, 100), has_blobs=True)
    assert need(estimates).input_tokens == 101


def test_what_is_known_is_bounded(monkeypatch):
    estimates = Estimates()
    monkeypatch.setattr(estimates._outputs, "_limit", 10)
    for number in range(50):
        learn(estimates, Usage(1, 1), digest=b"%d" % number)
        assert len(estimates._outputs._young) + len(estimates._outputs._old) <= 10
    usual = need(estimates, digest=b"49").output_tokens
    for number in range(50, 100):
        learn(estimates, Usage(1, 1), digest=b"%d" % number)
        # What is used is not forgotten.
        learn(estimates, Usage(1, 1), digest=b"49")
    assert need(estimates, digest=b"49").output_tokens == usual
    assert need(estimates, digest=b"48").output_tokens > usual
