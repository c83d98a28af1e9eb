"""The memory by itself: what goes in comes out, within the limit, from anywhere."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock

import pagefault
from pagefault.errors import BudgetError, InvalidId, MemoryClosed, StoreError, StoreMissing, UnsupportedMessage
from pagefault.page import Kind
from pagefault.paths.content import materialise
from pagefault.tokens import default_counter
from pagefault_llamaindex import PagefaultMemory, PagefaultRetriever, PagefaultToolSpec, rendering
from pagefault_llamaindex.messages import LLAMAINDEX

LIMIT = 400


def session(backend, **more):
    more.setdefault("session_id", "ada")
    return PagefaultMemory.from_defaults(backend, token_limit=LIMIT, **more)


def user(text):
    return ChatMessage(role="user", content=text)


def said(text):
    return ChatMessage(role="assistant", content=text)


def talk(turns, first=0):
    return [
        m
        for n in range(first, first + turns)
        for m in (user(f"question {n}: " + "ask " * 12), said(f"answer {n}: " + "say " * 12))
    ]


def tokens(messages):
    return materialise(messages, LLAMAINDEX, default_counter(), Kind.MESSAGE).tokens


def contents(messages):
    return [m.content for m in messages if not str(m.content).startswith("[pagefault")]


def test_the_limit_holds_and_nothing_is_lost(backend):
    memory = session(backend)
    system = ChatMessage(role="system", content="Be kind.")
    history = [system, *talk(40)]
    for message in history:
        memory.put(message)
        given = memory.get()
        assert tokens(given) <= LIMIT
        assert given[0].content == "Be kind."
        assert given[-1].content == message.content
        kept = contents(given)[1:]
        assert not kept or kept[0].startswith("question")
    assert contents(memory.get_all()) == contents(history)
    assert memory.space.recall("question 3").pages
    memory.set(history)
    assert tokens(memory.get()) <= LIMIT
    other = session(backend, session_id="set", chat_history=history)
    assert tokens(other.get()) <= LIMIT
    assert other.get()[0].content == "Be kind."


def test_it_is_never_falsy(backend):
    assert session(backend)
    assert bool(session(backend)) is True
    assert session(backend).get() == session(backend).get_all() == []


def test_copies_go_in_and_copies_come_out(backend):
    memory = session(backend)
    message = ChatMessage(role="user", content="original", additional_kwargs={"n": [1]})
    memory.put(message)
    message.blocks[0].text = "changed"
    message.additional_kwargs["n"].append(2)
    for given in (memory.get()[0], memory.get_all()[0]):
        assert (given.content, given.additional_kwargs) == ("original", {"n": [1]})
        given.blocks[0].text = "changed"
        given.additional_kwargs["n"].append(2)
    assert memory.get()[0].content == "original"
    assert memory.get()[0].additional_kwargs == {"n": [1]}


def test_set_with_what_get_gave_goes_on_from_it(backend):
    memory = session(backend)
    memory.put_messages(talk(30))
    given = memory.get()
    memory.set([*given, user("and now?")])
    assert len(memory.get_all()) == 61
    memory.set(memory.get_all())
    assert len(memory.get_all()) == 61
    memory.set([user("other")])
    assert contents(memory.get_all()) == ["other"]
    memory.reset()
    assert memory.get_all() == []


@pytest.mark.parametrize("written", [False, True])
def test_set_with_what_get_gave_keeps_what_left_by_way_of_json(backend, written):
    memory = session(backend)
    memory.put_messages(talk(30))
    given = memory.get()
    if written:
        given = [ChatMessage.model_validate_json(message.model_dump_json()) for message in given]
    memory.set(given[:-1])
    assert contents(memory.get_all()) == contents(talk(30)[:-1])
    memory.set([*given[:-1], said("better"), user("on")])
    assert contents(memory.get_all()) == [*contents(talk(30)[:-1]), "better", "on"]


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_set_with_the_beginning_of_what_get_gave_keeps_what_left(tmp_path, again, moved):
    """As who has the last answer made anew does; the contents of what left are no message of the session."""
    with pagefault.open(tmp_path, embedder=None) as backend:
        memory = session(backend)
        memory.put_messages([user("look"), *looked_up(), *talk(30)])
        memory.get()
    with pagefault.open(tmp_path, embedder=None) as backend:  # where what left is in the store alone
        memory = session(backend)
        given, everything = memory.get(), contents(memory.get_all() if again else [])
        everything = everything or ["look", "step", *contents(looked_up()[1:]), *contents(talk(30))]
        assert len(given) < len(everything)
        if moved:
            memory.put_messages(talk(20, first=30))
            memory.get()
        memory.set([*given[:-1], said("better")])
        assert contents(memory.get_all()) == [*everything[:-1], "better"]
        assert memory.space.fault("1").pages[0].page.text == "look"
        memory.set(given[:2])
        assert contents(memory.get_all()) == everything[: everything.index(given[1].content) + 1]
        memory.set(given[1:])  # a window of the application's own
        assert contents(memory.get_all()) == contents(given[1:])
        if again:
            memory.set([*given, user("back")])
            assert contents(memory.get_all()) == [*everything, "back"]
        else:
            with pytest.raises(UnsupportedMessage, match="of a session that was set anew since"):
                memory.set([*given, user("back")])
            assert contents(memory.get_all()) == contents(given[1:])


def looked_up():
    calls = ToolCallBlock(tool_call_id="c", tool_name="look", tool_kwargs={})
    return [
        ChatMessage(role="assistant", blocks=[TextBlock(text="step"), calls]),
        ChatMessage(role="tool", content="found " * 600, additional_kwargs={"tool_call_id": "c"}),
    ]


def test_set_with_the_beginning_of_what_get_gave_keeps_a_result_that_is_shown_in_part(backend):
    memory = session(backend)
    memory.put_messages([*talk(2), user("look"), *looked_up()])
    memory.get()
    memory.put(said("so"))
    given = memory.get()
    assert [m.role.value for m in given[-4:]] == ["user", "assistant", "tool", "assistant"]
    assert given[-2].content != looked_up()[1].content, "a part of it"
    for left in (1, 2):
        memory.set(given[:-left])
        assert contents(memory.get_all()) == contents([*talk(2), user("look"), *looked_up(), said("so")][:-left])


def test_thinking_and_tool_calls_count(backend):
    memory = session(backend)
    for n in range(12):
        call = ToolCallBlock(tool_call_id=f"c{n}", tool_name="look", tool_kwargs={"query": "long " * 40})
        memory.put_messages(
            [
                user(f"q{n}"),
                ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm " * 40), call]),
                ChatMessage(role="tool", content="seen", additional_kwargs={"tool_call_id": f"c{n}"}),
            ]
        )
        given = memory.get()
        assert tokens(given) <= LIMIT
        asked = {b.tool_call_id for m in given for b in m.blocks if isinstance(b, ToolCallBlock)}
        assert asked == {m.additional_kwargs["tool_call_id"] for m in given if m.role == "tool"}


@pytest.mark.parametrize("initial", [0, 100, 350, 4_000, 10**9, -5, None, "x", True, 3.5])
def test_room_for_what_the_engine_puts_before_is_kept_and_never_raised_on(backend, initial):
    memory = session(backend)
    memory.put_messages([ChatMessage(role="system", content="Be kind."), *talk(10), user("the last")])
    given = memory.get(initial_token_count=initial)
    assert given[0].content == "Be kind."
    assert given[-1].content == "the last"
    assert tokens(given) <= max(LIMIT - (initial if isinstance(initial, int) else 0), 120)


@pytest.mark.parametrize("coming", [None, "", "short", "long " * 200, user("a message"), 7, ["x"], {"role": "user"}])
def test_room_for_the_message_to_come_is_kept_and_never_raised_on(backend, coming):
    memory = session(backend)
    memory.put_messages(talk(10))
    size = tokens([user(coming)]) if isinstance(coming, str) and coming else 0
    assert tokens(memory.get(input=coming, other=1)) <= max(LIMIT - size, 120)


def test_a_message_larger_than_the_limit_is_given_all_the_same(backend):
    memory = session(backend)
    memory.put_messages([*talk(5), user("word " * 2_000)])
    given = memory.get()
    assert given[-1].content == "word " * 2_000
    assert len(given) <= 2
    memory.put(said("fine"))
    memory.put(user("next"))
    assert tokens(memory.get()) <= LIMIT


def test_a_handle_comes_back_to_the_same_session(backend):
    memory = session(backend, user="u", agent="writer", tenant="acme")
    memory.put(user("one"))
    handle = json.loads(json.dumps(memory.to_dict()))
    assert len(json.dumps(handle)) < 400
    twins = [
        PagefaultMemory.from_dict(handle),
        pickle.loads(pickle.dumps(memory)),  # noqa: S301  # what this test wrote
        copy.copy(memory),
        copy.deepcopy(memory),
        memory.model_copy(),
        PagefaultMemory.from_json(memory.to_json()),
    ]
    for n, twin in enumerate(twins):
        twin.put(user(f"twin {n}"))
        assert contents(memory.get()) == contents(twin.get()) == ["one", *(f"twin {i}" for i in range(n + 1))]
        assert twin.to_dict() == memory.to_dict()


def test_a_session_survives_the_process(tmp_path):
    first = PagefaultMemory.from_defaults(str(tmp_path), session_id=7, token_limit=LIMIT)
    first.put_messages([ChatMessage(role="system", content="Be kind."), *talk(30)])
    handle, before = first.to_dict(), [m.content for m in first.get()]
    first.close()
    first.close()
    again = PagefaultMemory.from_dict(handle)
    assert [m.content for m in again.get()] == before
    assert len(again.get_all()) == 61
    again.memory.close()
    with pagefault.open(tmp_path) as memory:
        third = PagefaultMemory.from_defaults(memory, session_id="7", token_limit=LIMIT)
        assert [m.content for m in third.get()] == before
        third.close()
        assert third.get(), "what it was given it does not close"


def test_a_closed_backend_says_so(backend):
    memory = session(backend)
    memory.put(user("one"))
    handle = memory.to_dict()
    backend.close()
    for verb in (memory.get, memory.get_all, memory.reset, lambda: memory.put(user("x")), lambda: memory.set([])):
        with pytest.raises(MemoryClosed):
            verb()
    for averb in (
        memory.aget,
        memory.aget_all,
        memory.areset,
        lambda: memory.aput(user("x")),
        lambda: memory.aput_messages([user("x")]),
        lambda: memory.aset([]),
        lambda: PagefaultRetriever(memory).aretrieve("x"),
    ):
        with pytest.raises(MemoryClosed):
            asyncio.run(averb())
    with pytest.raises(MemoryClosed):
        PagefaultRetriever(memory).retrieve("x")
    recall, remember = PagefaultToolSpec(memory).to_tool_list()
    for answer in (recall.call(query="one"), recall.call(addresses="1"), remember.call(key="k", value="v")):
        assert ":memory: is closed" in str(answer.content), "the model is told, and the run goes on"
    with pytest.raises(StoreError, match="throw-away"):
        PagefaultMemory.from_dict(handle).get()


def test_a_session_whose_directory_was_moved_does_not_begin_anew(tmp_path):
    memory = session(tmp_path / "memory")
    memory.put(user("My cat is called Turing."))
    handle = copy.deepcopy(memory).to_dict()
    memory.close()
    (tmp_path / "memory").rename(tmp_path / "moved")
    with pytest.raises(StoreMissing, match="moved"):
        PagefaultMemory.from_dict(handle).put(said("A fine name."))
    with pytest.raises(StoreMissing, match="moved"):
        asyncio.run(PagefaultMemory.from_dict(handle).aput(said("A fine name.")))
    assert not (tmp_path / "memory").exists()


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_memory_that_cannot_be_made_leaves_nothing_open(tmp_path, way):
    wrong = {"session_id": "s", "chat_history": [user("fine"), "no message"]}
    make = PagefaultMemory.from_defaults
    if way == "async":
        make = lambda *args, **more: asyncio.run(PagefaultMemory.afrom_defaults(*args, **more))  # noqa: E731  # one line
    with pytest.raises(UnsupportedMessage):
        make(tmp_path / "memory", **wrong)
    with pagefault.open(tmp_path / "memory", embedder=None) as memory:  # other options: nobody else has it
        memory.ready()


@pytest.mark.parametrize("bad", [None, "", True, 1.5, b"x", "a\x00b", "x" * 600])
def test_ids_that_are_none(backend, bad):
    if bad is not None:
        with pytest.raises(InvalidId):
            session(backend, session_id=bad)
    assert session(backend, session_id=12).session_id == "12"
    assert session(backend, session_id=None).session_id != session(backend, session_id=None).session_id


def test_other_bad_input(backend):
    for limit in (0, -1, "400", None, 1.5, True):
        with pytest.raises(BudgetError):
            PagefaultMemory.from_defaults(backend, token_limit=limit)
    memory = session(backend)
    memory.put_messages([])
    for bad in ("text", {"role": "user"}, None):
        with pytest.raises(UnsupportedMessage):
            memory.put(bad)
        with pytest.raises(UnsupportedMessage):
            memory.put_messages([user("fine"), bad])
    assert memory.get_all() == [], "all or none"
    with pytest.raises(UnsupportedMessage, match="a list of ChatMessage"):
        PagefaultMemory.from_defaults(backend, chat_history=user("one"))


def test_a_memory_never_becomes_that_of_somebody_else(backend):
    memory = session(backend, user="ada", tenant=3)
    memory.put(user("mine"))
    for name, value in {"user": "bob", "session_id": "bob", "tenant": None, "agent": "x", "place": "y"}.items():
        before = memory.to_dict()
        with pytest.raises(AttributeError, match=rf"{name} of a memory does not change.*from_defaults\(memory.memory"):
            setattr(memory, name, value)
        assert memory.to_dict() == before
    assert (memory.tenant, memory.space.id.tenant, memory.space.id.user) == ("3", "3", "ada")
    for copied in (
        memory.model_copy(update={"user": "bob"}),
        memory.model_copy(update={"user": "bob"}, deep=True),
        PagefaultMemory.from_dict(memory.to_dict(), user="bob"),
        PagefaultMemory.from_defaults(memory.memory, session_id="ada", user="bob", tenant=3),
    ):
        assert copied.space.id.user == "bob"
        copied.set([user("bob's")])
        assert contents(copied.get_all()) == ["bob's"]
        assert contents(memory.get_all()) == ["mine"]


def test_a_copy_is_another_handle_whatever_pydantic_makes_of_copies(backend, tmp_path):
    memory = session(backend, user="ada")
    memory.put(user("mine"))
    with pagefault.open(tmp_path) as other:
        other.ready()
    for deep in (True, False):
        assert contents(memory.model_copy(deep=deep).get_all()) == ["mine"]
        assert memory.model_copy(update={"token_limit": 7}, deep=deep).token_limit == 7
        elsewhere = memory.model_copy(update={"place": str(tmp_path)}, deep=deep)
        assert elsewhere.memory.place == str(tmp_path)
    elsewhere.memory.close()


def test_what_is_no_argument_is_named_not_swallowed(backend):
    with pytest.raises(TypeError, match=r"takes no chat_store_key, sesion_id; .* session_id, tenant, user and agent"):
        session(backend, sesion_id="ada", chat_store_key="ada")


def test_keys_stay_in_the_order_in_which_they_were_said(backend):
    """A provider is sent the same bytes as during the run, so its prompt cache knows them."""
    arguments = {"zebra": [{"b": 1, "a": (2,)}], "apple": {"\ud83d": "\ud83d\ude00", "__utf8__": 1, "A": b"x"}}
    asked = ChatMessage(
        role="assistant",
        blocks=[ToolCallBlock(tool_call_id="1", tool_name="look", tool_kwargs=arguments)],
        additional_kwargs={"z": 1, "a": 2},
    )
    memory = session(backend)
    memory.put_messages(
        [user("look"), asked, ChatMessage(role="tool", content="x", additional_kwargs={"tool_call_id": "1"})]
    )
    for given in (memory.get()[1], memory.get_all()[1]):
        assert list(given.additional_kwargs) == ["z", "a"]
        assert repr(given.blocks[0].tool_kwargs) == repr(arguments).replace("(2,)", "[2]")


def test_another_limit_counts_from_then_on(backend):
    memory = session(backend)
    memory.token_limit = 10 * LIMIT
    memory.put_messages(talk(40))
    assert tokens(memory.get()) > LIMIT
    memory.token_limit = LIMIT
    assert tokens(memory.get()) <= LIMIT
    for bad in (0, -5, "400", None, 1.5, True):
        with pytest.raises(BudgetError, match="give a positive number"):
            memory.token_limit = bad
    assert memory.token_limit == LIMIT


def test_agents_of_one_session_have_spaces_of_their_own(backend):
    memory = session(backend)
    writer, critic = memory.for_agent("writer"), memory.for_agent("critic")
    writer.put(user("draft"))
    assert contents(writer.get()) == ["draft"]
    assert critic.get() == memory.get() == []
    assert writer.session_id == critic.session_id == "ada"


def test_twenty_sessions_from_threads_and_loops(backend):
    turns = 12

    def in_thread(name):
        memory = session(backend, session_id=name)
        for n in range(turns):
            memory.put(user(f"{name} {n}"))
            memory.get()
            memory.put(said(f"{name} a{n}"))

    async def in_loop(name):
        memory = session(backend, session_id=name)
        for n in range(turns):
            await memory.aput(user(f"{name} {n}"))
            await memory.aget()
            if n % 3 == 0:  # sync calls inside a running loop
                memory.get()
            await memory.aput_messages([said(f"{name} a{n}")])

    def loop_of(names):
        async def together():
            await asyncio.gather(*map(in_loop, names))

        asyncio.run(together())

    names = [f"s{n}" for n in range(20)]
    with ThreadPoolExecutor(14) as pool:
        jobs = [pool.submit(in_thread, name) for name in names[:10]]
        jobs += [pool.submit(loop_of, names[10:15]), pool.submit(loop_of, names[15:])]
        for job in jobs:
            job.result(60)
    for name in names:
        expected = [text for n in range(turns) for text in (f"{name} {n}", f"{name} a{n}")]
        assert contents(session(backend, session_id=name).get_all()) == expected


def test_one_session_written_by_many_loses_nothing(backend):
    memory = session(backend)

    def write(name):
        for n in range(20):
            memory.put(user(f"{name}.{n}"))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = contents(memory.get_all())
    assert sorted(got) == sorted(f"{name}.{n}" for name in range(8) for n in range(20))
    for name in range(8):
        mine = [text for text in got if text.startswith(f"{name}.")]
        assert mine == [f"{name}.{n}" for n in range(20)]


def test_what_was_given_out_is_not_held_on_to(backend):
    memory = session(backend)
    memory.put(user("one"))
    given = [memory.get() for _ in range(5)]

    def kept():
        return sum(type(each) is rendering.Rendering and each.held is memory._held for each in gc.get_objects())

    assert kept() == 5
    del given
    gc.collect()
    assert kept() == 0


def test_a_question_above_the_limit_is_given_whole(backend):
    memory = session(backend)
    memory.put_messages([user("before"), said("yes"), user("ask " * LIMIT)])
    assert memory.get()[-1].content == "ask " * LIMIT


def test_an_oversize_tool_result_is_shown_in_part_and_kept_whole(backend):
    memory = session(backend)
    text = "\n".join(f"line {n} of the log" for n in range(400))
    call = ToolCallBlock(tool_call_id="c", tool_name="look", tool_kwargs={})
    result = ChatMessage(role="tool", content=text, additional_kwargs={"tool_call_id": "c"})
    memory.put_messages([user("look"), ChatMessage(role="assistant", blocks=[call]), result, said("seen")])
    given = memory.get()
    assert tokens(given) <= LIMIT
    assert "characters are not shown here" in given[2].content
    assert given[2].additional_kwargs == {"tool_call_id": "c"}
    assert memory.get_all()[2].content == text
    memory.set([*given, user("and?")])
    assert memory.get_all()[2].content == text


def test_what_is_refused_in_place_of_a_conversation_leaves_it_as_it_is(backend):
    memory = PagefaultMemory.from_defaults(backend, session_id="s")
    memory.put_messages([user("a"), user("b")])
    with pytest.raises(UnsupportedMessage):
        memory._conversation().replace([user("c"), object()])
    assert [m.content for m in memory.get_all()] == ["a", "b"]
    memory.put(user("d"))
    assert [m.content for m in memory.get_all()] == ["a", "b", "d"]
