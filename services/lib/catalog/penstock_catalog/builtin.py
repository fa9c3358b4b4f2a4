"""The models that Penstock knows by itself. They are data: `builtin_models.yaml` beside this file."""

from functools import lru_cache
from importlib import resources

from pydantic import Field, TypeAdapter

from penstock_catalog import models, reader
from penstock_catalog.documents import Model
from penstock_catalog.resources import ModelName, ModelSpec, Strict, Time


class _Entry(Strict):
    """A `Model` resource's spec, and what only the owner of a model can say of it."""

    name: ModelName
    display_name: str
    created_at_ms: Time = Field(alias="createdTime")
    retires_at_ms: Time = Field(default=0, alias="retirementTime")
    spec: ModelSpec


@lru_cache(maxsize=1)
def built_in_models() -> tuple[Model, ...]:
    """Read them, once."""
    text = resources.files("penstock_catalog").joinpath("builtin_models.yaml").read_text("utf-8")
    entries = TypeAdapter(list[_Entry]).validate_python(reader.plain(text))
    return tuple(
        models.added(entry.name, entry.spec, entry.created_at_ms).model_copy(
            update={"display_name": entry.display_name, "retires_at_ms": entry.retires_at_ms}
        )
        for entry in entries
    )
