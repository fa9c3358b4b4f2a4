"""A conversation as Claude takes it: what the API would refuse of a turn is replaced, or left out and said."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from penstock_edge import signatures
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.call_ids import distinct

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

PROVIDER: Final = "Anthropic"
REDACTED: Final = "redacted:"
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
_ID_FIELDS: Final = {"tool_use": "id", "tool_result": "tool_use_id"}
# The API wants the user's word first; elsewhere an assistant may greet.
_OPENING: Final = {"role": "user", "content": [{"type": "text", "text": "(The assistant speaks first.)"}]}


def turns(messages: list[Json], ignored: list[str]) -> list[Json]:
    """Return the messages, never changing them. Raises ProblemError when nothing of them is left."""
    kept: list[Json] = []
    for index, message in enumerate(distinct(messages)):
        content, said = message["content"], message["role"] == "assistant"
        for block in content:
            # By far the most are texts that say something: quickly done.
            if (block["type"] != "text" or not block["text"] or block["text"].isspace()) and _is_unfit(block, said):
                break
        else:
            kept += [message] if content else []
            continue
        content = _blocks(content, f"messages.{index}.content", ignored, said=said)
        if content:
            kept.append({**message, "content": content})
    if not kept:
        raise ProblemError(invalid("messages: nothing is left that the provider of this model could read"))
    if kept[0]["role"] == "assistant":
        ignored.append("messages (a first turn of the user was added)")
        kept.insert(0, _OPENING)
    if kept[-1]["role"] == "assistant":
        kept[-1] = _beginning(kept[-1], ignored)
    return kept


def texts(blocks: list[Json], where: str, ignored: list[str]) -> list[Json]:
    """Return text blocks without those that say nothing."""
    if not any(_is_blank(block) for block in blocks):
        return blocks
    return _blocks(blocks, where, ignored)


def _is_unfit(block: Json, said: bool) -> bool:
    """Whether the API would refuse a block as it is; `said`: by the assistant."""
    kind = block["type"]
    if kind == "text":
        return _is_blank(block)
    if kind == "thinking" or (kind == "image" and said):
        return True
    name = _ID_FIELDS.get(kind)
    if name is None:
        return False
    inner = block.get("content")
    return not _CALL_ID.fullmatch(block[name]) or (isinstance(inner, list) and any(_is_blank(one) for one in inner))


def _is_blank(block: Json) -> bool:
    text = block.get("text")
    return block.get("type") == "text" and isinstance(text, str) and (not text or text.isspace())


def _blocks(content: list[Json], where: str, ignored: list[str], *, said: bool = False) -> list[Json]:
    kept: list[Json] = []
    for place, block in enumerate(content):
        here = f"{where}.{place}"
        if _is_blank(block):
            if block["text"]:
                ignored.append(f"{here} (white space only)")
        elif block["type"] == "thinking":
            thinking = _own_thinking(block, here, ignored)
            kept += [] if thinking is None else [thinking]
        elif block["type"] == "image" and said:
            # Claude's API takes none there.
            ignored.append(f"{here} (image)")
        elif block["type"] in _ID_FIELDS:
            kept.append(_with_sound_id(_with_sound_content(block, here, ignored)))
        else:
            kept.append(block)
    return kept


def _own_thinking(block: Json, where: str, ignored: list[str]) -> Json | None:
    signature = block.get("signature") or ""
    mine = signatures.own(signature, PROVIDER)
    if mine is None:
        whose = signatures.origin(signature)
        ignored.append(f"{where} ({f'thinking signed by {whose}' if whose else 'unsigned thinking'})")
        return None
    if mine.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": mine.removeprefix(REDACTED)}
    return {"type": "thinking", "thinking": block["thinking"], "signature": mine}


def _with_sound_content(block: Json, where: str, ignored: list[str]) -> Json:
    content = block.get("content")
    if not isinstance(content, list) or not any(_is_blank(one) for one in content):
        return block
    return {**block, "content": _blocks(content, f"{where}.content", ignored)}


def _with_sound_id(block: Json) -> Json:
    name = _ID_FIELDS[block["type"]]
    sound = sound_id(block[name])
    return block if sound == block[name] else {**block, name: sound}


def sound_id(given: str) -> str:
    """Return a tool call's id in place of one that the API would refuse, such as `functions.x:0`: always the same."""
    if _CALL_ID.fullmatch(given):
        return given
    return "toolu_" + blake2b(given.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _beginning(message: Json, ignored: list[str]) -> Json:
    """Return an answer's beginning that Claude can go on from: it may not end with white space."""
    *before, last = message["content"]
    if last["type"] != "text" or last["text"] == last["text"].rstrip():
        return message
    ignored.append("messages (white space at the end)")
    return {**message, "content": [*before, {**last, "text": last["text"].rstrip()}]}
