"""Models of the catalog: a built-in one, changed or joined by what `Model` resources say."""

from collections.abc import Sequence

from penstock_catalog.documents import Model
from penstock_catalog.prices import PriceRow
from penstock_catalog.resources import ModelSpec, Price


def price_rows(prices: Sequence[Price]) -> tuple[PriceRow, ...]:
    """Turn written prices into rows, ascending by effective time."""
    return tuple(sorted(map(_price_row, prices), key=lambda row: row.effective_at_ms))


def overridden(built_in: Model, spec: ModelSpec) -> Model:
    """Lay what a resource says over the built-in model, field by field.

    A list takes the place of the built-in list. Prices do from their first effective time on: what a model cost
    before that stays as it was, so a price for next month does not leave this month without one.
    """
    changes: dict[str, object] = {
        "aliases": tuple(alias for alias in spec.aliases if alias != built_in.name)
        if spec.aliases is not None
        else None,
        "owned_by": spec.owned_by,
        "context_tokens": spec.context_tokens,
        "max_output_tokens": spec.max_output_tokens,
        "fallbacks": tuple(spec.fallbacks) if spec.fallbacks is not None else None,
    }
    if spec.upstream_names is not None:
        changes["upstream_names"] = {entry.provider: entry.name for entry in spec.upstream_names}
    if spec.prices is not None:
        rows = price_rows(spec.prices)
        earlier = tuple(row for row in built_in.prices if row.effective_at_ms < rows[0].effective_at_ms)
        changes["prices"] = earlier + rows
    return built_in.model_copy(update={name: value for name, value in changes.items() if value is not None})


def missing(spec: ModelSpec) -> list[str]:
    """Name the fields that a model which is not built in cannot do without, and that this one lacks."""
    needed = {
        "contextTokens": spec.context_tokens,
        "maxOutputTokens": spec.max_output_tokens,
        "prices": spec.prices,
    }
    return [name for name, value in needed.items() if value is None]


def added(name: str, spec: ModelSpec, created_at_ms: int) -> Model:
    """Make a model that is not built in, of a spec that lacks nothing."""
    rows = price_rows(spec.prices or ())
    blank = Model(
        name=name,
        display_name=name,
        context_tokens=spec.context_tokens or 0,
        max_output_tokens=spec.max_output_tokens or 0,
        created_at_ms=created_at_ms or rows[0].effective_at_ms,
        prices=rows,
    )
    return overridden(blank, spec)


def _price_row(price: Price) -> PriceRow:
    write_5m = _or_input(price.cache_write_5m_micro, price)
    write_1h = _or_input(price.cache_write_1h_micro, price)
    read = _or_input(price.cache_read_micro, price)
    tier: dict[str, int] = {}
    if price.long_context is not None:
        above = price.long_context.input_micro
        tier = {
            "long_context_above": price.long_context.above_input_tokens,
            "long_context_input": above,
            "long_context_output": price.long_context.output_micro,
            "long_context_cache_write_5m": _in_proportion(write_5m, above, price.input_micro),
            "long_context_cache_write_1h": _in_proportion(write_1h, above, price.input_micro),
            "long_context_cache_read": _in_proportion(read, above, price.input_micro),
        }
    return PriceRow(
        effective_at_ms=price.effective_at_ms,
        input=price.input_micro,
        output=price.output_micro,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        cache_read=read,
        **tier,
    )


def _or_input(value: int | None, price: Price) -> int:
    return price.input_micro if value is None else value


def _in_proportion(value: int, above: int, below: int) -> int:
    """Raise a cache price as the input price rises, half up; where input is free below the tier, to the tier's own."""
    return (2 * value * above + below) // (2 * below) if below else above
