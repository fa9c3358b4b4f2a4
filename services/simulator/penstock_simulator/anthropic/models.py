"""The models that the simulated provider knows, with the limits and manners of each; a table of its own on purpose.

It does not read the gateway's catalogue: a mistake there should be met with the upstream's refusal, not shared by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_simulator.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Model:
    """One model; `name` is what answers say."""

    name: str
    display: str
    created: str
    context: int
    output: int
    aliases: tuple[str, ...] = ()
    line: str | None = None
    prefill: bool = True
    """The last message may be the assistant's."""
    sampling: bool = True
    """temperature, top_p and top_k may be other than their defaults."""
    budgeted: bool = True
    """thinking.type enabled with budget_tokens."""
    adaptive: bool = False
    """thinking.type adaptive."""
    hides: bool = False
    """Thinking is not shown unless `thinking.display` says `summarized`."""

    def shown(self) -> dict[str, Any]:
        """Return the row of GET /v1/models."""
        yes, no = {"supported": True}, {"supported": False}
        return {
            "type": "model",
            "id": self.name,
            "display_name": self.display,
            "created_at": f"{self.created}T00:00:00Z",
            "lifecycle": "active",
            "line": self.line,
            "max_input_tokens": self.context,
            "max_tokens": self.output,
            "capabilities": {
                "batch": yes,
                "citations": yes,
                "code_execution": yes,
                "context_management": yes,
                "effort": {"supported": self.adaptive, **dict.fromkeys(("low", "medium", "high", "max"), yes)},
                "image_input": yes,
                "pdf_input": yes,
                "server_tools": {"supported": True, "code_execution": yes, "web_search": yes},
                "structured_outputs": yes,
                "thinking": {
                    "supported": True,
                    "types": {
                        "adaptive": {"supported": self.adaptive},
                        "between_tools": no,
                        "disabled": yes,
                        "enabled": {"supported": self.budgeted},
                    },
                },
            },
        }


_M = 1_000_000
_OLD = {"prefill": True, "sampling": True, "budgeted": True, "adaptive": False}
_SIX = {"prefill": False, "sampling": True, "budgeted": True, "adaptive": True}
_NEW = {"prefill": False, "sampling": False, "budgeted": False, "adaptive": True, "hides": True}


def _row(
    name: str, created: str, context: int, output: int, manners: dict[str, bool], *aliases: str, line: str
) -> Model:
    display = "Claude " + name.removeprefix("claude-").rsplit("-20", 1)[0].replace("-", " ").title()
    return Model(name, display, created, context, output, aliases, line, **manners)


_BUILT_IN = (
    _row("claude-opus-5-5", "2026-10-14", _M, 128_000, _NEW, line="opus"),
    _row("claude-sonnet-5-5", "2026-10-01", _M, 128_000, _NEW, line="sonnet"),
    _row("claude-haiku-5-5", "2026-09-22", _M, 128_000, _NEW, line="haiku"),
    _row("claude-opus-5", "2026-07-20", _M, 128_000, _NEW, line="opus"),
    _row("claude-sonnet-5", "2026-07-01", _M, 128_000, _NEW, line="sonnet"),
    _row("claude-opus-4-8", "2026-05-26", _M, 128_000, _NEW, line="opus"),
    _row("claude-opus-4-7", "2026-04-14", _M, 128_000, _NEW, line="opus"),
    _row("claude-sonnet-4-6", "2026-02-17", _M, 128_000, _SIX, line="sonnet"),
    _row("claude-opus-4-6", "2026-02-04", _M, 128_000, _SIX, line="opus"),
    _row("claude-opus-4-5-20251101", "2025-11-24", 200_000, 64_000, _OLD, "claude-opus-4-5", line="opus"),
    _row("claude-haiku-4-5-20251001", "2025-10-15", 200_000, 64_000, _OLD, "claude-haiku-4-5", line="haiku"),
    _row("claude-sonnet-4-5-20250929", "2025-09-29", 200_000, 64_000, _OLD, "claude-sonnet-4-5", line="sonnet"),
    _row("claude-opus-4-1-20250805", "2025-08-05", 200_000, 32_000, _OLD, "claude-opus-4-1", line="opus"),
    _row("claude-opus-4-20250514", "2025-05-22", 200_000, 32_000, _OLD, "claude-opus-4-0", line="opus"),
    _row("claude-sonnet-4-20250514", "2025-05-22", 200_000, 64_000, _OLD, "claude-sonnet-4-0", line="sonnet"),
    _row("claude-3-5-haiku-20241022", "2024-10-22", 200_000, 8_192, _OLD, "claude-3-5-haiku-latest", line="haiku"),
)


_KNOWN = frozenset(name for model in _BUILT_IN for name in (model.name, *model.aliases))


class Models:
    """All known models, newest first, found by name or alias."""

    def __init__(self, more: Iterable[ModelSettings] = ()) -> None:
        added = tuple(
            Model(one.id, one.id, "2026-01-01", one.context_tokens, one.max_output_tokens, adaptive=True)
            for one in more
            if one.format == "anthropic" and one.id not in _KNOWN
        )
        self._all = (*added, *_BUILT_IN)
        self._by_name = {name: model for model in reversed(self._all) for name in (model.name, *model.aliases)}

    def find(self, name: str) -> Model | None:
        """Return a model by name or alias."""
        return self._by_name.get(name)

    def page(self, rows: list[Model], limit: str | None, after: str | None, before: str | None) -> dict[str, Any]:
        """Return one page of GET /v1/models; raises RefusalError for arguments out of range."""
        size = 20 if limit is None else int(limit) if limit.isdigit() else -1
        if not 1 <= size <= 1000:
            at_fault = "greater than or equal to 1" if size < 1 else "less than or equal to 1000"
            raise RefusalError(400, "invalid_request_error", f"limit: Input should be {at_fault}")
        names = [row.name for row in rows]
        for argument, cursor in (("after_id", after), ("before_id", before)):
            if cursor is not None and cursor not in names:
                raise RefusalError(400, "invalid_request_error", f"{argument}: Unknown model: {cursor}")
        start = names.index(after) + 1 if after is not None else 0
        end = names.index(before) if before is not None else len(rows)
        if before is not None and after is None:
            start = max(0, end - size)
            more = start > 0
        else:
            more = end - start > size
        chosen = [row.shown() for row in rows[start : min(end, start + size)]]
        return {
            "data": chosen,
            "has_more": more,
            "first_id": chosen[0]["id"] if chosen else None,
            "last_id": chosen[-1]["id"] if chosen else None,
        }

    def all(self) -> tuple[Model, ...]:
        """Return every model, newest first."""
        return self._all
