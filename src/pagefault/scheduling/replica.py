"""A dispatcher that follows a log: who reads the same entries decides the same.

Several processes share a backend by sharing what happens, not what is decided: each event is one
entry of one log, stamped with one clock, and each process feeds all entries to a replica of its own.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pagefault.errors import QueueFull, QuotaExceeded, SharedStateUnreadable
from pagefault.scheduling.costs import Usage
from pagefault.scheduling.dispatcher import Dispatcher, Phase
from pagefault.scheduling.plain import FORMAT, request_from, request_to, usage_from, usage_to
from pagefault.scheduling.rules import Request, Rules
from pagefault.scheduling.snapshot import dispatcher_from, dispatcher_to

MICROS: Final = 1_000_000
LONGEST_PAUSE: Final = 86_400.0
"""Seconds that an entry of the log may have all wait; the script writes pauses of a lease at most."""
_UNREADABLE: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


class Token(NamedTuple):
    """Tells a resource who holds a slot now (a fencing token).

    A slot's numbers only rise: a resource that keeps the highest number of each slot, and refuses lower
    ones, never serves a holder whose slot has been given to somebody else.

    Attributes:
        slot: Which slot, from 0.
        number: The log entry that granted it.
    """

    slot: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the log.

    Attributes:
        id: Its number and its time in microseconds, as ``"number-time"``; numbers have no gaps.
        client: Whose event it is; empty if it is nobody's.
        body: What happened, as JSON.
    """

    id: str
    client: str
    body: str

    @property
    def number(self) -> int:
        """Its place in the log."""
        return int(self.id.partition("-")[0])


class Applied(NamedTuple):
    """What an entry changed.

    Attributes:
        event: The number its client gave it.
        refusal: Why nothing came of it.
        moved: Turns that wait no longer.
        gone: The client whose turns it ended.
    """

    event: int
    refusal: QuotaExceeded | QueueFull | None
    moved: list[int]
    gone: str


def body(event: int, *steps: list[Any]) -> str:
    """An entry's text: what happened, step by step."""
    return json.dumps({"e": event, "do": steps}, separators=(",", ":"))


def ask(request: Request) -> list[Any]:
    """Somebody asks for a turn; its number will be the entry's."""
    return ["ask", request_to(request)]


def adopt(request: Request, *, inner: int, holds: bool) -> list[Any]:
    """A turn goes on that this log does not know; so many turns inside it are open, or it holds a slot."""
    return ["adopt", request_to(request), inner, holds]


def finish(number: int, usage: Usage | None, *, failed: bool) -> list[Any]:
    """A turn has ended."""
    return ["finish", number, None if usage is None else usage_to(usage), failed]


class Replica:
    """One process's copy of what all processes have decided.

    Attributes:
        dispatcher: Who may use the backend; feed it through ``apply`` only.
        position: Id of the last entry that was applied.
        number: Its number.
        time: Its time.
    """

    def __init__(self, rules: Rules, position: str = "0-0") -> None:
        self.dispatcher = Dispatcher(rules)
        self._move_to(position)
        self._owners: dict[int, str] = {}
        self._tokens: dict[int, Token] = {}
        self._do: Mapping[str, Callable[..., None]] = {
            "ask": self._ask, "adopt": self._adopt, "lend": self._lend, "regain": self._regain,
            "finish": self._finish, "refused": self._refused, "gone": self._gone, "pause": self._pause,
        }  # fmt: skip

    def apply(self, entry: Entry) -> Applied:
        """Take in the next entry of the log.

        Raises:
            SharedStateUnreadable: It was not written by this version of pagefault.
        """
        try:
            self._move_to(entry.id)
            event, steps = _parsed(entry.body)
            refusal, gone = None, ""
            try:
                for verb, *values in steps:
                    self._do[verb](entry, *values)
                    gone = values[0] if verb == "gone" else gone
            except (QuotaExceeded, QueueFull) as error:
                refusal = error
        except _UNREADABLE as error:
            raise SharedStateUnreadable(
                f"log entry {entry.id} cannot be read: {entry.body!r:.80}; another version of pagefault, or something "
                "else, writes under this name: stop it, or give the scheduler another one (?name=...)"
            ) from error
        moved = self.dispatcher.pump(self.time)
        self._give_tokens(moved)
        return Applied(event, refusal, moved, gone)

    def text(self) -> str:
        """All of it but the rules, for those who come later, as JSON."""
        values = {
            "format": FORMAT,
            "dispatcher": dispatcher_to(self.dispatcher),
            "owners": list(self._owners.items()),
            "tokens": [[number, *token] for number, token in self._tokens.items()],
        }
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def of_text(cls, rules: Rules, text: str, position: str) -> Replica:
        """A replica as another one was at ``position``.

        Raises:
            SharedStateUnreadable: It was not written by this version of pagefault.
        """
        try:
            values = json.loads(text)
            _check_format(values["format"])
            made = cls(rules, position)
            made.dispatcher = dispatcher_from(rules, values["dispatcher"])
            made._owners = {int(number): str(owner) for number, owner in values["owners"]}
            made._tokens = {int(number): Token(int(slot), int(at)) for number, slot, at in values["tokens"]}
        except _UNREADABLE as error:
            raise SharedStateUnreadable(f"the snapshot at {position} cannot be read: {text!r:.80}") from error
        return made

    @property
    def wake_at(self) -> float:
        """When time alone will let somebody in; then somebody writes an empty entry."""
        return self.dispatcher.wake_at

    def owner(self, number: int) -> str:
        """The client a turn belongs to; empty if there is no such turn."""
        return self._owners.get(number, "")

    def token(self, number: int) -> Token | None:
        """The token of a turn that holds a slot."""
        return self._tokens.get(number)

    def waiting_clients(self) -> list[str]:
        """Clients with a turn that waits, in the order in which they wait."""
        turns = self.dispatcher.turns.items()
        return list(dict.fromkeys(self._owners[number] for number, entry in turns if entry.phase is Phase.WAITING))

    # ------------------------------------------------------------------- steps

    def _ask(self, entry: Entry, request: Any) -> None:
        self.dispatcher.submit(request_from(request), self.time, number=entry.number)
        self._owners[entry.number] = entry.client

    def _adopt(self, entry: Entry, request: Any, inner: int, holds: Any) -> None:
        number = entry.number
        self.dispatcher.adopt(request_from(request), self.time, number=number, inner=int(inner), holds=bool(holds))
        self._owners[entry.number] = entry.client

    def _lend(self, entry: Entry, number: int) -> None:
        if self._is_of(entry, number):
            self.dispatcher.lend(number, self.time)
            self._tokens.pop(number, None)

    def _regain(self, entry: Entry, number: int) -> None:
        if self._is_of(entry, number):
            self.dispatcher.regain(number, self.time)

    def _finish(self, entry: Entry, number: int, usage: Any, failed: Any) -> None:
        if self._is_of(entry, number):
            self._end(number, None if usage is None else usage_from(usage), failed=bool(failed))

    def _refused(self, entry: Entry, retry_after: float | None) -> None:
        del entry
        self.dispatcher.refused(retry_after, self.time)

    def _gone(self, entry: Entry, client: str) -> None:
        del entry
        for number in [number for number, owner in self._owners.items() if owner == client]:
            self._end(number, None, failed=True)

    def _pause(self, entry: Entry, until: float) -> None:
        del entry
        if not float(until) <= self.time + LONGEST_PAUSE:
            raise ValueError(f"a pause until {until}")
        self.dispatcher.pause(float(until))

    # ----------------------------------------------------------------- details

    def _move_to(self, position: str) -> None:
        self.position = position
        number, _, micros = position.partition("-")
        self.number, self.time = int(number), int(micros) / MICROS

    def _is_of(self, entry: Entry, number: int) -> bool:
        return self._owners.get(number) == entry.client

    def _end(self, number: int, usage: Usage | None, *, failed: bool) -> None:
        del self._owners[number]
        self._tokens.pop(number, None)
        self.dispatcher.finish(number, self.time, usage=usage, failed=failed)

    def _give_tokens(self, moved: list[int]) -> None:
        if not moved:
            return
        taken = {token.slot for token in self._tokens.values()}
        for number in moved:
            entry = self.dispatcher.turns.get(number)
            if entry is not None and entry.phase is Phase.RUNNING:
                slot = next(slot for slot in itertools.count() if slot not in taken)
                taken.add(slot)
                self._tokens[number] = Token(slot, self.number)


def _check_format(number: Any) -> None:
    if number != FORMAT:
        raise ValueError(f"format {number}, this is format {FORMAT}")


def _parsed(text: str) -> tuple[int, list[list[Any]]]:
    values = json.loads(text)
    event: Any = values["e"]
    steps: list[list[Any]] = values["do"]
    if type(event) is not int or not isinstance(values["do"], list):
        raise TypeError(text)
    return event, steps
