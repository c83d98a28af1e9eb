"""Agents: long tool loops, reused contexts, several agents and sessions on one backend."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import pickle
import re
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import pytest
from llama_index.core.agent.react import ReActChatFormatter
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    CitationBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.workflow import Context

import pagefault
from pagefault import SpaceId
from pagefault.errors import UnsupportedMessage
from pagefault_llamaindex import NotPageable, PagefaultRetriever, PagefaultToolSpec, model, paged, recall_tool
from pagefault_llamaindex.encoding import RecalledBlock
from tests.kernel.support import store_alone
from tests.llamaindex.scripted import (
    LIMIT,
    LOOKUP,
    SYSTEM,
    ScriptedLLM,
    call,
    is_block,
    out_of_order,
    problems,
    say,
    session,
    tokens,
)

TURNS = [30, pytest.param(200, marks=pytest.mark.long)]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex looks at old fields


def worker(number, request):
    """Every third call uses a tool, every sixth two at once."""
    if number % 3 == 0:
        keys = [f"k{number}", f"m{number}"] if number % 6 == 0 else [f"k{number}"]
        return call(number, *(("lookup", {"key": key}) for key in keys))
    return say(f"answer {number}: " + f"a{number} " * 5)


def reasoner(number, request):
    if number % 3 == 0:
        return say(f'Thought: I look.\nAction: lookup\nAction Input: {{"key": "k{number}"}}')
    return say(f"Thought: I know.\nAnswer: answer {number}")


def function_agent(llm, **more):
    return FunctionAgent(llm=llm, tools=[LOOKUP], system_prompt=SYSTEM, **more)


def react_agent(llm, **more):
    header = f"{SYSTEM} Tools:\n{{tool_names}}{{tool_desc:.0}}\n"
    return ReActAgent(llm=llm, tools=[LOOKUP], formatter=ReActChatFormatter(system_header=header), **more)


def workflow(llm, **more):
    return AgentWorkflow(agents=[function_agent(llm, name="archivist", description="Looks things up.", **more)])


def team(llm, **more):
    agents = [function_agent(llm, name=name, description=f"The {name}.", **more) for name in ("archivist", "critic")]
    return AgentWorkflow(agents=agents, root_agent="archivist")


def colleague(number, request):
    """As a worker, and every fifth call is handed over, to and fro."""
    if number % 5 == 4:
        return call(number, ("handoff", {"to_agent": ["critic", "archivist"][number // 5 % 2], "reason": f"r{number}"}))
    return worker(number, request)


KINDS = {
    "function": (function_agent, worker),
    "react": (react_agent, reasoner),
    "workflow": (workflow, worker),
    "team": (team, colleague),
}


async def run_async(agent, **asked):
    return str(await agent.run(**asked))


async def run_streamed(agent, **asked):
    handler = agent.run(**asked)
    said = [event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
    answer = str(await handler)
    assert "".join(said).endswith(answer)
    return answer


async def _all(ask, questions):
    for question in questions:
        await ask(question)


def all_at_once(ask, questions):
    asyncio.run(_all(ask, questions))


def each_by_itself(ask, questions):
    """As code that is not async has it: a loop of its own for every question."""
    for question in questions:
        asyncio.run(ask(question))


WAYS = {
    "sync": (each_by_itself, run_async),
    "async": (all_at_once, run_async),
    "streamed": (all_at_once, run_streamed),
    "sync, streamed": (each_by_itself, run_streamed),
}


def user(text):
    return ChatMessage(role="user", content=text)


def contents(memory):
    return [str(m.content) for m in memory.get_all()]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turns", TURNS)
def test_many_turns(kind, way, turns, backend):
    (make, script), (drive, run) = KINDS[kind], WAYS[way]
    llm = ScriptedLLM(script)
    memory = session(backend)
    agent = make(paged(llm, memory), streaming=run is run_streamed)
    context = Context(agent)
    drive(
        lambda question: run(agent, user_msg=question, memory=memory, ctx=context),
        [f"question {turn}: q{turn}" for turn in range(turns)],
    )
    history = contents(memory)
    asked = [text for text in history if text.startswith("question")]
    assert asked == [f"question {turn}: q{turn}" for turn in range(turns)]
    assert any("is now handling the request" in text for text in history) == (kind == "team")
    assert len(llm.requests) > turns
    turn = -1
    for request in llm.requests:
        assert problems(request) == []
        assert tokens(request) <= LIMIT
        assert out_of_order(request, history) == []
        latest = max(
            int(m[1]) for r in request for m in re.finditer(r"question (\d+): q", str(r.content)) if not is_block(r)
        )
        assert latest in {turn, turn + 1}, "the question being answered is there"
        turn = latest
    length = memory.space.paging.lineages[0].length
    spans = [f"{first}-{min(length, first + 99)}" for first in range(1, length + 1, 100)]
    with store_alone():
        pages = [found.page for span in spans for found in memory.space.fault(span).pages]
    assert [message.text for page in pages for message in page.messages] == history


@pytest.mark.parametrize("kind", ["function", "react"])
def test_a_tool_loop_much_longer_than_the_window(kind, backend):
    steps = 60

    def looping(number, request):
        if kind == "react":
            last = say("Thought: done\nAnswer: finished")
            step = say(f'Thought: more {number}\nAction: lookup\nAction Input: {{"key": "k{number}"}}')
        else:
            last, step = say("finished"), call(number, ("lookup", {"key": f"k{number}"}))
        return last if number == steps else step

    llm = ScriptedLLM(looping)
    memory = session(backend)
    make = KINDS[kind][0]

    async def talk():
        await make(paged(llm, memory)).run("the question", memory=memory, max_iterations=100)

    asyncio.run(talk())
    assert len(llm.requests) == steps
    for request in llm.requests:
        assert problems(request) == []
        assert tokens(request) <= LIMIT
        assert "the question" in [m.content for m in request]
    unchanged = sum(after[: len(before)] == before for before, after in itertools.pairwise(llm.requests))
    assert unchanged > steps // 2, "most requests begin with the one before"
    history = contents(memory)
    if kind == "function":
        assert len(history) == 1 + 2 * (steps - 1) + 1
        points = {slot.chain for slot in memory.space.paging.lineages[0].slots}
        backend.flush()
        stored = backend.core.kernel.call(
            backend.core.store.scan(_scope(memory), pagefault.ports.Where(), limit=10_000)
        )
        assert {str(r.fields["chain"]) for r in stored} == points, "each page was written once"
    assert memory.space.recall("k7").pages


def test_the_steps_of_a_run_are_kept_once_however_often_they_are_sent(backend, monkeypatch):
    """To keep them anew takes the longer the more there are, on the event loop."""
    keep, kept = model.accept_one, []
    monkeypatch.setattr(model, "accept_one", lambda message: kept.append(message) or keep(message))
    steps = 20
    llm = ScriptedLLM(lambda n, _: say("done") if n == steps else call(n, ("lookup", {"key": f"k{n}"})))
    memory = session(backend)
    asyncio.run(
        run_async(function_agent(paged(llm, memory)), user_msg="the question", memory=memory, max_iterations=50)
    )
    calls = [str(message.blocks) for message in kept if any(isinstance(b, ToolCallBlock) for b in message.blocks)]
    assert len(calls) == len(set(calls)) == steps - 1


def test_a_message_is_kept_as_it_reads_now():
    accepted, message = model.Accepted(), call(1, ("lookup", {"key": 1}))
    block: Any = message.blocks[-1]
    (first,) = accepted.of([message])
    assert accepted.of([message])[0] is first
    block.tool_kwargs["key"] = True
    (second,) = accepted.of([message])
    assert [str(each.blocks[-1].tool_kwargs) for each in (first, second)] == ["{'key': 1}", "{'key': True}"]
    assert accepted.of([message])[0] is second
    twice = accepted.of([message, message])
    assert twice[0] is not twice[1], "each message of a path is an object of its own"
    block.tool_kwargs["key"] = object()
    with pytest.raises(UnsupportedMessage, match="convert it"):
        accepted.of([message])
    del message, twice
    gc.collect()
    assert not accepted._known, "nothing is kept for messages that are gone"


def _scope(memory):
    space = memory.space.id
    return pagefault.ports.Scope(tenant=space.tenant, space=space.key)


def test_the_model_recalls_what_left_within_the_same_run(backend):
    memory = session(backend, limit=3_000)

    def script(number, request):
        if number < 80:
            return call(number, ("lookup", {"key": f"k{number}"}))
        if number == 80:
            return call(number, ("recall", {"addresses": "3"}), ("recall", {"query": "record k5"}))
        return say("finished")

    llm = ScriptedLLM(script)
    spec = PagefaultToolSpec(memory)

    async def talk():
        agent = FunctionAgent(llm=paged(llm, memory), tools=[LOOKUP, *spec.to_tool_list()], system_prompt=SYSTEM)
        await agent.run("the question", memory=memory, max_iterations=100)

    asyncio.run(talk())
    before, after = llm.requests[-2], llm.requests[-1]
    assert "record of k2:" not in str([m.content for m in before])
    assert "record of k2:" in str(after[-2].content), "page 3 is the second call of the tool"
    assert "record of k5:" in str(after[-1].content)
    recalled = memory.get_all()[-3:-1]
    assert all(type(m.blocks[0]) is RecalledBlock for m in recalled)
    assert all("recall" not in (f.page.text or "")[:20] for f in memory.space.recall("k5").pages)


def test_tools_answer_sync_and_async_and_never_raise(backend):
    memory = session(backend, limit=8_000)
    memory.put(ChatMessage(role="user", content="My cat is called Turing."))
    memory.put_messages([say("Noted."), ChatMessage(role="user", content="What was it?")])
    assert "Turing" not in str(memory.get(initial_token_count=8_000)[1:])  # it leaves
    memory.get()
    tool = recall_tool(memory)
    assert "Turing" in str(tool.call(query="cat").content)
    assert "Turing" in str(asyncio.run(tool.acall(addresses="1")).content)
    for bad in ({"addresses": "99"}, {"addresses": "x-y"}, {}, {"query": " "}):
        assert "recall failed" in str(tool.call(**bad).content)
        assert "recall failed" in str(asyncio.run(tool.acall(**bad)).content)
    assert "recall at most 256 at a time" in str(tool.call(addresses="1-1000").content)
    assert [t.metadata.name for t in PagefaultToolSpec(memory.space).to_tool_list()] == ["recall", "remember"]
    remember = PagefaultToolSpec(memory).to_tool_list()[1]
    assert "Kept under 'diet'." in str(remember.call(key="diet", value="vegan").content)
    assert "Kept under" in str(asyncio.run(remember.acall(key="pet", value="cat")).content)
    assert "remember failed" in str(remember.call(key=" ", value="x").content)
    assert "vegan" in str(tool.call(query="diet vegan").content)
    with pytest.raises(TypeError, match="PagefaultMemory or a Space"):
        recall_tool(backend)


def test_a_model_asks_for_what_was_said_in_some_time(backend):
    memory = session(backend, limit=8_000)
    memory.put(ChatMessage(role="user", content="The harbour gate opens with 4711."))
    time.sleep(0.002)
    between = datetime.now(UTC)
    memory.put_messages([say("Noted."), ChatMessage(role="user", content="The harbour gate opens with 0815 now.")])
    tool = recall_tool(memory.space)

    def codes(**asked):
        told = str(tool.call(query="harbour gate", **asked).content)
        assert told == str(asyncio.run(tool.acall(query="harbour gate", **asked)).content)
        return {code for code in ("4711", "0815") if code in told}

    assert codes() == codes(after="2020", before=None) == {"4711", "0815"}
    assert codes(after=between.isoformat()) == {"0815"}
    assert codes(before=between.astimezone(timezone(timedelta(hours=9))).isoformat()) == {"4711"}
    assert codes(before="2020") == set()
    assert "ask again without after and before" in str(tool.call(query="harbour gate", before="2020").content)
    assert "recall failed: after='then' is no date" in str(tool.call(query="harbour gate", after="then").content)
    assert "recall failed: before='{}' is no date" in str(asyncio.run(tool.acall(query="gate", before={})).content)
    for bounds, texts in (({"after": between.timestamp()}, 1), ({"before": between.timestamp()}, 1), ({}, 2)):
        retriever = PagefaultRetriever(memory, **bounds)
        assert len(retriever.retrieve("harbour gate")) == texts
        assert len(asyncio.run(retriever.aretrieve("harbour gate"))) == texts
    with pytest.raises(ValueError, match="after is str '2026'; give Unix seconds"):
        PagefaultRetriever(memory, after="2026")


def test_what_a_tool_does_not_know_is_left_out_as_in_langgraph(backend):
    memory = session(backend, limit=8_000)
    memory.put(ChatMessage(role="user", content="My cat is called Turing."))
    recall, remember = PagefaultToolSpec(memory).to_tool_list()
    for told in (
        recall.call(addresses="1", reason="to be sure"),
        asyncio.run(recall.acall(addresses="1", reason="to be sure")),
    ):
        assert "Turing" in str(told.content)
    assert str(recall.call(input="the cat").content).endswith("give addresses, such as '12', or a query")
    assert str(remember.call(key="pet", value="a cat", note=1).content) == "Kept under 'pet'."
    assert str(asyncio.run(remember.acall(key="pet", value="a cat", note=1)).content) == "Kept under 'pet'."


def test_what_a_react_agent_asked_recall_is_no_answer_to_it(backend):
    asked = "Thought: I look it up.\nAction: recall\nAction Input: {'query': 'IBAN of Acme Corporation'}"
    memory = session(backend, limit=8_000)
    memory.put_messages([ChatMessage(role="user", content="My dentist is Dr. Alvarez."), say("Noted.")])
    llm = ScriptedLLM(lambda number, _: say(asked if number < 5 else "Thought: I know.\nAnswer: It is not known."))
    agent = ReActAgent(llm=paged(llm, memory), tools=[recall_tool(memory)])

    async def run():
        await agent.run("Find the IBAN of Acme Corporation.", memory=memory)

    asyncio.run(run())
    told = [m.content for m in llm.requests[-1] if str(m.content).startswith("Observation: ")]
    assert len(told) == 4
    for answer in told:
        assert answer.startswith("Observation: Nothing "), "nothing reliable, or nothing certain"


def test_what_a_recall_quoted_in_a_react_agents_answer_is_not_found_as_said_by_it(backend):
    memory = session(backend, limit=8_000)
    memory.put_messages([ChatMessage(role="user", content="The warehouse gate opens with 4712."), say("Noted.")])
    asked = "Thought: I look.\nAction: recall\nAction Input: {'query': 'warehouse gate'}"
    llm = ScriptedLLM(lambda number, _: say(asked if number == 1 else "Thought: I know.\nAnswer: As you said."))

    async def run():
        agent = ReActAgent(llm=paged(llm, memory), tools=[recall_tool(memory)])
        await agent.run("How do I get in?", memory=memory)

    asyncio.run(run())
    assert "gate opens with 4712.\n" in memory.get_all()[-1].content, "the answer has all steps"
    assert [page.address for page in memory.space.recall("warehouse gate opens").pages] == ["1"]


def test_an_agent_that_writes_code_knows_its_tools_and_reads_what_they_return(backend):
    memory = session(backend, limit=8_000)
    memory.put_messages([ChatMessage(role="user", content="The warehouse gate opens with 4712."), say("Noted.")])
    asked = [f"print(recall(query='{query}'))" for query in ("IBAN of Acme Corporation",) * 2 + ("warehouse gate",)]
    llm = ScriptedLLM(lambda number, _: say(f"I look.\n<execute>{asked.pop(0)}</execute>" if asked else "As you said."))
    tools = [recall_tool(memory), *PagefaultToolSpec(memory).to_tool_list()[1:]]

    def execute(code: str) -> str:
        printed: list[str] = []
        functions = {tool.metadata.name: tool.real_fn for tool in tools}
        exec(code, {"print": lambda value: printed.append(str(value)), **functions})  # noqa: S102  # what is tried here
        return "\n".join(printed)

    async def run():
        agent = CodeActAgent(code_execute_fn=execute, llm=paged(llm, memory), tools=list(tools))
        await agent.run("How do I get in?", memory=memory)

    asyncio.run(run())
    told = [str(m.content) for m in llm.requests[-1] if str(m.content).startswith("Result of executing")]
    assert [answer.splitlines()[2].startswith("Nothing ") for answer in told] == [True, True, False]
    assert "gate opens with 4712.\n" in told[2]
    for description in (tool.metadata.description for tool in tools):
        assert description in str(llm.requests[0][0].content)
    assert [page.address for page in memory.space.recall("warehouse gate opens").pages] == ["1"]


ONE: Any = [1, 1.0, "page 1", "pages 1 to 1", "Pages 1", "#1", "[1]", '["1"]', "'1'", [1], ["1", None], [[1]]]


def test_a_model_may_send_null_numbers_or_lists(backend):
    memory = session(backend, limit=8_000)
    memory.put(ChatMessage(role="user", content="My cat is called Turing 1912."))
    recall, remember = PagefaultToolSpec(memory).to_tool_list()
    for asked in [{"addresses": one, "query": None} for one in ONE]:
        assert "called Turing" in str(recall.call(**asked).content), asked
        assert "called Turing" in str(asyncio.run(recall.acall(**asked)).content), asked
    memory.put_messages([say("Noted."), ChatMessage(role="user", content="What was it?")])
    memory.get()
    for query in ("cat Turing", ["cat", "Turing"], 1912):
        assert "already in your context at 1" in str(recall.call(addresses=None, query=query).content)
        assert "already in your context at 1" in str(recall.call(addresses=[], query=query).content)
    for bad, why in ((None, "give addresses"), (True, "'true' is not a page"), ({"a": 1}, "'{' is not a page")):
        assert f"recall failed: {why}" in str(recall.call(addresses=bad).content), bad
    for nothing in (None, "", " ", []):
        assert "remember failed: there is no fact" in str(remember.call(key="k", value=nothing).content)
        assert "remember failed: there is no fact" in str(asyncio.run(remember.acall(key="k", value=nothing)).content)
        assert "remember failed: a key" in str(remember.call(key=nothing, value="x").content)
    assert "Kept under '7'." in str(remember.call(key=7, value=["two", "words"]).content)
    assert "remember failed: there is no fact" in str(remember.call(key="k").content), "left out is nothing, too"
    assert "remember failed: a key" in str(asyncio.run(remember.acall(value="x")).content)
    assert "two, words" in str(recall.call(query="two words").content)
    for tool in (recall, remember):
        kinds = [field["type"] for field in tool.metadata.get_parameters_dict()["properties"].values()]
        assert set(kinds) == {"string"}


class Echo:
    """Says how many questions the model saw."""

    def __call__(self, number, request):
        return say(f"saw {sum(m.role == 'user' and not is_block(m) for m in request)}")


@pytest.mark.parametrize("how", ["reused", "dict", "json", "pickle"])
def test_a_context_that_was_written_down_goes_on(how, backend):
    llm = ScriptedLLM(Echo())
    memory = session(backend, limit=4_000)

    async def talk():
        agent = function_agent(llm)
        context = Context(agent)
        for turn in range(5):
            given = {"memory": memory} if turn == 0 else {}
            answer = await agent.run(f"question {turn}", ctx=context, **given)
            assert str(answer) == f"saw {turn + 1}"
            if how == "dict":
                context = Context.from_dict(agent, context.to_dict())
            elif how == "json":
                context = Context.from_dict(agent, json.loads(json.dumps(context.to_dict())))
            elif how == "pickle":
                stored = pickle.loads(pickle.dumps(await context.store.get("memory")))  # noqa: S301  # what this test wrote
                await context.store.set("memory", stored)
            assert len(memory.get_all()) == 2 * (turn + 1), "the caller's object is live"

    asyncio.run(talk())


def test_a_context_survives_the_process(tmp_path):
    llm = ScriptedLLM(Echo())

    async def talk(written, turn):
        agent = function_agent(llm)
        with pagefault.open(tmp_path, embedder=None) as backend:
            context = Context(agent) if written is None else Context.from_dict(agent, json.loads(written))
            given = {"memory": session(backend, limit=4_000)} if written is None else {}
            answer = await agent.run(f"question {turn}", ctx=context, **given)
            assert str(answer) == f"saw {turn + 1}"
            return json.dumps(context.to_dict())

    written = None
    for turn in range(4):
        written = asyncio.run(talk(written, turn))


def test_state_that_an_agent_writes_into_the_request_is_not_kept(backend):
    llm = ScriptedLLM(worker)
    memory = session(backend)

    async def talk():
        agent = function_agent(paged(llm, memory), initial_state={"mood": "calm"})
        for turn in range(20):
            await agent.run(f"question {turn}", memory=memory)

    asyncio.run(talk())
    assert any("calm" in str(m.content) for m in llm.requests[-1])
    assert not any("calm" in text for text in contents(memory))
    assert all(tokens(request) <= LIMIT for request in llm.requests)


def test_agents_hand_over_within_one_session(backend):
    def first(number, request):
        return call(number, ("handoff", {"to_agent": "critic", "reason": "done"})) if number == 1 else say("again")

    writer, critic = ScriptedLLM(first), ScriptedLLM(lambda number, request: say(f"critic {number}"))
    memory = session(backend, limit=1_000)

    async def talk():
        flow = AgentWorkflow(
            agents=[
                function_agent(paged(writer, memory), name="writer", description="Writes."),
                function_agent(paged(critic, memory), name="critic", description="Reads."),
            ],
            root_agent="writer",
        )
        context = Context(flow)
        return [str(await flow.run(f"question {n}", memory=memory, ctx=context)) for n in range(3)]

    assert asyncio.run(talk()) == ["critic 1", "critic 2", "critic 3"]
    for request in [*writer.requests, *critic.requests]:
        assert problems(request) == []
    assert [m.role.value for m in memory.get_all()][:4] == ["user", "assistant", "tool", "assistant"]
    assert any(isinstance(b, ToolCallBlock) for b in critic.requests[-1][2].blocks)


def test_a_failed_run_leaves_the_session_as_it_was(backend):
    def failing(number, request):
        if number < 4:
            return call(number, ("lookup", {"key": f"k{number}"}))
        if number == 4:
            raise RuntimeError("the provider is down")
        return say("better now")

    llm = ScriptedLLM(failing)
    memory = session(backend)

    async def talk():
        agent = function_agent(paged(llm, memory))
        with pytest.raises(Exception, match="provider is down"):
            await agent.run("first", memory=memory)
        await agent.run("second", memory=memory)

    asyncio.run(talk())
    assert contents(memory) == ["first", "second", "better now"]
    assert problems(llm.requests[-1]) == []


def test_a_failed_run_leaves_the_session_as_it_was_for_the_next_process_too(tmp_path):
    def failing(number, request):
        if number % 4 == 0:
            raise RuntimeError("the provider is down")
        return call(number, ("lookup", {"key": f"k{number}"}))

    async def fail():
        with pagefault.open(tmp_path, embedder=None) as backend:
            memory = session(backend)
            with pytest.raises(Exception, match="provider is down"):
                await function_agent(paged(ScriptedLLM(failing), memory)).run("first", memory=memory)
            await backend.aflush()
            assert contents(memory) == ["first"]

    asyncio.run(fail())
    with pagefault.open(tmp_path, embedder=None) as backend:
        memory = session(backend)
        assert contents(memory) == ["first"]
        memory.put(say("Where were we?"))
    with pagefault.open(tmp_path, embedder=None) as backend:
        assert contents(session(backend)) == ["first", "Where were we?"]


def test_two_agents_and_twenty_sessions_at_once(backend):
    turns = 6
    llms = {kind: ScriptedLLM(lambda number, request: say(_echo(request))) for kind in ("a", "b")}

    async def talk(name):
        memory = session(backend, name)
        kind = "a" if int(name[1:]) % 2 else "b"
        agent = function_agent(paged(llms[kind], memory), streaming=kind == "a")
        for turn in range(turns):
            answer = await agent.run(f"{name} asks {turn}", memory=memory)
            assert str(answer) == f"to {name} asks {turn}"

    def loop(names):
        async def together():
            await asyncio.gather(*map(talk, names))

        asyncio.run(together())

    names = [f"s{n}" for n in range(20)]
    failures: list[BaseException] = []

    def guarded(part):
        try:
            loop(part)
        except BaseException as error:  # noqa: BLE001  # reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(names[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert not failures
    for name in names:
        assert contents(session(backend, name)) == [
            text for turn in range(turns) for text in (f"{name} asks {turn}", f"to {name} asks {turn}")
        ]
    for request in [*llms["a"].requests, *llms["b"].requests]:
        assert len({str(m.content).split(" asks")[0].removeprefix("to ") for m in request[1:] if not is_block(m)}) == 1


def _echo(request: Any) -> str:
    return f"to {request[-1].content}"


def test_a_history_that_the_caller_carries_along(backend):
    llm = ScriptedLLM(lambda number, request: say(f"answer {number} " + "a " * 20))
    home = pagefault.SpaceId(tenant="acme", user="ada", thread="t", agent="")
    model = paged(llm, backend, budget=pagefault.Budget(window=1_000, target=LIMIT), identity=lambda messages: home)
    history = [ChatMessage(role="system", content=SYSTEM)]
    for turn in range(40):
        history.append(ChatMessage(role="user", content=f"question {turn}: q{turn}"))
        history.append(model.chat(history).message)
        assert tokens(llm.requests[-1]) <= LIMIT
        assert llm.requests[-1][0].content == SYSTEM
    assert backend.at(home).recall("q3").pages
    assert "q3" in str(recall_tool(backend.at(home)).call(query="q3").content)


def test_a_request_of_no_session_is_sent_as_it_is(backend):
    llm = ScriptedLLM(lambda number, request: say("ok"))
    model = paged(llm, backend)
    request = [ChatMessage(role="user", content="word " * 900)]
    model.chat(request)
    asyncio.run(model.achat(request))
    assert [len(r) for r in llm.requests] == [1, 1]
    assert isinstance(model, ScriptedLLM)
    for bad in (model, "gpt", None):
        with pytest.raises(NotPageable):
            paged(bad, backend)
    with pytest.raises(TypeError):
        paged(llm, "./somewhere")
    with pytest.raises(pagefault.BudgetError):
        paged(llm, backend, budget=400)


SECRET = ChatMessage(role="user", content="Secret of another user: 4711")


@pytest.mark.parametrize(
    ("said", "later", "request_"),
    [
        ([], [], [SECRET]),  # its engine failed, or only its history was shown
        ([], [user("hello")], [SECRET]),
        ([user("hello")], [say("hi")], [user("hello"), say("What is it?"), SECRET]),
        ([user("hello")], [], [user("hello"), SECRET]),  # which begins word for word as the session does
        ([user("hello"), say("hi"), user("and")], [], [user("hello"), say("hi"), user("what"), SECRET]),
    ],
)
def test_a_request_in_the_same_context_as_a_session_is_not_taken_for_its(backend, said, later, request_):
    llm, memory = ScriptedLLM(lambda number, request: say("ok")), session(backend)
    model = paged(llm, memory)
    memory.put_messages(said)
    memory.get()
    memory.put_messages(later)
    model.chat([ChatMessage(role="system", content=SYSTEM), *request_])
    assert llm.requests[0][1:] == request_
    assert "4711" not in str(recall_tool(memory).call(query="Secret 4711").content)
    backend.flush()
    records = backend.core.kernel.call(backend.core.store.scan(_scope(memory), pagefault.ports.Where(), limit=10))
    bodies = backend.core.kernel.call(backend.core.store.get(_scope(memory), [record.id for record in records]))
    assert not any("4711" in record.body for record in bodies.values())


def test_a_session_at_another_place_than_the_llm_pages_is_told_once(backend, caplog):
    llm = ScriptedLLM(lambda number, request: say("ok"))
    with pagefault.open(":memory:", embedder=None) as elsewhere:
        memory = session(elsewhere)
        memory.put(ChatMessage(role="user", content="word " * 900))
        model = paged(llm, backend)
        for _ in range(2):
            model.chat(memory.get())
        assert [len(r) for r in llm.requests] == [1, 1]
        (told,) = [each.getMessage() for each in caplog.records]
        assert elsewhere.place in told
        assert backend.place in told


def test_what_cannot_fit_is_said_before_the_model_is_called(backend):
    llm = ScriptedLLM(lambda number, request: say("ok"))
    memory = session(backend)
    model = paged(llm, memory, budget=pagefault.Budget(window=200, target=150))
    memory.put(ChatMessage(role="user", content="word " * 900))
    with pytest.raises(pagefault.PageTooLarge):
        model.chat([ChatMessage(role="system", content=SYSTEM), *memory.get()])
    assert llm.requests == []


def test_a_history_with_what_cannot_be_kept_is_refused_before_its_conversation_has_it(backend):
    """Else each later call, ``flush`` and ``close`` failed by it as well."""
    home = SpaceId(tenant="a", user="u", thread="t", agent="")
    llm = paged(ScriptedLLM(lambda call, request: say("done")), backend, identity=lambda messages: home)
    loop, deep = {}, {}
    loop["a"] = loop
    for _ in range(500):
        deep = {"a": deep}
    history = [ChatMessage(role="user", content="hello")]
    for odd in (loop, deep):
        call_ = ToolCallBlock(tool_call_id="c", tool_name="look", tool_kwargs=odd)
        for message in (ChatMessage(role="user", additional_kwargs=odd), ChatMessage(role="user", blocks=[call_])):
            with pytest.raises(UnsupportedMessage, match="nested too deeply"):
                llm.chat([*history, message])
    huge = ChatMessage(role="user", content="one", additional_kwargs={"n": 10**6_000})
    assert llm.chat([*history, huge, ChatMessage(role="user", content="two")]).message.content == "done"
    backend.flush()


class Unreadable:
    """An object as an ORM may have one: it cannot even be printed."""

    def __repr__(self):
        raise RuntimeError("detached")


class Own(TextBlock):
    """A kind of block of somebody's own."""


def closed():
    stream = BytesIO(b"x")
    stream.close()
    return stream


@pytest.mark.parametrize(
    "odd",
    [
        ChatMessage(role="user", content="x", additional_kwargs={"row": Unreadable()}),
        ChatMessage.model_construct(role=MessageRole.USER, blocks=[TextBlock(text="x")], additional_kwargs=["x"]),
        ChatMessage.model_construct(role="alien", blocks=[TextBlock(text="x")], additional_kwargs={}),
        ChatMessage.model_construct(role=MessageRole.USER, blocks=[{"text": "x"}], additional_kwargs={}),
        ChatMessage(role="user", blocks=[Own(text="x")]),
        ChatMessage(role="user", blocks=[TextBlock.model_construct(text=None)]),
        ChatMessage(role="user", blocks=[ImageBlock.model_construct(image=closed())]),
        ChatMessage(role="assistant", blocks=[CitationBlock.model_construct(cited_content=None)]),
    ],
    ids=["object", "kwargs", "role", "dictionary", "own block", "no text", "closed stream", "citation"],
)
def test_a_message_that_cannot_be_read_is_refused_before_its_conversation_has_it(odd, backend):
    """Else each later call, ``flush`` and ``close`` failed by it as well, for all conversations."""
    memory = session(backend)
    home = SpaceId(tenant="a", user="u", thread="t", agent="")
    llm = paged(ScriptedLLM(lambda call, request: say("done")), backend, identity=lambda messages: home)
    hello, more = ChatMessage(role="user", content="hello"), ChatMessage(role="user", content="more")
    llm.chat([hello])
    memory.put(hello)
    with pytest.raises(UnsupportedMessage):
        llm.chat([hello, odd, more])
    with pytest.raises(UnsupportedMessage):
        memory.put(odd)
    llm.chat([hello, more])
    memory.put(more)
    backend.flush()
    assert [m.content for m in memory.get_all()] == ["hello", "more"]
    assert [page.page.text for page in backend.at(home).fault("1-2").pages] == ["hello", "more"]
