"""The team: a supervisor that delegates, and three researchers that read, remember and quote."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRetryMiddleware
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver

import pagefault
from examples.demo.library import Library
from examples.demo.questions import ANSWERABLE, Question
from examples.demo.task import SYSTEM
from pagefault_langgraph import PagingMiddleware, SchedulingMiddleware

READ: Final = "Read the Python reference, all topics from the first to the last. You will be asked about it later."
BUDGET: Final = pagefault.Budget(window=8_000)
MOST_TRIES: Final = 20
FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "names": ("nonlocal", "assert", "identifiers", "attribute-access", "global", "naming"),
    "control": ("with", "while", "if", "yield", "try", "for"),
    "numbers": ("binary", "power", "integers", "booleans", "comparisons", "floating"),
}
LEAD: Final = """You lead three researchers, each with a field of the Python reference. First let all of them read, \
then ask each one its question, then report every answer as it was quoted, one paragraph for each researcher."""


@dataclass(frozen=True, slots=True)
class Team:
    """The supervisor and what it shares with its researchers."""

    supervisor: Any
    memory: pagefault.Memory
    scheduler: pagefault.Scheduler
    libraries: Mapping[str, Library]


def questions() -> dict[str, Question]:
    """One question for each field; where the answer stands left the window long before it is asked."""
    return {name: next(q for q in ANSWERABLE if q.topic in topics) for name, topics in FIELDS.items()}


def build(memory: pagefault.Memory, scheduler: pagefault.Scheduler, models: Mapping[str, BaseChatModel]) -> Team:
    """A team whose every member pages through one memory and takes turns by one scheduler.

    Args:
        memory: Shared; each member has a space of its own in it.
        scheduler: Shared; the supervisor goes first, since all wait for it.
        models: By member, ``"supervisor"`` included.
    """
    libraries = {name: Library(only=topics) for name, topics in FIELDS.items()}
    tools = [_ask(name, _researcher(name, memory, scheduler, models[name], libraries[name])) for name in FIELDS]
    supervisor = create_agent(
        models["supervisor"],
        tools,
        system_prompt=LEAD,
        middleware=[
            _again(),
            PagingMiddleware(memory, budget=BUDGET, recall=False),
            SchedulingMiddleware(scheduler, priority=1),
        ],
        checkpointer=InMemorySaver(),
        name="supervisor",
    )
    return Team(supervisor, memory, scheduler, libraries)


def _researcher(
    name: str, memory: pagefault.Memory, scheduler: pagefault.Scheduler, model: BaseChatModel, library: Library
) -> Any:
    return create_agent(
        model,
        library.tools(),
        system_prompt=SYSTEM,
        middleware=[_again(), PagingMiddleware(memory, budget=BUDGET), SchedulingMiddleware(scheduler)],
        checkpointer=InMemorySaver(),
        name=name,
    )


def _again() -> AgentMiddleware[Any, Any, Any]:
    """After a refusal nobody is let in for as long as the backend asks; then it is this call's turn again."""
    return ModelRetryMiddleware(
        max_retries=MOST_TRIES,
        retry_on=lambda error: getattr(error, "status_code", None) == 429,
        initial_delay=0,
        on_failure="error",
    )


def _ask(name: str, researcher: Any) -> BaseTool:
    """The supervisor's way to a researcher; the thread is the team's, so it remembers what it read."""

    def ask(task: str) -> str:
        config = {"configurable": {"thread_id": f"team-{name}"}, "recursion_limit": 2_000}
        return str(researcher.invoke({"messages": [("user", task)]}, config)["messages"][-1].text)

    return StructuredTool.from_function(ask, name=f"ask_{name}", description=f"Give the {name} researcher a task.")


# -- the supervisor's stand-in -----------------------------------------------------------------


def lead(messages: list[BaseMessage]) -> AIMessage:
    """What a supervisor would do: all read at once, all are asked at once, then it reports."""
    done = [m for m in messages if isinstance(m, ToolMessage)]
    names = list(FIELDS)
    if not done:
        return _delegate("read", dict.fromkeys(names, READ))
    if len(done) == len(names):
        asked = {name: q.text for name, q in questions().items()}
        return _delegate("ask", asked)
    answers = {str(m.name).removeprefix("ask_"): m.text for m in done[len(names) :]}
    return AIMessage("\n\n".join(f"{name}: {answer}" for name, answer in answers.items()))


def _delegate(step: str, tasks: Mapping[str, str]) -> AIMessage:
    calls = [
        {"name": f"ask_{n}", "args": {"task": t}, "id": f"{step}-{n}", "type": "tool_call"} for n, t in tasks.items()
    ]
    return AIMessage("", tool_calls=calls)


def check(report: str, team: Team) -> dict[str, bool]:
    """For each field, whether the report quotes the reference word for word, and the right place of it."""
    verdicts = {}
    for name, question in questions().items():
        text = " ".join(" ".join(team.libraries[name].topics.values()).split())
        quote = re.search(rf"{name}: Quote: (.+?)\nPage: \d+", report, re.DOTALL)
        found = " ".join(quote[1].split()) if quote else ""
        verdicts[name] = bool(found) and found in text and question.phrase in found
    return verdicts


def asked_of(task: str) -> dict[str, Any]:
    """What a user sends to the supervisor."""
    return {"messages": [HumanMessage(task)]}
