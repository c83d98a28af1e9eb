"""Exceptions that come from outside, as a signal handler's do, at any line of entering and leaving a turn."""

from __future__ import annotations

import contextvars
import threading
from functools import partial

import pytest

from tests.cut_short import cut_short
from tests.scheduler.loops import PATIENCE, until


def is_empty(scheduler):
    return not scheduler.state().turns and scheduler.state().running == 0


def one(scheduler, _):
    with scheduler.turn(agent="a", input_tokens=5) as turn:
        turn.charge(input_tokens=7)


def inner(scheduler, _):
    with scheduler.turn(agent="a"), scheduler.turn(agent="b"):
        pass


def elsewhere(scheduler, other):
    with scheduler.turn(agent="a"), other.turn(agent="b"):
        pass


def failing(scheduler, _):
    with pytest.raises(ZeroDivisionError), scheduler.turn(agent="a", input_tokens=5):
        _ = 1 / 0


@pytest.mark.parametrize("work", [one, inner, elsewhere, failing])
def test_an_exception_from_outside_keeps_no_slot(make_scheduler, work):
    scheduler, other = make_scheduler(slots=1), make_scheduler(slots=1)
    step = 1
    while cut_short(lambda: work(scheduler, other), step):
        until(lambda: is_empty(scheduler) and is_empty(other), f"all slots come back after line {step}")
        step += 1 if not make_scheduler.is_shared else 3
    assert step > 50
    work(scheduler, other)
    assert is_empty(scheduler)


@pytest.mark.parametrize("kind", ["enter", "leave"])
def test_an_exception_from_outside_lets_nobody_wait_for_ever(make_scheduler, kind):
    scheduler = make_scheduler(slots=1)
    step, is_cut = 1, True
    while is_cut:
        outer, inside = scheduler.turn(agent="outer"), scheduler.turn(agent="inner")
        here = contextvars.Context()
        here.run(outer.__enter__)
        let_in = threading.Event()
        thread = threading.Thread(target=wait_for_a_turn, args=(scheduler, let_in), daemon=True)
        thread.start()
        until(lambda: len(scheduler.state().turns) > 1, "another one waits")
        leave = (outer.__exit__, None, None, None)
        call = (inside.__enter__,) if kind == "enter" else leave
        is_cut = cut_short(partial(here.run, *call), step)
        if kind == "enter":
            if not is_cut:
                here.run(inside.__exit__, None, None, None)
            here.run(*leave)
        del call, leave, outer, inside
        thread.join(PATIENCE)
        assert let_in.is_set(), f"after line {step}"
        until(lambda: is_empty(scheduler), f"all slots come back after line {step}")
        step += 1 if not make_scheduler.is_shared else 7


def wait_for_a_turn(scheduler, let_in):
    with scheduler.turn(agent="other", timeout=PATIENCE / 2):
        let_in.set()
