"""Plots of a run, as SVG that is readable on light and dark pages. Pure: rows in, text out."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from figures import FLOOR, Figures
from gateways import FORMATS
from goals import CHUNK_MICROSECONDS
from plan import CONNECTIONS, TAKING_PART, Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from figures import Document

PLOTS = {
    "cpu": "CPU per unary request of 1 KB as a multiple of nginx's, by connections",
    "latency": "Latency of a unary request of 1 KB at one connection, by quantile",
    "chunks": "CPU per chunk of paced streams",
}
QUANTILES = ("p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99.9")
"""In the order of a row's `quantiles_ms`."""

# Name: on light, on dark.
COLOURS = {
    "direct": ("#8a8f98", "#8a8f98"),
    "nginx": ("#3f4650", "#d5dae1"),
    "blind-relay": ("#a16207", "#fde68a"),
    "penstock": ("#0b62d6", "#6cb0ff"),
    "penstock-compiled": ("#0891b2", "#5eead4"),
    "portkey": ("#b45309", "#f5a742"),
    "litellm": ("#b91c1c", "#ff8a80"),
    "tensorzero": ("#15803d", "#5fd38a"),
    "sglang-router": ("#7e22ce", "#c9a0ff"),
}
WIDTH, HEIGHT, TOP, BOTTOM = 960, 400, 84, 46
PANEL, GAP, LEFT = 310, 150, 62
LABEL_HEIGHT = 15.0


def plots(document: Document) -> dict[str, str]:
    """Return every plot by its name; a plot without a point is left out."""
    figures = Figures(document["rows"])
    drawn = {
        "cpu": _by_connections(figures),
        "latency": _quantiles(figures),
        "chunks": _chunks(figures),
    }
    return {name: text for name, text in drawn.items() if text}


@dataclass(frozen=True)
class Line:
    """One gateway's points: place on the x axis (0 to 1) and value."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float]) -> Scale:
        """Return a scale that holds the values with a little room."""
        found = [value for value in values if value > 0]
        return cls(min(found) / 1.25, max(found) * 1.25)

    def place(self, value: float) -> float:
        """Return where a value is: 0 at the low end, 1 at the high end."""
        return math.log(value / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Return round numbers within, at most about ten."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            found = [step * 10.0**decade for decade in decades for step in steps]
            within = [tick for tick in found if self.low <= tick <= self.high]
            if len(within) <= 10:
                return within
        return within


def _by_connections(figures: Figures) -> str:
    def lines(form: str) -> list[Line]:
        def at(number: int, name: str) -> float | None:
            return figures.times(Case(form, "unary 1 KB", number), name)

        return _lines(TAKING_PART[form], [lambda name, n=number: at(n, name) for number in CONNECTIONS])  # type: ignore[misc] # a default binds the loop's value

    ticks = [str(number) for number in CONNECTIONS]
    return _panels(PLOTS["cpu"], lines, ticks, "connections", "× nginx in the same format")


def _quantiles(figures: Figures) -> str:
    def lines(form: str) -> list[Line]:
        case = Case(form, "unary 1 KB", 1)

        def at(number: int, name: str) -> float | None:
            found = [row["quantiles_ms"][number] for row in figures.rows(case, name) if "quantiles_ms" in row]
            return statistics.median(found) if found else None

        return _lines(
            TAKING_PART[form],
            [lambda name, n=number: at(n, name) for number in range(len(QUANTILES))],  # type: ignore[misc] # a default binds the loop's value
        )

    return _panels(PLOTS["latency"], lines, QUANTILES, "quantile", "ms")


def _lines(names: Sequence[str], columns: Sequence[Callable[[str], float | None]]) -> list[Line]:
    found = []
    for name in names:
        values = [column(name) for column in columns]
        points = [
            (number / max(1, len(columns) - 1), value) for number, value in enumerate(values) if value is not None
        ]
        if points:
            found.append(Line(name, points))
    return found


def _panels(title: str, lines: Callable[[str], list[Line]], ticks: Sequence[str], below: str, unit: str) -> str:
    found = {form: lines(form) for form in FORMATS}
    values = [value for some in found.values() for line in some for _, value in line.points]
    if not values:
        return ""
    scale = Scale.around(values)
    drawn = [_panel(form, found[form], scale, ticks, _left(number)) for number, form in enumerate(FORMATS)]
    words = [_text(LEFT, TOP - 34, unit, "small")]
    words += [_text(_left(number) + PANEL / 2, HEIGHT - 8, below, "small middle") for number in range(len(FORMATS))]
    return _svg(title, [*words, *drawn])


def _left(number: int) -> float:
    return LEFT + number * (PANEL + GAP)


def _panel(form: str, lines: Sequence[Line], scale: Scale, ticks: Sequence[str], left: float) -> str:
    parts = [_text(left, TOP - 14, FORMATS[form], "strong")]
    for tick in scale.ticks():
        y = _y(scale.place(tick))
        parts.append(f'<line class="grid" x1="{left}" x2="{left + PANEL}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(left - 6, y + 4, f"{tick:g}", "small end"))
    for number, words in enumerate(ticks):
        parts.append(_text(left + _x(number / max(1, len(ticks) - 1)), HEIGHT - BOTTOM + 20, words, "small middle"))
    ends = _apart([_y(scale.place(line.points[-1][1])) for line in lines])
    for line, label in zip(lines, ends, strict=True):
        parts.append(_drawn(line, scale, left))
        last = line.points[-1]
        x = left + _x(last[0]) + 9
        parts.append(_text(x, label + 4, f"{line.name} {brief(last[1])}", f"label {_class(line.name)}"))
    return "\n".join(parts)


def _drawn(line: Line, scale: Scale, left: float) -> str:
    places = [(left + _x(x), _y(scale.place(value))) for x, value in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle class="{_class(line.name)}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in places)
    return f'<polyline class="line {_class(line.name)}" points="{path}"/>{dots}'


def _x(part: float) -> float:
    return 8 + part * (PANEL - 16)


def _y(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)


def _apart(places: Sequence[float]) -> list[float]:
    """Move labels away from each other, as little as needed, in their order."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved = list(places)
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + LABEL_HEIGHT)
    excess = (moved[order[-1]] - (HEIGHT - BOTTOM)) if order else 0
    return [place - max(0.0, excess) if excess > 0 else place for place in moved]


def _chunks(figures: Figures) -> str:
    """Draw a dot for each number of streams, on one axis for all gateways."""
    drawn: list[tuple[str, str, list[tuple[int, float]]]] = []
    for form, names in TAKING_PART.items():
        for name in names:
            found = [
                (number, figures.median(Case(form, "paced streams", number), name, "cpu_us")) for number in CONNECTIONS
            ]
            points = [(number, value) for number, value in found if value]
            if points:
                drawn.append((form, name, points))
    values = [value for _, _, points in drawn for _, value in points]
    if not values:
        return ""
    scale = Scale.around([*values, CHUNK_MICROSECONDS])
    height = TOP + 30 * len(drawn) + 30 * len(FORMATS) + 12 + BOTTOM
    return _svg(PLOTS["chunks"], _dots(drawn, scale, height), height)


def _dots(drawn: Sequence[tuple[str, str, list[tuple[int, float]]]], scale: Scale, height: int) -> list[str]:
    left, width = 150.0, WIDTH - 150.0 - 40

    def x(value: float) -> float:
        return left + scale.place(value) * width

    floor = height - BOTTOM
    parts = [
        _text(
            left,
            TOP - 34,
            "µs for a chunk, with 1, 16, 64 and 256 streams at once (small dots to large ones); the number is that with 64",
            "small",
        )
    ]
    for tick in scale.ticks():
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 18}" y2="{floor}"/>')
        parts.append(_text(x(tick), floor + 18, f"{tick:g}", "small middle"))
    goal = x(CHUNK_MICROSECONDS)
    parts.append(f'<line class="goal" x1="{goal:.1f}" x2="{goal:.1f}" y1="{TOP - 18}" y2="{floor}"/>')
    words = f"goal for Penstock, {CHUNK_MICROSECONDS} µs at 64"
    parts.append(_text(goal + 5, floor - 5, words, "small penstock"))
    y, before = float(TOP - 6), ""
    for form, name, points in drawn:
        if form != before:
            y, before = y + 8, form
            parts.append(_text(16, y + 4, FORMATS[form], "strong"))
            y += 22
        parts.append(_text(left - 12, y + 4, name, f"label end {_class(name)}"))
        ends = [x(value) for _, value in points]
        parts.append(f'<line class="line {_class(name)}" x1="{min(ends):.1f}" x2="{max(ends):.1f}" y1="{y}" y2="{y}"/>')
        for number, value in points:
            size = 3 + 1.7 * CONNECTIONS.index(number)
            parts.append(
                f'<circle class="see-through {_class(name)}" cx="{x(value):.1f}" cy="{y}" r="{size:.1f}"><title>{escape(name)}, {number} streams: {brief(value)} µs</title></circle>'
            )
            if number == 64:
                parts.append(_text(x(value), y - 12, brief(value), f"small middle {_class(name)}"))
        y += 30
    return parts


def brief(value: float) -> str:
    """Return about three digits of a value."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _class(name: str) -> str:
    return name if name in COLOURS else FLOOR


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _svg(title: str, parts: Iterable[str], height: int = HEIGHT) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_style()}</style>",
            f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            _text(16, 28, title, "title"),
            *parts,
            "</svg>",
            "",
        ]
    )


def _style() -> str:
    """Return the style: the page's own ground, so that words and lines have the same contrast everywhere."""
    common = (
        "text{font:13px system-ui,sans-serif}.title{font-size:15px;font-weight:600}.strong{font-weight:600}.small{font-size:12px}"
        ".label{font-size:12.5px;font-weight:500}.middle{text-anchor:middle}.end{text-anchor:end}"
        ".see-through{fill-opacity:.6}.line{fill:none;stroke-width:2}.direct.line{stroke-dasharray:4 4}.goal{stroke-dasharray:5 4;stroke-width:1.5}"
    )
    light = _theme(0, ground="#ffffff", edge="#d0d7de", ink="#1f2328", grid="#e3e7ec")
    dark = _theme(1, ground="#0d1117", edge="#30363d", ink="#e6edf3", grid="#262c36")
    return f"{common}{light}@media(prefers-color-scheme:dark){{{dark}}}"


def _theme(which: int, *, ground: str, edge: str, ink: str, grid: str) -> str:
    rules = [f".ground{{fill:{ground};stroke:{edge}}}text{{fill:{ink}}}.grid{{stroke:{grid}}}"]
    for name, colours in COLOURS.items():
        colour = colours[which]
        rules.append(f"text.{name},circle.{name}{{fill:{colour}}}.line.{name}{{stroke:{colour}}}")
    return "".join(rules) + f".goal{{stroke:{COLOURS['penstock'][which]}}}"
