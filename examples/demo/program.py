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
from examples.demo.models import model_for
from examples.demo.questions import asked
from examples.demo.screen import Screen
from examples.demo.session import WINDOW, Session
from examples.demo.task import READ
from examples.demo.trouble import CannotRun

PAUSE: Final = 0.7
"""Seconds that the live picture rests on each answer; not counted as time."""

LINE_EVERY: Final = 100
STAND_IN: Final = "StandInModel, a deterministic stand-in for a language model"


class Program:
    """One run of the demo over an open session."""

    def __init__(self, session: Session, console: Console, title: str, *, live: bool) -> None:
        self._session = session
        self._meter = session.meter
        self._console = console
        self._live = live
        self._screen = Screen(session.meter, title, letters=not live or console.encoding.lower() != "utf-8")
        self._began = time.perf_counter()
        self._noted = 0

    def run(self) -> bool:
        """Whether every check passed."""
        meter, session = self._meter, self._session
        with self._picture():
            self._read()
            verdicts = list(self._ask())
            self._now("faulting every page that left the window, and comparing it with the original")
            comparison = compare(session.space, session.messages, meter.pages, meter.ever_absent)
            self._now("done")
            session.keep()
        seconds = time.perf_counter() - self._began
        self._console.print(report.answers(verdicts))
        self._console.print(report.summary(meter, verdicts, comparison, seconds))
        failed = report.failures(meter, verdicts, comparison)
        for failure in failed:
            self._console.print(failure, style="bold red", markup=False)
        if not failed:
            self._console.print("All checks passed.", style="bold green")
        return not failed

    def _read(self) -> None:
        library = self._session.library
        if self._session.is_resumed:
            self._now(f"going on with a kept conversation about {len(library.topics)} topics; nothing is read again")
            return
        self._now(f"reading {len(library.topics)} topics in {library.parts} parts, {library.characters:,} characters")
        self._session.say(READ, self._step)
        self._now("writing back the last pages: all of them stored, indexed and durable")
        self._session.memory.flush()

    def _ask(self) -> Iterator[Verdict]:
        session, topics = self._session, self._session.library.topics
        for question in asked(topics):
            self._now(question.text)
            gone = set(self._meter.absent)
            reply = session.say(question.text, self._step)
            verdict = judge(question, reply, topics, session.space, gone)
            self._answered(verdict)
            yield verdict

    def _answered(self, verdict: Verdict) -> None:
        shown = " ".join(verdict.shown.split())
        self._screen.last = f"page {verdict.page}: {shown}" if verdict.page else shown
        if self._live:
            time.sleep(PAUSE)
            self._began += PAUSE
        else:
            mark = "ok" if verdict.is_right else "WRONG"
            self._console.print(f"  {mark}  {self._screen.last}", markup=False)

    def _now(self, doing: str) -> None:
        self._screen.doing = doing
        if not self._live:
            self._console.print(doing, markup=False)

    def _step(self) -> None:
        meter = self._meter
        if not self._live and meter.calls // LINE_EVERY > self._noted:
            self._noted = meter.calls // LINE_EVERY
            line = (
                f"  model call {meter.calls}: {len(meter.pages)} pages, {len(meter.absent)} of them out of the window"
            )
            self._console.print(line)

    @contextlib.contextmanager
    def _picture(self) -> Iterator[None]:
        """The live picture, or its last state in letters."""
        if self._live:
            with Live(self._screen, console=self._console, refresh_per_second=12):
                yield
        else:
            yield
            self._console.print(self._screen)


def run(options: Namespace, console: Console) -> bool:
    """Run the demo; whether every check passed.

    Raises:
        CannotRun: The model or directory that was asked for cannot be used.
    """
    model = model_for(options.model)
    with contextlib.ExitStack() as stack:
        directory = options.data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pagefault-demo-")))
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotRun(f"--data {directory} cannot be created: {error.strerror}") from error
        session = Session(model, options.topics, directory)
        stack.callback(session.memory.close)
        where = f"in {directory}" if options.data else "in a temporary directory"
        console.print(f"model:  {options.model or STAND_IN}", markup=False)
        console.print(f"window: {WINDOW:,} tokens; pages go to an embedded Qdrant {where}", markup=False)
        title = f"{'StandInModel' if options.model is None else options.model} in a window of {WINDOW:,} tokens"
        return Program(session, console, title, live=console.is_terminal and not options.plain).run()
