"""Embeddings pass; only their usage is read."""

from __future__ import annotations

import pytest

from penstock_edge.canonical import Request, UnreadableError
from penstock_edge.errors import ProblemError
from penstock_edge.providers.openai_embeddings import WIRE
from penstock_edge.providers.wire import Addressee
from penstock_edge.usage import UsageMeter

TO = Addressee("OpenAI", "m", 0)


@pytest.mark.parametrize(
    ("body", "sound", "figures"),
    [
        (b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":8,"total_tokens":8}}', True, (8, 0)),
        (b'{"data":[]}', True, None),
        (b'{"data":{}}', False, None),
        (b'{"data":[],"error":{"message":"m"}}', False, None),
        (b'{"usage":{"prompt_tokens":8}}', False, None),
        (b"<html>", False, None),
    ],
)
def test_answers(body, sound, figures):
    meter = UsageMeter()
    assert WIRE.read_answer(body, meter) is sound
    usage = meter.usage()
    assert ((usage.whole_input, usage.output_tokens) if meter.final else None) == figures


def test_nothing_is_translated():
    assert WIRE.name == "embeddings"
    assert WIRE.path("m", streamed=False, counting=False) == b"/embeddings"
    with pytest.raises(ProblemError):
        WIRE.write(Request({"messages": []}), TO, streamed=False)
    with pytest.raises(ProblemError):
        WIRE.write_count(Request({"messages": []}), TO)
    with pytest.raises(UnreadableError):
        WIRE.parse(b"{}")
    with pytest.raises(UnreadableError):
        WIRE.parse_count(b"{}")
    with pytest.raises(UnreadableError):
        WIRE.parser()
