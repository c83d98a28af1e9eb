"""Growth curves as SVG: cost over size, both on logarithmic axes, one line for each competitor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

GREY = "#66717e"
OURS = ("#0b6e4f", "#4fa387", "#8fc7b3")
THEIRS = ("#d1495b", "#e38b3b", "#5a6fb5", "#8d6a9f")
WIDTH, HEIGHT, LEFT, TOP, LEGEND = 640, 360, 64, 40, 18


def page(width: float, height: float, parts: Sequence[str], *, style: str = "") -> str:
    """A whole SVG file with a white ground."""
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}">',
        f"<style>text {{ font: 11px sans-serif }}{style}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def growth(title: str, across: str, up: str, lines: Mapping[str, Mapping[float, float]]) -> str:
    """Draw each line's points (size: cost). Names that begin with ``pagefault`` are green and drawn last."""
    ours = [name for name in lines if name.startswith("pagefault")]
    theirs = [name for name in lines if name not in ours]
    colours = dict(zip([*theirs, *ours], [*THEIRS[: len(theirs)], *OURS[: len(ours)]], strict=True))
    sizes = sorted({size for line in lines.values() for size in line})
    costs = [cost for line in lines.values() for cost in line.values()]
    right, bottom = WIDTH - 20, HEIGHT - 40
    x = _Axis(sizes[0], sizes[-1], LEFT, right)
    y = _Axis(10 ** math.floor(math.log10(min(costs))), 10 ** math.ceil(math.log10(max(costs))), bottom, TOP)
    parts = [f'<text x="{LEFT}" y="22" style="font-weight: bold">{title}</text>']
    for power in range(math.floor(math.log10(min(costs))), math.ceil(math.log10(max(costs))) + 1):
        at = y(10**power)
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}" stroke="#dde1e6"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end" fill="{GREY}">{10**power:g}</text>')
    parts += [
        f'<text x="{x(size)}" y="{bottom + 16}" text-anchor="middle" fill="{GREY}">{size:,g}</text>' for size in sizes
    ]
    parts.append(f'<text x="{right}" y="{bottom + 32}" text-anchor="end" fill="{GREY}">{across}; up: {up}</text>')
    for number, (name, colour) in enumerate(colours.items()):
        points = [(x(size), y(cost)) for size, cost in sorted(lines[name].items())]
        path = " ".join(f"{px},{py}" for px, py in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{px}" cy="{py}" r="3" fill="{colour}"/>' for px, py in points]
        parts.append(f'<text x="{LEFT}" y="{HEIGHT + 12 + LEGEND * number}" fill="{colour}">{name}</text>')
    return page(WIDTH, HEIGHT + 12 + LEGEND * len(colours), parts)


class _Axis:
    """A logarithmic axis from one pixel to another."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self._low, self._first, self._last = math.log(low), first, last
        self._span = math.log(high) - self._low or 1.0

    def __call__(self, value: float) -> float:
        share = (math.log(value) - self._low) / self._span
        return round(self._first + (self._last - self._first) * share, 1)
