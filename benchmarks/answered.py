"""One answer and its stream in all four wire formats, as real providers write them."""

from __future__ import annotations

from dataclasses import dataclass

from asked import NAME, Json, compact

ANSWER = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs. " * 3
FIGURES = (25, 60)
"""Tokens read and tokens said."""

_CHAT = {
    "id": "chatcmpl-Mock00000000000000000",
    "created": 1_750_000_000,
    "model": "m",
    "system_fingerprint": "fp_mock",
}
_RESPONSE: Json = {
    "id": "resp_0123456789abcdef0123456789abcdef",
    "object": "response",
    "created_at": 1_750_000_000,
    "model": "m",
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
_GEMINI = {"modelVersion": "m", "responseId": "Abcdefghijklmnopqrst"}


def _usage(wire: str) -> Json:
    given, said = FIGURES
    match wire:
        case "messages":
            cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
            return {"input_tokens": given, **cached, "output_tokens": said}
        case "chat":
            return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}
        case "responses":
            details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
            return {"input_tokens": given, "output_tokens": said, "total_tokens": given + said, **details}
        case _:
            return {"promptTokenCount": given, "candidatesTokenCount": said, "totalTokenCount": given + said}


def answer(wire: str) -> bytes:
    """Return a provider's whole answer, which says `ANSWER`."""
    match wire:
        case "messages":
            content = [{"type": "text", "text": ANSWER}]
            body = _opening_message() | {"content": content, "stop_reason": "end_turn", "usage": _usage(wire)}
        case "chat":
            message = {"role": "assistant", "content": ANSWER, "refusal": None}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            body = _CHAT | {"object": "chat.completion", "choices": [choice], "usage": _usage(wire)}
        case "responses":
            body = _RESPONSE | {"status": "completed", "output": [_output_message(ANSWER)], "usage": _usage(wire)}
        case _:
            body = _candidate({"text": ANSWER}, "STOP")
    return compact(body)


def _opening_message() -> Json:
    begun = _usage("messages") | {"output_tokens": 1}
    message = {"id": "msg_01Mock0000000000000000000", "type": "message", "role": "assistant", "model": "m"}
    return message | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": begun}


def _output_message(said: str) -> Json:
    part = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    return {"id": "msg_01", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def _candidate(part: Json, finish: str = "") -> Json:
    candidate: Json = {"content": {"parts": [part], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": _usage("generate"), **_GEMINI}


@dataclass(frozen=True)
class Stream:
    """A stream as its provider sends it, one event a piece; every delta says a word that occurs once."""

    opening: list[bytes]
    deltas: list[bytes]
    closing: list[bytes]


def word(number: int) -> str:
    """Return what a delta says."""
    return f" w{number:05}"


def text_stream(wire: str, count: int) -> Stream:
    """Return a stream of one text in `count` deltas."""
    words = [word(number) for number in range(count)]
    match wire:
        case "messages":
            return _messages_stream({"type": "text", "text": ""}, [{"type": "text_delta", "text": w} for w in words])
        case "chat":
            return _chat_stream({"role": "assistant", "content": ""}, [{"content": w} for w in words], "stop")
        case "responses":
            return _responses_text(words)
        case _:
            pieces = [_gemini(_candidate({"text": w})) for w in words]
            return Stream(pieces[:1], pieces[1:], [_gemini(_candidate({"text": ""}, "STOP"))])


def arguments_stream(wire: str, count: int) -> Stream | None:
    """Return a stream of one tool call whose arguments come in `count` deltas; None where they come whole."""
    words = ['{"city":"', *(word(number) for number in range(count)), '"}']
    match wire:
        case "messages":
            block = {"type": "tool_use", "id": "toolu_01", "name": NAME, "input": {}}
            stream = _messages_stream(block, [{"type": "input_json_delta", "partial_json": w} for w in words])
        case "chat":
            function = {"name": NAME, "arguments": ""}
            call = {"index": 0, "id": "call_01", "type": "function", "function": function}
            deltas = [{"tool_calls": [{"index": 0, "function": {"arguments": w}}]} for w in words]
            opening = {"role": "assistant", "content": None, "tool_calls": [call]}
            stream = _chat_stream(opening, deltas, "tool_calls")
        case "responses":
            stream = _responses_call(words)
        case _:
            return None
    return Stream([*stream.opening, stream.deltas[0]], stream.deltas[1:-1], [stream.deltas[-1], *stream.closing])


def _event(document: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (document["type"].encode(), compact(document))


def _gemini(document: Json) -> bytes:
    return b"data: %s\r\n\r\n" % compact(document)


def _messages_stream(block: Json, deltas: list[Json]) -> Stream:
    start = {"type": "message_start", "message": _opening_message()}
    begin = {"type": "content_block_start", "index": 0, "content_block": block}
    stop = {"stop_reason": "end_turn" if block["type"] == "text" else "tool_use", "stop_sequence": None}
    end = {"type": "message_delta", "delta": stop, "usage": {"output_tokens": FIGURES[1]}}
    return Stream(
        [_event(start), _event(begin)],
        [_event({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas],
        [_event({"type": "content_block_stop", "index": 0}), _event(end), _event({"type": "message_stop"})],
    )


def _chat_stream(opening: Json, deltas: list[Json], finish: str) -> Stream:
    def chunk(delta: Json, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        document = _CHAT | {"object": "chat.completion.chunk", "choices": [choice], "usage": None}
        return b"data: %s\n\n" % compact(document)

    used = _CHAT | {"object": "chat.completion.chunk", "choices": [], "usage": _usage("chat")}
    closing = [chunk({}, finish), b"data: %s\n\n" % compact(used), b"data: [DONE]\n\n"]
    return Stream([chunk(opening)], [chunk(delta) for delta in deltas], closing)


def _numbered(opening: list[Json], deltas: list[Json], closing: list[Json]) -> Stream:
    def events(documents: list[Json], first: int) -> list[bytes]:
        return [_event(one | {"sequence_number": first + place}) for place, one in enumerate(documents)]

    after = len(opening) + len(deltas)
    return Stream(events(opening, 0), events(deltas, len(opening)), events(closing, after))


def _responses_text(words: list[str]) -> Stream:
    place = {"item_id": "msg_01", "output_index": 0, "content_index": 0}
    message = _output_message("".join(words))
    empty = message | {"status": "in_progress", "content": []}
    part = message["content"][0]
    opening = [
        *_responses_opening(empty),
        {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
    ]
    delta = {"type": "response.output_text.delta", **place, "logprobs": [], "obfuscation": "Ab3dEf6hIj"}
    closing = [
        {"type": "response.output_text.done", **place, "logprobs": [], "text": part["text"]},
        {"type": "response.content_part.done", **place, "part": part},
        *_responses_closing(message),
    ]
    return _numbered(opening, [delta | {"delta": w} for w in words], closing)


def _responses_call(words: list[str]) -> Stream:
    call = {"id": "fc_01", "type": "function_call", "call_id": "call_01", "name": NAME}
    place = {"item_id": "fc_01", "output_index": 0}
    delta = {"type": "response.function_call_arguments.delta", **place, "obfuscation": "Ab3dEf6hIj"}
    whole = "".join(words)
    closing = [
        {"type": "response.function_call_arguments.done", **place, "arguments": whole},
        *_responses_closing(call | {"arguments": whole, "status": "completed"}),
    ]
    opening = _responses_opening(call | {"arguments": "", "status": "in_progress"})
    return _numbered(opening, [delta | {"delta": w} for w in words], closing)


def _responses_opening(item: Json) -> list[Json]:
    begun = _RESPONSE | {"status": "in_progress", "output": [], "usage": None}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
    ]


def _responses_closing(item: Json) -> list[Json]:
    ended = _RESPONSE | {"status": "completed", "output": [item], "usage": _usage("responses")}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    return [done, {"type": "response.completed", "response": ended}]
