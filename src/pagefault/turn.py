"""A turn: one model call that the scheduler grants, as a context manager for threads and for event loops."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from pagefault.coordination import Coordinator, LoopWaiter, ThreadWaiter, Until, running_loop
from pagefault.errors import SchedulerError, TurnNotOpen, TurnTimeout, WaitBlocksLoop
from pagefault.scheduling import Request, Token, Usage, is_refusal, reported, retry_after

_innermost: ContextVar[Turn | None] = ContextVar("pagefault_turn", default=None)


def enclosing() -> Turn | None:
    """The innermost turn that is open around the caller, also across tasks and threads."""
    turn = _innermost.get()
    while turn is not None and not turn.is_open:
        turn = turn.outer
    return turn


class Turn:
    """One model call. Made by ``Scheduler.turn``; entered once, with ``with`` or ``async with``.

    Attributes:
        request: What was asked for.
        outer: The turn in which it was opened, if any.
        is_open: Whether it is granted and has not ended.
        failure: What ended it behind its back, as the loss of a lease; raised by what is done with it next.
    """

    __slots__ = (
        "_coordinator", "_previous", "_timeout", "_usage", "_was_asked", "_was_refused",
        "failure", "is_open", "loop", "number", "outer", "request",
    )  # fmt: skip

    def __init__(self, coordinator: Coordinator, request: Request, timeout: float | None) -> None:
        self._coordinator = coordinator
        self._timeout = timeout
        self._usage: Usage | None = None
        self._previous: Turn | None = None
        self._was_asked = False
        self._was_refused = False
        self.request = request
        self.outer: Turn | None = None
        self.is_open = False
        self.failure: SchedulerError | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.number = 0

    @property
    def token(self) -> Token | None:
        """Which slot it holds since when, for a resource that refuses whoever was replaced; ``None`` in one process.

        See :class:`~pagefault.scheduling.Token`. It changes where a turn gets its slot back after turns inside it.
        """
        return self._coordinator.token(self)

    # ------------------------------------------------------------------- usage

    def charge(self, *, input_tokens: int = 0, output_tokens: int = 0, cached_tokens: int = 0) -> None:
        """Say what the call used. It replaces what was expected; further reports add up.

        Args:
            input_tokens: All that was sent, the cached part included.
            output_tokens: All that came back.
            cached_tokens: The part of the input that the backend had in its cache.

        Raises:
            TurnNotOpen: The turn has not begun or has ended.
            BadTurn: A number that cannot be one.
            LeaseLost: Of a shared scheduler: its slot was given to others.
        """
        self._require_open("charged")
        if self.failure is not None:
            raise self.failure
        usage = reported(input_tokens, output_tokens, cached_tokens)
        if self._usage is not None:  # checked again: a sum is no larger than one report may be
            usage = self._usage + usage
            reported(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        self._usage = usage

    def refused(self, retry_after: float | None = None) -> None:
        """Say that the backend answered 429: nobody is let in for ``retry_after`` seconds, then fewer at a time.

        An error with status 429 that leaves the ``with`` block reports itself.

        Raises:
            TurnNotOpen: The turn has not begun or has ended.
            BadTurn: Not a number of seconds.
        """
        self._require_open("refused")
        self._coordinator.refused(retry_after)
        self._was_refused = True

    # ------------------------------------------------------------- for threads

    def __enter__(self) -> Self:
        if not self._ask():
            self._wait()
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end(error):
            self._wait_until_left()
        self._raise_failure(error)

    def _wait(self) -> None:
        try:
            self._sleep(self, Until.ANSWERED)
            waiter = ThreadWaiter()
            if self._coordinator.register(self, waiter, Until.GRANTED):
                self._check_loop()
                waiter.wait(self._timeout)
            self._check_granted()
        except BaseException:
            if self._give_up():
                self._wait_until_left()
            raise

    def _wait_until_left(self) -> None:
        self._sleep(self, Until.ANSWERED)
        outer = self.outer
        # To stop a loop for this could stop the very turn that has to end: then the outer one goes on without.
        if outer is not None and not outer._coordinator.needs(running_loop(), outer):
            self._sleep(outer, Until.RETURNED)

    @staticmethod
    def _sleep(turn: Turn, until: Until) -> None:
        waiter = ThreadWaiter()
        if turn._coordinator.register(turn, waiter, until):
            waiter.wait()

    # --------------------------------------------------------- for event loops

    async def __aenter__(self) -> Self:
        if not self._ask():
            await self._await()
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end(error) and not isinstance(error, GeneratorExit):
            await self._await_until_left()
        self._raise_failure(error)

    async def _await(self) -> None:
        try:
            waiter = LoopWaiter()
            if self._coordinator.register(self, waiter, Until.ANSWERED):
                await waiter.wait()
            waiter = LoopWaiter()
            if self._coordinator.register(self, waiter, Until.GRANTED):
                await waiter.wait(self._timeout)
            self._check_granted()
        except GeneratorExit:  # the task is thrown away; it cannot wait any more
            self._give_up()
            raise
        except BaseException:
            if self._give_up():
                await self._await_until_left()
            raise

    async def _await_until_left(self) -> None:
        """Even if it is cancelled, as ``asyncio.Condition.wait`` takes its lock again."""
        cancelled: asyncio.CancelledError | None = None
        for turn, until in ((self, Until.ANSWERED), (self.outer, Until.RETURNED)):
            waiter = LoopWaiter()
            if turn is None or not turn._coordinator.register(turn, waiter, until):
                continue
            while not waiter.is_awake:
                try:
                    await waiter.wait()
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    # ----------------------------------------------------------------- details

    def _ask(self) -> bool:
        if self._was_asked:
            raise TurnNotOpen(f"the turn of agent {self.request.agent!r} was entered before; ask for another one")
        self.loop = running_loop()  # also by `with`: its block may wait for other tasks of this loop
        outer = enclosing()
        if outer is not None:
            self.outer, around = outer, outer.request
            priority = max(self.request.priority, around.priority)
            self.request = dataclasses.replace(
                self.request, account=around.account, weight=around.weight, priority=priority
            )
        granted = self._coordinator.ask(self, outer)
        self._was_asked = True
        if outer is not None and outer._coordinator is not self._coordinator:
            outer._coordinator.lend(outer)
        return granted

    def is_around(self, turn: Turn | None) -> bool:
        """Whether it is this turn, or one that this is nested in."""
        while turn is not None and turn is not self:
            turn = turn.outer
        return turn is self

    def _begin(self) -> None:
        self.is_open = True
        self._previous = _innermost.get()
        _innermost.set(self)

    def _check_loop(self) -> None:
        if self._coordinator.needs(self.loop, self):
            raise WaitBlocksLoop(
                f"agent {self.request.agent!r} would wait in a `with` on the event loop that another turn of this "
                "scheduler needs to go on; use `async with`, or make the call in a thread"
            )

    def _check_granted(self) -> None:
        if self.failure is not None:
            raise self.failure
        why = self._coordinator.why(self)
        if not self._coordinator.is_granted(self):
            raise TurnTimeout(
                f"agent {self.request.agent!r} was not let in within {self._timeout} s; it waited for {why}. "
                "Wait longer, give it a higher priority or weight, or add slots"
            )

    def _give_up(self) -> bool:
        return self._finish(None, failed=True)

    def _end(self, error: BaseException | None) -> bool:
        """Whether there is something to wait for: an answer, or the outer turn's slot."""
        self._require_open("left")
        self.is_open = False
        if _innermost.get() is self:
            _innermost.set(self._previous)
        if error is not None and not self._was_refused and is_refusal(error):
            self._coordinator.refused(retry_after(error, time.time()))
        failed = error is not None or (self._was_refused and self._usage is None)
        return self._finish(self._usage, failed=failed)

    def _finish(self, usage: Usage | None, *, failed: bool) -> bool:
        outer = self.outer
        waits = self._coordinator.finish(self, outer, usage, failed=failed)
        if outer is not None and outer._coordinator is not self._coordinator:
            outer._coordinator.regain(outer)
            return True
        return waits

    def _raise_failure(self, error: BaseException | None) -> None:
        """What went wrong with it, or with the turn that should go on now; never in place of another error."""
        failure = self.failure or (self.outer.failure if self.outer is not None else None)
        if failure is None:
            return
        if error is not None:
            error.add_note(f"pagefault: {failure}")
            return
        raise failure

    def _require_open(self, verb: str) -> None:
        if not self.is_open:
            state = "has ended" if self._was_asked else "has not begun"
            raise TurnNotOpen(
                f"the turn of agent {self.request.agent!r} {state} and cannot be {verb}; "
                "a turn is used inside its `with` block, once"
            )
