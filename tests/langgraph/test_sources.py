"""Any LangGraph store as a source of recalls: marked, judged, and no trouble of its own becomes ours."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.store.memory import InMemoryStore

import pagefault
from pagefault import InvalidItem, Passage
from pagefault.testing.embedders import HashingEmbedder
from pagefault_langgraph import PagefaultRetriever, PagefaultStore, PagingMiddleware, StoreSource, recall_tool
from tests.kernel.support import PATIENCE, threads_since, until
from tests.langgraph.scripted import ScriptedModel

NOW = "text: Our hotel in Rome is called Artemide."


@pytest.fixture(params=[None, HashingEmbedder()], ids=["text", "dense"])
def memory(request):
    with pagefault.open(":memory:", embedder=request.param) as memory:
        yield memory


@pytest.fixture
def profiles():
    store = InMemoryStore()
    store.put(("users", "ada"), "hotel", {"text": "Our hotel in Rome is called Artemide."})
    store.put(("users", "ada"), "rain", {"text": "It rains a lot in November."})
    store.put(("users", "eve"), "hotel", {"text": "Eve's hotel in Rome is called Bologna."})
    return store


def own(space):
    return ("users", space.user)


def test_a_store_answers_beside_the_pages(memory, profiles):
    space = memory.space(user="ada", thread="t")
    space.append([{"role": "user", "content": "We stayed in a hotel in Rome called Locarno."}])
    before = space.recall("hotel in Rome called")
    found = space.recall("hotel in Rome called", sources=[StoreSource(profiles, own, name="profiles")])
    assert [each.passage.text for each in found.passages] == [NOW]
    assert found.passages[0].source == "profiles"
    assert found.passages[0].passage.address == "users/ada/hotel"
    assert found.pages == before.pages, "pages stay what they were"
    assert "| source profiles | users/ada/hotel |" in found.text.replace("] source", "| source")
    assert found.text.index("Locarno") < found.text.index("From sources outside") < found.text.index("Artemide")
    assert "Bologna" not in found.text
    assert asyncio.run(space.arecall("hotel in Rome called", sources=[StoreSource(profiles, own)])).passages
    nobody = memory.space(thread="t").recall("hotel in Rome", sources=[StoreSource(profiles, own, name="profiles")])
    assert nobody.passages == ()
    assert "has an empty label" in nobody.failed[0]


def test_without_pages_it_still_answers_or_abstains(memory, profiles):
    space = memory.space(user="ada", thread="empty")
    found = space.recall("hotel in Rome", sources=[StoreSource(profiles, own)])
    assert (found.outcome, found.pages, len(found.passages)) == ("answer", (), 1)
    assert "othing reliable" not in found.text
    nothing = space.recall("quantum chromodynamics lecture", sources=[StoreSource(profiles, own)])
    assert (nothing.outcome, nothing.passages, nothing.failed) == ("abstain", (), ())


class Broken:
    def __init__(self, name, act):
        self.name = name
        self.act = act

    def search(self, space, query, *, limit):
        return self.act()


def fails():
    raise RuntimeError("the\nserver is down")


def exits():
    raise SystemExit("bye")


@pytest.mark.parametrize("act", [fails, exits, lambda: ["text"], lambda: [Passage(text=7)], lambda: None])
def test_one_that_fails_is_named_and_nothing_else_is_lost(memory, profiles, act, caplog):
    space = memory.space(user="ada", thread="t")
    space.append([{"role": "user", "content": "We stayed in a hotel in Rome."}])
    found = space.recall("hotel in Rome", sources=[Broken("wiki", act), StoreSource(profiles, own)])
    assert len(found.pages) == len(found.passages) == 1
    (why,) = found.failed
    assert why.startswith("Source 'wiki' gave no answer: ")
    assert "\n" not in why
    assert found.text.endswith(why)
    assert "gave no answer" in caplog.text


def test_one_that_hangs_is_left_alone_until_it_answers(memory, profiles, monkeypatch):
    go = threading.Event()

    def hangs():
        go.wait(PATIENCE)
        return []

    slow = Broken("slow", hangs)
    space = memory.space(user="ada", thread="t")
    ask = {"sources": [slow, StoreSource(profiles, own)]}
    before = set(threading.enumerate())
    with monkeypatch.context() as hurried:
        hurried.setattr("pagefault.faults.sources.SECONDS", 0.2)
        assert "did not answer within 0.2 s" in space.recall("hotel in Rome", **ask).failed[0]
    found = space.recall("hotel in Rome", **ask)
    assert "has not answered an earlier question yet" in found.failed[0]
    assert found.passages
    assert threads_since(before).count("source slow") == 1, "the one that hangs, and no more"
    go.set()
    until(lambda: not space.recall("hotel in Rome", **ask).failed, "it is asked again")


def test_questions_at_once_are_all_asked(memory):
    together = threading.Barrier(3)

    class Wiki:
        name = "wiki"

        def search(self, space, query, *, limit):
            together.wait(PATIENCE)
            return [Passage(text=f"The hotel in Rome of {space.user} is the Artemide.")]

    async def ask():
        spaces = [memory.space(user=user, thread="t") for user in ("ada", "bob", "eve")]
        wiki = Wiki()
        return await asyncio.gather(*(space.arecall("hotel in Rome", sources=[wiki]) for space in spaces))

    found = asyncio.run(ask())
    assert [each.failed for each in found] == [(), (), ()]
    assert ["of bob" in each.text for each in found] == [False, True, False]


def test_one_that_hangs_is_left_alone_where_its_askers_do_not_wait(memory, monkeypatch):
    go, begun, before = threading.Event(), threading.Event(), set(threading.enumerate())
    monkeypatch.setattr("pagefault.faults.sources.SECONDS", 0.2)

    def hangs():
        begun.set()
        go.wait(PATIENCE)
        return []

    slow, space = Broken("slow", hangs), memory.space(user="ada", thread="t")

    async def ask():
        asking = asyncio.ensure_future(space.arecall("hotel in Rome", sources=[slow]))
        await asyncio.to_thread(begun.wait, PATIENCE)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    asyncio.run(ask())
    until(lambda: memory.core.sources._late, "it is late")
    assert "not answered an earlier" in str(space.recall("hotel in Rome", sources=[slow]).failed)
    assert threads_since(before).count("source slow") == 1
    go.set()


def test_our_own_store_and_others_alike(memory):
    store = PagefaultStore(memory, name="notes")
    store.put(("docs",), "a", {"text": "The hotel in Rome is the Artemide."})
    found = memory.space(thread="t").recall("hotel in Rome", sources=[StoreSource(store, ("docs",), name="notes")])
    assert [each.passage.address for each in found.passages] == ["docs/a"]
    filtered = StoreSource(store, ("docs",), filter={"text": "another"})
    assert memory.space(thread="t").recall("hotel in Rome", sources=[filtered]).passages == ()
    with pytest.raises(TypeError, match="BaseStore"):
        StoreSource({})
    with pytest.raises(InvalidItem):
        StoreSource(store, ("",)).search(memory.space(thread="t").id, "hotel", limit=1)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_agents_tool_asks_it(memory, profiles, is_async):
    def script(call, messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(str(messages[-1].content), id="done")
        return AIMessage("", tool_calls=[{"name": "recall", "args": {"query": "hotel in Rome"}, "id": "c1"}], id="ask")

    sources = [StoreSource(profiles, own, name="profiles")]
    agent = create_agent(ScriptedModel(script), middleware=[PagingMiddleware(memory, sources=sources)])
    config = {"configurable": {"thread_id": "t", "user_id": "ada"}}
    asked = {"messages": [("user", "go")]}
    answer = asyncio.run(agent.ainvoke(asked, config)) if is_async else agent.invoke(asked, config)
    assert "Artemide" in answer["messages"][-1].content
    assert "source profiles" in answer["messages"][-1].content
    schema = recall_tool(memory, sources=sources).tool_call_schema.model_json_schema()
    assert set(schema["properties"]) == {"addresses", "query", "after", "before"}


def test_a_retriever_asks_them_too(memory, profiles):
    space = memory.space(user="ada", thread="t")
    space.append([{"role": "user", "content": f"We stayed in hotel {n} in Rome called Locarno."} for n in range(4)])
    broken = StoreSource(profiles, lambda _: 1 / 0, name="broken")
    sources = [broken, StoreSource(profiles, own, name="profiles")]
    retriever = PagefaultRetriever(memory=memory, space=space.id, sources=sources, k=3)
    for documents in (retriever.invoke("hotel in Rome called"), asyncio.run(retriever.ainvoke("hotel in Rome called"))):
        assert len(documents) == 3
        assert all("Locarno" in document.page_content for document in documents[:2])
        assert documents[2].page_content == NOW
        assert documents[2].metadata["source"] == "profiles"
        assert documents[2].metadata["address"] == "users/ada/hotel"
    alone = PagefaultRetriever(memory=memory, space=space.id, k=3).invoke("hotel in Rome called")
    assert {document.metadata["source"].split()[0] for document in alone} == {"page"}, "none from outside"


@pytest.mark.parametrize("moment", ["yesterday", b"", object()])
def test_a_time_that_is_none_is_its_sources_failure(memory, moment):
    class Odd:
        name = "odd"

        def search(self, space, query, *, limit):
            return [Passage(text="The cat is called Rex.", updated_at=moment)]

    space = memory.space(thread="t")
    space.append([{"role": "user", "content": "The cat is called Turing."}])
    found = space.recall("What is the cat called?", sources=[Odd()])
    assert "updated_at of a passage is Unix seconds or None" in found.failed[0]
    assert [page.page.text for page in found.pages] == ["The cat is called Turing."]


def test_no_more_is_taken_of_a_source_than_was_asked_for(memory):
    taken = []

    class Long:
        name = "long"

        def search(self, space, query, *, limit):
            for number in range(1_000):
                taken.append(number)
                yield Passage(text=f"The cat is called Rex {number}.")

    found = memory.space(thread="t").recall("What is the cat called?", limit=4, sources=[Long()])
    assert len(found.passages) == len(taken) == 4


def test_what_a_source_says_of_another_time_is_left_out(memory):
    class Dated:
        name = "dated"

        def search(self, space, query, *, limit):
            said = {"Rex": 1_000.0, "Bob": 2_000.0, "Tim": None}
            return [Passage(text=f"The cat is called {name}.", updated_at=when) for name, when in said.items()]

    def names(**time):
        found = memory.space(thread="t").recall("What is the cat called?", sources=[Dated()], **time)
        texts = [each.passage.text for each in found.passages]
        assert all(text in found.text for text in texts)
        return {text[18:21] for text in texts}

    assert names() == {"Rex", "Bob", "Tim"}
    assert names(after=1_500) == {"Bob", "Tim"}, "who says no time may be of any"
    assert names(before=2_000) == {"Rex", "Tim"}
