"""Eight agents of both frameworks on one rate-limited backend: no scheduler, LangChain's limiter, and ours.

``python -m benchmarks.scheduling.comparison`` prints a table. The backend is a stand-in: it limits slots, requests and
tokens as providers do and refuses the rest with 429 and ``Retry-After``. A minute lasts 3 seconds here, for the backend
and for the scheduler's limits alike, so that a run covers several.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from llama_index.core.agent.workflow import FunctionAgent

import pagefault
from benchmarks.scheduling import refusing
from benchmarks.scheduling.refusing import RPM, SLOTS, TPM, RefusingBackend
from pagefault.scheduling import limits
from pagefault_langgraph import SchedulingMiddleware
from pagefault_llamaindex import scheduled

MINUTE: Final = 3.0
AGING: Final = 30.0 * MINUTE / limits.MINUTE
THINK: Final = 0.3
INTERACTIVE: Final = "interactive"
Ask = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """An agent of the batch: conversations at a time, and tokens of a prompt."""

    conversations: int
    input_tokens: int


WORKERS: Final = tuple(
    Worker(conversations=conversations, input_tokens=tokens)
    for conversations, tokens in ((2, 1_200), (2, 3_000), (8, 2_000), (2, 1_500), (6, 1_500), (2, 2_500), (3, 800))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one policy did: refusals, seconds until all work was done, waits of the interactive agent, shares."""

    refusals: int
    calls: int
    makespan: float
    waits: tuple[float, ...]
    jain: float


class Policy:
    """How calls reach the backend: by a scheduler, by a limiter of requests, or as they come."""

    def __init__(self, scheduler: pagefault.Scheduler | None = None, requests_per_minute: float | None = None) -> None:
        self._scheduler = scheduler
        self._limiter: InMemoryRateLimiter | None = None
        if requests_per_minute is not None:
            self._limiter = InMemoryRateLimiter(
                requests_per_second=requests_per_minute / MINUTE, check_every_n_seconds=0.01, max_bucket_size=1
            )

    def langgraph(self, backend: RefusingBackend, agent: str, tokens: int, priority: int = 0) -> Ask:
        """One call of an agent made with ``create_agent``; after a 429 it asks again when it may."""
        model = refusing.ChatStandIn(backend=backend, agent=agent, tokens=tokens, rate_limiter=self._limiter)
        hooks: list[Any] = [refusing.RetryAfter()]
        if self._scheduler is not None:
            hooks.append(SchedulingMiddleware(self._scheduler, agent=agent, priority=priority))
        graph = create_agent(model, middleware=hooks)
        return lambda: graph.ainvoke({"messages": [HumanMessage("Go on.")]})

    def llamaindex(self, backend: RefusingBackend, agent: str, tokens: int) -> Ask:
        """One run of a ``FunctionAgent``, which is one call; after a 429 it asks again when it may."""
        llm = refusing.LLMStandIn(backend=backend, agent=agent, tokens=tokens)
        if self._scheduler is not None:
            llm = scheduled(llm, self._scheduler, agent=agent)
        worker = FunctionAgent(name=agent.replace(" ", "_"), llm=llm, streaming=False)

        async def ask() -> object:
            while True:
                if self._limiter is not None:
                    await self._limiter.aacquire()
                try:
                    return await worker.run("Go on.")
                except refusing.Refused as refused:
                    await asyncio.sleep(refused.seconds)

        return ask


def policies() -> Mapping[str, Callable[[], Policy]]:
    """All that are compared. The second limiter is told what the token limit allows for prompts of these sizes."""
    mean = sum(w.input_tokens for w in WORKERS) / len(WORKERS) * 1.1
    return {
        "none": Policy,
        "InMemoryRateLimiter, request limit": lambda: Policy(requests_per_minute=RPM),
        "InMemoryRateLimiter, mean tokens": lambda: Policy(requests_per_minute=min(RPM, TPM / mean)),
        "pagefault.Scheduler": lambda: Policy(
            pagefault.Scheduler(slots=SLOTS, requests_per_minute=RPM, tokens_per_minute=TPM, aging=AGING)
        ),
    }


def compare(name: str, *, work: int, workers: tuple[Worker, ...] = WORKERS, seed: int = 1) -> Outcome:
    """Run one policy until each worker has had ``work`` tokens."""
    with mock.patch.object(limits, "MINUTE", MINUTE):
        return asyncio.run(_run(policies()[name](), work, workers, random.Random(seed)))


async def _run(policy: Policy, work: int, workers: tuple[Worker, ...], chance: random.Random) -> Outcome:
    backend = RefusingBackend(minute=MINUTE, chance=chance)
    first_done: list[float] = []

    async def conversation(agent: str, ask: Ask) -> None:
        while backend.total(agent) < work:
            await ask()
        first_done.append(time.monotonic())

    talks = []
    for number, worker in enumerate(workers):
        agent = f"worker {number}"
        make = policy.llamaindex if number % 2 == 0 else policy.langgraph
        talks += [conversation(agent, make(backend, agent, worker.input_tokens)) for _ in range(worker.conversations)]
    begun, waits = time.monotonic(), list[float]()
    user = asyncio.create_task(_interactive(policy.langgraph(backend, INTERACTIVE, 600, priority=1), backend, waits))
    await asyncio.gather(*talks)
    makespan = time.monotonic() - begun
    user.cancel()
    await asyncio.gather(user, return_exceptions=True)
    served = [backend.total(f"worker {number}", until=min(first_done)) for number in range(len(workers))]
    jain = sum(served) ** 2 / (len(served) * sum(each**2 for each in served))
    return Outcome(
        refusals=backend.refusals, calls=backend.calls, makespan=makespan, waits=tuple(sorted(waits)), jain=jain
    )


async def _interactive(ask: Ask, backend: RefusingBackend, waits: list[float]) -> None:
    """Short calls with time to think between them; what a call takes is no wait."""
    while True:
        await asyncio.sleep(THINK)
        begun = time.monotonic()
        await ask()
        waits.append(time.monotonic() - begun - backend.seconds[INTERACTIVE])


def main() -> None:
    """Print the table."""
    print("| policy | calls served | 429s | makespan s | interactive calls | their p95 wait s | Jain of workers |")
    print("|---|---|---|---|---|---|---|")
    for name in policies():
        outcome = compare(name, work=75_000)
        p95 = outcome.waits[int(0.95 * (len(outcome.waits) - 1))]
        print(
            f"| {name} | {outcome.calls} | {outcome.refusals} | {outcome.makespan:.1f} | {len(outcome.waits)} "
            f"| {p95:.2f} | {outcome.jain:.2f} |"
        )


if __name__ == "__main__":
    main()
