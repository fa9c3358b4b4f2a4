"""Names of tools that a provider does not take: they travel in disguise, and come back as the client knows them."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from penstock_edge.canonical import Json, Request

_short = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_FITS: Final = {
    "Anthropic": re.compile(r"[a-zA-Z0-9_-]{1,128}").fullmatch,
    "Gemini": re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}").fullmatch,
}
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_-]")
# Of long names the end says most: `mcp__server__tool`. With a digest of 8 and two joints they make 64.
_BEGINNING, _END = 24, 30


def disguised(request: Request, provider: str) -> tuple[Request, dict[str, str]]:
    """Return a request whose tools have names that `provider` takes, and the names that they had by those."""
    fits = _FITS.get(provider, _short)
    unfit = {name for name in _named(request.body) if not fits(name)}
    if not unfit:
        return request, {}
    new = {name: _disguise(name) for name in unfit}
    body = dict(request.body)
    body["messages"] = [_renamed_turn(turn, new) for turn in body["messages"]]
    if "tools" in body:
        body["tools"] = [_renamed(tool, new) if _is_clients(tool) else tool for tool in body["tools"]]
    if isinstance(body.get("tool_choice"), dict):
        body["tool_choice"] = _renamed(body["tool_choice"], new)
    return replace(request, body=body), {disguise: name for name, disguise in new.items()}


def _named(body: Json) -> set[str]:
    names = {tool["name"] for tool in body.get("tools") or () if _is_clients(tool)}
    for message in body["messages"]:
        if message["role"] == "assistant":
            names |= {block["name"] for block in message["content"] if block["type"] == "tool_use"}
    return names


def _is_clients(tool: Json) -> bool:
    """Whether it is the client that runs a tool: others have names of the provider's making."""
    return tool.get("type") in (None, "custom")


def _disguise(name: str) -> str:
    """Return a name that everybody takes, made of the name alone: it is the same in every turn."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    plain = _UNFIT.sub("_", name)
    beginning = plain if plain[:1].isalpha() or plain[:1] == "_" else "_" + plain
    if len(beginning) + len(digest) < _BEGINNING + _END:
        return f"{beginning}_{digest}"
    return f"{beginning[:_BEGINNING]}_{digest}_{plain[-_END:]}"


def _renamed(holder: Json, new: dict[str, str]) -> Json:
    name: Any = holder.get("name")
    return {**holder, "name": new[name]} if isinstance(name, str) and name in new else holder


def _renamed_turn(turn: Json, new: dict[str, str]) -> Json:
    if turn["role"] != "assistant":
        return turn
    content = [_renamed(block, new) if block["type"] == "tool_use" else block for block in turn["content"]]
    return {**turn, "content": content}
