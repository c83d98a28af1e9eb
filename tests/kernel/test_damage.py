"""What is stored is damaged: a typed error for its reader, and everything else goes on."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from qdrant_edge import EdgeShard, UpdateOperation

import pagefault
from pagefault.chain import head_id, point_id
from pagefault.errors import CorruptPage, PagefaultError, PagesLost
from pagefault.estimate import EstimateCounter
from pagefault.messages import canonical
from pagefault.paths.restore import DAMAGED
from tests.kernel.support import scope_of, store_alone, texts, user, users

SMALL = pagefault.Budget(window=10_000, target=600, reserve=0)


def spoil(memory, space, seq, **changes):
    """Write a page that has the right place and the wrong content, through the store's own port."""
    slot = space.paging.lineages[0].slots[seq - 1]
    point = point_id(space.id.key, slot.chain)
    store, scope = memory.core.store, scope_of(space)

    async def rewrite():
        record = (await store.get(scope, [point]))[point]
        await store._call(lambda shard: shard.update(UpdateOperation.delete_points([point])), urgent=True)
        await store.put(scope, [replace(record, **changes)])

    memory.core.kernel.call(rewrite())


def flip(memory, space, seq):
    """Change the body of a page alone: it is found by its words as ever."""
    scope, store = scope_of(space), memory.core.store
    point = point_id(space.id.key, space.paging.lineages[0].slots[seq - 1].chain)

    async def change():
        await store._call(lambda shard: shard.update(UpdateOperation.set_payload([point], {"body": "[]"})), urgent=True)
        assert (await store.get(scope, [point]))[point].body == "[]"

    memory.core.kernel.call(change())


def test_a_corrupt_body_is_an_error_for_its_reader_and_left_out_of_a_recall(memory, space, caplog):
    space.append(user("the cat sleeps"))
    memory.flush()
    spoil(memory, space, 1, body='[{"role":"user","content":"the cat is called Eve"}]')
    space.paging.lineages[0].leave_behind([1])
    with pytest.raises(CorruptPage, match=r"page 1 .*does not match its sha256.*backup"):
        space.fault("1")
    with pytest.raises(CorruptPage):
        space.fault("1-2")
    assert space.fault("2").pages[0].page.text == "the dog is called Ada"


def test_what_is_damaged_in_the_store_and_whole_here_is_given_from_here(memory, space):
    memory.flush()
    spoil(memory, space, 1, body='[{"role":"user","content":"the cat is called Eve"}]')
    assert space.fault("1").pages[0].page.text == "the cat is called Turing"


def test_a_recall_says_what_it_leaves_out(memory, space, caplog):
    space.append(user("a cat and a dog play"))
    memory.flush()
    flip(memory, space, 1)
    found = space.recall("what is the cat called")
    assert "1" not in [page.address for page in found.pages]
    assert "4" in [page.address for page in found.pages]
    assert found.text.endswith("does not match its hash any more: page 1.")
    assert "leaves out page 1" in caplog.text
    assert space.recall("dog").pages


@pytest.mark.parametrize(
    "fields", [{"seq": 2}, {"chain": "0" * 32}, {"type": "other"}, {"tokens": "many"}], ids=lambda f: next(iter(f))
)
def test_damaged_fields_are_noticed_too(memory, space, fields):
    memory.flush()
    slot = space.paging.lineages[0].slots[0]
    point = point_id(space.id.key, slot.chain)

    async def flip():
        await memory.core.store._call(
            lambda shard: shard.update(UpdateOperation.set_payload([point], fields)), urgent=True
        )

    memory.core.kernel.call(flip())
    with store_alone(), pytest.raises(CorruptPage, match="damaged"):
        space.fault("1")


def test_a_page_that_is_left_out_as_found_and_as_said_next_is_named_once(memory):
    space = memory.space(thread="twice")
    space.append([user("The gate PIN is 4712."), user("The gate PIN is 4713."), user("It rains.")])
    memory.flush()
    flip(memory, space, 2)
    assert space.recall("gate PIN").text.endswith("does not match its hash any more: page 2.")


def test_what_answers_instead_does_not_hide_what_a_recall_leaves_out(memory):
    class Wiki:
        name = "wiki"

        def search(self, space, query, *, limit):
            return [pagefault.Passage(text="The gate PIN is 1111.")]

    space = memory.space(thread="instead")
    space.append([user("The gate PIN is 4712."), user("It rains.")])
    memory.flush()
    flip(memory, space, 1)
    assert space.recall("gate PIN").outcome == "abstain"
    notice = "Left out, because what is stored does not match its hash any more: page 1."
    with_source = space.recall("gate PIN", sources=[Wiki()])
    space.remember("gate PIN", "It is 2222.")
    for found in (with_source, space.recall("gate PIN"), space.recall("gate PIN", sources=[Wiki()])):
        assert found.outcome == "answer"
        assert found.text.splitlines().count(notice) == 1
        assert "Nothing reliable" not in found.text


def test_what_a_recall_leaves_out_is_named_within_its_budget():
    class Wary(EstimateCounter):
        @property
        def reserve(self):
            return 0.9

    with pagefault.open(":memory:", embedder=None, counter=Wary()) as memory:
        space = memory.space(thread="gate")
        space.append([user(f"The gate PIN is {n}.") for n in range(20)])
        space.append(user(f"The gate PIN was told: {'4712 ' * 900}"))
        memory.flush()
        for seq in range(1, 21):
            flip(memory, space, seq)
        for budget in range(600, 1_200, 13):
            text = space.recall("gate PIN", budget=budget).text
            assert "Left out" in text
            assert memory.core.counter.count(text) * 1.9 <= budget


@contextlib.contextmanager
def shard_of(path):
    """The engine itself, while no memory has the directory open."""
    shard = EdgeShard.load(str(path / "shard"))
    try:
        yield shard
    finally:
        shard.flush()
        shard.close()


def written(tmp_path, count=6):
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        space.append(users(1, count))
        memory.flush()
        return space.id.key, [slot.chain for slot in space.paging.lineages[0].slots]


def shown_by(space, **options):
    return [message["content"] for message in space.view(**options)]


@pytest.mark.parametrize("damaged", [(1,), (3,), (6,), (2, 5), (1, 2, 3, 4, 5, 6)], ids=str)
def test_a_body_changed_on_disk_costs_its_page_alone(tmp_path, damaged, caplog):
    key, chains = written(tmp_path)
    with shard_of(tmp_path) as shard:
        points: list[Any] = [point_id(key, chains[seq - 1]) for seq in damaged]
        shard.update(UpdateOperation.set_payload(points, {"body": '[{"role":"user"}]'}))
    for new in ("x", "y"):  # the second time, the head that the first one wrote says so
        with pagefault.open(tmp_path, embedder=None) as memory:
            space = memory.space(thread="t")
            contents, *shown = shown_by(space)
            whole = [f"message {n}" for n in range(1, 7) if n not in damaged]
            assert shown == whole + ["x"] * (new == "y")
            assert all(f"\n{seq} {DAMAGED} user: message {seq}" in contents for seq in damaged)
            space.append(user(new))
            for seq in range(1, 7):
                if seq in damaged:
                    with pytest.raises(CorruptPage, match=f"page {seq} .*the other pages can be used"):
                        space.fault(seq)
                else:
                    assert space.fault(seq).pages[0].page.text == f"message {seq}"
            found = space.recall("message", limit=20)
            assert sorted(page.page.seq for page in found.pages) == [n for n in range(1, 7) if n not in damaged]
            assert re.search(r"does not match its hash any more: pages? " + str(damaged[0]), found.text)
    assert f"page {damaged[0]} " in caplog.text


def test_a_conversation_with_a_damaged_page_goes_on_through_reclaims(tmp_path):
    key, chains = written(tmp_path, 60)
    with shard_of(tmp_path) as shard:
        shard.update(UpdateOperation.set_payload([point_id(key, chains[42])], {"body": '[{"role":"user"}]'}))
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        for n in range(61, 100):
            space.append(user(f"message {n}"))
            shown = shown_by(space, budget=SMALL)
            assert shown[-1] == f"message {n}"
            assert "message 43" not in shown
        assert space.fault("42").pages[0].page.text == "message 42"
        with pytest.raises(CorruptPage, match="page 43 "):
            space.fault("43")


def test_a_gist_changed_on_disk_cannot_begin_a_line_of_the_contents(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        space.append([user(f"message {n}. {'word ' * 50}") for n in range(60)])
        memory.flush()
        point = point_id(space.id.key, space.paging.lineages[0].slots[0].chain)
    with shard_of(tmp_path) as shard:
        forged: Any = {"gist": "user: message 0\n2 user: forged"}
        shard.update(UpdateOperation.set_payload([point], forged))
    with pagefault.open(tmp_path, embedder=None) as memory:
        contents = shown_by(memory.space(thread="t"), budget=replace(SMALL, target=3_000))[0]
    assert [line for line in contents.splitlines() if "forged" in line] == ["1 user: message 0 2 user: forged"]


def test_a_damaged_head_is_noticed(tmp_path):
    key, _ = written(tmp_path)
    with shard_of(tmp_path) as shard:
        shard.update(UpdateOperation.set_payload([head_id(key)], {"body": "{}"}))
    with pagefault.open(tmp_path, embedder=None) as memory, pytest.raises(CorruptPage, match="head record"):
        memory.space(thread="t").view()


def test_a_body_that_belongs_to_another_page_is_not_shown(tmp_path):
    key, chains = written(tmp_path)
    with pagefault.open(tmp_path, embedder=None) as memory:
        memory.space(tenant="other", thread="t").append(user("message of somebody else"))
    with shard_of(tmp_path) as shard:
        foreign = canonical.dump([user("message of somebody else")])[0]
        altered: Any = {"body": foreign, "sha256": canonical.sha256(foreign)}
        shard.update(UpdateOperation.set_payload([point_id(key, chains[2])], altered))
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        assert "somebody else" not in str(shown_by(space))
        with pytest.raises(CorruptPage, match=r"page 3 .* written as another page.*the other pages can be used"):
            space.fault("3")
        assert "somebody else" not in space.recall("message of somebody else").text
        assert space.fault("4").pages[0].page.text == "message 4"


@pytest.mark.parametrize("seq", [5, 7, 2**53 - 1, "6"], ids=str)
def test_a_head_with_another_length_is_told_at_once(tmp_path, seq):
    key, _ = written(tmp_path)
    with shard_of(tmp_path) as shard:
        shard.update(UpdateOperation.set_payload([head_id(key)], {"seq": seq}))
    with pagefault.open(tmp_path, embedder=None) as memory:
        with pytest.raises((CorruptPage, PagesLost), match=r"[Rr]estore"):
            memory.space(thread="t").view()
        other = memory.space(thread="other")
        other.append(user("other conversations go on"))
        assert texts(other) == ["other conversations go on"]


@pytest.mark.parametrize(
    "change",
    [{"messages": 2}, {"tokens": -1}, {"type": "x"}, {"ids": "[1]"}, {"created_at": "x"}, {"parent": []}, "loop", {}],
    ids=str,
)
def test_fields_changed_on_disk_are_told_by_a_typed_error(tmp_path, change):
    key, chains = written(tmp_path)
    point = point_id(key, chains[3])
    with shard_of(tmp_path) as shard:
        (there,) = shard.retrieve([point], with_payload=True, with_vector=False)
        fields = json.loads(there.payload["_fields"])
        fields = {**fields, **({"parent": chains[3]} if change == "loop" else change)} if change else {}
        packed = json.dumps({name: value for name, value in fields.items() if value is not None})
        shard.update(UpdateOperation.set_payload([point], {"_fields": packed}))
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        for verb in (space.view, lambda: space.recall("message 4"), lambda: space.append(user("x"))):
            with contextlib.suppress(PagefaultError):
                verb()
        with pytest.raises(PagefaultError, match=r"[Rr]estore"):
            space.fault("4")


@pytest.mark.parametrize(
    ("gone", "named"),
    [([6], "page 6 "), ([5, 6], "pages 5-6 "), ([3], "page 3 "), ([1], "page 1 "), ([2, 4], "pages 2, 4 ")],
)
def test_pages_that_vanished_are_named(tmp_path, gone, named):
    key, chains = written(tmp_path)
    with shard_of(tmp_path) as shard:
        shard.update(UpdateOperation.delete_points([point_id(key, chains[seq - 1]) for seq in gone]))
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="t")
        with pytest.raises(PagesLost, match=rf"{named}.*not in the store.* key {key}\. .*Restore a backup"):
            space.view()
        other = memory.space(thread="other")
        other.append(user("other conversations go on"))
        assert texts(other) == ["other conversations go on"]


def test_pages_that_vanish_while_their_messages_are_here_are_written_again(memory, monkeypatch):
    monkeypatch.setattr("pagefault.writing.writer.HEAD_UNITS", 1)
    space = memory.space(thread="vanishing")
    space.append(users(1, 10))
    memory.flush()
    points: list[Any] = [point_id(space.id.key, slot.chain) for slot in space.paging.lineages[0].slots[2:4]]

    async def lose():
        await memory.core.store._call(lambda shard: shard.update(UpdateOperation.delete_points(points)), urgent=True)

    memory.core.kernel.call(lose())
    with store_alone():  # or by a search
        assert [found.page.text for found in space.fault("3-4").pages] == ["message 3", "message 4"]
    head = memory.core.kernel.call(memory.core.store.get(scope_of(space), [head_id(space.id.key)]))
    assert [record.seq for record in head.values()] == [10]  # the tenth page still, not the fourth
    memory.flush()
    space.paging.lineages.clear()  # what a new process finds
    assert len(space.view()) == 10
    assert texts(space) == [f"message {n}" for n in range(1, 11)]
