"""What left the window leaves the state too, and nothing is lost: edits, forks, restarts, outages, races."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES

import pagefault
from pagefault import CorruptPage
from pagefault.testing.faults import FlakyStore
from pagefault_langgraph import PagedState, ParallelDrop, paging_node
from pagefault_langgraph.drop import standing
from pagefault_langgraph.messages import LANGCHAIN
from tests.kernel.support import store_alone, wrapped
from tests.langgraph.scripted import ScriptedModel, problems, worker_script
from tests.langgraph.test_long_run import tokens
from tests.langgraph.test_paging_node import graph_of, is_block

BUDGET = pagefault.Budget(window=2_500, target=1_500, reserve=300)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


class Thread:
    """One thread of a graph that drops, and what it once said."""

    def __init__(self, memory: pagefault.Memory, **options: Any) -> None:
        self.model = ScriptedModel(worker_script(10))
        self.saver = InMemorySaver()
        self.options = {"drop": True, "budget": BUDGET, "saver": self.saver, **options}
        self.restart(memory)

    def restart(self, memory: pagefault.Memory) -> None:
        self.memory = memory
        self.graph = graph_of(memory, self.model, **self.options)

    def turns(self, first: int, last: int, config: Any = CONFIG) -> None:
        for turn in range(first, last + 1):
            self.graph.invoke({"messages": [HumanMessage(f"turn {turn}", id=f"h{turn}")]}, config)

    @property
    def state(self) -> list[BaseMessage]:
        return self.graph.get_state(CONFIG).values["messages"]

    def texts(self) -> list[str]:
        """What every page of the conversation begins with, read back by number."""
        space = self.memory.space(thread="t")
        length = space.paging.lineages[0].length
        with store_alone():
            return [p.page.messages[0].text for p in space.fault(f"1-{length}", budget=100).pages]

    def check(self) -> None:
        for request in self.model.requests:
            assert not problems(request)
            assert tokens(request) <= BUDGET.window - BUDGET.reserve


@pytest.fixture
def thread(memory: pagefault.Memory) -> Thread:
    thread = Thread(memory)
    thread.turns(0, 5)
    return thread


def expected(first: int, last: int) -> list[str]:
    """The first message of every page of these turns, as the last call of the node saw them."""
    found: list[str] = []
    for turn in range(first, last + 1):
        calls = range(turn * 10 + 1, turn * 10 + 10)
        found += [f"turn {turn}", *(f"step {call}" for call in calls), f"turn done at call {turn * 10 + 10}"]
    return found[:-1]


def same(texts: list[str], wanted: list[str]) -> bool:
    return len(texts) == len(wanted) and all(t.startswith(w) for t, w in zip(texts, wanted, strict=True))


def test_the_state_stays_small_and_pages_keep_their_numbers(thread: Thread) -> None:
    assert len(thread.state) < 40
    assert sum(is_block(m) for m in thread.state) == 1
    assert not problems(thread.state), "the state itself is a valid history"
    assert same(thread.texts(), expected(0, 5))
    thread.check()


def test_a_restarted_process_goes_on(tmp_path: Path) -> None:
    with pagefault.open(tmp_path / "m", embedder=None) as memory:
        thread = Thread(memory)
        thread.turns(0, 3)
    for turn in range(4, 7):
        with pagefault.open(tmp_path / "m", embedder=None) as memory:
            thread.restart(memory)
            thread.turns(turn, turn)
            assert same(thread.texts(), expected(0, turn))
    thread.check()


def test_the_recall_tool_reads_what_was_dropped(memory: pagefault.Memory) -> None:
    worker = worker_script(10)

    def script(call: int, messages: list[BaseMessage]) -> AIMessage:
        if call == 45:
            return AIMessage("", tool_calls=[{"name": "recall", "args": {"addresses": "2"}, "id": "r"}], id="ask")
        return worker(call, messages)

    thread = Thread(memory)
    thread.model._script = script
    thread.turns(0, 4)
    shown = [m.content for request in thread.model.requests for m in request if isinstance(m, ToolMessage)]
    assert any(("record k1:" in str(c) and "[page 2" in str(c)) or "page 2" in str(c) for c in shown)
    assert not any(str(m.content).startswith("record k1:") for m in thread.state)


@pytest.mark.parametrize("restarted", [False, True])
def test_time_travel_to_before_a_drop(tmp_path: Path, *, restarted: bool) -> None:
    with pagefault.open(tmp_path / "m", embedder=None) as memory:
        thread = Thread(memory)
        thread.turns(0, 4)
        old = next(
            s for s in thread.graph.get_state_history(CONFIG)
            if s.next == ("page",) and not any(is_block(m) for m in s.values["messages"])
        )  # fmt: skip
        length = sum(not isinstance(m, ToolMessage) for m in old.values["messages"])
        assert length > 5
        if not restarted:
            thread.graph.invoke({"messages": [HumanMessage("other", id="o")]}, old.config)
            texts = thread.texts()
            assert same(texts[:length], expected(0, 4)[:length])
            assert texts[length] == "other"
    if restarted:
        with pagefault.open(tmp_path / "m", embedder=None) as memory:
            thread.restart(memory)
            thread.graph.invoke({"messages": [HumanMessage("other", id="o")]}, old.config)
            texts = thread.texts()
            assert same(texts[:length], expected(0, 4)[:length])
            assert texts[length] == "other"
    thread.check()


def test_a_fork_from_between_two_drops(thread: Thread) -> None:
    history = [s for s in thread.graph.get_state_history(CONFIG) if s.next == ()]
    older = next(s for s in history if any(m.content == "turn 3" for m in s.values["messages"]) and
                 not any(m.content == "turn 4" for m in s.values["messages"]))  # fmt: skip
    assert any(is_block(m) for m in older.values["messages"])
    thread.graph.invoke({"messages": [HumanMessage("fork", id="f")]}, older.config)
    texts = thread.texts()
    assert same(texts[:43], expected(0, 3))
    assert texts[44] == "fork"
    assert "turn 4" not in texts
    newest = history[0]
    thread.graph.invoke({"messages": [HumanMessage("on", id="on")]}, newest.config)
    assert same(thread.texts()[:65], expected(0, 5))
    thread.check()


def test_a_resident_message_edited_or_removed(thread: Thread) -> None:
    kept = next(m for m in thread.state if isinstance(m, HumanMessage) and not is_block(m))
    thread.graph.update_state(CONFIG, {"messages": [HumanMessage("edited", id=kept.id)]})
    last = thread.state[-1]
    thread.graph.update_state(CONFIG, {"messages": [RemoveMessage(str(last.id))]})
    thread.turns(6, 6)
    texts = thread.texts()
    wanted = expected(0, 5)
    wanted[wanted.index(str(kept.content))] = "edited"
    assert same(texts[:65], wanted[:65])
    assert texts[65] == "turn 6"
    thread.check()


def test_a_dropped_message_edited_and_one_removed(thread: Thread) -> None:
    assert not {m.id for m in thread.state} & {"ai-10", "ai-20"}
    writes = [AIMessage("edited", id="ai-10"), RemoveMessage("ai-20")]
    thread.graph.update_state(CONFIG, {"messages": writes}, as_node="tools")
    thread.turns(6, 6)
    wanted = expected(0, 6)
    wanted[10] = "edited"
    del wanted[21]
    assert same(thread.texts(), wanted)
    assert len(thread.state) < 40
    thread.turns(7, 7)
    after = expected(0, 7)
    after[10] = "edited"
    del after[21]
    assert same(thread.texts(), after)
    thread.check()


def test_everything_removed(thread: Thread) -> None:
    thread.graph.update_state(CONFIG, {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES)]}, as_node="tools")
    assert thread.state == []
    thread.turns(6, 6)
    assert same(thread.texts(), expected(6, 6))


def test_every_dropped_message_removed_by_its_id(memory: pagefault.Memory) -> None:
    thread = Thread(memory)
    thread.turns(0, 2)
    block = next(m for m in thread.state if is_block(m))
    space = memory.space(thread="t")
    pages = space.fault("1-32", budget=100).pages
    here = {m.id for m in thread.state}
    gone = [name for p in pages[2:] for name in p.message_ids if name not in here]
    thread.graph.update_state(CONFIG, {"messages": [RemoveMessage(name) for name in gone]}, as_node="tools")
    thread.turns(3, 3)
    texts = thread.texts()
    assert "turn 3" in texts
    assert len(texts) < 33
    assert texts[:2] == ["turn 0", "step 1"], f"page 2 is what {block.id} names"
    thread.check()


def test_what_stands_for_dropped_messages_is_guarded(thread: Thread) -> None:
    block = next(m for m in thread.state if is_block(m))
    for write in (HumanMessage("mine", id=block.id), RemoveMessage(str(block.id))):
        with pytest.raises(ParallelDrop, match=f"message '{block.id}' stands for"):
            thread.graph.update_state(CONFIG, {"messages": [write]})
    assert same(thread.texts(), expected(0, 5))


def test_a_mark_that_was_altered_is_not_told_as_damage_alone(thread: Thread) -> None:
    told = standing(thread.state)
    assert told.dropped is not None
    altered = replace(told.dropped, ranges=((1, told.dropped.at + 5),))
    with pytest.raises(CorruptPage, match="or the state that names the page was altered"):
        thread.memory.space(thread="t").assembly(LANGCHAIN).rejoin(told.kept, altered)


def test_a_pinned_page_that_was_dropped_is_in_every_prompt(thread: Thread) -> None:
    space = thread.memory.space(thread="t")
    space.pin("2")
    thread.turns(6, 8)
    for request in thread.model.requests[-25:]:
        assert any("record k1:" in str(m.content) for m in request)
    assert same(thread.texts(), expected(0, 8))
    thread.check()


def test_switched_off_again(thread: Thread) -> None:
    thread.options["drop"] = False
    thread.restart(thread.memory)
    before = len(thread.state)
    thread.turns(6, 8)
    assert len(thread.state) > before + 50
    assert same(thread.texts(), expected(0, 8))
    thread.check()


def test_an_outage_drops_nothing_until_it_is_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        thread = Thread(memory)
        thread.turns(0, 2)
        small = len(thread.state)
        store.fail("put", "index", "get", "scan", "search", "idf", "sync")
        with caplog.at_level(logging.WARNING, "pagefault"):
            thread.turns(3, 4)
        assert len(thread.state) > small + 30
        said = [r for r in caplog.records if "nothing is dropped" in r.getMessage()]
        assert len(said) == 1
        thread.check()
        store.heal()
        memory.flush()
        thread.turns(5, 5)
        assert len(thread.state) < 40
        assert same(thread.texts(), expected(0, 5))
        thread.check()


class Thing:
    """No JSON can hold it."""


@pytest.mark.parametrize("artifact", [Thing(), {"counts": {1: 2}}], ids=["object", "key"])
def test_a_page_that_only_the_state_holds_whole_stays_there(memory: pagefault.Memory, artifact: Any) -> None:
    call = {"name": "lookup", "args": {}, "id": "c"}
    opaque = [
        AIMessage("", tool_calls=[call], id="oa"),
        ToolMessage("made " * 300, tool_call_id="c", id="ot", artifact=artifact),
    ]
    node = paging_node(memory, budget=BUDGET, drop=True)
    filler = [HumanMessage(f"filler {n} " + "x " * 100, id=f"f{n}") for n in range(60)]
    messages = [HumanMessage("go", id="h"), *opaque, *filler]
    update: Any = node.invoke({"messages": messages}, CONFIG)
    assert len(update["llm_input_messages"]) < 20
    assert not any(m.id in {"oa", "ot"} for m in update["llm_input_messages"] if not is_block(m))
    removed = {m.id for m in update["messages"] if isinstance(m, RemoveMessage)}
    assert "f1" in removed
    assert not removed & {"oa", "ot"}


def race(memory: pagefault.Memory, beside: Any, *, first: bool) -> Any:
    """A node beside the paging node, applied before or after it."""
    builder = StateGraph(PagedState)
    builder.add_node("m-page", paging_node(memory, budget=BUDGET, drop=True))
    name = "a-beside" if first else "z-beside"
    builder.add_node(name, beside)
    builder.add_edge(START, "m-page")
    builder.add_edge(START, name)
    return builder.compile(checkpointer=InMemorySaver())


def long_history() -> list[BaseMessage]:
    return [HumanMessage(f"message {n} " + "word " * 60, id=f"m{n}") for n in range(60)]


def whole(graph: Any) -> bool:
    """The last checkpoint still has every message."""
    saved = graph.checkpointer.get_tuple(CONFIG).checkpoint["channel_values"]["messages"]
    return [m.content for m in saved] == [m.content for m in long_history()]


@pytest.mark.parametrize("first", [True, False])
def test_two_paging_nodes_in_one_superstep(memory: pagefault.Memory, *, first: bool) -> None:
    graph = race(memory, paging_node(memory, budget=BUDGET, drop=True), first=first)
    with pytest.raises(ParallelDrop, match=r"message 'm0' was changed, removed or dropped .* superstep of its own"):
        graph.invoke({"messages": long_history()}, CONFIG)
    assert whole(graph)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("what", ["first dropped", "rewrite", "remove", "new"])
def test_a_branch_beside_a_drop(memory: pagefault.Memory, what: str, *, first: bool) -> None:
    writes: dict[str, BaseMessage] = {
        "first dropped": HumanMessage("changed", id="m0"),
        "rewrite": HumanMessage("changed", id="m3"),
        "remove": RemoveMessage("m3"),
        "new": HumanMessage("new", id="new"),
    }
    graph = race(memory, lambda state: {"messages": [writes[what]]}, first=first)
    if what == "first dropped" or (first and what != "new"):
        with pytest.raises(ParallelDrop, match=f"message '{writes[what].id}'"):
            graph.invoke({"messages": long_history()}, CONFIG)
        assert whole(graph)
        alone = StateGraph(PagedState)  # the way out
        alone.add_node("m-page", paging_node(memory, budget=BUDGET, drop=True))
        alone.add_edge(START, "m-page")
        mended = alone.compile(checkpointer=graph.checkpointer)
        assert len(mended.invoke(None, CONFIG)["messages"]) < 40
        return
    graph.invoke({"messages": long_history()}, CONFIG)
    after = graph.get_state(CONFIG).values["messages"]
    paging_node(memory, budget=BUDGET, drop=True).invoke(graph.get_state(CONFIG).values, CONFIG)
    space = memory.space(thread="t")
    texts = [p.page.text.split(" word")[0] for p in space.fault(f"1-{60 - (what == 'remove')}", budget=100).pages]
    wanted = [f"message {n}" for n in range(60)]
    if what == "rewrite":
        wanted[3] = "changed"
    elif what == "remove":
        wanted.remove("message 3")
    assert texts == wanted
    assert len(after) < 40
