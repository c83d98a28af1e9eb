"""A turn: one model call that the scheduler grants, as a context manager for threads and for event loops."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import dataclasses
import time
import weakref
from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import NoReturn, Self

from pagefault.coordination import Coordinator, LoopWaiter, Seat, ThreadWaiter, Until, running_loop
from pagefault.errors import SchedulerError, TurnNotOpen, TurnTimeout, WaitBlocksLoop
from pagefault.scheduling import Request, Token, is_refusal, reported, retry_after

_around: ContextVar[tuple[Seat, ...]] = ContextVar("pagefault_turns", default=())
"""The turns in which the caller is, also across tasks and threads; the innermost is last, and some may have ended."""


class Turn:
    """One model call. Made by ``Scheduler.turn``; entered once, with ``with`` or ``async with``."""

    __slots__ = ("__weakref__", "_seat", "_timeout", "_was_asked", "_was_refused")

    def __init__(self, coordinator: Coordinator, request: Request, timeout: float | None) -> None:
        self._seat = Seat(coordinator, request)
        self._timeout = timeout
        self._was_asked = False
        self._was_refused = False

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self._seat.request

    @property
    def outer(self) -> Request | None:
        """What the turn asked for in which it was opened, if any, while it has not ended."""
        return None if self._seat.outer is None else self._seat.outer.request

    @property
    def is_open(self) -> bool:
        """Whether it is granted and has not ended."""
        return self._seat.is_open

    @property
    def failure(self) -> SchedulerError | None:
        """What ended it behind its back, as the loss of a lease; raised by what is done with it next."""
        return self._seat.failure

    @property
    def token(self) -> Token | None:
        """Which slot it holds since when, for a resource that refuses whoever was replaced; ``None`` in one process.

        See :class:`~pagefault.scheduling.Token`. It changes where a turn gets its slot back after turns inside it.
        """
        return self._seat.coordinator.token(self._seat)

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
        if self._seat.failure is not None:
            raise self._seat.failure
        usage = reported(input_tokens, output_tokens, cached_tokens)
        if self._seat.usage is not None:  # checked again: a sum is no larger than one report may be
            usage = self._seat.usage + usage
            reported(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        self._seat.usage = usage

    def refused(self, retry_after: float | None = None) -> None:
        """Say that the backend answered 429: nobody is let in for ``retry_after`` seconds, then fewer at a time.

        An error with status 429 that leaves the ``with`` block reports itself.

        Raises:
            TurnNotOpen: The turn has not begun or has ended.
            BadTurn: Not a number of seconds up to a day.
        """
        self._require_open("refused")
        self._seat.coordinator.refused(retry_after)
        self._was_refused = True

    # ------------------------------------------------------------- for threads

    def __enter__(self) -> Self:
        if self._was_asked:
            self._refuse_again()
        try:
            if not self._ask():
                self._wait()
            self._begin()
        except BaseException:
            if self._give_up():
                self._wait_until_left()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end(error):
            self._wait_until_left()
        self._raise_failure(error)

    def _wait(self) -> None:
        seat = self._seat
        self._sleep(seat, Until.ANSWERED)
        waiter = ThreadWaiter()
        if seat.coordinator.register(seat, waiter, Until.GRANTED):
            self._check_loop()
            waiter.wait(self._timeout)
        self._check_granted()

    def _wait_until_left(self) -> None:
        self._sleep(self._seat, Until.ANSWERED)
        outer = self._seat.outer
        # To stop a loop for this could stop the very turn that has to end: then the outer one goes on without.
        if outer is not None and not outer.coordinator.needs(running_loop(), outer):
            self._sleep(outer, Until.RETURNED)

    @staticmethod
    def _sleep(seat: Seat, until: Until) -> None:
        waiter = ThreadWaiter()
        if seat.coordinator.register(seat, waiter, until):
            waiter.wait()

    # --------------------------------------------------------- for event loops

    async def __aenter__(self) -> Self:
        if self._was_asked:
            self._refuse_again()
        try:
            if not self._ask():
                await self._await()
            self._begin()
        except GeneratorExit:  # the task is thrown away; it cannot wait any more
            self._give_up()
            raise
        except BaseException:
            if self._give_up():
                await self._await_until_left()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end(error) and not isinstance(error, GeneratorExit):
            await self._await_until_left()
        self._raise_failure(error)

    async def _await(self) -> None:
        seat = self._seat
        waiter = LoopWaiter()
        if seat.coordinator.register(seat, waiter, Until.ANSWERED):
            await waiter.wait()
        waiter = LoopWaiter()
        if seat.coordinator.register(seat, waiter, Until.GRANTED):
            await waiter.wait(self._timeout)
        self._check_granted()

    async def _await_until_left(self) -> None:
        """Even if it is cancelled, as ``asyncio.Condition.wait`` takes its lock again."""
        cancelled: asyncio.CancelledError | None = None
        for seat, until in ((self._seat, Until.ANSWERED), (self._seat.outer, Until.RETURNED)):
            waiter = LoopWaiter()
            if seat is None or not seat.coordinator.register(seat, waiter, until):
                continue
            while not waiter.is_awake:
                try:
                    await waiter.wait()
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    # ----------------------------------------------------------------- details

    def _refuse_again(self) -> NoReturn:
        agent = self._seat.request.agent
        raise TurnNotOpen(f"the turn of agent {agent!r} was entered before; ask for another one")

    def _ask(self) -> bool:
        seat = self._seat
        around = _around.get()
        seat.needs(running_loop())  # also if it is entered by `with`: its block may wait for other tasks of this loop
        seat.outer = outer = _innermost(around) if around else None
        if outer is not None:
            root, priority = outer.request, max(seat.request.priority, outer.request.priority)
            seat.request = dataclasses.replace(
                seat.request, account=root.account, weight=root.weight, priority=priority
            )
        seat.guard = weakref.ref(self, partial(_thrown_away, seat))
        granted = seat.ask()
        self._was_asked = True
        return granted

    def _begin(self) -> None:
        self._seat.is_open = True
        around = _around.get()
        _around.set((*[each for each in around if each.is_open], self._seat) if around else (self._seat,))

    def _check_loop(self) -> None:
        if self._seat.coordinator.needs(running_loop(), self._seat):
            raise WaitBlocksLoop(
                f"agent {self._seat.request.agent!r} would wait in a `with` on the event loop that another turn of "
                "this scheduler needs to go on; use `async with`, or make the call in a thread"
            )

    def _check_granted(self) -> None:
        seat = self._seat
        if seat.failure is not None:
            raise seat.failure
        why = seat.coordinator.why(seat)
        if not seat.coordinator.is_granted(seat):
            raise TurnTimeout(
                f"agent {seat.request.agent!r} was not let in within {self._timeout} s; it waited for {why}. "
                "Wait longer, give it a higher priority or weight, or add slots"
            )

    def _give_up(self) -> bool:
        self._close()
        return self._leave(failed=True)

    def _end(self, error: BaseException | None) -> bool:
        """Whether there is something to wait for: an answer, or the outer turn's slot."""
        if self._seat.is_thrown_away:  # with a stream that is in it, which is closed after that
            return False
        self._require_open("left")
        self._close()
        try:
            if error is not None and not self._was_refused and is_refusal(error):
                self._seat.coordinator.refused(retry_after(error, time.time()))
        finally:
            waits = self._leave(failed=error is not None or (self._was_refused and self._seat.usage is None))
        return waits

    def _close(self) -> None:
        self._seat.is_open = False
        around = _around.get()
        if around and around[-1] is self._seat:
            _around.set(around[:-1])
        elif self._seat in around:
            _around.set(tuple([seat for seat in around if seat is not self._seat]))

    def _leave(self, *, failed: bool) -> bool:
        try:
            return self._seat.leave(failed=failed)
        except BaseException:  # from outside, and it cut this short
            self._seat.leave(failed=failed)
            raise

    def _raise_failure(self, error: BaseException | None) -> None:
        """What went wrong with it, or with the turn that should go on now; never in place of another error."""
        if self._seat.is_thrown_away:
            return
        outer, self._seat.outer = self._seat.outer, None  # let go of: turns that overlap would keep all before them
        failure = self._seat.failure or (outer.failure if outer is not None else None)
        if failure is None:
            return
        if error is not None:
            error.add_note(f"pagefault: {failure}")
            return
        raise failure

    def _require_open(self, verb: str) -> None:
        if not self._seat.is_open:
            state = "has ended" if self._was_asked else "has not begun"
            raise TurnNotOpen(
                f"the turn of agent {self._seat.request.agent!r} {state} and cannot be {verb}; "
                "a turn is used inside its `with` block, once"
            )


def _innermost(around: Sequence[Seat]) -> Seat | None:
    for seat in reversed(around):
        if seat.is_open:
            return seat
    return None


def _thrown_away(seat: Seat, _: object) -> None:
    """A turn was collected that has not ended, since an exception from outside kept it from that.

    On a thread of its own: this may happen anywhere, also where a lock is held that is needed here.
    """
    seat.is_open, seat.is_thrown_away = False, True
    with contextlib.suppress(RuntimeError):  # at interpreter exit, when there is no thread any more, and nobody waits
        _thread.start_new_thread(partial(seat.leave, failed=True), ())
