"""The tables at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from rich.markup import escape
from rich.table import Table

from examples.demo.checks import Comparison, Verdict
from examples.demo.meter import Meter

SHORT: Final = 96


def answers(verdicts: Sequence[Verdict]) -> Table:
    """One row for each question."""
    table = Table(title="Questions and answers", title_justify="left", expand=True, row_styles=["", "on grey11"])
    table.caption = "yes: quoted verbatim from the source and from the page named, or rightly not answered"
    table.caption_justify = "left"
    table.add_column("question", ratio=1)
    table.add_column("answer, quoted", ratio=1)
    table.add_column("page", justify="right")
    table.add_column("ok?")
    for verdict in verdicts:
        mark = "[green]yes[/]" if verdict.is_right else "[bold red]NO[/]"
        shown = " ".join(verdict.shown.split())
        shown = shown if len(shown) <= SHORT else shown[:SHORT].rsplit(" ", 1)[0] + " ..."
        table.add_row(escape(verdict.question.text), escape(shown), verdict.page, mark)
    return table


def summary(meter: Meter, verdicts: Sequence[Verdict], comparison: Comparison, seconds: float) -> Table:
    """What the run cost, and what was proved."""
    table = Table(title="The run", title_justify="left", show_header=False, expand=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in (*_proved(meter, verdicts, comparison), *_cost(meter), ("time", f"{seconds:.1f} s")):
        table.add_row(name, text)
    return table


def _proved(meter: Meter, verdicts: Sequence[Verdict], comparison: Comparison) -> Iterator[tuple[str, str]]:
    right = sum(verdict.is_right for verdict in verdicts)
    quotes = sum(bool(verdict.page) for verdict in verdicts)
    away = sum(verdict.was_away for verdict in verdicts)
    yield "answers", f"{right} of {len(verdicts)} right: {quotes} quoted, {len(verdicts) - quotes} abstained"
    yield "quoted pages", f"{away} of {quotes} had left the window when the question came"
    yield "pages", f"{len(meter.pages):,}, of which {len(meter.ever_absent):,} left the window"
    same = comparison.compared - len(comparison.different)
    yield "all faulted back", f"{same:,} of {comparison.compared:,} byte for byte as in the graph's state"
    yield "largest prompt", f"{meter.largest:,} tokens; target {meter.budget.target:,}, window {meter.budget.window:,}"
    yield "prefix", f"{meter.extending:,} of {meter.steady:,} prompts between reclaims extend the one before"


def _cost(meter: Meter) -> Iterator[tuple[str, str]]:
    yield "model calls", f"{meter.calls:,}, with {meter.reclaims:,} reclaims"
    waited = median(meter.recalls_ms or [0])
    yield "recalls", f"{len(meter.recalls_ms):,}, median {waited:.0f} ms; {meter.abstentions:,} showed no page"
    yield "faults", f"{meter.refaults:,} pages shown that were not in the window"
    yield "tokens sent", f"{meter.sent:,}, {meter.prefix_reuse:.0%} of them a prefix of the prompt before (cacheable)"
    yield "never evict", f"{meter.unbounded:,}, {meter.unbounded / max(1, meter.sent):.1f} times as many"
    if meter.overflow_call:
        yield "", f"and longer than the window since model call {meter.overflow_call}"


def failures(meter: Meter, verdicts: Sequence[Verdict], comparison: Comparison) -> list[str]:
    """What is not as promised, a line each."""
    found = [f"wrong: {v.question.text} ({v.reason})" for v in verdicts if not v.is_right]
    if comparison.different:
        found.append(f"not as it was: pages {', '.join(map(str, comparison.different))}")
    if meter.extending < meter.steady:
        found.append(f"{meter.steady - meter.extending} prompts without a reclaim do not extend the one before")
    limit = meter.budget.window - meter.budget.reserve
    if meter.largest > limit:
        found.append(f"a prompt of {meter.largest:,} tokens, the window has room for {limit:,}")
    return found
