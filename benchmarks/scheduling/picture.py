"""Pictures as SVG: throughput over the worst gap, one panel for each scenario; and bars, one for each policy."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.picture import GREY, page

Point = tuple[float, float]
WIDTH, HEIGHT, LEFT, TOP = 330, 250, 52, 34
COLOURS = {"ours": "#0b6e4f", "DLPM": "#d1495b"}
GAPS = (10_000.0, 600_000.0)
SPEEDS = (0.5, 1.1)


def frontier(panels: Mapping[str, Mapping[str, Point]]) -> str:
    """Draw each policy of each scenario at (gap, throughput against longest prefix first)."""
    parts: list[str] = []
    for number, (scenario, points) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({WIDTH * (number % 2)},{HEIGHT * (number // 2)})">')
        parts += _panel(scenario, points)
        parts.append("</g>")
    parts.append(
        f'<text x="{LEFT}" y="{2 * HEIGHT + 24}">Up is faster, left is fairer. Green: ours by slack; red: DLPM; '
        "grey: others. Across: worst gap (cost, log); up: throughput against LPM.</text>"
    )
    return page(2 * WIDTH, 2 * HEIGHT + 40, parts, style=" .small { font-size: 9px }")


def bars(title: str, unit: str, values: Mapping[str, float]) -> str:
    """One bar for each policy, with its number."""
    left, width, step = 235, 300, 19
    height = TOP + step * len(values) + 12
    parts = [f'<text x="8" y="20" style="font-weight: bold">{title} ({unit})</text>']
    largest = max(values.values())
    for number, (name, value) in enumerate(values.items()):
        y, long = TOP + step * number, max(1.0, width * value / largest)
        colour = COLOURS.get(name.split(",")[0], GREY)
        parts.append(f'<text x="{left - 6}" y="{y + 11}" text-anchor="end" fill="{colour}">{name}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{long:.1f}" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{left + long + 5:.1f}" y="{y + 11}" fill="{colour}">{value:,.0f}</text>')
    return page(left + width + 75, height, parts)


def _panel(scenario: str, points: Mapping[str, Point]) -> list[str]:
    right, bottom = WIDTH - 14, HEIGHT - 30
    parts = [f'<text x="{LEFT}" y="22" style="font-weight: bold">{scenario}</text>']
    for speed in (0.6, 0.8, 0.95, 1.0):
        y = _y(speed)
        dashes = ' stroke-dasharray="4 3"' if speed == 0.95 else ""
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}" stroke="#dde1e6"{dashes}/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end" fill="{GREY}">{speed:g}</text>')
    for mark, label in ((10_000, "10k"), (100_000, "100k"), (400_000, "400k")):
        parts.append(f'<text x="{_x(mark)}" y="{bottom + 16}" text-anchor="middle" fill="{GREY}">{label}</text>')
    for name, (gap, speed) in points.items():
        colour = COLOURS.get(name.split(",")[0], GREY)
        label = name.replace("ours, slack ", "").replace("DLPM, quantum ", "").replace("longest prefix first", "LPM")
        x, height = _x(gap), _y(speed)
        parts.append(f'<circle cx="{x}" cy="{height}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 6:.1f}" y="{height - 4:.1f}" fill="{colour}" class="small">{label}</text>')
    return parts


def _x(gap: float) -> float:
    low, high = (math.log(each) for each in GAPS)
    return round(LEFT + (WIDTH - LEFT - 60) * (math.log(gap) - low) / (high - low), 1)


def _y(speed: float) -> float:
    share = (speed - SPEEDS[0]) / (SPEEDS[1] - SPEEDS[0])
    return round(HEIGHT - 30 - (HEIGHT - 30 - TOP) * share, 1)
