"""A conversation reopened by another process: the same view, the same past, the same chain."""

from __future__ import annotations

import contextlib
import tempfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagefault
from pagefault.chain import head_id
from pagefault.chat import CHAT
from pagefault.errors import UnsupportedMessage
from pagefault.paths.lineage import Lineage
from pagefault.testing.embedders import HashingEmbedder
from pagefault.testing.faults import FlakyStore
from pagefault.window.budget import Budget
from tests.kernel.conversation import bodies, message
from tests.kernel.support import records, scope_of, store_alone, texts, user, users, wrapped
from tests.properties import tried

SMALL = Budget(window=4_000, target=2_000)


def reopen(path, **options: Any):
    options.setdefault("embedder", None)
    return pagefault.open(path, **options)


def chat(count):
    return [
        {"role": "user" if n % 2 else "assistant", "content": f"message {n}: " + f"word{n} " * 40}
        for n in range(1, count + 1)
    ]


def test_the_view_is_what_it_was_with_blocks_and_pins(tmp_path):
    with reopen(tmp_path, budget=SMALL) as memory:
        space = memory.space(thread="t")
        for one in chat(120):
            space.append(one)
            space.view()
        space.pin("3")
        space.pin("7-8")
        space.release("7")
        before = space.view()
        memory.flush()
        chains = [slot.chain for slot in space.paging.lineages[0].slots]
    assert any("pagefault:" in str(m["content"]) for m in before)  # there are blocks
    assert any(str(m["content"]).startswith("message 3:") for m in before)
    with reopen(tmp_path, budget=SMALL) as memory:
        space = memory.space(thread="t")
        assert space.view() == before
        assert space.view() == before
        assert texts(space) == [m["content"] for m in chat(120)]
        assert space.recall("word17").pages[0].address == "17"
        assert not space.recall("word17").pages[0].resident
        space.append(user("one more"))
        space.view()
        lineage = space.paging.lineages[0]
        assert [slot.chain for slot in lineage.slots][:120] == chains
        assert space.fault("121").pages[0].page.parent == chains[-1]
        for one in chat(100):  # long enough for everything that may leave to leave
            space.append(one)
            space.view()
        assert any(str(m["content"]).startswith("message 3:") for m in space.view())  # the pin still holds


def test_a_pin_alone_is_remembered(tmp_path):
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 5))
        memory.flush()
        space.pin("2")  # with nothing new to write
        memory.flush()
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        space.view()
        assert space.paging.lineages[0].view.pinned == {2}
        space.release("2")
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        space.view()
        assert space.paging.lineages[0].view.pinned == set()


def test_an_item_pinned_before_anything_was_said_is_remembered(tmp_path):
    with reopen(tmp_path) as memory:
        memory.space(thread="t").pin_item("persona", "Ada likes tea")
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        assert space.pinned_items() == {"persona": "Ada likes tea"}
        space.append(user("hello"))
        assert "Ada likes tea" in space.view()[0]["content"]
        space.unpin_item("persona")
    with reopen(tmp_path) as memory:
        assert memory.space(thread="t").pinned_items() == {}


DEEDS = st.one_of(
    st.tuples(st.just("say"), st.sampled_from([1, 20, 60])),
    st.tuples(st.just("use"), st.sampled_from([5, 60, 250])),
    st.tuples(st.just("ask"), st.integers(1, 2)),
    st.tuples(st.sampled_from(["pin", "release"]), st.integers(1, 12)),
    st.tuples(st.sampled_from(["item", "less"]), st.integers(0, 2)),
)


def do(space: Any, deed: tuple[str, int], serial: int) -> None:
    kind, number = deed
    said, call = f"{kind} {serial} " + f"word{serial} " * number, {"id": f"c{serial}", "name": "look", "args": {}}
    answer = {"role": "tool", "tool_call_id": f"c{serial}", "content": said}
    calls = {"role": "assistant", "content": "", "tool_calls": [call, {**call, "id": f"d{serial}"}][:number]}
    with contextlib.suppress(pagefault.PageNotFound):  # there may be no such page, or item
        if kind == "say":
            space.append([user(said), {"role": "assistant", "content": said}])
        elif kind == "use":
            space.append([{**calls, "tool_calls": [call]}, answer])
        elif kind == "ask":  # the result of one call at most comes: the group may stay open
            space.append([calls, answer][:number])
        elif kind == "item":
            space.pin_item(f"item {number}", f"it is {serial}")
        elif kind == "less":
            space.unpin_item(f"item {number}")
        else:
            getattr(space, kind)(str(number))


@tried(15)
@given(st.lists(st.lists(DEEDS, max_size=8), min_size=2, max_size=4))
def test_whatever_was_done_the_view_is_what_it_was(runs):
    """Each list is done by a process of its own."""
    budget, serial, before = Budget(window=2_500, target=1_500, reserve=300), 0, list[Any]()
    with tempfile.TemporaryDirectory() as place:
        for deeds in runs:
            with reopen(place, budget=budget) as memory:
                space = memory.space(thread="t")
                assert space.view() == before
                for deed in deeds:
                    serial += 1
                    do(space, deed, serial)
                    before = space.view()


def test_pinned_items_and_previews_come_back(tmp_path):
    call = {"id": "c", "function": {"name": "look", "arguments": "{}"}}
    with reopen(tmp_path, budget=SMALL) as memory:
        space = memory.space(thread="t")
        space.append([user("look"), {"role": "assistant", "content": "", "tool_calls": [call]}])
        space.append({"role": "tool", "tool_call_id": "c", "content": "".join(f"line {n}\n" for n in range(900))})
        space.pin_item("goal", "first")
        space.append([user("and?")])
        space.pin_item("goal", "second")
        before = space.view()
    assert "characters are not shown here" in before[2]["content"]
    with reopen(tmp_path, budget=SMALL) as memory:
        space = memory.space(thread="t")
        assert space.pinned_items() == {"goal": "second"}
        assert space.view() == before
        for one in chat(100):
            space.append(one)
            shown = space.view()
        assert shown[0]["content"] == "[pagefault: pinned items, always in this window]\ngoal: second"
        assert not any("line 5" in str(m["content"]) for m in shown)
        assert texts(space)[1].count("line") == 900


@pytest.mark.parametrize("count", range(1, 20))
def test_any_number_of_messages_comes_back_open_groups_included(tmp_path, count):
    with reopen(tmp_path) as memory:
        memory.space(thread="t").append([message(n) for n in range(count)])
        memory.flush()  # everything accepted is stored, though a tool result is still missing
        memory.close()
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        assert len(space.view()) == count
        space.append([message(n) for n in range(count, count + 9)])
        lineage = space.paging.lineages[0]
        with store_alone():
            pages = [found.page.body for found in space.fault(f"1-{lineage.length}").pages]
        assert pages == bodies(count + 9)


@pytest.mark.parametrize("is_open", [False, True])
def test_what_is_nested_as_deep_as_is_taken_comes_back(tmp_path, is_open):
    """A page adds a level to its messages, and a head two."""
    taken: list[dict[str, Any]] = []
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        for levels in range(290, 301):
            value: Any = "bottom"
            for _ in range(levels):
                value = [value]
            call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": value}}}
            said = {"role": "user", "content": [{"type": "json", "value": value}]}
            with contextlib.suppress(UnsupportedMessage):
                space.append(one := {"role": "assistant", "content": None, "tool_calls": [call]} if is_open else said)
                taken.append(one)
        memory.flush()
    assert 3 < len(taken) < 11
    with reopen(tmp_path) as memory:
        assert memory.space(thread="t").view() == taken


def test_what_was_stored_after_the_last_head_is_taken_up(tmp_path, monkeypatch):
    """The process died after a page was written and before the head that names it."""
    with wrapped(monkeypatch, FlakyStore, tmp_path) as (memory, store):
        space = memory.space(thread="t")
        space.append(users(1, 10))
        memory.flush()
        put = store.inner.put

        async def without_head(scope, records):
            await put(scope, [record for record in records if record.kind == "page"])

        monkeypatch.setattr(store.inner, "put", without_head)
        space.append(users(11, 320))  # more than one window of the scan
        memory.flush()
    monkeypatch.undo()
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        assert len(space.view()) == 320
        space.append(user("message 321"))
        assert texts(space) == [f"message {n}" for n in range(1, 322)]
        assert [r.seq for r in records(memory, space)] == list(range(1, 322))
    with reopen(tmp_path) as memory:
        assert len(memory.space(thread="t").view()) == 321


def test_a_conversation_whose_first_head_was_never_written(tmp_path, monkeypatch):
    with wrapped(monkeypatch, FlakyStore, tmp_path) as (memory, store):
        put = store.inner.put

        async def without_head(scope, records):
            await put(scope, [record for record in records if record.kind == "page"])

        monkeypatch.setattr(store.inner, "put", without_head)
        memory.space(thread="t").append(users(1, 3))
        memory.flush()
    monkeypatch.undo()
    with reopen(tmp_path) as memory:
        assert len(memory.space(thread="t").view()) == 3


def test_reading_writes_nothing(tmp_path, monkeypatch):
    with reopen(tmp_path) as memory:
        memory.space(thread="t").append(users(1, 30))
    with wrapped(monkeypatch, FlakyStore, tmp_path) as (memory, store):
        space = memory.space(thread="t")
        space.view()
        space.recall("message 7")
        space.fault("1-30")
        memory.space(thread="never seen").recall("anything")
        memory.flush()
        assert store.calls["put"] == 0
        assert store.calls["index"] == 0


def test_a_retry_after_a_restart_writes_the_same_points(tmp_path):
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        space.append(users(1, 5))
        memory.flush()
        first = {r.id for r in records(memory, space)}
    with reopen(tmp_path) as memory:
        space = memory.space(thread="t")
        space.view()
        space.paging.lineages[:] = [Lineage(CHAT, memory.counter)]  # as if nothing had been found
        space.paging.lineages[0].is_sole = True
        space.append(users(1, 5))
        memory.flush()
        assert {r.id for r in records(memory, space)} == first


def test_a_space_that_left_the_process_comes_back_from_the_store(monkeypatch):
    monkeypatch.setattr("pagefault.core.MAX_LIVE_SPACES", 4)
    with pagefault.open(":memory:", embedder=HashingEmbedder()) as memory:
        for n in range(40):
            memory.space(thread=f"{n}").append([user(f"secret {n}"), message(4), message(5)])
        for n in range(40):
            space = memory.space(thread=f"{n}")
            assert len(space.view()) == 3  # the group that waits for its last tool result, too
            space.append(message(6))
            assert space.fault("1").pages[0].page.text == f"secret {n}"
            assert len(space.fault("2").pages[0].page.messages) == 3


def test_the_head_is_only_written_when_it_has_news(monkeypatch):
    with wrapped(monkeypatch, FlakyStore) as (memory, store):
        space = memory.space(thread="t")
        space.append(users(1, 5))
        memory.flush()
        puts = store.calls["put"]
        for _ in range(5):
            memory.core.writeback.note(space.paging, space.paging.lineages[0])  # as every step does
            space.recall("message")
            space.view()
            memory.flush()
        assert store.calls["put"] == puts
        head = memory.core.kernel.call(memory.core.store.get(scope_of(space), [head_id(space.id.key)]))
        assert [record.seq for record in head.values()] == [5]
