"""The OpenAPI document: what ordinary routes say of themselves, and the endpoints that models answer behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock_edge.routes.route import Route

_STATUSES: Final = {
    400: "The request is wrong in itself, or holds what cannot be carried to this model",
    401: "No key, or an unknown or disabled one",
    402: "The project is out of credit",
    403: "The key has expired, its spend limit is reached, or its plan does not include this",
    404: "Unknown model",
    413: "The body is larger than 32 MB",
    429: "A limit is used up, or every account is at capacity; Retry-After says for how long",
    500: "An internal error",
    502: "The upstream failed, and no other account could absorb it",
    503: "Keys or limits cannot be checked at the moment, or (but for Messages) no account is available",
}
_NO_ACCOUNT: Final = {529: "No account is available at the moment"}

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer"}
_FLAG: Final = {"type": "boolean"}
_NUMBER: Final = {"type": "number"}
_OBJECT: Final = {"type": "object"}
_OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
_TEXT_OR_LIST: Final = {"anyOf": [_TEXT, {"type": "array", "items": {}}]}

_ERRORS: Final[dict[str, dict[str, Any]]] = {
    "AnthropicError": {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": _TEXT, "message": _TEXT},
            },
            "request_id": _TEXT,
        },
    },
    "OpenAIError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type"],
                "properties": {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
    "GeminiError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "status"],
                "properties": {"code": _COUNT, "message": _TEXT, "status": _TEXT, "details": _OBJECTS},
            }
        },
    },
}

_MESSAGES: Final = {
    "model": _TEXT,
    "max_tokens": _COUNT,
    "messages": _OBJECTS,
    "system": _TEXT_OR_LIST,
    "tools": _OBJECTS,
    "tool_choice": _OBJECT,
    "temperature": _NUMBER,
    "stop_sequences": {"type": "array", "items": _TEXT},
    "thinking": _OBJECT,
    "stream": _FLAG,
}
_CHAT: Final = {
    "model": _TEXT,
    "messages": _OBJECTS,
    "max_completion_tokens": _COUNT,
    "temperature": _NUMBER,
    "tools": _OBJECTS,
    "tool_choice": {"anyOf": [_TEXT, _OBJECT]},
    "response_format": _OBJECT,
    "reasoning_effort": _TEXT,
    "stop": _TEXT_OR_LIST,
    "stream": _FLAG,
    "stream_options": _OBJECT,
}
_RESPONSES: Final = {
    "model": _TEXT,
    "input": _TEXT_OR_LIST,
    "instructions": _TEXT,
    "max_output_tokens": _COUNT,
    "tools": _OBJECTS,
    "tool_choice": {"anyOf": [_TEXT, _OBJECT]},
    "reasoning": _OBJECT,
    "text": _OBJECT,
    "stream": _FLAG,
}
_EMBEDDINGS: Final = {"model": _TEXT, "input": _TEXT_OR_LIST, "dimensions": _COUNT, "encoding_format": _TEXT}
_GENERATE: Final = {
    "contents": _OBJECTS,
    "systemInstruction": _OBJECT,
    "tools": _OBJECTS,
    "toolConfig": _OBJECT,
    "generationConfig": _OBJECT,
}

_GEMINI: Final = "/v1beta/models/{model}:"


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document of all endpoints."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "summary": "One door to many model accounts: keys, limits, failover and books.",
            "version": "1",
        },
        "paths": {route.path: {"get": _get(route)} for route in routes if route.operation_id} | _paths(),
        "components": {
            "schemas": _ERRORS,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "google": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
            },
        },
        "security": [{"key": []}, {"bearer": []}, {"google": []}],
    }


def _get(route: Route) -> dict[str, Any]:
    named = {"name": route.name, "in": "path", "required": True, "schema": _TEXT}
    return {
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.description,
        "operationId": route.operation_id,
        **({"parameters": [named]} if route.name else {}),
        "responses": route.answers,
        **({"security": []} if route.open_to_all else {}),
    }


def _paths() -> dict[str, Any]:
    return {
        "/v1/messages": _post(
            "Create a message",
            "Anthropic's Messages format, unary or streamed. Serves Claude models; others where the plan allows it.",
            _body(_MESSAGES, "model", "max_tokens", "messages"),
            "AnthropicError",
        ),
        "/v1/messages/count_tokens": _post(
            "Count the tokens of a message",
            "Costs nothing and has no usage row.",
            _body(_MESSAGES, "model", "messages"),
            "AnthropicError",
        ),
        "/v1/chat/completions": _post(
            "Create a chat completion",
            "OpenAI's chat format, unary or streamed, for every model.",
            _body(_CHAT, "model", "messages"),
            "OpenAIError",
        ),
        "/v1/responses": _post(
            "Create a response",
            "OpenAI's Responses format, unary or streamed, for every model. Codex models always stream.",
            _body(_RESPONSES, "model"),
            "OpenAIError",
        ),
        "/v1/embeddings": _post(
            "Create embeddings",
            "OpenAI's embeddings format.",
            _body(_EMBEDDINGS, "model", "input"),
            "OpenAIError",
        ),
        f"{_GEMINI}generateContent": _gemini("Generate content", "Gemini's format, for every model."),
        f"{_GEMINI}streamGenerateContent": _gemini(
            "Generate content as a stream", "Server-sent events with `alt=sse`, else one JSON array as it grows."
        ),
        f"{_GEMINI}countTokens": _gemini("Count tokens", "Costs nothing and has no usage row."),
    }


def _body(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": True}


def _post(summary: str, description: str, body: dict[str, Any], error: str) -> dict[str, Any]:
    statuses = _STATUSES | (_NO_ACCOUNT if error == "AnthropicError" else {})
    answers: dict[str, Any] = {
        str(status): {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{error}"}}},
        }
        for status, text in statuses.items()
    }
    answers["200"] = {
        "description": "The model's answer",
        "content": {"application/json": {"schema": {}}, "text/event-stream": {}},
    }
    operation = {
        "tags": ["models' answers"],
        "summary": summary,
        "description": description,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": answers,
    }
    return {"post": operation}


def _gemini(summary: str, description: str) -> dict[str, Any]:
    path = _post(summary, description, _body(_GENERATE, "contents"), "GeminiError")
    path["post"]["parameters"] = [
        {"name": "model", "in": "path", "required": True, "schema": _TEXT, "description": "May hold slashes"}
    ]
    if "stream" in summary:
        path["post"]["parameters"].append({"name": "alt", "in": "query", "schema": {"enum": ["sse", "json"]}})
    return path
