"""Two threads that talk to the server: one tells and asks, one listens while a turn of this process waits."""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from typing import Final

from pagefault.coordination.member import Member
from pagefault.coordination.valkey_log import Membership, Reply, ValkeyLog
from pagefault.coordination.waiters import Waiter
from pagefault.errors import SchedulerError, SchedulerUnreachable
from pagefault.scheduling import plain
from pagefault.scheduling import replica as steps
from pagefault.scheduling.replica import Entry

SNAPSHOT_EVERY: Final = 1_000
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
STAGGER: Final = 0.02
_log: Final = logging.getLogger("pagefault")


class Conversation:
    """Keeps a member in step with its log until it is closed and has no turn any more.

    Attributes:
        changed: The coordinator's lock; notified when there is something to say or to wait for.
        error: Why the server was given up on; ``None`` while it is there.
        offset: What the server's clock says above ours.
    """

    def __init__(self, member: Member, log: ValkeyLog, lease: float, changed: threading.Condition) -> None:
        self.changed = changed
        self.error: SchedulerError | None = None
        self.offset = 0.0
        self.is_abandoned = False
        self._member = member
        self._wire = log
        self._lease = lease
        self._rules = plain.rules_text(member.rules)
        self._thread: threading.Thread | None = None
        self._listener: threading.Thread | None = None
        self._is_over = False
        self._was_here = False
        self._beat_at = math.inf
        self._retry_at = 0.0
        self._down_since = math.inf
        self._pause = FIRST_PAUSE
        self._attempt = uuid.uuid4().hex
        self._leavers: list[Waiter] = []

    # ------------------------------------------------------- called under the lock

    @property
    def is_given_up(self) -> bool:
        """Whether there is no use in asking right now."""
        return self.error is not None and time.monotonic() < self._retry_at

    def begin(self) -> None:
        """There is something to say."""
        if self._thread is None or not self._thread.is_alive():
            self._is_over = False
            self._thread = threading.Thread(target=self._talk, name="pagefault-log", daemon=True)
            self._thread.start()
        self.changed.notify_all()

    def listen(self) -> None:
        """There is something to wait for."""
        if self._listener is None or not self._listener.is_alive():
            self._listener = threading.Thread(target=self._hear, name="pagefault-log-listener", daemon=True)
            self._listener.start()
        self.changed.notify_all()

    def end(self, waiter: Waiter | None) -> bool:
        """Leave as soon as no turn is open; whether ``waiter`` will be woken then."""
        self.changed.notify_all()
        if self._thread is None or not self._thread.is_alive():
            return False
        if waiter is not None:
            self._leavers.append(waiter)
        return True

    def now(self) -> float:
        """The server's time."""
        return max(time.monotonic() + self.offset, self._member.replica.time)

    # ------------------------------------------------------------------- talking

    def _talk(self) -> None:
        try:
            while self._exchange():
                pass
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody may wait for ever
            _log.exception("the scheduler's conversation with %r ended", self._wire)
            with self.changed:
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
                self._give_up(_known(error))
        finally:
            self._finish()

    def _exchange(self) -> bool:
        member = self._member
        with self.changed:
            while not self._is_due():
                self.changed.wait(self._seconds_to_go())
            if self._may_leave():
                return False
            if member.me is None:
                who, bodies = member.before, member.going_on()
            else:
                who, bodies = member.know(), member.next_batch()
            joins, batch = member.me is None, member.batch
            ticks = not joins and not bodies and time.monotonic() >= self._tick_at()
        try:
            if joins:
                reply = self._wire.join(who, self._rules, bodies, self._attempt)
            elif ticks:
                reply = self._wire.append(who, 0, [steps.body(0)], only_here=True)
            else:
                reply = self._wire.append(who, batch, bodies)
        except SchedulerUnreachable as error:
            self._was_unreachable(error)
            return True
        except SchedulerError as error:
            with self.changed:
                self._give_up(error)
            return True
        if joins:
            self._attempt = uuid.uuid4().hex
        with self.changed:
            self._hear_reply(reply)
            who, state = member.know(), self._state_to_keep(reply)
        if state:
            self._keep(who, state)
        return True

    def _hear_reply(self, reply: Reply) -> None:
        member = self._member
        if reply.now:
            self.offset = reply.now - time.monotonic()
        if reply.kind == "expired":
            member.start_again(goes_on=False)
        elif reply.kind == "lost":
            member.start_again(goes_on=True)
        else:
            if reply.kind == "loaded":
                member.start_from(reply)
            else:
                member.take(reply.entries)
            if member.me is not None and not member.is_answered:
                member.start_again(goes_on=True)  # what was sent is hidden in a snapshot: say it anew
        member.is_behind = False
        self._is_back()  # last: who cannot read what it hears asks less and less often
        self.changed.notify_all()

    def _is_due(self) -> bool:
        member, now = self._member, time.monotonic()
        if self._may_leave():
            return True
        if now < self._retry_at:
            return False
        if member.me is None:
            return True
        return member.has_news or member.is_behind or now >= min(self._beat_at, self._tick_at())

    def _may_leave(self) -> bool:
        member = self._member
        is_done = member.is_closed or self.is_abandoned or member.me is None
        return is_done and not member.stakes and not member.has_news

    def _seconds_to_go(self) -> float | None:
        due = self._retry_at
        if time.monotonic() >= due:
            due = min(self._beat_at, self._tick_at())
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _tick_at(self) -> float:
        """When to write that time has passed. Those who wait take turns, so that one does it for all."""
        member = self._member
        if member.me is None or member.replica.wake_at == math.inf or not member.waits:
            return math.inf
        waiting = member.replica.waiting_clients()
        rank = waiting.index(member.me.client) if member.me.client in waiting else len(waiting)
        return member.replica.wake_at - self.offset + 0.001 + rank * STAGGER

    def _state_to_keep(self, reply: Reply) -> str:
        me = self._member.me
        if me is None or not any(e.number % SNAPSHOT_EVERY == 0 and e.client == me.client for e in reply.entries):
            return ""
        return self._member.replica.text()

    def _keep(self, who: Membership, state: str) -> None:
        try:
            self._wire.save(who, state)
        except SchedulerUnreachable as error:
            self._was_unreachable(error)

    # ------------------------------------------------------------------- mishaps

    def _was_unreachable(self, error: SchedulerUnreachable) -> None:
        with self.changed:
            now = time.monotonic()
            if self._down_since == math.inf:
                self._down_since = now
                _log.warning("%s Turns wait for up to %s s, calls that run go on", error, self._lease)
            self._retry_at = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            if self.error is not None or not self._was_here or now - self._down_since >= self._lease:
                self._give_up(error)

    def _give_up(self, error: SchedulerError) -> None:
        self.error = error
        self._retry_at = max(self._retry_at, time.monotonic() + self._pause)
        self._member.fail_waiting(error)
        self.changed.notify_all()

    def _is_back(self) -> None:
        if self._down_since != math.inf:
            _log.warning("the scheduler's server answers again")
        self.error, self._was_here = None, True
        self._down_since, self._retry_at, self._pause = math.inf, 0.0, FIRST_PAUSE
        self._beat_at = time.monotonic() + self._lease / 3

    def _finish(self) -> None:
        member = self._member
        with self.changed:
            who = member.know() if member.me is not None else member.before
            member.me, member.before, self._is_over = None, Membership(), True
            self.changed.notify_all()
        try:
            if who.client:
                self._wire.leave(who)
        except SchedulerUnreachable as error:
            _log.warning("%s; the lease of this process runs out by itself", error)
        if self._listener is not None:
            self._listener.join(self._lease)
        self._wire.close()
        with self.changed:
            self._thread = self._listener = None
            leavers, self._leavers = self._leavers, []
            if member.stakes or member.has_news:  # somebody came while the door was closing
                self.begin()
        for waiter in leavers:
            waiter.wake()

    # ----------------------------------------------------------------- listening

    def _hear(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self._is_over or self._is_worth_listening())
                if self._is_over:
                    return
                me, position = self._member.me, self._member.replica.position
            try:
                entries = self._wire.follow(position)
            except SchedulerUnreachable:
                with self.changed:
                    self._member.is_behind = True
                    self.changed.notify_all()
                    self.changed.wait_for(lambda: self._is_over, pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except SchedulerError as error:  # as in _take
                with self.changed:
                    if self._member.me is me:
                        self._give_up(error)
                continue
            pause = FIRST_PAUSE
            with self.changed:
                if self._member.me is me:
                    self._take(entries)

    def _take(self, entries: tuple[Entry, ...]) -> None:
        try:
            self._member.take(entries)
        except Exception as error:  # noqa: BLE001  # as in _talk: a listener that is gone lets others wait for ever
            self._give_up(_known(error))
        self.changed.notify_all()

    def _is_worth_listening(self) -> bool:
        member = self._member
        return member.me is not None and not member.is_behind and self._down_since == math.inf and member.waits


def _known(error: Exception) -> SchedulerError:
    return error if isinstance(error, SchedulerError) else SchedulerError(f"internal error: {error!r}")
