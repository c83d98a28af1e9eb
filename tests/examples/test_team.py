"""The research team shares a backend that refuses what is too much; nobody is refused, every answer is quoted."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console

import pagefault
from examples.team.__main__ import main, run
from examples.team.backend import Backend, Refused
from examples.team.live import table


def test_the_team_reports_what_the_reference_says(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "deterministic stand-ins" in shown
    assert shown.count("quoted from the reference") == 3
    assert "0 refused with 429" in shown


def test_on_one_slot_nobody_locks_anybody_out():
    done = threading.Event()

    def work():
        assert run(Console(quiet=True), None, Backend(slots=1))
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(100)


def test_the_backend_refuses_what_is_too_much():
    backend = Backend(slots=1)
    backend.begin()
    with pytest.raises(Refused, match="429"):
        backend.begin()
    backend.end()
    backend.begin()
    assert (backend.calls, backend.refusals) == (2, 1)


def test_the_backend_counts_the_requests_and_tokens_of_a_minute():
    backend = Backend(slots=9, requests_per_minute=3, tokens_per_minute=100)
    began = time.monotonic()
    backend.begin(60)
    backend.end(30)
    with pytest.raises(Refused, match="retry after") as refused:
        backend.begin(20)
    seconds = float(refused.value.response.headers["retry-after"])
    assert began + 60 - time.monotonic() - 0.001 <= seconds <= 60, "when the first call is a minute old"
    backend.begin(5)
    backend.begin(5)
    with pytest.raises(Refused, match="retry after"):
        backend.begin(0)


def test_a_team_at_the_backends_limits_waits_and_is_right_all_the_same(monkeypatch):
    monkeypatch.setattr("pagefault.scheduling.limits.MINUTE", 0.5)  # of the scheduler; the backend's is as short
    backend = Backend(requests_per_minute=10, tokens_per_minute=50_000, minute=0.5)
    console = Console(record=True, width=120, file=io.StringIO())
    assert run(console, None, backend)
    assert console.export_text().count("quoted from the reference") == 3
    assert backend.calls > 6 * 10, "its minutes were full"


def test_the_live_table_says_who_waits_and_why():
    scheduler = pagefault.Scheduler(slots=1)
    waiting = threading.Event()

    def wait():
        waiting.set()
        with scheduler.turn(agent="late", timeout=30):
            pass

    with scheduler.turn(agent="early"):
        other = threading.Thread(target=wait)
        other.start()
        waiting.wait(10)
        while not any(turn.waits_for for turn in scheduler.state().turns):
            time.sleep(0.001)
        console = Console(record=True, width=120, file=io.StringIO())
        console.print(table(scheduler, Backend()))
    other.join(30)
    shown = console.export_text()
    assert "1 of 1 slots in use" in shown
    assert "early" in shown
    assert "late" in shown
    assert "slot" in shown.split("late")[-1]
