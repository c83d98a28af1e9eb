"""Agents of one workflow that keep what they do in spaces of their own, and hear each other all the same."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.workflow import Context

import pagefault
from pagefault_llamaindex import NotPageable, own_space, paged
from pagefault_llamaindex.agents import heard
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
from tests.llamaindex.test_stock_memory import spoil

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex looks at old fields
NEXT = {"writer": "critic", "critic": "editor", "editor": "writer"}


def worker(name):
    """Looks something up, hands over at every third call, answers else."""

    def script(number, request):
        if number % 3 == 0:
            return call(number, ("lookup", {"key": f"{name}{number}"}))
        if number % 3 == 1:
            handoff = ("handoff", {"to_agent": NEXT[name], "reason": f"{name} is through {number}"})
            return call(number, handoff, *([("lookup", {"key": f"{name}{number}"})] if number % 2 else []))
        return say(f"{name} answers {number}")

    return script


def team(memory, scripts=worker, *, streaming=False, is_paged=True, **more):
    llms = {name: ScriptedLLM(scripts(name)) for name in NEXT}
    agents = [
        own_space(
            FunctionAgent(
                name=name,
                description=f"The {name}.",
                llm=paged(llm, memory) if is_paged else llm,
                tools=[LOOKUP],
                system_prompt=SYSTEM,
                streaming=streaming,
            )
        )
        for name, llm in llms.items()
    ]
    return AgentWorkflow(agents=agents, root_agent="writer", **more), llms


def texts(messages):
    return [str(m.content) for m in messages]


def private(text):
    """Whose tool step it is, if it is one."""
    found = re.match(r"record of (\w+?)\d", text)
    return found[1] if found else None


@pytest.mark.parametrize(("streaming", "is_paged"), [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("turns", [15, pytest.param(200, marks=pytest.mark.long)])
def test_each_has_its_own_past_and_hears_the_others(streaming, is_paged, turns, backend):
    memory = session(backend)

    async def talk():
        flow, llms = team(memory, streaming=streaming, is_paged=is_paged)
        context = Context(flow)
        answers = [str(await flow.run(f"question {turn}", memory=memory, ctx=context)) for turn in range(turns)]
        return answers, llms

    answers, llms = asyncio.run(talk())
    told = [text for text in texts(memory.get_all()) if "step" not in text]  # two agents take a step of one number
    assert [text for text in told if text.startswith("question")] == [f"question {turn}" for turn in range(turns)]
    assert [text for text in told if " answers " in text] == answers
    assert any("is now handling the request" in text for text in told)
    assert not any(private(text) for text in told)
    for name, llm in llms.items():
        own = texts(memory.for_agent(name).get_all())
        assert {private(text) for text in own} == {None, name}
        public = [text for text in own if text in told]
        assert public == told[: len(public)], "it has heard all until its last turn"
        for request in llm.requests:
            assert problems(request) == []
            assert out_of_order([m for m in request if "step" not in str(m.content)], own) == []
            assert {private(text) for text in texts(request)} <= {None, name}
            if is_paged:
                assert tokens(request) <= LIMIT
        for other in NEXT:
            found = [
                m.text for page in memory.for_agent(name).space.recall(f"{other}3").pages for m in page.page.messages
            ]
            assert any(f"record of {other}3" in text for text in found) == (other == name), "it recalls its own past"
    assert len({memory.for_agent(name).space.id.key for name in NEXT} | {memory.space.id.key}) == 4


def test_the_next_agent_sees_the_question_and_why_it_was_handed_over(backend):
    memory = session(backend, limit=4_000)

    def script(name):
        def write(number, request):
            if number == 1:
                return call(1, ("lookup", {"key": "secret"}))
            handoff = ("handoff", {"to_agent": "critic", "reason": "needs a look"})
            return call(2, ("lookup", {"key": "more"}), handoff)

        return write if name == "writer" else lambda number, request: say("done")

    async def talk():
        flow, llms = team(memory, script)
        assert str(await flow.run("the question", memory=memory)) == "done"
        return llms

    llms = asyncio.run(talk())
    [request] = llms["critic"].requests
    assert [m.role.value for m in request] == ["system", "user", "assistant", "tool"]
    assert [b.tool_name for b in request[2].blocks if isinstance(b, ToolCallBlock)] == ["handoff"]
    assert "needs a look" in str(request[3].content)
    assert [m.role.value for m in memory.for_agent("writer").get_all()] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        *["tool"] * 2,
    ]
    assert texts(memory.for_agent("critic").get_all())[-1] == texts(memory.get_all())[-1] == "done"


@pytest.mark.parametrize("is_paged", [True, False])
def test_it_goes_on_after_a_restart(is_paged, tmp_path):
    def script(name):
        def echo(number, request):
            asked = [m for m in request if m.role == "user" and not is_block(m)]
            if request[-1].role == "user":
                return call(len(asked), ("lookup", {"key": f"k{len(asked)}"}))
            return say(f"{name} saw {len(asked)} and {sum(m.role == 'tool' for m in request)}")

        return echo

    async def talk(turn, written):
        with pagefault.open(tmp_path, embedder=None) as backend:
            memory = session(backend, limit=4_000)
            flow, _ = team(memory, script, is_paged=is_paged)
            context = Context(flow) if written is None else Context.from_dict(flow, json.loads(written))
            given = {"memory": memory} if written is None else {}
            answer = str(await flow.run(f"question {turn}", ctx=context, **given))
            assert answer == f"writer saw {turn + 1} and {turn + 1}"
            assert len(memory.for_agent("writer").get_all()) == 4 * (turn + 1), "nothing twice"
            return json.dumps(context.to_dict())

    written = None
    for turn in range(4):
        written = asyncio.run(talk(turn, written))


def test_a_session_that_is_set_anew_is_anew_for_its_agents(backend):
    memory = session(backend, limit=4_000)
    answers = lambda name: lambda number, request: say(f"saw {texts(request)[1:]}")  # noqa: E731  # a script of scripts

    async def talk():
        flow, _ = team(memory, answers)
        await flow.run("first", memory=memory)
        earlier = [ChatMessage(role="user", content="other"), say("yes")]
        again = str(await flow.run("second", memory=memory, chat_history=earlier))
        memory.reset()
        return again, str(await flow.run("third", memory=memory))

    assert asyncio.run(talk()) == ("saw ['other', 'yes', 'second']", "saw ['third']")
    assert texts(memory.for_agent("writer").get_all())[0] == "third"


def test_an_agent_keeps_its_steps_when_the_session_says_what_it_says(backend):
    """Also where nobody remembers how far it has listened, and tool calls came with the history."""
    memory = session(backend, limit=4_000)
    earlier = [
        ChatMessage(role="user", content="old"),
        call(7, ("search", {"q": 1})),
        ChatMessage(role="tool", content="found", additional_kwargs={"tool_call_id": "c7.0"}),
        say("fine"),
    ]
    memory.set(earlier)

    def script(name):
        return lambda number, request: call(number, ("lookup", {"key": "k"})) if number % 2 else say(f"answer {number}")

    async def talk(turn):
        flow, _ = team(memory, script)
        await flow.run(f"question {turn}", memory=memory)

    for turn in range(3):
        asyncio.run(talk(turn))
        own = memory.for_agent("writer")
        assert texts(own.get_all()) == [
            *texts(earlier),
            *(
                text
                for n in range(turn + 1)
                for text in (
                    f"question {n}",
                    "step 1",
                    texts([ChatMessage(content=LOOKUP("k").content)])[0],
                    "answer 2",
                )
            ),
        ]


def test_the_state_of_the_workflow_reaches_the_agent_and_is_not_kept(backend):
    memory = session(backend, limit=2_000)

    async def talk():
        flow, llms = team(memory, lambda name: lambda number, request: say("ok"), initial_state={"mood": "calm"})
        for turn in range(3):
            await flow.run(f"question {turn}", memory=memory)
        return llms

    llms = asyncio.run(talk())
    assert all("calm" in str(request[-1].content) for request in llms["writer"].requests)
    assert not any("calm" in text for text in texts(memory.get_all()) + texts(memory.for_agent("writer").get_all()))


def test_a_run_that_fails_and_a_handoff_to_nobody(backend):
    memory = session(backend, limit=2_000)

    def script(name):
        def act(number, request):
            if number == 1:
                return call(1, ("lookup", {"key": "lost"}))
            if number == 2:
                raise RuntimeError("the provider is down")
            return call(3, ("handoff", {"to_agent": "nobody", "reason": "r"})) if number == 3 else say("done")

        return act

    async def talk():
        flow, llms = team(memory, script)
        with pytest.raises(Exception, match="provider is down"):
            await flow.run("first", memory=memory)
        assert str(await flow.run("second", memory=memory)) == "done"
        return llms["writer"].requests

    requests = asyncio.run(talk())
    expected = ["first", "second", "step 3", "Agent nobody not found.", "done"]
    for told in (texts(memory.get_all()), texts(memory.for_agent("writer").get_all())):
        assert all(text.startswith(wanted) for text, wanted in zip(told, expected, strict=True))
    assert all(problems(request) == [] for request in requests)


def test_reasoning_agents_and_single_ones(backend):
    memory = session(backend)

    def reasoner(number, request):
        if number % 2:
            return say(f'Thought: I look.\nAction: lookup\nAction Input: {{"key": "k{number}"}}')
        return say(f"Thought: I know.\nAnswer: answer {number}")

    llm = ScriptedLLM(reasoner)

    async def talk():
        agent = own_space(ReActAgent(name="thinker", llm=paged(llm, memory), tools=[LOOKUP]))
        return [str(await agent.run(f"question {turn}", memory=memory)) for turn in range(10)]

    assert asyncio.run(talk()) == [f"answer {2 * turn + 2}" for turn in range(10)]
    assert texts(memory.for_agent("thinker").get_all()) == texts(memory.get_all())


def test_many_sessions_at_once_stay_apart(backend):
    def script(name):
        def echo(number, request):
            asked = str(next(m for m in reversed(request) if m.role == "user" and not is_block(m)).content)
            if request[-1].role == "user" and name == "writer":
                return call(
                    number,
                    ("lookup", {"key": asked.split(maxsplit=1)[0]}),
                    ("handoff", {"to_agent": "critic", "reason": asked}),
                )
            return say(f"to {asked}")

        return echo

    async def talk(name):
        memory = session(backend, name, limit=2_000)
        flow, llms = team(memory, script, streaming=True)
        for turn in range(3):
            assert str(await flow.run(f"{name} asks {turn}", memory=memory)) == f"to {name} asks {turn}"
        for request in [*llms["writer"].requests, *llms["critic"].requests]:
            assert set(re.findall(r"s\d\d", str(texts(request)))) == {name}

    async def together():
        await asyncio.gather(*(talk(f"s{n:02}") for n in range(6)))

    asyncio.run(together())


def test_what_cannot_have_a_space_says_so(backend):
    agent = FunctionAgent(name="writer", llm=ScriptedLLM(lambda number, request: say("ok")))
    own = own_space(agent)
    assert isinstance(own, FunctionAgent)
    for bad in (own, "writer", None):
        with pytest.raises(NotPageable):
            own_space(bad)

    async def run(memory):
        with pytest.raises(Exception, match="writer") as failed:
            await own.run("hi", memory=memory)
        return str(failed.value)

    assert "PagefaultMemory" in asyncio.run(run(ChatMemoryBuffer.from_defaults(token_limit=1_000)))
    assert "without agent=" in asyncio.run(run(session(backend).for_agent("writer")))

    async def step():
        with pytest.raises(NotPageable, match="does not go on from"):
            await own.take_step(None, [ChatMessage(role="user", content="hi")], [], session(backend))

    asyncio.run(step())


def test_what_others_hear():
    both = call(1, ("lookup", {"key": "a"}), ("handoff", {"to_agent": "critic", "reason": "r"}))
    old = ChatMessage(
        role="assistant",
        blocks=[ThinkingBlock(content="hm"), TextBlock(text="so")],
        additional_kwargs={
            "tool_calls": [
                {"id": "o1", "type": "function", "function": {"name": "handoff", "arguments": "{}"}},
                {"id": "o2", "type": "function", "function": {"name": "lookup", "arguments": "{}"}},
            ],
        },
    )
    results = [
        ChatMessage(role="tool", content=i, additional_kwargs={"tool_call_id": i}) for i in ("c1.0", "c1.1", "o1", "o2")
    ]
    question, answer = ChatMessage(role="user", content="q"), say("a")
    said = heard([question, both, *results[:2], old, *results[2:], answer])
    assert said[0] is question
    assert said[-1] is answer
    assert [None if m is None else [type(b).__name__ for b in m.blocks] for m in said[1:-1]] == [
        ["TextBlock", "ToolCallBlock"],
        None,
        ["TextBlock"],
        ["ThinkingBlock", "TextBlock", "ToolCallBlock"],
        ["TextBlock"],
        None,
    ]
    assert said[4].additional_kwargs == {}
    assert heard([call(2, ("lookup", {}))]) == [None]


async def talk(memory, first, turns):
    flow, _ = team(memory)
    for turn in range(first, first + turns):
        await flow.run(f"question {turn}", memory=memory)


def of(memory, whose):
    return memory.for_agent(whose) if whose else memory


def test_steps_with_a_handoff_beside_another_call_are_kept_over_a_restart(tmp_path):
    with pagefault.open(tmp_path, embedder=None) as backend:
        memory = session(backend, limit=4_000)
        asyncio.run(talk(memory, 0, 3))
        before = {name: texts(of(memory, name).get_all()) for name in NEXT}
        assert "record of writer3" in "\n".join(before["writer"])
    with pagefault.open(tmp_path, embedder=None) as backend:
        memory = session(backend, limit=4_000)
        asyncio.run(talk(memory, 3, 1))
        for name, said in before.items():
            assert texts(of(memory, name).get_all())[: len(said)] == said


@pytest.mark.parametrize("whose", ["", "writer", "critic"])
@pytest.mark.parametrize("seq", [1, 2, 4])
def test_a_damaged_page_costs_itself_alone(tmp_path, whose, seq):
    """In a process that does not know yet how far each agent has listened."""

    with pagefault.open(tmp_path, embedder=None) as backend:
        memory = session(backend, limit=4_000)
        asyncio.run(talk(memory, 0, 3))
        before = {name: texts(of(memory, name).get_all()) for name in ("", *NEXT)}
        backend.flush()
        spoil(backend, of(memory, whose)._conversation(), seq)
    with pagefault.open(tmp_path, embedder=None) as backend:
        memory = session(backend, limit=4_000)
        asyncio.run(talk(memory, 3, 2))
        for name in ("", *NEXT):
            held = of(memory, name)._conversation()
            natives, wrong = backend.core.kernel.call(held._intact())
            assert bool(wrong) == (name == whose)
            said = [str(m.content) for at, m in enumerate(natives) if at not in wrong]
            kept = [text for at, text in enumerate(before[name]) if at not in wrong]
            assert said[: len(kept)] == kept
            asked = [text for text in said if text.startswith("question")]
            assert asked == sorted(set(asked)), "nothing is heard twice, or in another order"
        assert "question 4" in texts(memory.get())
