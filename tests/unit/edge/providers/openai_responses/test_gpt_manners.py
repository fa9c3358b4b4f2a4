"""What OpenAI's models accept."""

from __future__ import annotations

import pytest

from penstock_edge.providers.openai_responses.gpt_manners import Manners, manners


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini", Manners(reasons=False)),
        ("ft:gpt-4.1-nano:org::id", Manners(reasons=False)),
        ("openai/gpt-4.1", Manners(reasons=False)),
        ("gpt-3.5-turbo", Manners(reasons=False)),
        ("chatgpt-4o-latest", Manners(reasons=False)),
        ("gpt-5-chat-latest", Manners(reasons=False)),
        ("o3", Manners(reasons=True, most="high", least="low")),
        ("o4-mini-2025-04-16", Manners(reasons=True, most="high", least="low")),
        ("gpt-5", Manners(reasons=True, most="high", least="minimal")),
        ("gpt-5-2025-08-07", Manners(reasons=True, most="high", least="minimal")),
        ("gpt-5-codex-mini", Manners(reasons=True, most="high", least="low")),
        ("gpt-5.1", Manners(reasons=True, most="high", least="none")),
        ("gpt-5.1-codex-max", Manners(reasons=True, most="xhigh", least="low")),
        ("gpt-5.2-codex", Manners(reasons=True, most="xhigh", least="low")),
        ("gpt-5.5", Manners(reasons=True, most="xhigh", least="none")),
        ("gpt-5.6-sol", Manners(reasons=True, most="max", least="none")),
        ("gpt-6-astra", Manners(reasons=True, most="max", least="none")),
        ("something-new", Manners(reasons=True, most="max", least="none")),
    ],
)
def test_manners(model, expected):
    assert manners(model) == expected
