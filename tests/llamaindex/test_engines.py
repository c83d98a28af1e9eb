"""Every chat engine for 200 turns in a 400-token limit: the limit holds, requests are valid, nothing is lost."""

from __future__ import annotations

import asyncio
import copy
import re
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import CondensePlusContextChatEngine, ContextChatEngine, SimpleChatEngine
from llama_index.core.prompts import ChatPromptTemplate
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

import pagefault
from pagefault_llamaindex import PagefaultMemory, PagefaultRetriever, paged
from tests.kernel.support import records, store_alone
from tests.llamaindex.scripted import SYSTEM, ScriptedLLM, call, out_of_order, problems, say, tokens

LIMIT = 400
TURNS = [30, pytest.param(200, marks=pytest.mark.long)]
PROMPT = "Context:\n{context_str}\n"


class Shelf(BaseRetriever):
    """Gives a passage for every question."""

    def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=f"passage about {query_bundle.query_str[:20]}"), score=1.0)]


def simple(llm, memory):
    return SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt=SYSTEM)


def context(llm, memory):
    return ContextChatEngine.from_defaults(
        Shelf(), llm=llm, memory=memory, system_prompt=SYSTEM, context_template=PROMPT
    )


def condense(llm, memory):
    return CondensePlusContextChatEngine.from_defaults(
        Shelf(), llm=llm, memory=memory, system_prompt=SYSTEM, context_prompt=PROMPT
    )


def run_sync(engine, question):
    return str(engine.chat(question))


def run_stream(engine, question):
    return "".join(engine.stream_chat(question).response_gen)


async def run_async(engine, question):
    return str(await engine.achat(question))


async def run_astream(engine, question):
    response = await engine.astream_chat(question)
    return "".join([token async for token in response.async_response_gen()])


def answer(number, request):
    return say(f"answer {number}: " + f"a{number} " * 5)


@pytest.mark.parametrize("make", [simple, context, condense])
@pytest.mark.parametrize("run", [run_sync, run_stream, run_async, run_astream])
@pytest.mark.parametrize("turns", TURNS)
def test_many_turns(make, run, turns):
    llm = ScriptedLLM(answer)
    with pagefault.open(":memory:", embedder=None) as backend:
        memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=LIMIT)
        engine = make(paged(llm, memory), memory)
        history: list[str] = []
        if asyncio.iscoroutinefunction(run):

            async def talk():
                for turn in range(turns):
                    history.extend(
                        [f"question {turn}: q{turn}", (await run(engine, f"question {turn}: q{turn}")).strip()]
                    )

            asyncio.run(talk())
        else:
            for turn in range(turns):
                history.extend([f"question {turn}: q{turn}", run(engine, f"question {turn}: q{turn}").strip()])
        assert len(llm.requests) == turns
        for number, request in enumerate(llm.requests):
            assert problems(request) == []
            assert tokens(request) <= LIMIT
            assert out_of_order(request, history) == []
            assert request[-1].content == f"question {number}: q{number}"
        assert max(len(request) for request in llm.requests) > 8, "the window is used"
        assert [str(m.content).strip() for m in memory.get_all()] == history
        with store_alone():
            pages = [
                found.page.text.strip()
                for first in range(1, 2 * turns, 20)
                for found in memory.space.fault(f"{first}-{first + 19}").pages
            ]
        assert pages == history
        assert memory.space.recall("q7").pages[0].page.text == "question 7: q7"


@pytest.mark.parametrize("make", [simple, context, condense])
def test_without_a_paged_llm_the_memory_alone_keeps_its_limit(make):
    llm = ScriptedLLM(answer)
    with pagefault.open(":memory:", embedder=None) as backend:
        memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=LIMIT)
        engine = make(llm, memory)
        for turn in range(40):
            engine.chat(f"question {turn}")
        for request in llm.requests:
            assert problems(request) == []
            history = [m for m in request if m.role != "system"]
            assert tokens(history) <= LIMIT


def test_a_history_given_with_every_call():
    llm = ScriptedLLM(answer)
    with pagefault.open(":memory:", embedder=None) as backend:
        memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=LIMIT)
        engine = simple(paged(llm, memory), memory)
        for turn in range(60):
            engine.chat(f"question {turn}", chat_history=memory.get_all())
            assert tokens(llm.requests[-1]) <= LIMIT
        assert len(memory.get_all()) == 120
        engine.reset()
        assert memory.get_all() == []


def test_a_history_that_the_application_keeps_is_not_written_anew_with_every_call():
    """It says something else than the session: here the answers are shortened."""
    history: list[ChatMessage] = []
    with pagefault.open(":memory:", embedder=None) as backend:
        memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=LIMIT)
        engine = simple(ScriptedLLM(answer), memory)
        for turn in range(20):
            question = f"question {turn}"
            answered = str(engine.chat(question, chat_history=history))
            history += [ChatMessage(role="user", content=question), say("ok")]
            assert [m.content for m in memory.get_all()] == [*(m.content for m in history[:-1]), answered]
        backend.flush()
        assert len(records(backend, memory.space)) < 20 * 3 + 1


def test_an_unread_stream_is_written_all_the_same():
    llm = ScriptedLLM(answer)
    with pagefault.open(":memory:", embedder=None) as backend:
        memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=LIMIT)
        response = simple(llm, memory).stream_chat("question")
        response.write_response_to_history_thread.join()
        assert [m.role.value for m in memory.get_all()] == ["user", "assistant"]


def test_an_engine_goes_on_from_a_session_of_tool_steps(backend):
    llm = ScriptedLLM(answer)
    memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=6_000)
    for number in range(30):
        for step in (number, number + 100):
            results = {"tool_call_id": f"c{step}.0", "name": "look"}
            memory.put_messages(
                [
                    call(step, ("look", {"key": f"k{step}"})),
                    ChatMessage(role="tool", content="record " + "r " * 40, additional_kwargs=results),
                ]
            )
        memory.put_messages([say(f"answer {number}"), ChatMessage(role="user", content=f"question {number}")])
    engine = context(paged(llm, memory, budget=pagefault.Budget(window=8_000, target=1_000)), memory)
    engine.chat("What was it?")
    assert tokens(llm.requests[0]) <= 1_000, "a template made all messages anew"
    assert problems(llm.requests[0]) == []


@pytest.mark.parametrize("known", [True, False])
def test_what_a_memory_gave_out_is_known_again_whatever_a_template_made_of_its_texts(backend, known):
    llm = ScriptedLLM(answer)
    memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=20_000)
    memory.put_messages([ChatMessage(role="user", content="{word} " * 200) for _ in range(10)])
    model = paged(llm, memory, budget=pagefault.Budget(window=8_000, target=1_000))
    given = copy.deepcopy(memory.get())
    templates = given if known else [ChatMessage(role=m.role, content=m.content) for m in given]
    model.chat(ChatPromptTemplate(message_templates=templates).format_messages(word="now"))
    assert llm.requests[0][-1].content == "now " * 200
    assert (tokens(llm.requests[0]) <= 1_000) is known, "messages of other objects are nobody's"


def test_a_session_as_a_retriever():
    with pagefault.open(":memory:", embedder=None) as backend:
        memory = PagefaultMemory.from_defaults(backend, session_id="ada", token_limit=LIMIT)
        memory.put_messages([say("The cat is called Turing."), say("Nothing else of note happened today.")])
        retriever = PagefaultRetriever(memory)
        (found, *_) = retriever.retrieve("cat Turing")
        assert found.node.text == "The cat is called Turing."
        assert found.node.metadata["address"] == "1"
        assert asyncio.run(retriever.aretrieve("cat Turing"))[0].node.node_id == found.node.node_id
        assert (
            retriever.retrieve("zebra stripes") == retriever.retrieve(" ") == asyncio.run(retriever.aretrieve("")) == []
        )
        memory.space.remember("diet", "vegan since 2020")
        (fact,) = retriever.retrieve("vegan diet")
        assert (fact.text, fact.metadata["key"]) == ("diet: vegan since 2020", "diet")
        assert fact.node.get_content("embed") == fact.text
        memory.put_messages([say("The gate PIN is 8443."), say("Sorry, it should be 4712.")])
        assert [found.node.text[-5:] for found in retriever.retrieve("gate PIN")] == ["8443.", "4712."]
        memory.put_messages([say("The gate PIN is now 1234.")])
        newer, older = retriever.retrieve("gate PIN")[:2]
        assert (newer.text, older.text) == ("The gate PIN is now 1234.", "The gate PIN is 8443.")
        assert older.metadata["superseded_by"] == newer.metadata["address"]
        assert PagefaultRetriever(memory.space, limit=1).retrieve("cat Turing")[0].score == found.score
        with pytest.raises(TypeError, match="a PagefaultMemory or a Space"):
            PagefaultRetriever(backend)


def test_a_node_says_what_the_model_has_to_know(backend):
    memory = PagefaultMemory.from_defaults(backend, session_id="ada")
    memory.put_messages(
        [
            ChatMessage(role="user", content="Which flight is cheaper?"),
            call(1, ("search", {"flight": "LH123"}), ("search", {"flight": "LH124"})),
            ChatMessage(role="tool", content="300 EUR", additional_kwargs={"tool_call_id": "c1.0", "name": "search"}),
            ChatMessage(role="tool", content="400 EUR", additional_kwargs={"tool_call_id": "c1.1", "name": "search"}),
        ]
    )
    (unsure,) = PagefaultRetriever(memory).retrieve("LH123 cost")
    assert unsure.node.get_content() == (
        'assistant: step 1\n-> search({"flight":"LH123"})\n-> search({"flight":"LH124"})\n'
        "tool search: 300 EUR\ntool search: 400 EUR"
    ), "which result is whose"
    assert "outcome: weak" in unsure.node.get_content(MetadataMode.LLM)
    assert re.search(r"created_at: \d{4}-\d\d-\d\dT", unsure.node.get_content(MetadataMode.LLM))
    (sure,) = PagefaultRetriever(memory).retrieve("search LH123 EUR")
    assert sure.node.metadata["outcome"] == "answer"
    assert "outcome" not in sure.node.get_content(MetadataMode.LLM)


@pytest.mark.parametrize("limit", [0, -1, 101, "5", None])
def test_a_retriever_that_could_never_answer_is_refused_where_it_is_made(backend, limit):
    with pytest.raises(ValueError, match="ask for 1 to 100"):
        PagefaultRetriever(PagefaultMemory.from_defaults(backend), limit=limit)
