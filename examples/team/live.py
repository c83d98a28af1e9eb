"""Who waits for the backend, and why: a live table of the scheduler's state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

import pagefault
from examples.team.backend import Backend

EVERY: Final = 0.1


def table(scheduler: pagefault.Scheduler, backend: Backend | None) -> Table:
    """The scheduler at this moment."""
    state = scheduler.state()
    served = f", {backend.calls} calls served, {backend.refusals} refused" if backend else ""
    shown = Table(title=f"{state.running} of {state.slots} slots in use{served}")
    for column in ("agent", "charged to", "phase", "for", "waits for"):
        shown.add_column(column)
    for turn in state.turns:
        shown.add_row(turn.agent, turn.account, turn.phase, f"{turn.seconds:.2f} s", turn.waits_for)
    return shown


@contextmanager
def watched(console: Console, scheduler: pagefault.Scheduler, backend: Backend | None) -> Iterator[None]:
    """Show the table while the block runs, where the output is a terminal."""
    if not console.is_terminal:
        yield
        return
    over = threading.Event()
    with Live(table(scheduler, backend), console=console, transient=True) as live:

        def refresh() -> None:
            while not over.wait(EVERY):
                live.update(table(scheduler, backend))

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def summary(scheduler: pagefault.Scheduler, members: list[str]) -> Table:
    """What each member was charged."""
    shown = Table(title="What each member used")
    for column in ("member", "calls", "input tokens", "output tokens", "cost"):
        shown.add_column(column, justify="left" if column == "member" else "right")
    for name in members:
        used = scheduler.usage(name)
        tokens = used.usage
        shown.add_row(
            name, f"{used.turns}", f"{tokens.input_tokens:,}", f"{tokens.output_tokens:,}", f"{used.cost:,.0f}"
        )
    return shown
