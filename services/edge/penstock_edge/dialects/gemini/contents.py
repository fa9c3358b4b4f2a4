"""A conversation's turns: Google's contents and parts as canonical messages and blocks."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

from penstock_edge import signatures
from penstock_edge.dialects.gemini.function_result import result_block
from penstock_edge.dialects.gemini.media import file_block, inline_block, is_image, standard_base64
from penstock_edge.dialects.gemini.spelling import CAMEL, many, members, text
from penstock_edge.errors import ProblemError, invalid

if TYPE_CHECKING:
    from penstock_edge.canonical import Json
    from penstock_edge.dialects.gemini.tool_names import ToolNames

_ROLES: Final = {"user": "user", "function": "user", "tool": "user", "": "user", "model": "assistant"}
_MEDIA: Final = {"inlineData": inline_block, "fileData": file_block}
_DATA: Final = frozenset({"functionCall", "functionResponse", *_MEDIA})
_fits_as_id = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch


class _Call:
    """A function call of the conversation, and whether its result has been seen."""

    __slots__ = ("answered", "id")

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.answered = False


class ContentsReader:
    """Reads the contents of one request, once."""

    def __init__(self, names: ToolNames, ignored: list[str]) -> None:
        self._names = names
        self._ignored = ignored
        self._turns: list[Json] = []
        self._calls_by_id: dict[str, _Call] = {}
        self._calls_by_name: defaultdict[str, deque[_Call]] = defaultdict(deque)
        self._ids: set[str] = set()
        # The text or thinking block that the model's next part may continue: streams are kept piece by piece.
        self._open: Json | None = None
        self._pieces: list[str] = []

    def read(self, value: Any, where: str) -> list[Json]:
        """Return the messages. Raises ProblemError (400)."""
        for index, content in enumerate(many(value, where)):
            self._content(content, f"{where}.{index}")
        self._close()
        turns = [turn for turn in self._turns if turn["content"]]
        if not turns:
            raise ProblemError(invalid(f"{where}: at least one part that is not empty is required"))
        for turn in turns:
            if turn["role"] == "user":
                turn["content"].sort(key=_after_results)
        return turns

    def _content(self, content: Any, where: str) -> None:
        role, parts = "user", []
        for name, path, value in members(content, where):
            if name == "role":
                known = _ROLES.get(text(value, path))
                if known is None:
                    raise ProblemError(invalid(f"{path}: Input should be 'user' or 'model'"))
                role = known
            elif name == "parts":
                parts = many(value, path)
            else:
                self._ignored.append(path)
        if self._turns and not self._turns[-1]["content"]:
            # It said nothing: what stands around it is one turn.
            self._turns.pop()
        if not self._turns or self._turns[-1]["role"] != role:
            self._close()
            self._turns.append({"role": role, "content": []})
        blocks = self._turns[-1]["content"]
        model = role == "assistant"
        for place, part in enumerate(parts):
            # Nearly all parts are nothing but a text.
            said = part["text"] if type(part) is dict and len(part) == 1 and "text" in part else None
            if type(said) is not str:
                self._part(part, where, place, blocks, model=model)
            elif said and model:
                self._continue("text", said, blocks)
            elif said:
                blocks.append({"type": "text", "text": said})

    def _part(self, part: Any, content: str, place: int, blocks: list[Json], *, model: bool) -> None:
        if not isinstance(part, dict):
            raise ProblemError(invalid(f"{content}.parts.{place}: Input should be a valid dictionary"))
        said: str | None = None
        thought, signature, data = False, "", None
        for key, value in part.items():
            if value is None:
                continue
            name = CAMEL.get(key, key)
            if name == "text":
                said = text(value, f"{content}.parts.{place}.{key}")
            elif name == "thought":
                thought = value is True
            elif name == "thoughtSignature":
                signature = _signature(text(value, f"{content}.parts.{place}.{key}"))
            elif name in _DATA:
                data = (name, f"{content}.parts.{place}.{key}", value)
            else:
                self._ignored.append(f"{content}.parts.{place}.{key[:64]}")
        if model:
            self._model_part(said, thought, signature, data, blocks)
        else:
            self._user_part(said, data, blocks)

    def _user_part(self, said: str | None, data: tuple[str, str, Any] | None, blocks: list[Json]) -> None:
        if said:
            blocks.append({"type": "text", "text": said})
        if data is None:
            return
        name, path, value = data
        if name == "functionCall":
            raise ProblemError(invalid(f"{path}: function calls belong to role 'model'"))
        if name == "functionResponse":
            blocks.append(self._result(value, path))
        else:
            blocks.append(_MEDIA[name](value, path, self._ignored))

    def _model_part(
        self, said: str | None, thought: bool, signature: str, data: tuple[str, str, Any] | None, blocks: list[Json]
    ) -> None:
        if thought:
            self._thinking(said or "", signature, blocks)
            return
        if signature:
            # It belongs to what follows, so it stands right before that.
            self._close()
            blocks.append({"type": "thinking", "thinking": "", "signature": signature})
        if said:
            self._continue("text", said, blocks)
        if data is None:
            return
        name, path, value = data
        if name == "functionCall":
            self._close()
            blocks.append(self._call(value, path))
        elif name == "functionResponse":
            raise ProblemError(invalid(f"{path}: function responses belong to role 'user'"))
        elif name == "inlineData" and is_image(value):
            self._close()
            blocks.append(inline_block(value, path, self._ignored))
        else:
            self._ignored.append(path)

    def _thinking(self, said: str, signature: str, blocks: list[Json]) -> None:
        if said or signature:
            self._continue("thinking", said, blocks)
        if signature and self._open is not None:
            self._open["signature"] = signature
            self._close()

    def _continue(self, kind: str, said: str, blocks: list[Json]) -> None:
        if self._open is None or self._open["type"] != kind:
            self._close()
            self._open = {"type": kind, kind: ""}
            if kind == "thinking":
                self._open["signature"] = ""
            blocks.append(self._open)
        self._pieces.append(said)

    def _close(self) -> None:
        if self._open is not None:
            self._open[self._open["type"]] = "".join(self._pieces)
            self._open = None
        self._pieces = []

    # Function calls and their results

    def _call(self, value: Any, where: str) -> Json:
        name, given, arguments = "", "", {}
        for field, path, item in members(value, where):
            if field == "name":
                name = text(item, path)
            elif field == "id":
                given = text(item, path)
            elif field == "args":
                if not isinstance(item, dict):
                    raise ProblemError(invalid(f"{path}: Input should be a valid dictionary"))
                arguments = item
            else:
                self._ignored.append(path)
        if not name:
            raise ProblemError(invalid(f"{where}.name: field required"))
        call = _Call(self._call_id(given, where))
        if given:
            self._calls_by_id[given] = call
        self._calls_by_name[name].append(call)
        return {"type": "tool_use", "id": call.id, "name": self._names.canonical(name), "input": arguments}

    def _call_id(self, given: str, where: str) -> str:
        chosen = given
        if not _fits_as_id(given) or given in self._ids:
            # Made of its position alone, so that it is the same in every turn to come.
            _, index, _, place, _ = where.rsplit(".", 4)
            chosen = f"call_{index}_{place}"
            while chosen in self._ids:
                chosen += "_"
        self._ids.add(chosen)
        return chosen

    def _result(self, value: Any, where: str) -> Json:
        name, given, response, parts = "", "", {}, []
        for field, path, item in members(value, where):
            if field == "name":
                name = text(item, path)
            elif field == "id":
                given = text(item, path)
            elif field == "response":
                response = item
            elif field == "parts":
                parts = many(item, path)
            else:
                self._ignored.append(path)
        call = self._answered(given, name)
        if call is None:
            raise ProblemError(invalid(f"{where}: there is no function call that this answers"))
        call.answered = True
        return result_block(call.id, response, parts, where, self._ignored)

    def _answered(self, given: str, name: str) -> _Call | None:
        """Return the call that a result belongs to: by its id, else the first unanswered one of its name."""
        call = self._calls_by_id.get(given) if given else None
        if call is not None:
            return call
        waiting = self._calls_by_name[name]
        while waiting:
            call = waiting.popleft()
            if not call.answered:
                return call
        return None


def _after_results(block: Json) -> bool:
    return bool(block["type"] != "tool_result")


def _signature(signature: str) -> str:
    """Return a signature with a tag; one without comes from an earlier answer of Google's own."""
    if not signature or signature.replace("/", "_") == signatures.UNSIGNED_CALL:
        return ""
    usual = standard_base64(signature)
    return usual if signatures.origin(usual) is not None else signatures.tag(signature, "Gemini")
