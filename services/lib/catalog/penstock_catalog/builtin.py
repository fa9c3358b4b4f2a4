"""The models that Penstock knows by itself. They are data: one file for each owner in `builtin_models/`.

`spec` is that of a `Model` resource, and a resource of the same name overrides it field by field. What a client asked
for is what is sent upstream, except for spellings of gateways, such as the owner before a slash: see
`penstock_catalog.names`. A retired model stays with its date, for accounts that may still serve it.

Prices are USD per million tokens, in force from the day on which the model came out. Every row has four: input, output,
cache write (5 minutes and 1 hour) and cache read. A cache price that is not written is the input price, which is right
for providers that charge nothing extra for writing, and for models without a discount on reading.
"""

from functools import lru_cache
from importlib import resources

from pydantic import Field, TypeAdapter

from penstock_catalog import models, reader
from penstock_catalog.documents import Model
from penstock_catalog.resources import ModelName, ModelSpec, Strict, Time

OWNERS = ("anthropic", "openai", "google")
"""Whose models are built in: the names of the files, and what `ownedBy` says in them."""


class _Entry(Strict):
    """A `Model` resource's spec, and what only the owner of a model can say of it."""

    name: ModelName
    display_name: str
    created_at_ms: Time = Field(alias="createdTime")
    retires_at_ms: Time = Field(default=0, alias="retirementTime")
    spec: ModelSpec


_ENTRIES = TypeAdapter(list[_Entry])


@lru_cache(maxsize=1)
def built_in_models() -> tuple[Model, ...]:
    """Read them, once."""
    folder = resources.files("penstock_catalog").joinpath("builtin_models")
    texts = (folder.joinpath(f"{owner}.yaml").read_text("utf-8") for owner in OWNERS)
    return tuple(_model(entry) for text in texts for entry in _ENTRIES.validate_python(reader.plain(text)))


def _model(entry: _Entry) -> Model:
    return models.added(entry.name, entry.spec, entry.created_at_ms).model_copy(
        update={"display_name": entry.display_name, "retires_at_ms": entry.retires_at_ms}
    )
