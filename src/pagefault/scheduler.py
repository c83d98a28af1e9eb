"""The scheduler: which of several agents may call a model backend next.

Decisions are made inline in whoever asks, under a lock; those who have to wait sleep on their
own thread or event loop until somebody who leaves wakes them.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from pagefault.coordination import (
    Coordinator,
    LocalCoordinator,
    LoopWaiter,
    SharedCoordinator,
    ThreadWaiter,
    meeting_place,
    running_loop,
)
from pagefault.errors import BadTurn, UnknownAgent
from pagefault.rooted import Rooted
from pagefault.scheduling import AccountUsage, Limits, Prefix, Prices, Request, Rules, marks
from pagefault.scheduling.numbers import LARGEST, as_weight, seconds, whole
from pagefault.scheduling.rules import NO_QUOTAS, PRICES
from pagefault.turn import Turn

LONGEST_WAIT: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnState:
    """One turn as a live view shows it.

    Attributes:
        tenant: Whose it is.
        agent: Who makes the call.
        account: The agent of the root turn, who is charged.
        priority: Its class.
        phase: ``"waiting"``, ``"running"``, ``"lent"`` (turns inside it are open) or ``"returning"``.
        seconds: How long it is in this phase.
        waits_for: What it waits for, in words; empty if it does not.
    """

    tenant: str
    agent: str
    account: str
    priority: int
    phase: str
    seconds: float
    waits_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerState:
    """Who runs and who waits, at one moment.

    Attributes:
        slots: Slots that may be in use now: fewer than were given after a 429.
        running: Slots in use.
        turns: All open and waiting turns, oldest first.
    """

    slots: int
    running: int
    turns: tuple[TurnState, ...]


class Scheduler(Rooted):
    """Shares one model backend fairly among agents, within its limits. Never stuck, never idle while a turn may go.

    One object for all threads and event loops of a process. After a fork the child's copy
    starts empty, with slots of its own; with ``shared``, as another process.

    Args:
        slots: Calls the backend runs at a time.
        tokens_per_minute: Its limit of input and output tokens within any 60 seconds.
        requests_per_minute: Its limit of calls within any 60 seconds.
        affinity_slack: How much cost per weight an agent may run ahead of the least served one
            to stay on a warm prompt cache; 0 is strict fair share.
        kv_tokens: Tokens the backend's KV cache holds. Calls that together need more are not let
            in at the same time, and a conversation that is not in it (by ``prefix``) waits while it
            would push out those in use. Without it there is no load control.
        quotas: Limits of single agents, by name.
        tenant_quotas: Limits of single tenants, by name.
        prices: What tokens cost.
        aging: Seconds after which a lower priority class goes once before the class above it.
        max_waiting: Turns of one agent that may wait at a time.
        shared: Where several processes and hosts meet that share the backend: a Valkey or Redis server,
            as ``"valkey://host:6379/0?name=gpt-4"``. All of them give the same rules. Nothing is sent
            before the first turn.

    Raises:
        BadTurn: A number that cannot be one, or a URL that cannot be used.
        MissingDependency: ``shared`` without the extra ``valkey``.

    Example:
        >>> scheduler = Scheduler(slots=2)
        >>> with scheduler.turn(agent="writer", input_tokens=900, max_output_tokens=300) as turn:
        ...     turn.charge(input_tokens=900, output_tokens=120)
        >>> scheduler.usage("writer").cost
        1380.0
    """

    def __init__(
        self,
        *,
        slots: int = 4,
        tokens_per_minute: int | None = None,
        requests_per_minute: int | None = None,
        affinity_slack: float = 4_000,
        kv_tokens: int | None = None,
        quotas: Mapping[str, Limits] = NO_QUOTAS,
        tenant_quotas: Mapping[str, Limits] = NO_QUOTAS,
        prices: Prices = PRICES,
        aging: float = 30.0,
        max_waiting: int = 1_024,
        shared: str | None = None,
    ) -> None:
        limits = Limits(
            slots=slots,
            tokens_per_minute=tokens_per_minute,
            requests_per_minute=requests_per_minute,
            kv_tokens=kv_tokens,
        )
        rules = Rules(
            limits=limits,
            affinity_slack=affinity_slack,
            prices=prices,
            quotas=quotas,
            tenant_quotas=tenant_quotas,
            aging=aging,
            max_waiting=max_waiting,
        )
        self._coordinator: Coordinator = LocalCoordinator(rules)
        if shared is not None:
            self._coordinator = coordinator = SharedCoordinator(rules, meeting_place(shared))
            weakref.finalize(self, coordinator.abandon).atexit = False

    # ------------------------------------------------------------------- verbs

    def turn(
        self,
        *,
        agent: str,
        tenant: str = "default",
        weight: float = 1,
        priority: int = 0,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        prefix: Prefix = None,
        timeout: float | None = None,
    ) -> Turn:
        """Ask for one model call: ``with`` or ``async with`` waits until it is granted and gives it back.

        A turn opened inside an open turn releases the outer slot until the inner ones end. It is
        charged to the root turn's agent, with its weight, and goes at least with its priority.

        Args:
            agent: Who calls.
            tenant: For whom; set by the application.
            weight: The agent's share, against 1 of others; from a millionth to a million.
            priority: Higher goes first; see ``aging``.
            input_tokens: Tokens to send. Without it: as the agent's calls so far.
            max_output_tokens: Tokens that may come back. Without it: as the agent's calls so far.
            prefix: How the prompt begins: a digest that stands for the conversation, or pairs of
                digest and tokens, shortest first.
            timeout: Seconds to wait at most; ``None`` for as long as it takes. A nested turn that gives up
                gets the outer turn its slot back first, as ``threading.Condition.wait`` does with its lock.

        Raises:
            BadTurn: A number that cannot be one.

        Entering the turn raises ``QuotaExceeded`` if no waiting could make it fit, ``QueueFull``,
        ``TurnTimeout``, or ``SchedulerClosed``; of a shared scheduler also ``SchedulerUnreachable`` or
        ``RulesDiffer``. Leaving it raises ``LeaseLost`` if its slot was given to others meanwhile.
        """
        _check_names(agent, tenant)
        if timeout is not None:
            seconds("timeout", timeout, LONGEST_WAIT)
        priority = whole("priority", priority, least=-LARGEST)
        as_weight(weight)
        if input_tokens is not None:
            input_tokens = whole("input_tokens", input_tokens)
        if max_output_tokens is not None:
            max_output_tokens = whole("max_output_tokens", max_output_tokens)
        request = Request(
            account=(tenant, agent),
            agent=agent,
            priority=priority,
            weight=weight,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            marks=() if prefix is None else marks(prefix, input_tokens or 0),
        )
        return Turn(self._coordinator, request, timeout)

    def usage(self, agent: str, *, tenant: str = "default") -> AccountUsage:
        """What an agent, with all turns nested in its own, was charged for so far.

        Raises:
            UnknownAgent: It never asked for a turn (or long ago: the latest 10,000 are remembered).
            BadTurn: No names.
        """
        _check_names(agent, tenant)
        used = self._coordinator.usage((tenant, agent))
        if used is None:
            raise UnknownAgent(f"agent {agent!r} of tenant {tenant!r} has not asked this scheduler for a root turn")
        return used

    def state(self) -> SchedulerState:
        """Who runs, who waits and for what."""
        slots, running, turns = self._coordinator.look()
        return SchedulerState(
            slots=slots,
            running=running,
            turns=tuple(
                TurnState(
                    tenant=tenant,
                    agent=agent,
                    account=account,
                    priority=priority,
                    phase=phase.value,
                    seconds=seconds,
                    waits_for=why,
                )
                for (tenant, account), agent, priority, phase, seconds, why in turns
            ),
        )

    def close(self) -> None:
        """Let nobody in any more. Those who wait get ``SchedulerClosed``; open turns end as usual.

        A shared scheduler gives its lease back once no turn is open. Where none is, this waits for it unless that
        would stop an event loop; else it returns at once, and the last turn gives it back.
        """
        waiter = ThreadWaiter()
        if self._coordinator.close(waiter) and running_loop() is None:
            waiter.wait()

    async def aclose(self) -> None:
        """The same for event loops; blocks none."""
        waiter = LoopWaiter()
        if self._coordinator.close(waiter):
            await waiter.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def check_scheduler(scheduler: object) -> None:
    """Refuse what is no scheduler where it is given, not at the first call.

    Raises:
        BadTurn: It is none.
    """
    if not isinstance(scheduler, Scheduler):
        raise BadTurn(f"scheduler is a pagefault.Scheduler, got {type(scheduler).__name__} {scheduler!r:.60}")


def _check_names(agent: object, tenant: object) -> None:
    if not (isinstance(agent, str) and isinstance(tenant, str) and agent):
        raise BadTurn(f"agent and tenant are the names of who calls, got {agent!r:.40} and {tenant!r:.40}")
