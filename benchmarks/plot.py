"""Small line plots as SVG, on logarithmic axes. Pure: points in, text out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 28, 40
COLOURS = ("#d1495b", "#00798c", "#edae49", "#30638e", "#66a182", "#8d6a9f", "#5c5c5c", "#b07d62", "#2e4057")

Points = Sequence[tuple[float, float]]


class Axis:
    """Maps values to pixels, by their logarithm."""

    def __init__(self, values: Sequence[float], first_pixel: float, last_pixel: float) -> None:
        self.low = 10 ** math.floor(math.log10(min(values)))
        self.high = 10 ** math.ceil(math.log10(max(values)))
        if self.high == self.low:
            self.high *= 10
        self._first, self._last = first_pixel, last_pixel

    def at(self, value: float) -> float:
        part = math.log10(value / self.low) / math.log10(self.high / self.low)
        return round(self._first + part * (self._last - self._first), 1)

    def ticks(self) -> list[float]:
        """Powers of ten."""
        return [self.low * 10**power for power in range(round(math.log10(self.high / self.low)) + 1)]


def line_plot(title: str, across: str, up: str, lines: Mapping[str, Points]) -> str:
    """A plot of some named lines."""
    points = [point for line in lines.values() for point in line]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 16, title, weight="bold"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across, anchor="middle"),
        _text(6, 16, up),
        *_grid(x, y),
    ]
    for number, (name, line) in enumerate(lines.items()):
        parts += _line(name, line, COLOURS[number % len(COLOURS)], x, y, TOP + 14 + 18 * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in x.ticks():
        parts.append(_rule(x.at(tick), TOP, x.at(tick), HEIGHT - BOTTOM))
        parts.append(_text(x.at(tick), HEIGHT - BOTTOM + 16, _number(tick), anchor="middle"))
    for tick in y.ticks():
        parts.append(_rule(LEFT, y.at(tick), WIDTH - RIGHT, y.at(tick)))
        parts.append(_text(LEFT - 6, y.at(tick) + 4, _number(tick), anchor="end"))
    return parts


def _line(name: str, points: Points, colour: str, x: Axis, y: Axis, legend_y: float) -> list[str]:
    places = [(x.at(across), y.at(up)) for across, up in points]
    path = " ".join(f"{across},{up}" for across, up in places)
    legend_x = WIDTH - RIGHT + 12
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{across}" cy="{up}" r="3" fill="{colour}"/>' for across, up in places),
        f'<rect x="{legend_x}" y="{legend_y - 9}" width="10" height="10" fill="{colour}"/>',
        _text(legend_x + 16, legend_y, name),
    ]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#dddddd"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'


def _number(value: float) -> str:
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g} {unit}"
    return f"{value:g}"
