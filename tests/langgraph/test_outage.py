"""The store goes away under a running agent: the agent goes on, and nothing is lost when it is back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from pagefault.errors import StoreError
from pagefault.messages import canonical
from pagefault.stores import EdgeStore
from pagefault.stores.backoff import Backoff, delays
from pagefault.testing.faults import FlakyStore
from pagefault.writing.patience import PAUSES
from pagefault_langgraph import PagingMiddleware
from pagefault_langgraph.messages import LANGCHAIN
from tests.kernel.support import until
from tests.langgraph.scripted import TOOLS, Script, ScriptedModel, problems, worker_script
from tests.langgraph.test_long_run import BUDGET, tokens
from tests.stores.rest_port import RestPort

STEPS = 12
DRAINED = 10.0
"""Seconds after the return within which what waits shall be stored."""
CONFIG: Any = {"configurable": {"thread_id": "long"}, "recursion_limit": 1_000}


class Backend(NamedTuple):
    """A memory whose store can be taken away and given back."""

    memory: pagefault.Memory
    leave: Callable[[], None]
    come_back: Callable[[], None]
    reopen: Callable[[], pagefault.Memory]


@contextlib.contextmanager
def embedded(path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The embedded engine behind a fake outage."""
    stores: list[FlakyStore] = []

    def made(place: Any, **options: Any) -> FlakyStore:
        stores.append(FlakyStore(EdgeStore(place, **options)))
        return stores[-1]

    monkeypatch.setattr("pagefault.core.EdgeStore", made)
    memory = pagefault.open(path / "memory")
    yield Backend(memory, stores[0].fail, stores[0].heal, lambda: pagefault.open(path / "memory"))


@contextlib.contextmanager
def served(_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """The server adapter on a real port, whose stand-in for a server is stopped and started again."""
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with RestPort() as port:
        memory = pagefault.open(port.url)
        yield Backend(memory, port.stop, port.start, lambda: pagefault.open(port.url))
        assert port.rest.broken == []


def patient(script: Script, seconds: float) -> Script:
    """A model that takes a little while, so that an outage lasts many steps and not thousands."""

    def slow(call: int, messages: list[BaseMessage]) -> AIMessage:
        time.sleep(seconds)
        return script(call, messages)

    return slow


class Run:
    """An agent at work, turn after turn."""

    def __init__(self, memory: pagefault.Memory, seconds: float) -> None:
        self.memory = memory
        self.model = ScriptedModel(patient(worker_script(STEPS), seconds))
        paging = PagingMiddleware(memory, budget=BUDGET)
        self.agent = create_agent(self.model, TOOLS, middleware=[paging], checkpointer=InMemorySaver())
        self.turns = 0

    def work(self, *, turns: int = 0, seconds: float = 0.0) -> None:
        """So many turns, or as many as begin within so many seconds; any failing step ends the test."""
        end, last = time.monotonic() + seconds, self.turns + turns
        while self.turns < last or time.monotonic() < end:
            self.agent.invoke({"messages": [("user", f"please do the work of turn {self.turns}")]}, CONFIG)
            self.turns += 1

    def blocks(self) -> list[Any]:
        """What the last request says of pages that left."""
        return [m.content for m in self.model.requests[-1] if str(m.id).startswith("pagefault-")]

    def drained(self) -> float:
        """How long it takes until nothing waits any more."""
        began = time.monotonic()
        until(lambda: not self.memory.core.writeback.has_work, "all to be stored")
        return time.monotonic() - began

    def check(self, again: pagefault.Memory) -> int:
        """Every request was within its budget and valid; every page, read in a fresh memory, is as it was. How many."""
        for request in self.model.requests:
            assert not problems(request)
            assert tokens(request) <= BUDGET.window - BUDGET.reserve
        history = self.agent.get_state(CONFIG).values["messages"]
        restored: list[Any] = []
        space, number = again.space(thread="long"), 0
        while len(restored) < len(history) - 1:
            number += 1
            (found,) = space.fault(number).pages
            natives = [LANGCHAIN.decode(item) for item in canonical.load(found.page.body)]
            assert natives == history[len(restored) : len(restored) + len(natives)]
            restored += natives
        return number


BACKENDS = [embedded, served]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda each: each.__name__)
def test_an_agent_goes_on_while_the_store_is_away(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    with backend(tmp_path, monkeypatch) as place:
        run = Run(place.memory, 0.0)
        run.work(turns=2)
        place.memory.flush()
        before = run.blocks()
        place.leave()
        run.work(turns=4)
        until(lambda: place.memory.core.writeback.trouble, "the outage to be noticed")
        assert isinstance(place.memory.core.writeback.trouble, StoreError)
        assert place.memory.core.writeback.has_work
        assert run.blocks() != before, "nothing left the window during the outage, so nothing was tested"
        recalled = place.memory.space(thread="long").fault("2-60").pages  # what the graph's state holds is here
        assert not recalled[0].resident
        place.come_back()
        run.work(turns=1)
        run.drained()
        until(lambda: place.memory.core.writeback.trouble is None, "the end of the trouble")
        place.memory.close()
        with place.reopen() as again:
            assert run.check(again) > 7 * STEPS * 0.9
            assert [p.page for p in again.space(thread="long").fault("2-60").pages] == [p.page for p in recalled]


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda each: each.__name__)
def test_an_agent_goes_on_while_the_store_flaps(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    with backend(tmp_path, monkeypatch) as place:
        run = Run(place.memory, 0.0)
        run.work(turns=1)
        for _ in range(5):
            place.leave()
            run.work(turns=1)
            place.come_back()
            run.work(turns=1)
        run.drained()
        place.memory.close()
        with place.reopen() as again:
            assert run.check(again) > 11 * STEPS * 0.9


def test_what_waits_is_tried_again_soon_enough() -> None:
    """However long the outage was, the next attempt begins, and a call that was tried meanwhile has ended, in time."""
    assert max(PAUSES) + sum(delays(Backoff(), lambda: 1.0)) < DRAINED


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("flaps", [False, True], ids=["gone for a minute", "flapping for a minute"])
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda each: each.__name__)
def test_a_minute_without_a_store(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, backend: Any, *, flaps: bool) -> None:
    with backend(tmp_path, monkeypatch) as place:
        run = Run(place.memory, 0.05)
        run.work(turns=3)
        place.memory.flush()
        before = len(run.model.requests)
        if flaps:
            for _ in range(10):
                place.leave()
                run.work(seconds=4.0)
                place.come_back()
                run.work(seconds=2.0)
            place.leave()
        else:
            place.leave()
            run.work(seconds=60.0)
        during = len(run.model.requests) - before
        place.come_back()
        took = run.drained()
        place.memory.close()
        with place.reopen() as again:
            pages = run.check(again)
        print(f"{during} steps without a store, none failed; drained in {took:.1f} s; {pages} pages, none lost")
        assert during > 100
