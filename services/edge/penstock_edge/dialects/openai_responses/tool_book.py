"""Which of a client's tools hides behind which canonical name: there are kinds and namespaces only on the one side."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final, NamedTuple

_FITTING: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST: Final = 128
_DIGITS: Final = 10


class Tool(NamedTuple):
    """A tool as the client knows it. `kind` is `function`, `custom`, or the type of a tool that has no name."""

    kind: str
    name: str
    namespace: str = ""


class ToolBook:
    """The tools of one conversation. The same tools give the same names, turn after turn."""

    __slots__ = ("_anywhere", "_names", "_tools")

    def __init__(self) -> None:
        self._names: dict[Tool, str] = {}
        self._anywhere: dict[tuple[str, str], str] = {}
        """The first of each kind and name, whatever its namespace."""
        self._tools: dict[str, Tool] = {}

    def enter(self, tool: Tool) -> str:
        """Return the canonical name of a tool, whether it has been seen or not."""
        known = self._names.get(tool)
        if known is not None:
            return known
        name = _joined(tool)
        if not _FITTING.fullmatch(name) or name in self._tools:
            name = _made_fit(name, tool)
        self._names[tool] = name
        self._anywhere.setdefault(tool[:2], name)
        self._tools[name] = tool
        return name

    def find(self, kind: str, name: str, namespace: str = "") -> str | None:
        """Return the canonical name of a known tool; without a namespace given, of one in any."""
        known = self._names.get(Tool(kind, name, namespace))
        if known is not None or namespace:
            return known
        return self._anywhere.get((kind, name))

    def tool(self, canonical: str) -> Tool:
        """Return the tool behind a canonical name; a model may also make one up."""
        return self._tools.get(canonical) or Tool("function", canonical)


def _joined(tool: Tool) -> str:
    if not tool.namespace:
        return tool.name
    return f"{tool.namespace}{tool.name}" if tool.namespace.endswith("__") else f"{tool.namespace}__{tool.name}"


def _made_fit(name: str, tool: Tool) -> str:
    """Return a name that fits, and that no other tool can have got."""
    digest = blake2b("\0".join(tool).encode("utf-8", "surrogatepass"), digest_size=_DIGITS // 2).hexdigest()
    return f"{_UNFIT.sub('_', name)[: _LONGEST - _DIGITS - 1]}_{digest}"
