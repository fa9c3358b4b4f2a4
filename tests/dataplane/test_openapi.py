"""Requests generated from our own OpenAPI document: whatever comes, no 500, no hang, and an answer in the right envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.dataplane.test_translation import MODELS, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dataplane.test_translation import Stack

pytestmark = pytest.mark.xdist_group("openapi")

LONGEST_SECONDS = 60.0
EXAMPLES = 15


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with started(tmp_path_factory.mktemp("openapi"), 2) as both:
        yield both


def operations(url: str) -> list[Any]:
    return [found.ok() for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations()]


# Most requests should get further than to the first refusal.
NAMES = st.sampled_from([*MODELS.values(), "text-embedding-3-small", "gpt-5-codex", "no-such-model"])


def said_well(case: Any, answer: Any) -> None:
    """Check the status, and that an error has the envelope of its dialect."""
    assert answer.status_code < 500, (case.path, answer.text[:300])
    (name,) = answer.headers["request-id"]
    assert name.startswith("req_"), case.path
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert error["message"]
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_whatever_is_sent_is_answered(stack: Stack, mode: GenerationMode) -> None:
    session = requests.Session()
    session.headers["x-api-key"] = stack.key
    seen = set()
    for operation in operations(stack.gateway.url):
        seen.add(operation.path)

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode), name=NAMES, real=st.integers(0, 3))
        def ask(case: Any, name: str, real: int) -> None:
            if real:
                if isinstance(case.body, dict) and "model" in case.body:
                    case.body["model"] = name
                if "model" in (case.path_parameters or {}):
                    case.path_parameters["model"] = name
            answer = case.call(base_url=stack.gateway.url, session=session, timeout=LONGEST_SECONDS)
            said_well(case, answer)

        try:
            ask()
        except Unsatisfiable:
            # A GET without parameters cannot be asked wrongly.
            assert mode is GenerationMode.NEGATIVE and operation.method == "get", operation.path
    session.close()
    assert {"/v1/messages", "/v1/chat/completions", "/v1/responses", "/v1/embeddings"} <= seen
    assert stack.gateway.ready()
    assert "translation_crashed" not in stack.gateway.log()
    assert "exchange_crashed" not in stack.gateway.log()
