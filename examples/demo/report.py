"""The tables at the end."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rich.table import Table

from examples.demo.checks import Comparison, Verdict
from examples.demo.meter import Meter

SHORT = 110


def answers(verdicts: Sequence[Verdict]) -> Table:
    """One row for each question."""
    table = Table(title="Questions, asked after the pages had left the window", title_justify="left", show_lines=True)
    table.add_column("question", ratio=5)
    table.add_column("answer, quoted", ratio=7)
    table.add_column("page", justify="right")
    table.add_column("verified", ratio=3)
    for verdict in verdicts:
        mark, style = ("yes", "green") if verdict.is_right else ("NO", "bold red")
        shown = " ".join(verdict.shown.split())
        shown = shown if len(shown) <= SHORT else shown[:SHORT].rsplit(" ", 1)[0] + " ..."
        table.add_row(verdict.question.text, shown, verdict.page, f"[{style}]{mark}[/]: {verdict.reason}")
    return table


def summary(meter: Meter, verdicts: Sequence[Verdict], comparison: Comparison, seconds: float) -> Table:
    """What the run cost, and what was proved."""
    budget, ratio = meter.budget, meter.unbounded / max(1, meter.sent)
    right = sum(verdict.is_right for verdict in verdicts)
    quotes = sum(bool(verdict.page) for verdict in verdicts)
    compared = comparison.compared
    table = Table(title="What it took", title_justify="left", show_header=False)
    table.add_row("answers right", f"{right} of {len(verdicts)} ({quotes} quoted, {len(verdicts) - quotes} abstained)")
    table.add_row(
        "evicted pages faulted back",
        f"{compared - len(comparison.different)} of {compared} identical, byte for byte, to the graph's messages",
    )
    table.add_row(
        "largest prompt",
        f"{meter.largest:,} tokens; aims at {budget.target:,}, never above {budget.window - budget.reserve:,} "
        f"of the {budget.window:,} window",
    )
    table.add_row("pages", f"{len(meter.pages):,} in {meter.calls:,} model calls")
    table.add_row("reclaims", f"{meter.reclaims:,}; {len(meter.ever_absent):,} pages left the window")
    table.add_row(
        "faults",
        f"{meter.refaults:,} pages in {len(meter.recalls_ms):,} recalls, "
        f"median {median(meter.recalls_ms or [0]):.0f} ms; {meter.abstentions:,} recalls showed nothing",
    )
    table.add_row("prefix reuse", f"{meter.prefix_reuse:.1%} of the tokens sent extend the prompt before")
    overflow = f"; too long for the window since call {meter.overflow_call}" if meter.overflow_call else ""
    table.add_row("tokens sent", f"{meter.sent:,}")
    table.add_row("never evict", f"{meter.unbounded:,} ({ratio:.1f} times as many){overflow}")
    table.add_row("time", f"{seconds:.1f} s")
    return table
