"""OpenAI's models, with the limits and manners of each; a table of its own, as the one of the other package."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_simulator.settings import ModelSettings

CHAT, RESPONSES, EMBEDDINGS = "chat", "responses", "embeddings"


@dataclass(frozen=True, slots=True)
class Model:
    """One model."""

    name: str
    created: int
    """Unix seconds."""
    context: int
    output: int
    snapshot: str = ""
    """What answers say for `name`, and another name for it."""
    endpoints: frozenset[str] = frozenset({CHAT, RESPONSES})
    efforts: tuple[str, ...] = ()
    """Reasoning efforts that it knows; none: not a reasoning model."""
    effort: str = "medium"
    """What it does unless told otherwise."""
    audio: bool = False
    dimensions: int = 0
    """Of an embedding."""
    free: bool = False
    """Some other server's: nothing is known of it, so nothing is refused for its sake."""

    @property
    def reasons(self) -> bool:
        """Whether it is a reasoning model."""
        return bool(self.efforts)

    @property
    def answers_as(self) -> str:
        """What answers say."""
        return self.snapshot or self.name

    def shown(self) -> dict[str, Any]:
        """Return the row of GET /v1/models."""
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "system"}


_LOW = ("low", "medium", "high")
_FIVE = ("minimal", *_LOW)
_FIVE_ONE = ("none", *_LOW)
_FIVE_TWO = (*_FIVE_ONE, "xhigh")
_CODEX = frozenset({RESPONSES})
_NEITHER: frozenset[str] = frozenset()
_GPT_4O = (1_715_367_049, 128_000, 16_384)
_GPT_4_1 = (1_744_316_542, 1_047_576, 32_768)
_GPT_5 = (1_754_425_777, 400_000, 128_000)

_BUILT_IN = (
    Model("gpt-4o", *_GPT_4O, "gpt-4o-2024-08-06"),
    Model("gpt-4o-mini", *_GPT_4O, "gpt-4o-mini-2024-07-18"),
    Model("gpt-4.1", *_GPT_4_1, "gpt-4.1-2025-04-14"),
    Model("gpt-4.1-mini", *_GPT_4_1, "gpt-4.1-mini-2025-04-14"),
    Model("gpt-4.1-nano", *_GPT_4_1, "gpt-4.1-nano-2025-04-14"),
    Model("gpt-5", *_GPT_5, "gpt-5-2025-08-07", efforts=_FIVE),
    Model("gpt-5-mini", *_GPT_5, "gpt-5-mini-2025-08-07", efforts=_FIVE),
    Model("gpt-5-nano", *_GPT_5, "gpt-5-nano-2025-08-07", efforts=_FIVE),
    Model("gpt-5.1", *_GPT_5, "gpt-5.1-2025-11-13", efforts=_FIVE_ONE, effort="none"),
    Model("gpt-5.2", *_GPT_5, "gpt-5.2-2025-12-11", efforts=_FIVE_TWO, effort="none"),
    Model("gpt-5-codex", *_GPT_5, endpoints=_CODEX, efforts=_LOW),
    Model("gpt-5.1-codex", *_GPT_5, endpoints=_CODEX, efforts=_LOW),
    Model("gpt-5.1-codex-max", *_GPT_5, endpoints=_CODEX, efforts=_FIVE_TWO),
    Model("gpt-5.2-codex", *_GPT_5, endpoints=_CODEX, efforts=(*_LOW, "xhigh")),
    Model("gpt-5.3-codex", *_GPT_5, endpoints=_CODEX, efforts=(*_LOW, "xhigh")),
    Model("gpt-5-codex-mini", *_GPT_5, endpoints=_CODEX, efforts=_LOW),
    Model("gpt-5.1-codex-mini", *_GPT_5, endpoints=_CODEX, efforts=_LOW),
    Model("o3", 1_744_225_308, 200_000, 100_000, "o3-2025-04-16", efforts=_LOW),
    Model("o4-mini", 1_744_225_351, 200_000, 100_000, "o4-mini-2025-04-16", efforts=_LOW),
    Model("gpt-4o-audio-preview", *_GPT_4O, "gpt-4o-audio-preview-2025-06-03", endpoints=frozenset({CHAT}), audio=True),
    Model("gpt-image-1", 1_745_517_030, 32_000, 0, endpoints=_NEITHER),
    Model("text-embedding-3-small", 1_705_948_997, 8_192, 0, endpoints=frozenset({EMBEDDINGS}), dimensions=1_536),
    Model("text-embedding-3-large", 1_705_953_180, 8_192, 0, endpoints=frozenset({EMBEDDINGS}), dimensions=3_072),
)
# Of a server that is only compatible: any name is a model, of the same size.
_ANY = Model("", 1_700_000_000, 131_072, 131_072, endpoints=frozenset({CHAT, EMBEDDINGS}), dimensions=1_024, free=True)


_KNOWN = frozenset(model.name for model in _BUILT_IN)
_REASONING = re.compile(r"gpt-[5-9]|o\d|.*codex")


def _added(one: ModelSettings) -> Model:
    """Return a model of the settings, with the manners that its name makes likely."""
    model = Model(one.id, 1_767_225_600, one.context_tokens, one.max_output_tokens)
    if "embedding" in one.id:
        return replace(model, endpoints=frozenset({EMBEDDINGS}), dimensions=1_536)
    if _REASONING.match(one.id):
        model = replace(model, efforts=("none", "minimal", *_LOW, "xhigh", "max"))
    return replace(model, endpoints=_CODEX) if "codex" in one.id else model


class Models:
    """All known models, found by name or by that of their snapshot. Of built-in ones the settings change nothing."""

    def __init__(self, more: Iterable[ModelSettings] = ()) -> None:
        added = tuple(_added(one) for one in more if one.format == "openai" and one.id not in _KNOWN)
        self._all = (*added, *_BUILT_IN)
        self._by_name = {name: model for model in reversed(self._all) for name in (model.snapshot, model.name) if name}

    def find(self, name: str) -> Model | None:
        """Return a model by one of its names."""
        return self._by_name.get(name)

    def all(self) -> tuple[Model, ...]:
        """Return every model."""
        return self._all


def foreign(name: str) -> Model:
    """Return the model of a server that is only compatible."""
    return replace(_ANY, name=name)
