"""The live picture: what is in the window, where every page is, and what it costs."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from examples.demo.meter import Meter, Part

ROWS: Final = 4
COLUMNS: Final = 40
STYLES: Final = {
    Part.SYSTEM: ("S", "bright_magenta"),
    Part.CONTENTS: ("C", "yellow"),
    Part.PAGE: ("P", "green"),
    Part.RECALLED: ("R", "bright_cyan"),
    Part.FREE: (".", "bright_black"),
    Part.RESERVE: ("-", "red"),
}
CELL: Final = "■"
RESIDENT: Final = ("green", "in the window")
FAULTED: Final = ("bright_cyan", "recalled")
AWAY: Final = ("blue", "only in Qdrant")


class Screen:
    """Renders a meter. Give it to ``rich.live.Live``; it draws anew at each refresh."""

    def __init__(self, meter: Meter, title: str, *, letters: bool = False) -> None:
        self._meter = meter
        self._title = title
        self._letters = letters
        self.doing = ""
        self.last = ""

    def __rich__(self) -> RenderableType:
        """The whole picture, 80 columns by 24 rows."""
        window = Table.grid(padding=(0, 2))
        window.add_row(self.window_map(), self._legend())
        budget = self._meter.budget
        return Group(
            Text(self._title, style="bold"),
            Panel(
                window,
                title=f"context window: {budget.window:,} tokens, {budget.window // (ROWS * COLUMNS)} a cell",
                title_align="left",
                width=80,
            ),
            Panel(self.page_map(), title=self._pages_title(), title_align="left", width=80),
            self._counters(),
            Text(f"now:  {self.doing}", no_wrap=True, overflow="ellipsis"),
            Text(f"last: {self.last}", no_wrap=True, overflow="ellipsis"),
        )

    def window_map(self) -> Text:
        """The window as a grid of cells by what they hold."""
        per_cell = self._meter.budget.window / (ROWS * COLUMNS)
        text, used, drawn = Text(), 0, 0
        for part, tokens in self._stretches():
            used += tokens
            symbol, style = STYLES[part]
            while drawn < min(ROWS * COLUMNS, round(used / per_cell)):
                text.append(symbol if self._letters else CELL, style=style)
                drawn += 1
                if drawn % COLUMNS == 0 and drawn < ROWS * COLUMNS:
                    text.append("\n")
        return text

    def page_map(self) -> Text:
        """One cell for each page of the conversation."""
        meter, text = self._meter, Text()
        for number in range(1, len(meter.pages) + 1):
            if number not in meter.absent:
                text.append("P" if self._letters else CELL, style=RESIDENT[0])
            elif number in meter.faulted:
                text.append("R" if self._letters else CELL, style=FAULTED[0])
            else:
                text.append("." if self._letters else CELL, style=AWAY[0])
        return text

    def _stretches(self) -> list[tuple[Part, int]]:
        meter = self._meter
        used = sum(tokens for _, tokens in meter.window)
        free = max(0, meter.budget.window - meter.budget.reserve - used)
        return [*meter.window, (Part.FREE, free), (Part.RESERVE, meter.budget.reserve)]

    def _legend(self) -> Text:
        sums = dict.fromkeys(STYLES, 0)
        for part, tokens in self._stretches():
            sums[part] += tokens
        text = Text()
        for part, tokens in sums.items():
            symbol, style = STYLES[part]
            text.append(f"{symbol if self._letters else CELL} ", style=style)
            text.append(f"{part} {tokens:,}\n")
        text.rstrip()
        return text

    def _pages_title(self) -> str:
        here, back, away = ("P", "R", ".") if self._letters else (CELL, CELL, CELL)
        meter = self._meter
        return (
            f"{len(meter.pages)} pages: [{RESIDENT[0]}]{here}[/] {RESIDENT[1]}  "
            f"[{AWAY[0]}]{away}[/] {AWAY[1]}  [{FAULTED[0]}]{back}[/] {FAULTED[1]}"
        )

    def _counters(self) -> Text:
        meter = self._meter
        ratio = meter.unbounded / meter.sent if meter.sent else 1
        text = Text(
            f"calls {meter.calls}   reclaims {meter.reclaims}   evicted {len(meter.ever_absent)}   "
            f"recalls {len(meter.recalls_ms)}   prefix reuse {meter.prefix_reuse:.0%}\n"
            f"tokens sent {meter.sent:,}   never evict {meter.unbounded:,} ({ratio:.1f} x)"
        )
        if meter.overflow_call:
            text.append(f", too long since call {meter.overflow_call}", style="red")
        return text
