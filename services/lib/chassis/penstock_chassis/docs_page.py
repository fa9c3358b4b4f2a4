"""A process's OpenAPI document as one plain page: no script, nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "h2{margin:2rem 0 .3rem;font-size:1.1rem}"
    "code{background:#8882;padding:.1rem .3rem;border-radius:.2rem;overflow-wrap:anywhere}"
    "td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
)


def render(document: dict[str, Any], credential: str) -> str:
    """Return the page of an OpenAPI document; `credential` is HTML that says what to send as whom."""
    info = document["info"]
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in sorted(document["paths"].items())
        for method, operation in methods.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style><h1>{escape(info['title'])}</h1>"
        f"<p>{escape(info.get('summary') or info.get('description', ''))}</p>"
        f"<p>{credential} The machine-readable description is at <a href='/openapi.json'>/openapi.json</a>.</p>"
        f"{operations}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<tr><td>{escape(status)}<td>{escape(answer.get('description', ''))}"
        for status, answer in sorted(operation.get("responses", {}).items())
    )
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code> {escape(operation.get('summary', ''))}</h2>"
        f"<p>{escape(operation.get('description', ''))}</p><table>{answers}</table>"
    )
