"""The list of models, page by page."""

import pytest

from penstock_simulator.gemini.models import Models, page
from penstock_simulator.refusal import RefusalError
from penstock_simulator.settings import ModelSettings

ROWS = list(Models().all())


@pytest.mark.parametrize("size", [1, 3, len(ROWS), 1000])
def test_pages_put_together_are_the_list(size):
    seen, token, pages = [], None, 0
    while token is not None or not pages:
        found = page(ROWS, str(size), token)
        assert len(found["models"]) <= size
        seen += [row["name"] for row in found["models"]]
        token, pages = found.get("nextPageToken"), pages + 1
    assert seen == [f"models/{model.name}" for model in ROWS]
    assert pages == -(-len(ROWS) // size)


@pytest.mark.parametrize(
    ("size", "token", "words"),
    [
        ("-1", None, "page_size must be non-negative"),
        ("many", None, "Invalid value at 'page_size' (TYPE_INT32), \"many\""),
        ("5", "x", "page_token is invalid"),
        ("5", "YWZ0ZXI6OTk5", "page_token is invalid"),
    ],
)
def test_arguments_that_cannot_be(size, token, words):
    with pytest.raises(RefusalError) as caught:
        page(ROWS, size, token)
    assert words in caught.value.message


def test_what_a_row_tells():
    rows = {row["name"].removeprefix("models/"): row for row in page(ROWS, None, None)["models"]}
    assert rows["gemini-2.5-pro"]["thinking"]
    assert "thinking" not in rows["gemini-2.0-flash"]
    assert rows["gemini-2.0-flash"]["outputTokenLimit"] == 8192
    assert "generateContent" in rows["gemini-3-flash-preview"]["supportedGenerationMethods"]
    assert "generateContent" not in rows["gemini-embedding-001"]["supportedGenerationMethods"]


@pytest.mark.parametrize(
    ("name", "third", "always_thinks"),
    [
        ("gemini-3.8-flash", True, False),
        ("gemini-4-argon", True, False),
        ("gemini-3.2-pro", True, True),
        ("gemini-flash-latest", True, False),
        ("gemini-2.9-flash", False, False),
        ("gemma-4", False, False),
    ],
)
def test_added_models_have_the_manners_of_their_generation(name, third, always_thinks):
    found = Models([ModelSettings(id=name, format="gemini")]).find(name)
    assert found is not None
    assert (found.third, bool(found.levels), found.always_thinks) == (third, third, always_thinks)
