"""Canonical messages as Google's contents and parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock_edge import signatures
from penstock_edge.errors import ProblemError, invalid
from penstock_edge.providers.losses import BLOCKS, lost

if TYPE_CHECKING:
    from penstock_edge.canonical import Json

_BY_ENDING: Final = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "pdf": "application/pdf",
}
_USUAL_KEYS: Final = {**BLOCKS, "thinking": frozenset({"type", "thinking", "signature"})}
# Google wants a user's word before any call of a function.
_OPENING: Final = {"role": "user", "parts": [{"text": "(The assistant speaks first.)"}]}
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ContentsWriter:
    """Writes the messages of one request, once."""

    def __init__(self, provider: str, ignored: list[str], *, signs_calls: bool) -> None:
        self._provider = provider
        self._ignored = ignored
        self._signs_calls = signs_calls
        self._names: dict[str, str] = {}
        self._signature = ""
        self.cached = False
        """Some block asked to be cached."""

    def write(self, messages: list[Json]) -> list[Json]:
        """Return the contents. Raises ProblemError (400) for what Google cannot read."""
        contents: list[Json] = []
        for index, message in enumerate(messages):
            model = message["role"] == "assistant"
            where = f"messages.{index}.content"
            parts = self._model(message["content"], where) if model else self._user(message["content"], where)
            if not parts:
                continue
            role = "model" if model else "user"
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"] += parts
            else:
                contents.append({"role": role, "parts": parts})
        if contents and _holds(contents[0], "functionCall"):
            contents.insert(0, _OPENING)
            self._ignored.append("messages (a first turn of the user was added)")
        if self._signs_calls:
            _sign_calls(contents)
            _sign_images(contents)
        return contents

    def _check(self, block: Json, where: str) -> str:
        """Return a block's type; lists what it says beyond what can be carried."""
        kind: Any = block.get("type")
        usual = _USUAL_KEYS.get(kind) if isinstance(kind, str) else None
        if usual is None:
            raise ProblemError(invalid(f"{where}: blocks of this type cannot be carried to the provider of this model"))
        if "cache_control" in block:
            self.cached = True
        if not block.keys() <= usual:
            self._ignored += lost(where, block, usual)
        return str(kind)

    def _user(self, content: list[Json], where: str) -> list[Json]:
        parts: list[Json] = []
        media: list[Json] = []
        rest: list[Json] = []
        for place, block in enumerate(content):
            if len(block) == 2 and block.get("type") == "text":
                # Nearly all blocks are nothing but a text.
                rest.append({"text": block["text"]})
                continue
            here = f"{where}.{place}"
            kind = self._check(block, here)
            if kind == "text":
                rest.append({"text": block["text"]})
            elif kind == "tool_result":
                parts.append(self._result(block, here, media))
            elif kind in {"image", "document"}:
                rest += self._media(block, here)
            else:
                raise ProblemError(invalid(f"{here}: blocks of this type belong to role assistant"))
        # What functions gave back comes first; a response holds only text, so images stand right behind.
        return parts + media + rest

    def _model(self, content: list[Json], where: str) -> list[Json]:
        parts: list[Json] = []
        self._signature = ""
        for place, block in enumerate(content):
            plain = len(block) == 2 and block.get("type") == "text"
            kind = "text" if plain else self._check(block, f"{where}.{place}")
            if kind == "text":
                parts.append(self._signed({"text": block["text"]}))
            elif kind == "thinking":
                self._thinking(block, f"{where}.{place}", parts)
            elif kind == "tool_use":
                self._names[block["id"]] = block["name"]
                call = {"id": block["id"], "name": block["name"], "args": block["input"]}
                parts.append(self._signed({"functionCall": call}))
            elif kind == "image":
                parts += [self._signed(part) for part in self._media(block, f"{where}.{place}")]
            else:
                self._ignored.append(f"{where}.{place} ({kind})")
        if self._signature:
            parts.append(self._signed({"text": ""}))
        return parts

    def _thinking(self, block: Json, where: str, parts: list[Json]) -> None:
        signature = block.get("signature") or ""
        mine = signatures.own(signature, self._provider)
        if mine is None:
            whose = signatures.origin(signature)
            self._ignored.append(f"{where} ({f'thinking signed by {whose}' if whose else 'unsigned thinking'})")
            return
        said = block.get("thinking") or ""
        if said:
            parts.append({"text": said, "thought": True} | ({"thoughtSignature": mine} if mine else {}))
        elif mine:
            if self._signature:
                parts.append(self._signed({"text": ""}))
            self._signature = mine

    def _signed(self, part: Json) -> Json:
        if self._signature:
            part["thoughtSignature"], self._signature = self._signature, ""
        return part

    def _result(self, block: Json, where: str, media: list[Json]) -> Json:
        call_id = block["tool_use_id"]
        name = self._names.get(call_id)
        if name is None:
            raise ProblemError(invalid(f"{where}.tool_use_id: there is no tool_use that this answers"))
        said = self._said(block.get("content"), where, media)
        response = {"error": said} if block.get("is_error") is True else _object_or_result(said)
        return {"functionResponse": {"id": call_id, "name": name, "response": response}}

    def _said(self, content: Any, where: str, media: list[Json]) -> str:
        """Return the text of a tool's result; what is no text goes to `media`."""
        if content is None or isinstance(content, str):
            return content or ""
        texts: list[str] = []
        for place, block in enumerate(content if isinstance(content, list) else [content]):
            here = f"{where}.content.{place}"
            if not isinstance(block, dict):
                raise ProblemError(invalid(f"{here}: Input should be a valid dictionary"))
            given = block.get("type")
            if isinstance(given, str) and given not in _USUAL_KEYS:
                # Such as a reference to a tool, which only its own provider follows.
                self._ignored.append(f"{here} ({given[:64]})")
                continue
            kind = self._check(block, here)
            if kind == "text" and isinstance(block.get("text"), str):
                texts.append(block["text"])
            elif kind in {"image", "document"}:
                media += self._media(block, here)
            else:
                raise ProblemError(invalid(f"{here}: this cannot be carried to the provider of this model"))
        return "\n".join(texts)

    def _media(self, block: Json, where: str) -> list[Json]:
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        kind, data = source.get("type"), source.get("data")
        if kind in ("base64", "url") and block["type"] == "document" and block.get("title"):
            self._ignored.append(f"{where}.title")
        if kind == "base64" and isinstance(data, str) and isinstance(source.get("media_type"), str):
            return [{"inlineData": {"mimeType": source["media_type"], "data": data}}]
        if kind == "url" and isinstance(source.get("url"), str):
            return [{"fileData": _file(source["url"], document=block["type"] == "document")}]
        if kind == "text" and isinstance(data, str):
            return [{"text": _titled(block, data)}]
        if kind == "content":
            media: list[Json] = []
            said = _titled(block, self._said(source.get("content"), f"{where}.source", media))
            return [*([{"text": said}] if said else []), *media]
        raise ProblemError(invalid(f"{where}.source: this cannot be carried to the provider of this model"))


def _titled(document: Json, said: str) -> str:
    title = document.get("title")
    return f"{title}\n\n{said}" if isinstance(title, str) and title else said


def _holds(content: Json, kind: str) -> bool:
    return any(kind in part for part in content["parts"])


def _sign_calls(contents: list[Json]) -> None:
    """See that of each step of the current turn the first call is signed: the others need not be."""
    for content in reversed(contents):
        if content["role"] == "user":
            if not _holds(content, "functionResponse"):
                # Here the turn began: results of functions go on with theirs.
                return
            continue
        for part in content["parts"]:
            if "functionCall" in part:
                part.setdefault("thoughtSignature", signatures.UNSIGNED_CALL)
                break


def _sign_images(contents: list[Json]) -> None:
    """See that each image that a model made is signed: those that make images ask it of all, however old."""
    for content in contents:
        if content["role"] == "model":
            for part in content["parts"]:
                if "inlineData" in part:
                    part.setdefault("thoughtSignature", signatures.UNSIGNED_CALL)


def _object_or_result(said: str) -> Any:
    if said.lstrip()[:1] == "{":
        raw = said.encode("utf-8", "replace")
        try:
            _object.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
        else:
            return msgspec.Raw(raw)
    return {"result": said}


def _file(url: str, *, document: bool) -> Json:
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    kind = "application/pdf" if document else _BY_ENDING.get(ending)
    return {"fileUri": url} if kind is None else {"fileUri": url, "mimeType": kind}
