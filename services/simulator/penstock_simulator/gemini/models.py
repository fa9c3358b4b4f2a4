"""The Gemini models that the simulator plays, with the limits and manners of each; a table of its own on purpose."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock_simulator.gemini.errors import invalid
from penstock_simulator.gemini.proto import unbase64

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_simulator.settings import ModelSettings

_PAGE, _MOST = 50, 1000


@dataclass(frozen=True, slots=True)
class Model:
    """One model."""

    name: str
    display: str
    context: int
    output: int
    third: bool = False
    """Of the third generation: thinking levels, ids of calls, signatures that must come back."""
    levels: tuple[str, ...] = ()
    """Thinking levels it knows."""
    budgets: tuple[int, int] | None = None
    """Smallest and largest thinking budget; None: it does not think."""
    always_thinks: bool = False
    """Budget 0 is refused."""
    thinks_unasked: bool = True
    caches: bool = True
    """Remembers prompts without being asked (implicit caching)."""
    draws: bool = False
    """Makes an image beside its words; it calls no functions and writes no JSON."""
    embeds: bool = False
    """Gives embeddings and nothing else."""

    @property
    def methods(self) -> tuple[str, ...]:
        """What it can be asked."""
        if self.embeds:
            return ("embedContent", "countTextTokens", "countTokens", "asyncBatchEmbedContent")
        return ("generateContent", "countTokens", "createCachedContent", "batchGenerateContent")

    def shown(self) -> dict[str, Any]:
        """Return the row of GET /v1beta/models."""
        row = {
            "name": f"models/{self.name}",
            "version": "001",
            "displayName": self.display,
            "description": f"{self.display}, as the simulator plays it",
            "inputTokenLimit": self.context,
            "outputTokenLimit": self.output,
            "supportedGenerationMethods": list(self.methods),
        }
        if self.embeds:
            return row
        thinking = {"thinking": True} if self.budgets else {}
        return row | {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2} | thinking


_M = 1_048_576
_K = 65_536
_THIRD = (1, 32_768)

_BUILT_IN = (
    Model(
        "gemini-3.1-pro-preview",
        "Gemini 3.1 Pro Preview",
        _M,
        _K,
        third=True,
        levels=("LOW", "MEDIUM", "HIGH"),
        budgets=_THIRD,
        always_thinks=True,
    ),
    Model(
        "gemini-3-pro-preview",
        "Gemini 3 Pro Preview",
        _M,
        _K,
        third=True,
        levels=("LOW", "HIGH"),
        budgets=_THIRD,
        always_thinks=True,
    ),
    Model(
        "gemini-3-flash-preview",
        "Gemini 3 Flash Preview",
        _M,
        _K,
        third=True,
        levels=("MINIMAL", "LOW", "MEDIUM", "HIGH"),
        budgets=_THIRD,
    ),
    Model("gemini-2.5-pro", "Gemini 2.5 Pro", _M, _K, budgets=(128, 32_768), always_thinks=True),
    Model("gemini-2.5-flash", "Gemini 2.5 Flash", _M, _K, budgets=(0, 24_576)),
    Model("gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite", _M, _K, budgets=(512, 24_576), thinks_unasked=False),
    Model("gemini-2.5-flash-image", "Nano Banana", 65_536, 32_768, caches=False, draws=True),
    Model("gemini-3-pro-image", "Nano Banana Pro", 65_536, 32_768, third=True, budgets=_THIRD, draws=True),
    Model("gemini-2.0-flash", "Gemini 2.0 Flash", _M, 8_192, caches=False),
    Model("gemini-embedding-001", "Gemini Embedding 001", 2_048, 1, embeds=True),
)


_KNOWN = frozenset(model.name for model in _BUILT_IN)


def _added(one: ModelSettings) -> Model:
    """Return a model of the settings. One named for the third generation, a later one or the latest has its manners."""
    named = re.match(r"gemini-(?:(\d+)[.-]|.*latest$)", one.id)
    third = named is not None and int(named[1] or 3) >= 3
    return Model(
        one.id,
        one.id,
        one.context_tokens,
        one.max_output_tokens,
        third=third,
        levels=("MINIMAL", "LOW", "MEDIUM", "HIGH") if third else (),
        budgets=_THIRD if third else (0, one.max_output_tokens),
        always_thinks=third and "pro" in one.id,
        thinks_unasked=third,
        draws="-image" in one.id,
    )


class Models:
    """All known models, found by name. Of a built-in one nothing is taken from the settings."""

    def __init__(self, more: Iterable[ModelSettings] = ()) -> None:
        added = tuple(_added(one) for one in more if one.format == "gemini" and one.id not in _KNOWN)
        self._all = (*added, *_BUILT_IN)
        self._by_name = {model.name: model for model in reversed(self._all)}

    def find(self, name: str) -> Model | None:
        """Return a model by name."""
        return self._by_name.get(name)

    def all(self) -> tuple[Model, ...]:
        """Return every model."""
        return self._all


def page(rows: list[Model], size: str | None, token: str | None) -> dict[str, Any]:
    """Return one page of models; raises RefusalError for arguments that cannot be."""
    if size is not None and not size.lstrip("-").isdigit():
        raise invalid(f"Invalid value at 'page_size' (TYPE_INT32), \"{size}\"")
    wanted = int(size or 0)
    if wanted < 0:
        raise invalid("* ListModelsRequest.page_size: page_size must be non-negative\n")
    start = _start(token, len(rows))
    end = start + min(wanted or _PAGE, _MOST)
    result: dict[str, Any] = {"models": [row.shown() for row in rows[start:end]]}
    if end < len(rows):
        result["nextPageToken"] = base64.urlsafe_b64encode(b"after:%d" % end).decode()
    return result


def _start(token: str | None, rows: int) -> int:
    if not token:
        return 0
    mark, _, number = (unbase64(token) or b"").partition(b":")
    if mark != b"after" or not number.isdigit() or int(number) > rows:
        raise invalid("* ListModelsRequest.page_token: page_token is invalid\n")
    return int(number)
