"""Conversations that only the store keeps: begun anew, gone on from, and read again by another process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

import pagefault
from pagefault.chat import CHAT, ChatCodec
from pagefault.errors import StoreError, UnsupportedMessage
from pagefault.testing.faults import FlakyStore, SlowStore
from tests.core.conversation import calls, group, result, said, system, user
from tests.kernel.support import records, until, wrapped

SMALL = pagefault.Budget(window=10**9, target=400, reserve=0)


def held(memory, thread="t", codec=CHAT):
    return memory.space(thread=thread).held(codec)


def texts(natives):
    return [native["content"] for native in natives if not str(native["content"]).startswith("[pagefault: ")]


def talk(turns, word=""):
    return [m for n in range(turns) for m in (user(f"{word}q{n} " + "ask " * 20), said(f"{word}a{n} " + "say " * 20))]


def branch(conversation, tail, budget=SMALL, **more):
    base = conversation.known()
    return conversation.branch(base, len(base.seen), tail, budget, **more)


def test_a_conversation_begun_anew_is_what_a_restart_finds(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        held(memory).put(talk(6))
        memory.flush()
        held(memory).replace(talk(2, "other "))
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert texts(held(memory).everything()) == texts(talk(2, "other "))
        held(memory).replace([])
        assert held(memory).everything() == []
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert held(memory).everything() == []
        held(memory).put(talk(1))
        assert memory.space(thread="t").fault("1-2").pages[1].page.text.startswith("a0")
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert texts(held(memory).everything()) == texts(talk(1))


def test_a_replacement_that_goes_on_writes_only_what_is_new(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        held(memory).put(talk(12))
        held(memory).render(SMALL)
        memory.flush()
    with pagefault.open(tmp_path, embedder=None) as memory:
        conversation = held(memory)
        before = conversation.render(SMALL)
        assert before.lineage.absent
        conversation.replace([dict(m) for m in talk(13)])  # pages that only the store has are known by their chain
        after = conversation.render(SMALL)
        assert after.lineage is before.lineage
        assert after.natives[: len(before.natives)] == before.natives
        conversation.replace(talk(11))  # shorter: another conversation
        assert conversation.known() is not before.lineage
        assert texts(conversation.everything()) == texts(talk(11))


def test_a_changed_page_that_only_the_store_has_is_noticed(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        held(memory).put(talk(12))
        held(memory).render(SMALL)
    with pagefault.open(tmp_path, embedder=None) as memory:
        conversation = held(memory)
        old = conversation.render(SMALL).lineage
        edited = talk(12)
        edited[0] = user("edited")
        conversation.replace(edited)
        assert conversation.known() is not old
        assert texts(conversation.everything())[0] == "edited"


@pytest.mark.parametrize("open_call", [False, True])
def test_a_run_becomes_the_conversation_when_its_messages_are_added(tmp_path, open_call):
    tail = [m for n in range(20) for m in group(f"c{n}", f"result {n} " + "data " * 20)]
    with pagefault.open(tmp_path, embedder=None) as memory:
        conversation = held(memory)
        conversation.put([system("Be brief."), *talk(3), user("the question")])
        before = [conversation.render(SMALL, overhead=100).natives]
        for stop in range(2, len(tail) + 1, 2):
            prompt = branch(conversation, tail[:stop], overhead=100)
            assert prompt.tokens <= SMALL.target
            assert {"Be brief.", "the question"} <= set(texts(prompt.natives))
            before.append(prompt.natives)
        assert len(conversation.known().seen) == 8, "the conversation itself has not moved"
        assert conversation.path() is not conversation.known()
        assert memory.space(thread="t").fault("12", path=conversation.path()).pages[0].page.text.startswith("result 3")
        more = [calls("open")] if open_call else [said("the answer")]
        conversation.put([*tail, *more])
        assert conversation.path() is conversation.known()
        assert conversation.known().view.pinned == set()
        assert len(conversation.known().seen) == 8 + len(tail) + 1
        if open_call:
            conversation.put([result("open", "late")])
    with pagefault.open(tmp_path, embedder=None) as memory:
        found = held(memory).everything()
        assert found[8 : 8 + len(tail)] == tail
        assert len(found) == 8 + len(tail) + 1 + open_call


def test_a_run_that_came_to_nothing_leaves_the_conversation_alone(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        conversation = held(memory)
        conversation.put([user("first")])
        branch(conversation, group("c1", "abandoned"))
        memory.flush()
        conversation.put([user("second")])
        assert conversation.path() is conversation.known()
        assert texts(conversation.everything()) == ["first", "second"]
        assert memory.space(thread="t").recall("abandoned").pages == ()
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert texts(held(memory).everything()) == ["first", "second"]


def test_what_looks_like_a_question_within_a_run_does_not_push_the_question_out():
    tail: list[Any] = [
        m for n in range(20) for m in (said(f"thought {n}"), user(f"Observation: result {n} " + "data " * 20))
    ]
    with pagefault.open(":memory:", embedder=None) as memory:
        conversation = held(memory)
        conversation.put([user("the question")])
        for stop in range(2, len(tail) + 1, 2):
            assert "the question" in texts(branch(conversation, tail[:stop]).natives)
        conversation.put([said("thoughts and answer in one")])
        assert texts(conversation.everything()) == ["the question", "thoughts and answer in one"]


def test_several_runs_at_once_keep_apart():
    with pagefault.open(":memory:", embedder=None) as memory:
        conversation = held(memory)
        conversation.put([user("the question")])
        for n in range(6):
            assert texts(branch(conversation, [said(f"run {n}")]).natives) == ["the question", f"run {n}"]
        assert texts(branch(conversation, [said("run 5"), user("on")]).natives) == ["the question", "run 5", "on"]
        assert texts(branch(conversation, [said("run 0")]).natives) == ["the question", "run 0"]


def test_what_is_ours_in_a_view_has_role_and_content_alone():
    with pagefault.open(":memory:", embedder=None, budget=SMALL) as memory:
        space = memory.space(thread="t")
        space.pin_item("name", "Ada")
        given = [{**m, "id": f"pagefault-{n}"} for n, m in enumerate(talk(12))]
        space.append(given)
        shown = space.view()
        space.pin_item("name", "Ada Lovelace")
        ours = [m for m in (*shown, space.view()[-1]) if m not in given]
        assert all(m.keys() == {"role", "content"} for m in ours)
        items, contents, change = [m["content"] for m in ours]
        assert items.startswith("[pagefault: pinned items")
        assert "left this window" in contents
        assert change.startswith("[pagefault: pinned item set")
        assert given[-1] in shown, "a caller's message keeps its id"


def test_turns_leave_whole():
    with pagefault.open(":memory:", embedder=None) as memory:
        conversation = held(memory)
        for n in range(30):
            conversation.put(
                [user(f"q{n} " + "ask " * (n % 7 * 9)), *group(f"c{n}", "data " * (n % 5 * 9)), said(f"a{n}")]
            )
            shown = conversation.render(SMALL, by_turns=True).natives
            kept = [m for m in shown if not str(m["content"]).startswith("[pagefault: ")]
            assert kept[0]["role"] == "user"
            asked = [m["content"].split()[0][1:] for m in kept if m["role"] == "user"]
            answered = [m["content"][1:] for m in kept if str(m["content"]).startswith("a")]
            assert answered == asked, "no answer without its question"


class Other(ChatCodec):
    """Chat dictionaries that belong to some other framework."""

    format = "langchain/1"


OTHER = Other()


def test_a_conversation_belongs_to_one_codec(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert memory.space(thread="t").recall("anything").pages == ()  # reading takes nothing into possession
        held(memory, codec=OTHER).put([{"type": "human", "role": "user", "content": "mine"}])
        with pytest.raises(UnsupportedMessage, match=r"belongs to a framework \(langchain/1\)"):
            held(memory).put([user("not yours")])
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert memory.space(thread="t").recall("mine").pages[0].page.text == "mine"
        with pytest.raises(UnsupportedMessage, match=r"belongs to a framework \(langchain/1\)"):
            held(memory).put([user("not yours")])
        held(memory, codec=OTHER).put([{"type": "ai", "role": "assistant", "content": "still mine"}])
        assert texts(held(memory, codec=OTHER).everything()) == ["mine", "still mine"]


def test_no_answer_stays_in_a_view_without_its_question():
    """Small pages are worth more to the policy, and a window of nothing but short answers says nothing."""
    budget = pagefault.Budget(window=2_000)
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="t")
        for n in range(40):
            space.append([user(f"fact {n}: " + "so it is " * 15), {"role": "assistant", "content": "ok"}])
            roles = [message["role"] for message in space.view(budget=budget)]
            if roles[:2] == ["user", "user"]:  # contents of what left
                del roles[0]
            assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert len(roles) < 40
        assert asyncio.run(space.aview(budget=budget)) == space.view(budget=budget)


class Dying(FlakyStore):
    """A fake death: after so many writes there are none."""

    left = 0

    async def put(self, scope, records):
        if self.left == 0:
            raise StoreError("the process is dead")
        self.left -= 1
        await super().put(scope, records)


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("writes", [1, 2, 3])
@pytest.mark.parametrize("kept", [0, 3])
def test_a_conversation_set_anew_is_the_old_or_the_new_one_whenever_its_process_dies(
    tmp_path, monkeypatch, kept, writes, goes_on
):
    """Never a part of it: all of the old one was stored."""
    monkeypatch.setattr("pagefault.writing.writer.HEAD_UNITS", 1)
    old = talk(16 + kept)
    new = [*old[:kept], user("edited"), *old[kept + 1 :]]
    with contextlib.suppress(StoreError), wrapped(monkeypatch, Dying, tmp_path) as (memory, store):
        store.left = -1
        held(memory).put(old)
        memory.flush()
        store.left = writes
        held(memory).replace(new)
        if goes_on:  # as a run does, which adds what it said at its end
            branch(held(memory), tail := [user("and"), said("on")])
            held(memory).put(tail)
            new += tail
    monkeypatch.undo()
    with pagefault.open(tmp_path, embedder=None) as memory:
        found = texts(held(memory).everything())
    assert found in (texts(old), texts(new), texts(new[: len(old)]))


def test_what_was_left_behind_a_common_beginning_is_in_no_restart_and_no_recall(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        held(memory).put(talk(9))
        memory.flush()
        held(memory).replace([*talk(4), user("another umbrella"), said("noted")])
        memory.flush()
        held(memory).replace(talk(4))
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert texts(held(memory).everything()) == texts(talk(4))
        held(memory).put([user("another umbrella")])  # as it was said once, with other words behind it
    with pagefault.open(tmp_path, embedder=None) as memory:
        assert texts(held(memory).everything()) == [*texts(talk(4)), "another umbrella"]
        space = memory.space(thread="t")
        assert [page.page.seq for page in space.recall("umbrella").pages] == [9]
        assert not space.recall("noted").pages
        assert space.fault("8").pages[0].page.text.startswith("a3")


def test_what_shares_its_beginning_with_the_old_one_writes_and_shows_only_what_is_new(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        held(memory).put(talk(12))
        held(memory).render(SMALL)
    with pagefault.open(tmp_path, embedder=None) as memory:
        before = held(memory).render(SMALL)
        assert before.lineage.absent, "some are in the store only"
        new = [*talk(12)[:-1], said("better")]
        held(memory).replace(new)
        after = held(memory).render(SMALL)
        assert after.natives == [*before.natives[:-1], said("better")]
        assert texts(held(memory).everything()) == texts(new)
        memory.flush()
        assert len(records(memory, memory.space(thread="t"))) == 24 + 1


@pytest.mark.parametrize("more", [1, 40])
def test_what_was_stored_is_there_where_a_path_was_left_behind(tmp_path, monkeypatch, more):
    """Of the old one as long as the new one is not stored as a whole, of the new one from then on."""
    old, new = talk(40), [*talk(8), *talk(more, "new ")]
    for conversation, writes in ((old, 2), (new, 1)):  # the first dies with no head written
        with contextlib.suppress(StoreError), wrapped(monkeypatch, Dying, tmp_path) as (memory, store):
            store.left = -1
            held(memory).ready()
            store.left = writes
            held(memory).replace([dict(m) for m in conversation])
        monkeypatch.undo()
    with pagefault.open(tmp_path, embedder=None) as memory:
        known = held(memory).everything()
        assert texts(known) == (texts(new) if more == 1 else texts(old[:32]))
    if more == 1:
        with contextlib.suppress(StoreError), wrapped(monkeypatch, Dying, tmp_path) as (memory, store):
            store.left = -1
            held(memory).ready()
            store.left = 2
            held(memory).put(talk(30, "more "))
        monkeypatch.undo()
        with pagefault.open(tmp_path, embedder=None) as memory:
            assert texts(held(memory).everything()) == texts([*new, *talk(30, "more ")])[: len(new) + 32]


class Ordered(SlowStore):
    """A fake around the real store that notes whose records come in which order."""

    def __init__(self, inner):
        super().__init__(inner)
        self.order = []

    async def put(self, scope, records):
        await super().put(scope, records)
        self.order.append((scope.space, {record.kind for record in records}))


def test_what_one_conversation_hands_over_to_another_holds_up_no_third(monkeypatch):
    with wrapped(monkeypatch, Ordered) as (memory, store):
        active, archive, third = (held(memory, thread) for thread in ("active", "archive", "third"))
        active.put(talk(60))
        archive.ready()
        third.ready()
        memory.flush()
        store.hold("put")
        held(memory, "begun before").put(talk(1))
        until(lambda: store.waiting, "the store to be asked")
        store.order.clear()
        gone = active.ready().seen[:-2]
        archive.put([dict(message) for message in gone])
        active.take_out(gone, now_in=archive)
        third.put(talk(1))
        store.let_go()
        memory.flush()

        def written(conversation, kind):
            key = conversation.space.key
            return [n for n, (space, kinds) in enumerate(store.order) if space == key and kind in kinds]

    assert written(third, "page")[0] < written(archive, "page")[-1]
    assert written(archive, "page")[-1] < written(active, "head")[0], "a head without what is nowhere else yet"
