"""The remember tool, the retriever and the message history."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

import pytest
from langchain.agents import create_agent
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompts import PromptTemplate, format_document
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langgraph.func import entrypoint, task
from langgraph.prebuilt import ToolNode
from langgraph.runtime import get_runtime

import pagefault
from pagefault import InvalidId, SpaceId, UnsupportedMessage
from pagefault.stores import EdgeStore
from pagefault.testing.faults import FlakyStore
from pagefault_langgraph import (
    NotPageable,
    PagefaultChatMessageHistory,
    PagefaultRetriever,
    recall_tool,
    remember_tool,
    space_of,
)
from pagefault_langgraph.window import window_tools
from tests.langgraph.scripted import ScriptedModel


@pytest.fixture(scope="module")
def memory():
    with pagefault.open(":memory:", embedder=None) as memory:
        yield memory


def config(**more):
    return {"configurable": {"thread_id": "t1", "user_id": "ada"} | more}


# -- remember ----------------------------------------------------------------------------------


def calling(name, args):
    def script(call, messages):
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(str(messages[-1].content), id="done")
        return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "c1"}], id="ask")

    return ScriptedModel(script)


def ask(memory, name, args, run_config, *, is_async=False):
    agent = create_agent(calling(name, args), [remember_tool(memory), recall_tool(memory)])
    asked = {"messages": [HumanMessage("please", id="q")]}
    answer = asyncio.run(agent.ainvoke(asked, run_config)) if is_async else agent.invoke(asked, run_config)
    return answer["messages"][-1].content


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_model_keeps_is_recalled_in_another_thread(memory, is_async):
    user = f"user {is_async}"
    fact = {"key": "diet", "value": "Ada is vegan since 2020."}
    kept = ask(memory, "remember", fact, config(user_id=user), is_async=is_async)
    assert kept == "Kept under 'diet'."
    other = config(user_id=user, thread_id="t2")
    assert "Ada is vegan since 2020." in ask(memory, "recall", {"query": "vegan diet"}, other, is_async=is_async)
    stranger = config(user_id="bob", thread_id="t1")
    assert "vegan since" not in ask(memory, "recall", {"query": "vegan diet"}, stranger, is_async=is_async)


@pytest.mark.parametrize("is_async", [False, True])
def test_tools_in_functions_with_task(memory, is_async):
    tools = [recall_tool(memory), remember_tool(memory), *window_tools(memory)]
    told = HumanMessage("The gate PIN is 4712.", id="h1")

    def call(name, **args):
        return {"name": name, "args": args, "id": "c1", "type": "tool_call"}

    @task
    async def by_node(messages):
        return (await ToolNode(tools).ainvoke({"messages": messages}))["messages"][-1].content

    @task
    async def by_itself(call):
        tool = next(tool for tool in tools if tool.name == call["name"])
        return (await tool.ainvoke(call) if is_async else tool.invoke(call)).content

    @entrypoint()
    async def flow(_):
        asking = AIMessage("", tool_calls=[call("recall", query="gate PIN")], id="a1")
        assert "4712" in await by_node([told, asking])
        assert await by_itself(call("remember", key="gate", value="left")) == "Kept under 'gate'."
        for other in (
            call("recall", addresses="1"),
            call("release", addresses="1"),
            call("pin_item", key="a", text="b"),
        ):
            with pytest.raises(NotPageable, match=r"run it in a ToolNode, .*: ToolNode\(tools\).invoke\(\{'messages'"):
                await by_itself(other)

    user = f"function {is_async}"
    asyncio.run(flow.ainvoke("go", config(user_id=user)))
    assert memory.space(user=user, thread="any").recall("gate left").items


def test_the_user_who_is_logged_in_counts(memory):
    fact = {"key": "pet", "value": "The cat is called Turing."}
    ask(memory, "remember", fact, config(langgraph_auth_user={"identity": "eve"}, user_id="mallory"))
    assert memory.space(user="eve", thread="t9").recall("cat Turing").items
    assert not memory.space(user="mallory", thread="t9").recall("cat Turing").items


class LoggedIn:
    """As LangGraph Server gives its user: an object, not a dictionary."""

    def __init__(self, identity):
        self.identity = identity


@pytest.mark.parametrize("make", [LoggedIn, lambda identity: {"identity": identity}])
def test_who_is_logged_in_is_never_whom_the_caller_says(memory, make):
    assert space_of(config(langgraph_auth_user=make("eve"), user_id="mallory")).user == "eve"
    assert space_of(config(user_id="mallory")).user == "mallory"
    for nobody in ("", None):
        with pytest.raises(InvalidId, match="has no identity"):
            space_of(config(langgraph_auth_user=make(nobody), user_id="mallory"))


def test_a_user_whose_number_is_0_is_one():
    assert [space_of(config(user_id=user)).user for user in (0, 7, "0", "", None)] == ["0", "7", "0", "", ""]


def test_a_model_names_no_ids(memory):
    assert set(remember_tool(memory).tool_call_schema.model_json_schema()["properties"]) == {"key", "value"}
    for scope in ("thread", "user"):
        schema = recall_tool(memory, scope=scope).tool_call_schema.model_json_schema()
        assert set(schema["properties"]) == {"addresses", "query", "after", "before"}


def test_a_model_reads_why_something_was_not_kept(memory):
    assert "remember failed" in ask(memory, "remember", {"key": " ", "value": "x"}, config())
    assert "remember failed" in ask(memory, "remember", {"key": "k" * 20_000, "value": "x"}, config())
    assert "failed: there is no fact" in ask(memory, "remember", {"key": "k", "value": None}, config())
    assert "failed: a key is" in ask(memory, "remember", {"key": None, "value": "x"}, config(), is_async=True)
    assert ask(memory, "remember", {"key": 7, "value": 12}, config()) == "Kept under '7'."


def test_the_log_has_what_a_model_cannot_mend(tmp_path, monkeypatch, caplog):
    stores: list[FlakyStore] = []

    def made(place, **options):
        stores.append(FlakyStore(EdgeStore(place, **options)))
        return stores[-1]

    monkeypatch.setattr("pagefault.core.EdgeStore", made)
    with pagefault.open(tmp_path, embedder=None) as memory:
        ask(memory, "remember", {"key": " ", "value": "x"}, config())
        assert "remember failed" not in caplog.text
        stores[0].fail("swap")
        said = ask(memory, "remember", {"key": "diet", "value": "vegan"}, config())
        why, then = said.split("\n")
        assert why == "remember failed: the fake outage has hit swap"
        assert then == "Nothing is wrong with your call: go on without it, and say so; do not guess."
        assert why in caplog.text
        stores[0].heal()


# -- the retriever -----------------------------------------------------------------------------


def test_documents_say_where_they_come_from(memory):
    space = memory.space(user="ada", thread="docs")
    space.append([{"role": "user", "content": f"Turing the cat did trick {n}."} for n in range(5)])
    space.remember("cat", "Turing is a cat.")
    retriever = PagefaultRetriever(memory=memory, space=space.id)
    found = retriever.invoke("Turing cat")
    assert len(found) == 6
    assert (found[0].page_content, found[0].metadata["key"]) == ("cat: Turing is a cat.", "cat")
    pages = [document for document in found if "address" in document.metadata]
    assert pages[0].page_content.startswith("user: Turing the cat")
    assert space.fault(pages[0].metadata["address"]).pages[0].page.chain == pages[0].id
    assert pages[0].metadata["outcome"] == "answer"
    assert pages[0].metadata["trust"] == "user"
    assert pages[0].metadata["source"] == f"page {pages[0].metadata['address']}"
    quoting = PromptTemplate.from_template("[{source}] {page_content}")
    assert format_document(found[0], quoting) == "[item cat] cat: Turing is a cat."
    assert len(retriever.invoke("Turing cat", k=2)) == 2
    assert len(asyncio.run(retriever.ainvoke("Turing cat", k=3))) == 3
    assert retriever.invoke("capital of France") == retriever.invoke("\n") == asyncio.run(retriever.ainvoke("")) == []


def test_a_correction_follows_what_it_corrects(memory):
    space = memory.space(user="ada", thread="corrected")
    space.append([{"role": "user", "content": text} for text in ("The gate PIN is 8443.", "Sorry, it should be 4712.")])
    found = PagefaultRetriever(memory=memory, space=space.id).invoke("gate PIN")
    assert [document.page_content for document in found] == [
        "user: The gate PIN is 8443.",
        "user: Sorry, it should be 4712.",
    ]
    assert found[0].metadata["score"] == found[1].metadata["score"]
    assert len(PagefaultRetriever(memory=memory, space=space.id, k=1).invoke("gate PIN")) == 1


def test_what_was_said_anew_comes_first_and_is_named_by_the_older_document(memory):
    space = memory.space(user="ada", thread="moved")
    space.append([{"role": "user", "content": text} for text in ("The gate PIN is 8443.", "The gate PIN is now 4712.")])
    newer, older = PagefaultRetriever(memory=memory, space=space.id).invoke("gate PIN")
    assert newer.page_content == "user: The gate PIN is now 4712."
    assert "superseded_by" not in newer.metadata
    assert older.metadata["superseded_by"] == newer.metadata["address"]


def test_documents_of_some_time(memory):
    space = memory.space(user="ada", thread="dated")
    said = [("The gate PIN is 8443.", 1_000.0), ("The gate PIN is 4712 now.", 2_000.0)]
    space.append([{"role": "user", "content": text, "created_at": at} for text, at in said])
    retriever = PagefaultRetriever(memory=memory, space=space.id)
    assert [d.page_content[-9:] for d in retriever.invoke("gate PIN", after=1_500)] == ["4712 now."]
    assert [d.page_content[-5:] for d in asyncio.run(retriever.ainvoke("gate PIN", before=1_500))] == ["8443."]
    assert retriever.invoke("gate PIN", after=1_200, before=1_500) == []
    with pytest.raises(ValueError, match="after is str '1970'; give Unix seconds"):
        retriever.invoke("gate PIN", after="1970")


def test_a_run_says_whose_conversation_it_is(memory):
    memory.space(user="ada", thread="whose").append([{"role": "user", "content": "The code word is zebra."}])
    retriever = PagefaultRetriever(memory=memory, k=1)
    run = config(thread_id="whose")
    assert "zebra" in retriever.invoke("code word", run)[0].page_content
    assert "zebra" in asyncio.run(retriever.ainvoke("code word", run))[0].page_content
    assert "zebra" in (RunnableLambda(lambda text: text) | retriever).invoke("code word", run)[0].page_content
    assert retriever.invoke("code word", config(thread_id="other")) == []
    whose = SpaceId(tenant="default", user="ada", thread="whose", agent="")
    named = PagefaultRetriever(memory=memory, identity=lambda _: whose, k=1)
    assert "zebra" in named.invoke("code word")[0].page_content
    with pytest.raises(InvalidId, match="thread_id"):
        retriever.invoke("code word")
    with pytest.raises(ValueError, match="k"):
        PagefaultRetriever(memory=memory, k=0)


# -- the history -------------------------------------------------------------------------------


def test_a_history_gives_back_what_it_got(memory):
    history = PagefaultChatMessageHistory(memory, thread="h1", user="ada")
    call = AIMessage("", tool_calls=[{"name": "look", "args": {"x": [1]}, "id": "c1"}], id="a1", name="bot")
    said = [HumanMessage("one", id="h1"), call, ToolMessage("two", tool_call_id="c1", artifact={"raw": [1]})]
    history.add_messages(said)
    history.add_messages([])
    asyncio.run(history.aadd_messages([HumanMessage([{"type": "text", "text": "three"}])]))
    assert history.messages == [*said, HumanMessage([{"type": "text", "text": "three"}])]
    assert asyncio.run(history.aget_messages()) == history.messages
    history.messages[0].content = "changed"
    said[0].content = "changed"
    assert history.messages[0].content == "one"
    history.clear()
    assert history.messages == []
    history.add_messages([HumanMessage("anew")])
    asyncio.run(history.aclear())
    assert asyncio.run(history.aget_messages()) == []


def test_a_history_takes_what_cannot_be_copied_as_it_will_come_back(memory):
    history = PagefaultChatMessageHistory(memory, thread="locked")
    history.add_messages([HumanMessage("one", additional_kwargs={"lock": threading.Lock(), "n": [1, 2]}, id="h")])
    assert [(m.content, m.additional_kwargs["n"]) for m in history.messages] == [("one", [1, 2])]
    with pytest.raises(UnsupportedMessage, match="'two'"):
        history.add_messages(["two"])


def test_a_history_survives_a_restart(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as memory:
        PagefaultChatMessageHistory(memory, thread="t").add_messages([HumanMessage(f"m{n}") for n in range(200)])
    with pagefault.open(tmp_path, embedder=None) as memory:
        history = PagefaultChatMessageHistory(memory, thread="t")
        history.add_messages([AIMessage("more")])
        assert [message.content for message in history.messages] == [*(f"m{n}" for n in range(200)), "more"]


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
def test_a_history_works_where_langchain_uses_one(memory):
    def answer(messages):
        return AIMessage(f"{len(messages)} messages")

    def history_of(session_id: str) -> BaseChatMessageHistory:
        return PagefaultChatMessageHistory(memory, thread=session_id)

    chain = RunnableWithMessageHistory(RunnableLambda(answer), history_of)
    for turn in range(3):
        said = chain.invoke([HumanMessage(f"turn {turn}")], {"configurable": {"session_id": "with-history"}})
        assert said.content == f"{2 * turn + 1} messages"


def test_a_history_is_not_a_graphs_conversation(memory):
    memory.space(thread="chat").append([{"role": "user", "content": "hi"}])
    with pytest.raises(UnsupportedMessage):
        PagefaultChatMessageHistory(memory, thread="chat").add_messages([HumanMessage("hi")])


@dataclass
class Context:
    """What an application passes to a run beside its config."""

    user: str


@pytest.mark.parametrize("is_async", [False, True])
def test_an_identity_reads_the_context_of_the_run(memory, is_async):
    def identity(config):
        thread = config["configurable"]["thread_id"]
        return SpaceId(tenant="acme", user=get_runtime(Context).context.user, thread=thread, agent="")

    memory.space(tenant="acme", user="ada", thread="other").remember("code", "The code word is zebra.")
    tools = [recall_tool(memory, identity=identity)]
    agent = create_agent(calling("recall", {"query": "code word"}), tools, context_schema=Context)
    asked, context = {"messages": [HumanMessage("please", id="q")]}, Context(user="ada")
    if is_async:
        done = asyncio.run(agent.ainvoke(asked, config(), context=context))
    else:
        done = agent.invoke(asked, config(), context=context)
    assert "zebra" in done["messages"][-1].content


def test_identity_is_the_middlewares(memory):
    assert space_of(config(), [HumanMessage("x", id="m")]).user == "ada"
