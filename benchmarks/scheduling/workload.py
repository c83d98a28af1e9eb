"""Agents that talk to one backend: sessions whose prompts grow, bursts, failures, agents that call agents."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Call:
    """One model call. ``after`` names the calls of the same session that follow it.

    Attributes:
        agent: Who is charged.
        session: The conversation; its prompt begins with all earlier ones of the session.
        at: Seconds after the call before it when it is asked for.
        system: Tokens of the agent's system prompt, shared by its sessions.
        input_tokens: The whole prompt.
        output: Tokens that come back.
        max_output: Tokens that were asked for at most.
        fails: Whether the backend crashes halfway.
        priority: Its class.
        after: What is asked for when it has ended.
    """

    agent: str
    session: int
    at: float
    system: int
    input_tokens: int
    output: int
    max_output: int
    fails: bool = False
    priority: int = 0
    after: list[Call] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How one agent works.

    Attributes:
        sessions: Conversations at a time.
        turns: Calls in one conversation.
        first: Tokens of its first prompt, the system prompt not counted.
        step: Tokens that each call adds.
        output: Mean tokens of an answer.
        think: Mean seconds between two calls.
        start: When it begins.
        children: Sub-agents that one call in four sets to work, each for one call of its own.
    """

    sessions: int = 3
    turns: int = 12
    first: int = 800
    step: int = 350
    output: int = 120
    think: float = 0.5
    start: float = 0.0
    children: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Agents and the backend that they share.

    Attributes:
        agents: How each works.
        slots: Calls that the backend runs at a time.
        in_turn: Whether it computes prompts one after the other.
    """

    agents: tuple[Habits, ...]
    slots: int = 4
    in_turn: bool = False


SCENARIOS: dict[str, Scenario] = {
    "sessions": Scenario(agents=tuple(Habits(sessions=4) for _ in range(8))),
    "mixed": Scenario(
        agents=(
            *(Habits(sessions=8) for _ in range(2)), *(Habits() for _ in range(4)),
            *(Habits(turns=1, first=1_500) for _ in range(2)),
        )
    ),
    "bursts": Scenario(
        agents=(*(Habits() for _ in range(5)), *(Habits(sessions=8, turns=4, start=90.0 * n) for n in (1, 2, 3)))
    ),
    "nested": Scenario(agents=(*(Habits(children=4) for _ in range(2)), *(Habits() for _ in range(6)))),
    "crowd": Scenario(agents=tuple(Habits(sessions=1) for _ in range(24)), slots=16, in_turn=True),
}  # fmt: skip
"""Eight alike; two with many sessions, four with some and two whose every prompt is new; three that come in bursts; two
that set sub-agents to work; many with one conversation each, more than the cache holds, and slots for most of them."""


def workload(scenario: str, seed: int, *, length: int = 60) -> list[Call]:
    """The first call of every place; the others follow from it, ``length`` sessions one after the other."""
    chance = random.Random(f"{scenario} {seed}")
    firsts: list[Call] = []
    sessions = 0
    for number, habits in enumerate(SCENARIOS[scenario].agents):
        agent, system = f"agent {number}", chance.randrange(300, 900)
        for _ in range(habits.sessions):
            previous: Call | None = None
            for _ in range(length):
                sessions += 1
                for call in _session(chance, habits, agent, sessions * 100, system):
                    if previous is None:
                        call.at = habits.start + chance.expovariate(1)
                        firsts.append(call)
                    else:
                        previous.after.append(call)
                    previous = call
    return firsts


def _session(chance: random.Random, habits: Habits, agent: str, session: int, system: int) -> Sequence[Call]:
    calls: list[Call] = []
    tokens = system + int(habits.first * chance.uniform(0.5, 1.5))
    for _ in range(habits.turns):
        output = 1 + int(chance.expovariate(1 / habits.output))
        call = Call(
            agent=agent,
            session=session,
            at=chance.expovariate(1 / habits.think),
            system=system,
            input_tokens=tokens,
            output=output,
            max_output=max(output, 4 * habits.output),
            fails=chance.random() < 0.02,
        )
        if habits.children and chance.random() < 0.25:
            call.after += [_child(chance, call, number) for number in range(1, habits.children + 1)]
        calls.append(call)
        tokens += output + int(habits.step * chance.uniform(0.3, 1.7))
    return calls


def _child(chance: random.Random, parent: Call, number: int) -> Call:
    output = 1 + int(chance.expovariate(1 / 60))
    return Call(
        agent=parent.agent,
        session=parent.session + number,
        at=0.0,
        system=parent.system,
        input_tokens=parent.system + chance.randrange(300, 1_200),
        output=output,
        max_output=max(output, 240),
    )
