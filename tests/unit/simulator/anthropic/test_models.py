import pytest

from penstock_simulator.anthropic.models import Models
from penstock_simulator.refusal import RefusalError
from penstock_simulator.settings import ModelSettings

MODELS = Models()
ROWS = list(MODELS.all())
NAMES = [row.name for row in ROWS]


def ids(page):
    return [row["id"] for row in page["data"]]


def test_names_and_aliases():
    assert MODELS.find("claude-sonnet-4-5").name == "claude-sonnet-4-5-20250929"
    assert MODELS.find("claude-sonnet-4-5-20250929").output == 64_000
    assert MODELS.find("claude-opus-4-20250514").output == 32_000
    assert MODELS.find("gpt-4o") is None


def test_settings_add_models():
    models = Models([ModelSettings(id="my-model", max_output_tokens=10), ModelSettings(id="gpt-6", format="openai")])
    assert models.find("gpt-6") is None
    assert models.find("my-model").output == 10
    assert models.find("claude-opus-4-8") is not None


def test_pages_forward_and_back():
    first = MODELS.page(ROWS, "5", None, None)
    assert (ids(first), first["has_more"]) == (NAMES[:5], True)
    assert (first["first_id"], first["last_id"]) == (NAMES[0], NAMES[4])
    second = MODELS.page(ROWS, "5", first["last_id"], None)
    assert ids(second) == NAMES[5:10]
    back = MODELS.page(ROWS, "3", None, NAMES[5])
    assert (ids(back), back["has_more"]) == (NAMES[2:5], True)
    everything = MODELS.page(ROWS, None, None, None)
    assert (ids(everything), everything["has_more"]) == (NAMES, False)
    assert MODELS.page([], None, None, None) == {"data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("limit", "after", "before", "words"),
    [
        ("0", None, None, "limit: "),
        ("1001", None, None, "limit: "),
        ("x", None, None, "limit: "),
        (None, "nope", None, "after_id: "),
        (None, None, "nope", "before_id: "),
    ],
)
def test_arguments_out_of_range(limit, after, before, words):
    with pytest.raises(RefusalError, match=words):
        MODELS.page(ROWS, limit, after, before)
