"""For users of LlamaIndex's own Memory: the block that keeps what it flushes, and the chat store."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.memory import BaseMemoryBlock, InsertMethod, Memory
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from qdrant_edge import UpdateOperation

import pagefault
from pagefault.chain import point_id
from pagefault.errors import CorruptPage, InvalidId, MemoryClosed, PagesLost, StoreError, UnsupportedMessage
from pagefault.held import Held
from pagefault.testing.faults import FlakyStore, SlowStore
from pagefault_llamaindex import PagefaultChatStore, PagefaultMemoryBlock, chat_store
from tests.kernel.support import until, wrapped

ARCHIVED, ACTIVE = MessageStatus.ARCHIVED, MessageStatus.ACTIVE


def user(text):
    return ChatMessage(role="user", content=text)


def turn(number, who="ada"):
    return [
        user(f"{who} question {number} about topic{number}"),
        ChatMessage(role="assistant", content=f"topic{number} is {who}-fact{number}. " + "x " * 20),
    ]


def texts(messages):
    return [m.content for m in messages]


def test_what_the_stock_memory_flushes_is_found_again(backend):
    async def talk():
        block = PagefaultMemoryBlock(memory=backend)
        for who in ("ada", "bob"):
            memory = Memory.from_defaults(
                session_id=who,
                chat_store=PagefaultChatStore(memory=backend),
                token_limit=400,
                token_flush_size=100,
                memory_blocks=[block],
                insert_method=InsertMethod.SYSTEM,
            )
            for number in range(30):
                await memory.aput_messages(turn(number, who))
            await memory.aput(user("topic3?"))
            given = await memory.aget()
            shown = "\n".join(str(m.content) for m in given)
            assert f"{who}-fact3" in shown, "recalled by the last question"
            assert given[0].role == "system"
            again = "\n".join(str(m.content) for m in await memory.aget())
            assert again.count(f"{who}-fact3.") == shown.count(f"{who}-fact3."), "nothing piles up"
            everything = texts(await memory.aget_all())
            kept = texts(await block.space(who).held(_codec()).aeverything())
            assert kept == everything[: len(kept)]
        assert "ada-fact" not in await block.aget([user("topic3")], session_id="bob")

    asyncio.run(talk())


class Broken(BaseMemoryBlock[str]):
    """A block that fails while it is told to."""

    name: str = "broken"
    fails: bool = True
    kept: list[str] = []  # noqa: RUF012  # pydantic copies it

    async def _aget(self, messages=None, **block_kwargs):
        if self.fails:
            raise RuntimeError("no answer")
        return ""

    async def _aput(self, messages):
        if self.fails:
            raise RuntimeError("not kept")
        self.kept += texts(messages)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_block_beside_ours_that_raises_costs_ours_nothing(is_first, tmp_path):
    """LlamaIndex raises what the block raised, and does not wait for the others; each call is a loop of its own."""
    with pagefault.open(tmp_path, embedder=None) as backend:
        block, broken = PagefaultMemoryBlock(memory=backend), Broken()
        store = PagefaultChatStore(memory=backend)
        memory = Memory.from_defaults(
            session_id="ada",
            chat_store=store,
            token_limit=400,
            token_flush_size=100,
            memory_blocks=[broken, block] if is_first else [block, broken],
        )
        raised = 0
        said = [message for number in range(30) for message in turn(number)]
        for message in said:
            try:
                asyncio.run(memory.aput(message))
            except RuntimeError as error:
                assert str(error) == "not kept"  # noqa: PT017  # some of them are raised
                raised += 1
        assert raised > 3
        with pytest.raises(RuntimeError, match="no answer"):
            asyncio.run(memory.aget())
        broken.fails = False
        asyncio.run(memory.aput_messages(turn(30)))
        assert "ada-fact3." in "\n".join(str(m.content) for m in asyncio.run(memory.aget(input="topic3?")))
        everything = [*texts(said), *texts(turn(30))]
        assert texts(asyncio.run(memory.aget_all())) == everything, "the store has all"
    with pagefault.open(tmp_path, embedder=None) as backend:
        flushed = asyncio.run(PagefaultChatStore(memory=backend).get_messages("ada", status=ARCHIVED))
        kept = asyncio.run(PagefaultMemoryBlock(memory=backend).space("ada").held(_codec()).aeverything())
        assert len(flushed) > 20
        assert texts(kept) == texts(flushed), "and the block all that left"


def test_a_block_whose_backend_is_closed_says_so_and_the_memory_has_all(backend):
    with pagefault.open(":memory:", embedder=None) as other:
        block = PagefaultMemoryBlock(memory=other)
        memory = Memory.from_defaults(
            session_id="ada",
            chat_store=PagefaultChatStore(memory=backend),
            token_limit=200,
            token_flush_size=50,
            memory_blocks=[block],
        )
    said = [message for number in range(6) for message in turn(number)]
    raised = []
    for message in said:
        try:
            asyncio.run(memory.aput(message))
        except MemoryClosed as error:
            raised.append(error)
    assert raised
    assert texts(asyncio.run(memory.aget_all())) == texts(said)
    with pytest.raises(MemoryClosed):
        asyncio.run(memory.aget())


def _codec():
    from pagefault_llamaindex.messages import LLAMAINDEX  # noqa: PLC0415  # beside its only use

    return LLAMAINDEX


def test_the_block_by_itself(backend):
    block = PagefaultMemoryBlock(memory=backend, token_limit=400)

    async def talk():
        mine = turn(1)
        await block.aput(mine, session_id="s")
        assert mine[0].additional_kwargs == {}, "the caller's messages are not written into"
        await block.aput([])
        assert "ada-fact1" in await block.aget([user("topic1?")], session_id="s")
        assert await block.aget([user("topic1?")], session_id="other") == ""
        assert await block.aget([], session_id="s") == await block.aget(None) == ""
        with pytest.raises(UnsupportedMessage, match="int 5 is not a LlamaIndex message"):
            await block.aget([5])
        assert await block.aget([user("zebra")], session_id="s") == ""
        await block._aput([ChatMessage(role="user", content="tagged", additional_kwargs={"session_id": "t"})])
        assert "tagged" in await block.aget([user("tagged")], session_id="t")
        quiet = PagefaultMemoryBlock(memory=backend, name="quiet", accept_short_term_memory=False)
        await quiet.aput(turn(2), from_short_term_memory=True, session_id="s")
        assert await quiet.aget([user("topic2")], session_id="s") == ""
        text = await block.aget([user("topic1?")], session_id="s")
        shorter = await block.atruncate(text, 40)
        assert shorter is not None
        assert text.startswith(shorter[: shorter.rindex("\n")])
        assert backend.counter.count(shorter) <= backend.counter.count(text) - 40
        assert await block.atruncate(text, 10**6) is None
        with pytest.raises(UnsupportedMessage):
            await block.aput(["text"], session_id="s")

    asyncio.run(talk())


@pytest.mark.parametrize("blocks", [[TextBlock.model_construct(text=None)], [TextBlock.model_construct(text=5)], None])
def test_a_question_that_cannot_be_read_ends_no_turn(backend, blocks):
    block = PagefaultMemoryBlock(memory=backend)
    odd = ChatMessage.model_construct(role=MessageRole.USER, blocks=blocks, additional_kwargs={})

    async def talk():
        await block.aput(turn(1), session_id="s")
        assert await block.aget([odd], session_id="s") == ""
        assert "ada-fact1" in await block.aget([user("topic1?"), odd], session_id="s")

    asyncio.run(talk())


@pytest.mark.parametrize(
    "bad", [{"limit": 0}, {"limit": 101}, {"token_limit": 0}, {"scope": "user"}, {"tenant": ""}, {"name": "a\nb"}]
)
def test_a_block_that_could_never_answer_is_refused_where_it_is_made(backend, bad):
    with pytest.raises(ValueError, match=r"limit|user=|tenant|agent"):
        PagefaultMemoryBlock(memory=backend, **bad)


def test_a_recall_that_is_cut_short_ends_its_quotation(backend):
    """Else all that follows in the prompt would be part of it."""
    block = PagefaultMemoryBlock(memory=backend)
    said = [user(f"topic{n} " + "\n".join(f"line {n} {m}\u2028of topic" for m in range(30))) for n in range(3)]
    asyncio.run(block.aput(said))
    whole = asyncio.run(block.aget([user("topic")]))
    cuts = 0
    for less in range(0, backend.counter.count(whole), 7):
        shorter = asyncio.run(block.atruncate(whole, less))
        if shorter is not None:
            fence = re.findall("<([0-9]{8}) and", shorter)[0]
            assert shorter.count(f"\n<{fence}\n") == shorter.count(f"\n{fence}>")
            assert backend.counter.count(shorter) <= backend.counter.count(whole) - less
            assert whole.startswith(shorter.removesuffix(f"\n{fence}>"))
            cuts += shorter != whole
    assert cuts > 3
    assert asyncio.run(block.atruncate("plain text\nof another", 1)) == "plain text"


def test_the_chat_store_does_what_the_documentation_says(backend):
    store = PagefaultChatStore(memory=backend)

    async def talk():
        assert await store.get_keys() == []
        assert await store.get_messages("k") == []
        await store.add_messages("k", [])
        assert await store.get_keys() == []
        await store.add_messages("k", [user(f"m{n}") for n in range(6)])
        await store.add_message("other", user("o"))
        assert sorted(await store.get_keys()) == ["k", "other"]
        assert texts(await store.get_messages("k", limit=2, offset=1)) == ["m1", "m2"]
        assert texts(await store.archive_oldest_messages("k", 2)) == ["m0", "m1"]
        assert texts(await store.get_messages("k")) == ["m2", "m3", "m4", "m5"]
        assert texts(await store.get_messages("k", status=ARCHIVED)) == ["m0", "m1"]
        assert texts(await store.get_messages("k", status=None)) == [f"m{n}" for n in range(6)]
        counts = [await store.count_messages("k", status) for status in (ACTIVE, ARCHIVED, None)]
        assert counts == [4, 2, 6]
        assert (await store.delete_message("k", 1)).content == "m1"
        assert (await store.delete_message("k", 2)).content == "m3"
        assert await store.delete_message("k", 99) is None
        assert await store.delete_message("k", -1) is None
        assert texts(await store.delete_oldest_messages("k", 1)) == ["m2"]
        assert await store.archive_oldest_messages("k", 0) == []
        assert texts(await store.get_messages("k", status=None)) == ["m0", "m4", "m5"]
        await store.set_messages("k", [user("new")])
        assert texts(await store.get_messages("k", status=None)) == ["new"]
        await store.archive_oldest_messages("k", 1)
        await store.add_message("k", user("newer"))
        await store.delete_messages("k", ARCHIVED)
        assert texts(await store.get_messages("k", status=None)) == ["newer"]
        await store.delete_messages("k")
        assert await store.get_keys() == ["other"]
        (given,) = await store.get_messages("other")
        given.blocks[0].text = "changed"
        assert texts(await store.get_messages("other")) == ["o"]

    asyncio.run(talk())


@pytest.mark.parametrize("seed", range(4))
def test_the_chat_store_does_what_the_stock_one_does(tmp_path, seed):
    """But for what the stock one fails at: a list of no messages to add; and its index to delete by is a row's id."""
    chance = random.Random(seed)
    kinds = "add add add set get get count keys delete oldest archive archive restart".split()

    async def do(store, kind, key, number, status):
        new = [user(f"{number}.{n}") for n in range(number % 4)]
        limits = {"limit": number % 5 or None, "offset": number % 3}
        answer = await {
            "add": lambda: store.add_messages(key, new or [user("one")]),
            "set": lambda: store.set_messages(key, new),
            "get": lambda: store.get_messages(key, status, **limits),
            "count": lambda: store.count_messages(key, status),
            "keys": store.get_keys,
            "delete": lambda: store.delete_messages(key, status),
            "oldest": lambda: store.delete_oldest_messages(key, number % 4),
            "archive": lambda: store.archive_oldest_messages(key, number % 4),
        }[kind]()
        return sorted(answer) if kind == "keys" else texts(answer) if isinstance(answer, list) else answer

    async def talk():
        stock = SQLAlchemyChatStore(table_name="messages", async_database_uri="sqlite+aiosqlite:///:memory:")
        backend = pagefault.open(tmp_path, embedder=None)
        for number in range(80):
            kind, key, status = chance.choice(kinds), chance.choice("ab"), chance.choice([ACTIVE, ARCHIVED, None])
            if kind == "restart":
                await backend.aclose()
                backend = pagefault.open(tmp_path, embedder=None)
                continue
            ours = await do(PagefaultChatStore(memory=backend), kind, key, number, status)
            assert ours == await do(stock, kind, key, number, status), (seed, number, kind, key, status)
        await backend.aclose()
        await stock._async_engine.dispose()

    asyncio.run(talk())


def test_the_stock_memory_over_our_store_survives_and_loses_nothing(tmp_path):
    async def session(first):
        with pagefault.open(tmp_path, embedder=None) as backend:
            store = PagefaultChatStore(memory=backend)
            memory = Memory.from_defaults(session_id="ada", token_limit=400, token_flush_size=100, chat_store=store)
            for number in range(first, first + 15):
                await memory.aput_messages(turn(number))
            expected = texts(m for number in range(first + 15) for m in turn(number))
            assert texts(await memory.aget_all()) == expected
            assert len(await memory.aget()) < len(expected)
            assert await store.get_keys() == ["ada"]

    for first in (0, 15, 30):
        asyncio.run(session(first))


def test_many_tasks_and_loops_at_once(backend):
    store = PagefaultChatStore(memory=backend)

    async def write(name):
        for number in range(15):
            await store.add_message("k", user(f"{name}.{number}"))
            await store.archive_oldest_messages("k", 1)

    async def together():
        await asyncio.gather(*(write(name) for name in "abcd"))

    asyncio.run(together())
    asyncio.run(together())
    kept = asyncio.run(store.get_messages("k", status=None))
    assert sorted(texts(kept)) == sorted([f"{name}.{number}" for name in "abcd" for number in range(15)] * 2)


def midway(monkeypatch, module, name, do):
    """Has ``do`` happen once, where this function is called next."""
    real, left = getattr(module, name), [do]

    def call(*args, **more):
        if left:
            left.pop()()
        return real(*args, **more)

    monkeypatch.setattr(module, name, call)


def on_another_thread(work):
    """Another task of the application, on a loop of its own; one that has to wait for us is not waited for."""
    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join(0.2)
    return thread


def filled(backend, count=6):
    store = PagefaultChatStore(memory=backend)
    asyncio.run(store.add_messages("k", [user(f"m{n}") for n in range(count)]))
    return store


def test_a_message_that_comes_while_others_are_taken_out_stays(backend, monkeypatch):
    store = filled(backend)
    held = store._part("k", ACTIVE)
    midway(monkeypatch, type(held), "replace", lambda: held.put([user("new")]))
    midway(monkeypatch, type(held), "take_out", lambda: held.put([user("new")]))
    assert texts(asyncio.run(store.delete_oldest_messages("k", 2))) == ["m0", "m1"]
    assert texts(asyncio.run(store.get_messages("k"))) == ["m2", "m3", "m4", "m5", "new"]


def test_two_stores_never_take_out_the_same_message(backend, monkeypatch):
    store, other, threads, theirs = filled(backend), PagefaultChatStore(memory=backend), [], []

    async def take():
        theirs.extend(texts(await other.archive_oldest_messages("k", 2)))

    midway(monkeypatch, chat_store, "copy_of", lambda: threads.append(on_another_thread(take)))
    ours = texts(asyncio.run(store.archive_oldest_messages("k", 2)))
    threads[0].join(30)
    assert (ours, theirs) == (["m0", "m1"], ["m2", "m3"])
    assert texts(asyncio.run(store.get_messages("k", status=None))) == [f"m{n}" for n in range(6)]


@pytest.mark.parametrize("waits", ["aready", "aeverything"])
def test_a_message_keeps_its_index_while_others_are_archived(backend, monkeypatch, waits):
    store, real, left = filled(backend), getattr(Held, waits), [1]

    async def wait(held):
        if left and held.space.agent.endswith("active"):
            left.pop()
            await store.archive_oldest_messages("k", 3)
        return await real(held)

    monkeypatch.setattr(Held, waits, wait)
    assert texts(asyncio.run(store.get_messages("k", status=None))) == [f"m{n}" for n in range(6)]
    left.append(1)
    assert asyncio.run(store.delete_message("k", 4)).content == "m4"
    assert texts(asyncio.run(store.get_messages("k", status=None))) == ["m0", "m1", "m2", "m3", "m5"]


class Dying(FlakyStore):
    """A fake death: after so many writes there are none."""

    left = -1

    async def put(self, scope, records):
        if self.left == 0:
            raise StoreError("the process is dead")
        self.left -= 1
        await super().put(scope, records)


@pytest.mark.parametrize("writes", range(5))
def test_what_is_archived_is_in_one_part_at_least_whenever_the_process_dies(tmp_path, monkeypatch, writes):
    with contextlib.suppress(StoreError), wrapped(monkeypatch, Dying, tmp_path) as (memory, fake):
        store = filled(memory, 36)
        memory.flush()
        fake.left = writes
        asyncio.run(store.archive_oldest_messages("k", 34))
        until(lambda: fake.left == 0, "so much is written")
    monkeypatch.undo()
    with pagefault.open(tmp_path, embedder=None) as memory:
        kept = texts(asyncio.run(PagefaultChatStore(memory=memory).get_messages("k", status=None)))
    assert set(kept) == {f"m{n}" for n in range(36)}


class ListAway(FlakyStore):
    """A fake store that takes nothing of one space."""

    space = ""

    async def put(self, scope, records):
        if scope.space == self.space:
            raise StoreError("not today")
        await super().put(scope, records)


@pytest.mark.parametrize("status", [ACTIVE, ARCHIVED])
def test_a_key_is_listed_before_its_messages_are_stored(tmp_path, monkeypatch, status):
    with contextlib.suppress(StoreError), wrapped(monkeypatch, ListAway, tmp_path) as (memory, fake):
        store = PagefaultChatStore(memory=memory)
        asyncio.run(store.add_messages("k", [user("m")], status))
        fake.space = store._index().space.key
        memory.flush()
    monkeypatch.undo()  # the process is dead
    with pagefault.open(tmp_path, embedder=None) as memory:
        store = PagefaultChatStore(memory=memory)
        assert texts(asyncio.run(store.get_messages("k", None))) == ["m"]
        assert asyncio.run(store.get_keys()) == ["k"]


def test_a_list_of_keys_that_cannot_be_stored_keeps_no_messages_from_being_added(monkeypatch):
    with wrapped(monkeypatch, ListAway) as (memory, fake):
        store = PagefaultChatStore(memory=memory)
        fake.space = store._index().space.key
        asyncio.run(store.add_messages("k", [user("m")]))
        assert asyncio.run(store.get_keys()) == ["k"]
        fake.space = ""
        asyncio.run(store.add_messages("k", [user("n")]))
        assert texts(asyncio.run(store.get_messages("k"))) == ["m", "n"]


def test_keys_are_listed_without_their_messages(tmp_path, monkeypatch):
    with pagefault.open(tmp_path, embedder=None) as memory:
        store = PagefaultChatStore(memory=memory)
        for number in range(12):
            asyncio.run(store.add_messages(f"k{number}", turn(number)))
        asyncio.run(store.archive_oldest_messages("k1", 2))
        asyncio.run(store.delete_messages("k2"))
        memory.flush()
        held = store._part("k3", ACTIVE)
        gone = UpdateOperation.delete_points([point_id(held.space.key, slot.chain) for slot in held.ready().slots])
        memory.core.kernel.call(memory.core.store._call(lambda shard: shard.update(gone), urgent=True))
    with wrapped(monkeypatch, FlakyStore, tmp_path) as (memory, fake):
        store = PagefaultChatStore(memory=memory)
        keys = asyncio.run(store.get_keys())
        assert keys == [f"k{number}" for number in range(12) if number != 2], "an archived one, one that is lost"
        with pytest.raises(PagesLost):
            asyncio.run(store.get_messages("k3"))
        asyncio.run(store.get_messages("k4"))
        read = fake.calls["scan"]
        asyncio.run(PagefaultChatStore(memory=memory).get_keys())
        assert fake.calls["scan"] - read < 12


def spoil(memory, held, seq):
    point = point_id(held.space.key, held.ready().slots[seq - 1].chain)
    flip = UpdateOperation.set_payload([point], {"body": "[]"})
    memory.core.kernel.call(memory.core.store._call(lambda shard: shard.update(flip), urgent=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.delete_oldest_messages("k", 1),
        lambda store: store.archive_oldest_messages("k", 4),
        lambda store: store.delete_message("k", 5),
        lambda store: store.get_messages("k"),
    ],
)
def test_a_damaged_message_costs_no_other(tmp_path, change):
    with pagefault.open(tmp_path, embedder=None) as memory:
        store = filled(memory)
        memory.flush()
        spoil(memory, store._part("k", ACTIVE), 3)
        spoil(memory, store._index(), 1)
    for _ in range(2):
        with pagefault.open(tmp_path, embedder=None) as memory:
            store = PagefaultChatStore(memory=memory)
            with pytest.raises(CorruptPage, match=r"message 2 of 'k' is damaged: delete_message\(key, 2\).*\(page 3 "):
                asyncio.run(change(store))
            assert texts(asyncio.run(store.get_messages("k", limit=2))) == ["m0", "m1"]
            assert texts(asyncio.run(store.get_messages("k", offset=3))) == ["m3", "m4", "m5"]
            assert asyncio.run(store.count_messages("k", None)) == 6
            space = memory.at(store._part("k", ACTIVE).space)
            assert [space.fault(n).pages[0].page.text for n in (1, 2, 4, 5, 6)] == ["m0", "m1", "m3", "m4", "m5"]
            with pytest.raises(CorruptPage):
                asyncio.run(store.get_keys())
            asyncio.run(store.add_message("other", user("goes on")))
            asyncio.run(store.delete_messages("other"))


def test_damaged_messages_can_be_deleted_and_archived_ones_count(tmp_path, caplog):
    with pagefault.open(tmp_path, embedder=None) as memory:
        store = filled(memory, 6)
        asyncio.run(store.archive_oldest_messages("k", 2))
        memory.flush()
        for seq in (1, 3):
            spoil(memory, store._part("k", ACTIVE), seq)
    with pagefault.open(tmp_path, embedder=None) as memory:
        store = PagefaultChatStore(memory=memory)
        asyncio.run(store.add_message("k", user("m6")))
        with pytest.raises(CorruptPage, match="message 2 of 'k'"):
            asyncio.run(store.get_messages("k"))
        assert asyncio.run(store.delete_message("k", 2)) is None
        assert "2 damaged messages of 'k' are deleted" in caplog.text
        assert texts(asyncio.run(store.get_messages("k", None))) == ["m0", "m1", "m3", "m5", "m6"]
        assert texts(asyncio.run(store.archive_oldest_messages("k", 1))) == ["m3"]
    with pagefault.open(tmp_path, embedder=None) as memory:
        kept = asyncio.run(PagefaultChatStore(memory=memory).get_messages("k", None))
        assert texts(kept) == ["m0", "m1", "m3", "m5", "m6"]


@pytest.mark.parametrize("bad", [1.5, "1", None, True])
def test_an_index_is_a_whole_number(backend, bad):
    store = filled(backend)
    for verb in (store.delete_message, store.delete_oldest_messages, store.archive_oldest_messages):
        with pytest.raises(TypeError, match="give a whole number"):
            asyncio.run(verb("k", bad))
    assert asyncio.run(store.count_messages("k", None)) == 6


def test_a_conversation_that_waits_for_the_store_stops_no_other(monkeypatch):
    with wrapped(monkeypatch, SlowStore) as (memory, slow):
        monkeypatch.setattr("pagefault.held.MAX_BACKLOG", 8)
        store, other = filled(memory), PagefaultChatStore(memory=memory)
        asyncio.run(other.add_message("other", user("here")))
        memory.flush()
        slow.hold("put")
        asyncio.run(store.add_messages("k", [user(f"a{n}") for n in range(20)], ARCHIVED))
        waiting = on_another_thread(lambda: store.archive_oldest_messages("k", 2))
        assert waiting.is_alive(), "until there is room in its archive"
        found = []
        read = on_another_thread(lambda: _into(found, other.get_messages("other")))
        read.join(20)
        assert texts(found) == ["here"]
        slow.let_go()
        waiting.join(20)
        assert texts(asyncio.run(store.get_messages("k"))) == ["m2", "m3", "m4", "m5"]


async def _into(found, work):
    found.extend(await work)


def test_a_store_that_is_given_to_another_user_lists_the_keys_of_that_one(backend):
    store = PagefaultChatStore(memory=backend, user="ada")
    asyncio.run(store.add_message("k", user("hers")))
    store.user = "bob"
    assert asyncio.run(store.get_keys()) == []
    asyncio.run(store.add_message("k", user("his")))
    assert asyncio.run(store.get_keys()) == ["k"]
    assert texts(asyncio.run(store.get_messages("k"))) == ["his"]


@pytest.mark.parametrize("bad", [-1, True, "1", 1.5])
def test_messages_are_not_counted_from_the_end(backend, bad):
    store = PagefaultChatStore(memory=backend)
    asyncio.run(store.add_messages("k", [user("a"), user("b"), user("c")]))
    for how in ({"limit": bad}, {"offset": bad}):
        with pytest.raises(ValueError, match="give a number of messages from 0 on"):
            asyncio.run(store.get_messages("k", **how))
    assert texts(asyncio.run(store.get_messages("k", limit=1, offset=1))) == ["b"]
    assert asyncio.run(store.get_messages("k", limit=0)) == []
    assert asyncio.run(store.get_messages("k", offset=9)) == []


@pytest.mark.parametrize("key", [7, None, "", "a\x00b", True])
def test_keys_that_are_none(backend, key):
    store = PagefaultChatStore(memory=backend)
    with pytest.raises(InvalidId):
        asyncio.run(store.add_message(key, user("x")))
    assert asyncio.run(store.get_keys()) == []


def test_a_closed_backend_says_so(backend):
    store, block = PagefaultChatStore(memory=backend), PagefaultMemoryBlock(memory=backend)
    asyncio.run(store.add_message("k", user("x")))
    backend.close()
    for verb in (
        lambda: store.get_messages("k"),
        lambda: store.add_message("k", user("y")),
        lambda: block.aput([user("x")], session_id="k"),
        lambda: block.aget([user("x")], session_id="k"),
    ):
        with pytest.raises(MemoryClosed):
            asyncio.run(verb())
