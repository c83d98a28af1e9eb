"""Recall across a user's sessions in LlamaIndex: switched on by the application, never by the model."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.schema import MetadataMode
from pydantic import ValidationError

import pagefault
from pagefault_llamaindex import (
    PagefaultChatStore,
    PagefaultMemory,
    PagefaultMemoryBlock,
    PagefaultRetriever,
    PagefaultToolSpec,
    recall_tool,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex looks at old fields


def user(text):
    return ChatMessage(role="user", content=text)


def session(backend, name, who="ada"):
    return PagefaultMemory.from_defaults(backend, session_id=name, user=who, token_limit=8_000)


def test_tools_and_retriever_find_other_sessions(backend):
    session(backend, "rome").put(user("The hotel in Rome is called Artemide."))
    session(backend, "rome", "eve").put(user("My hotel in Rome is the Bologna."))
    here = session(backend, "here")
    here.put(user("hello"))
    wide, narrow = recall_tool(here, scope="user"), recall_tool(here)
    for tool in (wide, PagefaultToolSpec(here, scope="user").to_tool_list()[0]):
        found = str(tool.call(query="hotel in Rome").content)
        assert "| conversation rome | " in found
        assert "Bologna" not in found
        assert "Artemide" in str(asyncio.run(tool.acall(query="hotel in Rome")).content)
        schema = tool.metadata.get_parameters_dict()
        assert set(schema["properties"]) == {"addresses", "query", "after", "before"}
    assert "othing reliable" in str(narrow.call(query="hotel in Rome").content)
    address = here.space.recall("hotel", scope="user").pages[0].address
    assert "Artemide" in str(wide.call(addresses=address).content)
    assert "recall failed" in str(narrow.call(addresses=address).content)
    retriever = PagefaultRetriever(here, scope="user")
    (node, *_) = retriever.retrieve("hotel in Rome")
    assert (node.node.metadata["session"], node.node.metadata["address"]) == ("rome", address)
    assert asyncio.run(retriever.aretrieve("hotel in Rome"))[0].node.node_id == node.node.node_id
    assert PagefaultRetriever(here).retrieve("hotel in Rome") == []


def test_a_reset_session_says_nothing_any_more(backend):
    rome, here = session(backend, "rome"), session(backend, "here")
    rome.put(user("The hotel is called Artemide."))
    assert here.space.recall("hotel", scope="user").pages
    rome.reset()
    rome.put(user("The hostel is called Bologna."))
    assert {page.page.text for page in here.space.recall("called", scope="user").pages} == {
        "The hostel is called Bologna."
    }


def test_the_block_recalls_from_all_sessions_of_its_user(backend):
    async def talk():
        wide = PagefaultMemoryBlock(memory=backend, user="ada", scope="user")
        narrow = PagefaultMemoryBlock(memory=backend, user="ada")
        await wide.aput([user("The hotel is called Artemide.")], session_id="rome")
        asked = [user("hotel called")]
        assert "Artemide" in await wide.aget(asked, session_id="here")
        assert await narrow.aget(asked, session_id="here") == ""

    asyncio.run(talk())
    with pytest.raises(ValidationError):
        PagefaultMemoryBlock(memory=backend, scope="tenant")


def test_a_model_is_shown_which_other_session_a_node_is_from(backend):
    session(backend, "there").put(ChatMessage(role="user", content="The hotel in Rome is called Artemide."))
    here = session(backend, "here")
    here.put(ChatMessage(role="user", content="The hotel in Rome was called Artemide, I think."))
    nodes = [each.node for each in PagefaultRetriever(here, scope="user").retrieve("hotel Rome called Artemide")]
    shown = {node.metadata["session"]: "session: there" in node.get_content(MetadataMode.LLM) for node in nodes}
    assert shown == {"there": True, "here": False}


def test_names_of_conversations_are_no_pages(backend):
    store = PagefaultChatStore(memory=backend, user="ada")
    stock = Memory.from_defaults(session_id="hotel-rome", chat_store=store)
    asyncio.run(stock.aput(user("It is called Artemide.")))
    assert asyncio.run(store.get_keys()) == ["hotel-rome"]
    assert asyncio.run(PagefaultChatStore(memory=backend, user="eve").get_keys()) == []
    found = session(backend, "here").space.recall("hotel rome artemide called", scope="user")
    assert [page.page.text for page in found.pages] == ["It is called Artemide."]


def test_without_a_user_or_with_another_scope(backend):
    nobody = session(backend, "here", "")
    for make in (recall_tool, PagefaultToolSpec, PagefaultRetriever):
        for home in (nobody, nobody.space):
            with pytest.raises(pagefault.InvalidId, match="give it user="):
                make(home, scope="user")
        with pytest.raises(ValueError, match="'thread', or 'user'"):
            make(nobody, scope="tenant")
