"""Recall across a user's threads in LangGraph: switched on by the application, and time travel counts there, too."""

from __future__ import annotations

import asyncio

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from pagefault_langgraph import PagefaultRetriever, PagingMiddleware, recall_tool, space_of
from tests.langgraph.scripted import ScriptedModel


def config(thread, user="ada", **more):
    return {"configurable": {"thread_id": thread, "user_id": user, **more}}


def asking(**asked):
    """Recalls when it is told to, and repeats what it was told or what came back."""

    def script(call, messages):
        last = messages[-1]
        if str(last.content) == "recall it":
            return AIMessage("", tool_calls=[{"name": "recall", "args": asked, "id": f"c{call}"}], id=f"ask{call}")
        text = last.content if isinstance(last, ToolMessage) else f"heard: {last.content}"
        return AIMessage(str(text), id=f"answer{call}")

    return ScriptedModel(script)


def build(memory, model, **more):
    return create_agent(model, middleware=[PagingMiddleware(memory, **more)], checkpointer=InMemorySaver())


def says(agent, text, run_config, *, is_async=False):
    asked = {"messages": [("user", text)]}
    answer = asyncio.run(agent.ainvoke(asked, run_config)) if is_async else agent.invoke(asked, run_config)
    return answer["messages"][-1].content


@pytest.mark.parametrize("is_async", [False, True])
def test_only_the_application_switches_it_on(memory, is_async):
    model = asking(query="hotel in Rome")
    wide, narrow = (build(memory, model, scope=scope) for scope in ("user", "thread"))
    says(wide, "The hotel in Rome is called Artemide.", config("rome"))
    says(wide, "My hotel in Rome is the Bologna.", config("rome", user="eve"))
    found = says(wide, "recall it", config("new"), is_async=is_async)
    assert "The hotel in Rome is called Artemide." in found
    assert "| conversation rome | " in found
    assert "Bologna" not in found
    assert "othing reliable" in says(narrow, "recall it", config("other"), is_async=is_async)


def test_the_model_reads_on_at_the_address_it_was_given(memory):
    rome = memory.at(space_of(config("rome")))
    talk = build(memory, asking(), scope="user")
    says(talk, "The hotel in Rome is called Artemide.", config("rome"))
    address = f"{rome.id.alias}:1"
    assert "Artemide" in says(build(memory, asking(addresses=address), scope="user"), "recall it", config("new"))
    refused = says(build(memory, asking(addresses=address)), "recall it", config("new"))
    assert "recall failed" in refused
    assert "Artemide" not in refused
    stranger = says(build(memory, asking(addresses=address), scope="user"), "recall it", config("new", user="eve"))
    assert "recall failed" in stranger
    assert "Artemide" not in stranger


def test_without_a_user_it_says_what_is_missing(memory):
    agent = build(memory, asking(query="hotel"), scope="user")
    assert "scope='user' reads all conversations of a user" in says(agent, "recall it", config("t", user=""))
    for bad in ("tenant", "", None, 1):
        with pytest.raises(ValueError, match="'thread', or 'user'"):
            recall_tool(memory, scope=bad)
        with pytest.raises(ValueError, match="'thread', or 'user'"):
            PagingMiddleware(memory, scope=bad)


def test_what_time_travel_left_behind_is_not_seen_from_elsewhere(memory):
    agent = build(memory, asking(), scope="user")
    says(agent, "Let us plan the trip.", config("trip"))
    before = {
        "configurable": agent.get_state(config("trip")).config.get("configurable", {}) | config("trip")["configurable"]
    }
    says(agent, "The hotel is called Artemide.", config("trip"))
    here = memory.at(space_of(config("here")))
    assert here.recall("hotel called", scope="user").pages[0].page.text == "The hotel is called Artemide."
    says(agent, "The hotel is called Bologna.", before)
    found = here.recall("hotel called", scope="user", limit=50)
    assert {page.page.text for page in found.pages} >= {"The hotel is called Bologna."}
    assert "Artemide" not in found.text
    trip = memory.at(space_of(config("trip")))
    assert "Artemide" not in trip.recall("hotel called", scope="user", limit=50).text, "as in its own thread"


def test_a_sub_agents_space_is_named_by_its_agent(memory):
    inner = build(memory, asking())
    outer = create_agent(asking(), middleware=[PagingMiddleware(memory)], name="planner", checkpointer=InMemorySaver())
    says(inner, "the needle is red", config("one"))
    says(outer, "the needle is blue", config("one"))
    found = memory.at(space_of(config("two"))).recall("needle", scope="user")
    assert {(page.space.thread, page.space.agent) for page in found.pages} == {("one", ""), ("one", "planner")}
    assert "| conversation one, agent planner | " in found.text


def test_the_retriever_says_where_each_document_is_from(memory):
    says(build(memory, asking()), "The hotel in Rome is called Artemide.", config("rome"))
    narrow, wide = PagefaultRetriever(memory=memory), PagefaultRetriever(memory=memory, scope="user")
    assert narrow.invoke("hotel Rome", config("new")) == []
    (document, *_) = wide.invoke("hotel Rome", config("new"))
    assert document.metadata["thread"] == "rome"
    assert document.page_content == "user: The hotel in Rome is called Artemide."
    assert asyncio.run(wide.ainvoke("hotel Rome", config("new")))[0] == document
    assert "thread" not in wide.invoke("hotel Rome", config("rome"))[0].metadata
    with pytest.raises(ValueError, match="scope"):
        PagefaultRetriever(memory=memory, scope="tenant")
