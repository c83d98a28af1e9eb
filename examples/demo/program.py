"""The run: read, ask, check, report."""

from __future__ import annotations

import contextlib
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from examples.demo import report
from examples.demo.checks import Verdict, compare, judge
from examples.demo.library import Library
from examples.demo.models import model_for
from examples.demo.questions import asked
from examples.demo.screen import Screen
from examples.demo.session import WINDOW, Session
from examples.demo.task import READ

PAUSE: Final = 0.7
"""Seconds for which the live picture rests on each answer; not counted as time."""

LINE_EVERY: Final = 100


class Program:
    """One run of the demo over an open session."""

    def __init__(self, session: Session, library: Library, console: Console, *, live: bool) -> None:
        self._session = session
        self._library = library
        self._console = console
        self._live = live
        self._screen = Screen(session.meter, f"pagefault: an agent in a window of {WINDOW:,} tokens", letters=not live)
        self._began = time.perf_counter()

    def run(self) -> bool:
        """Whether every check passed."""
        with self._picture():
            self._read()
            verdicts = list(self._ask())
            self._now("comparing every page that left the window with the original")
            self._session.memory.flush()
            meter, session = self._session.meter, self._session
            comparison = compare(session.space, session.messages, meter.pages, meter.ever_absent)
            session.keep()
        if not self._live:
            self._console.print(self._screen)
        self._console.print(report.answers(verdicts))
        self._console.print(report.summary(meter, verdicts, comparison, time.perf_counter() - self._began))
        within = meter.largest <= meter.budget.window - meter.budget.reserve
        passed = all(verdict.is_right for verdict in verdicts) and not comparison.different and within
        self._console.print("[bold green]All checks passed.[/]" if passed else "[bold red]A check failed.[/]")
        return passed

    def _read(self) -> None:
        if self._session.is_resumed:
            self._now("going on with a kept conversation; nothing is read again")
            return
        library = self._library
        self._now(f"reading {len(library.topics)} topics, {library.parts} parts, {library.characters:,} characters")
        self._session.say(READ, self._step)

    def _ask(self) -> Iterator[Verdict]:
        session, topics = self._session, self._library.topics
        for question in asked(topics):
            self._now(question.text)
            gone = set(session.meter.absent)
            verdict = judge(question, session.say(question.text, self._step), topics, session.space, gone)
            self._said(verdict)
            yield verdict

    def _said(self, verdict: Verdict) -> None:
        mark = "right" if verdict.is_right else "WRONG"
        where = f"page {verdict.page}: " if verdict.page else ""
        line = f"[{mark}] {where}{' '.join(verdict.shown.split())}"
        self._screen.last = line
        if self._live:
            time.sleep(PAUSE)
            self._began += PAUSE
        else:
            self._console.print(f"   {line}", markup=False)

    def _now(self, doing: str) -> None:
        self._screen.doing = doing
        if not self._live:
            self._console.print(doing, markup=False)

    def _step(self) -> None:
        meter = self._session.meter
        if not self._live and meter.calls % LINE_EVERY == 0 and meter.calls != self._printed:
            self._printed = meter.calls
            line = f"   call {meter.calls}: {len(meter.pages)} pages, {len(meter.absent)} of them out of the window"
            self._console.print(line)

    _printed = 0

    @contextlib.contextmanager
    def _picture(self) -> Iterator[None]:
        if not self._live:
            yield
            return
        with Live(self._screen, console=self._console, refresh_per_second=12):
            yield


def run(options: Namespace, console: Console) -> bool:
    """Run the demo; whether every check passed.

    Raises:
        NoModel: The model that was asked for cannot be used.
    """
    model, library = model_for(options.model), Library(options.topics)
    live = console.is_terminal and not options.plain
    with contextlib.ExitStack() as stack:
        directory = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pagefault-demo-")))
        directory.mkdir(parents=True, exist_ok=True)
        name = "StandInModel, a deterministic stand-in for a language model" if options.model is None else options.model
        console.print(f"model:  {name}")
        console.print(
            f"window: {WINDOW:,} tokens; pages go to an embedded Qdrant in {options.data or 'a temporary directory'}"
        )
        session = Session(model, library, directory)
        stack.callback(session.memory.close)
        return Program(session, library, console, live=live).run()
