"""Plots as SVG, of the two kinds that the report needs: bars by policy, and lines over time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 44, 40
_COLOURS = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#7a7a7a", "#3b3b3b")


def colour(index: int) -> str:
    """Return the colour of the policy at this place; the first is ours."""
    return _COLOURS[index % len(_COLOURS)]


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str, goal: float | None = None) -> str:
    """Draw one bar a row, with its value; `goal` is a line across."""
    line, left = 34, 190
    height = _TOP + line * len(rows) + 14
    most = max([value for _, value in rows] + [goal or 0.0, 1e-12])
    scale = (WIDTH - left - 110) / most
    parts = [_begin(title, height)]
    for index, (name, value) in enumerate(rows):
        y = _TOP + index * line
        parts.append(_text(left - 8, y + 17, name, "end"))
        parts.append(_box(left, y + 3, max(value * scale, 1.0), 20, colour(index)))
        parts.append(_text(left + max(value * scale, 1.0) + 6, y + 17, f"{value:.4g} {unit}"))
    if goal is not None:
        x = left + goal * scale
        parts.append(f'<path d="M{x:.1f} {_TOP - 6}V{height - 10}" stroke="#000" stroke-dasharray="4 3"/>')
    return "".join([*parts, "</svg>\n"])


def lines(
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    x_label: str,
    y_most: float,
    shade: tuple[float, float] | None = None,
) -> str:
    """Draw one line a series; x in minutes, y as a part (shown in percent); `shade` marks a span of x."""
    height = HEIGHT + 22
    x_least = min(x for _, points in series for x, _ in points)
    x_most = max(x for _, points in series for x, _ in points)
    across, up = (WIDTH - _LEFT - _RIGHT) / (x_most - x_least), (HEIGHT - _TOP - _BOTTOM) / y_most

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + (x - x_least) * across, HEIGHT - _BOTTOM - min(y, y_most) * up

    parts = [_begin(title, height)]
    if shade is not None:
        begin, end = place(shade[0], 0)[0], place(shade[1], 0)[0]
        parts.append(_box(begin, _TOP, end - begin, HEIGHT - _TOP - _BOTTOM, "#eeeeee"))
    for step in range(5):
        y = y_most * step / 4
        at = place(x_least, y)[1]
        parts.append(f'<path d="M{_LEFT} {at:.1f}H{WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 6, at + 4, f"{y:.0%}", "end"))
    parts += [
        _text(place(minute, 0)[0], HEIGHT - _BOTTOM + 16, str(minute), "middle")
        for minute in range(int(x_least), int(x_most) + 1, 5)
    ]
    parts.append(_text(WIDTH - _RIGHT, HEIGHT - _BOTTOM + 32, x_label, "end"))
    for index, (name, points) in reversed(list(enumerate(series))):
        path = "L".join("{:.1f} {:.1f}".format(*place(x, y)) for x, y in points)
        width = 2.5 if index == 0 else 1.4
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour(index)}" stroke-width="{width}"/>')
        x = _LEFT + index * (WIDTH - _LEFT) / len(series)
        parts.append(_box(x, height - 20, 10, 10, colour(index)))
        parts.append(_text(x + 14, height - 11, name))
    return "".join([*parts, "</svg>\n"])


def _begin(title: str, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12">{_box(0, 0, WIDTH, height, "#ffffff")}'
        f'<text x="12" y="24" font-size="15">{escape(title)}</text>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'
