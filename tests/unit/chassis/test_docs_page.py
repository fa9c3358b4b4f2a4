"""The page of an OpenAPI document: complete, escaped, and from nowhere else."""

from __future__ import annotations

from penstock_chassis import docs_page

DOCUMENT = {
    "info": {"title": "A <b>", "version": "1", "description": "What it does."},
    "paths": {
        "/v1/things": {"get": {"summary": "List", "responses": {"200": {"description": "All & more"}}}},
    },
}


def test_what_the_page_says():
    page = docs_page.render(DOCUMENT, "Send <code>x</code>.")
    for words in ("A &lt;b&gt;", "What it does.", "GET /v1/things", "List", "All &amp; more", "Send <code>x</code>."):
        assert words in page


def test_a_long_path_breaks_where_the_screen_is_narrow():
    assert "code{" in docs_page.render(DOCUMENT, "")
    style = docs_page.render(DOCUMENT, "").partition("code{")[2].partition("}")[0]
    assert "overflow-wrap:anywhere" in style


def test_the_page_needs_nothing_from_elsewhere():
    page = docs_page.render(DOCUMENT, "")
    assert "http" not in page
    assert "<script" not in page
