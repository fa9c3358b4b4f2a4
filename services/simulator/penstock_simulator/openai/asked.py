"""What a request asks for, in one form for Chat Completions and for Responses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock_simulator.openai.models import Model

WEB_SEARCH = "web_search"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model can call."""

    name: str
    kind: str = "function"
    """function, custom or web_search."""
    schema: dict[str, Any] | None = None
    namespace: str = ""
    legacy: bool = False
    """Given in `functions`, as it was before `tools`."""


@dataclass(slots=True)
class Asked:
    """A request that passed its check."""

    document: dict[str, Any]
    model: Model
    max_tokens: int
    """Bounds all output of one choice, reasoning included."""
    tools: list[Tool] = field(default_factory=list)
    """Those that may be called."""
    choice: str = "auto"
    """auto, none or required; required too when one is named."""
    parallel: bool = True
    stops: list[str] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    """JSON schema that the text has to follow."""
    json: bool = False
    """The text has to be a JSON object."""
    effort: str = "none"
    """Reasoning effort in force; none: no reasoning."""
    answered: bool = False
    """The last turn brings results of tools."""
    choices: int = 1
    top_logprobs: int | None = None
    """None: no logprobs."""
    items: list[Any] = field(default_factory=list)
    """Responses: the whole input, earlier turns included."""
