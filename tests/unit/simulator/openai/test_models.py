import pytest

from penstock_simulator.openai.models import Models, foreign
from penstock_simulator.settings import ModelSettings

KNOWN = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-5.1",
    "gpt-5.2",
    "gpt-5-codex",
    "gpt-5.1-codex",
    "gpt-5.1-codex-max",
    "gpt-5.2-codex",
    "gpt-5.3-codex",
    "gpt-5-codex-mini",
    "gpt-5.1-codex-mini",
    "o3",
    "o4-mini",
    "gpt-4o-audio-preview",
    "gpt-image-1",
    "text-embedding-3-small",
    "text-embedding-3-large",
]


def test_what_is_known():
    assert [model.name for model in Models().all()] == KNOWN
    assert len({model.answers_as for model in Models().all()}) == len(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_the_manners_of_a_name(name):
    model = Models().find(name)
    assert model.reasons == name.startswith(("gpt-5", "o"))
    assert ("chat" in model.endpoints) == (not any(part in name for part in ("codex", "image", "embedding")))
    assert ("responses" in model.endpoints) == (not any(part in name for part in ("audio", "image", "embedding")))
    assert bool(model.dimensions) == ("embedding" in name)
    assert not model.reasons or model.effort in model.efforts


def test_a_snapshot_is_another_name():
    assert Models().find("gpt-4o-2024-08-06") is Models().find("gpt-4o")
    assert Models().find("gpt-4o").answers_as == "gpt-4o-2024-08-06"
    assert Models().find("gpt-5-codex").answers_as == "gpt-5-codex"
    assert Models().find("") is None


def test_models_may_be_added():
    models = Models([ModelSettings(id="gpt-6", format="openai", max_output_tokens=7), ModelSettings(id="claude-6")])
    assert models.find("gpt-6").output == 7
    assert models.find("claude-6") is None
    assert models.all()[0].shown() == {
        "id": "gpt-6",
        "object": "model",
        "created": 1_767_225_600,
        "owned_by": "system",
    }


def test_a_compatible_servers_model_has_no_manners():
    model = foreign("llama-3")
    assert (model.name, model.answers_as, model.free, model.reasons) == ("llama-3", "llama-3", True, False)
    assert model.endpoints == {"chat", "embeddings"}
