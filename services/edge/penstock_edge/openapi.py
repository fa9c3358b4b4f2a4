"""Describes the hot endpoints in the OpenAPI document, for they are unknown to FastAPI."""

from __future__ import annotations

from typing import Any

_ERROR = {"$ref": "#/components/schemas/Error"}
_STATUSES = {
    400: "The request is wrong in itself",
    401: "No key, or an unknown or disabled one",
    402: "The project is out of credit",
    403: "The key has expired, its spend limit is reached, or its plan does not include the model",
    404: "Unknown model",
    413: "The body is larger than 32 MB",
    429: "A limit is used up, or every account is at capacity; Retry-After says for how long",
    500: "An internal error",
    502: "The upstream failed, and no other account could absorb it",
    503: "Keys or limits cannot be checked at the moment",
    529: "No account is available at the moment",
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with everything that FastAPI cannot know."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Error"] = {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            },
            "request_id": {"type": "string"},
        },
    }
    document["components"]["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "bearer": {"type": "http", "scheme": "bearer"},
        "google": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
    }
    document["security"] = [{"key": []}, {"bearer": []}, {"google": []}]
    paths = document.setdefault("paths", {})
    paths["/v1/messages"] = {
        "post": _operation(
            "Create a message",
            "Anthropic's Messages format, unary or streamed; the body goes upstream byte for byte.",
            ["model", "max_tokens", "messages"],
        )
    }
    paths["/v1/messages/count_tokens"] = {
        "post": _operation(
            "Count the tokens of a message", "Costs nothing and has no usage row.", ["model", "messages"]
        )
    }
    return document


def _operation(summary: str, description: str, required: list[str]) -> dict[str, Any]:
    properties = {
        "model": {"type": "string"},
        "max_tokens": {"type": "integer"},
        "messages": {"type": "array", "items": {"type": "object"}},
        "stream": {"type": "boolean"},
    }
    answers: dict[str, Any] = {
        str(status): {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for status, text in _STATUSES.items()
    }
    answers["200"] = {
        "description": "The upstream's answer",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
    }
    return {
        "tags": ["messages"],
        "summary": summary,
        "description": description,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": required,
                        "properties": {name: properties[name] for name in properties},
                        "additionalProperties": True,
                    }
                }
            },
        },
        "responses": answers,
    }
