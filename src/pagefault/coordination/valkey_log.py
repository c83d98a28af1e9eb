"""The log on a Valkey or Redis server: one script, and one blocking read. It carries entries and decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from pagefault.coordination.place import MeetingPlace
from pagefault.errors import BadTurn, MissingDependency, RulesDiffer, SchedulerUnreachable, SharedStateUnreadable
from pagefault.scheduling.replica import MICROS, Entry

if TYPE_CHECKING:
    import redis

LONGEST_CALL: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Who one is in a log, and how far one has read it."""

    epoch: str = ""
    client: str = ""
    position: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the server said.

    Attributes:
        kind: ``"read"``, ``"loaded"`` (start from ``state``), ``"expired"`` (one's lease has ended) or ``"lost"`` (it
            does not know what one has read).
        now: The server's time, in seconds.
        entries: Entries that follow.
        membership: After ``"loaded"``: who one is, and where ``state`` was taken; no position for the beginning.
        state: A snapshot, or nothing to begin with the first entry.
    """

    kind: str
    now: float = 0.0
    entries: tuple[Entry, ...] = ()
    membership: Membership = Membership()
    state: str = ""


class ValkeyLog:
    """One client's way to the log. The calls block; ``follow`` may run beside the others.

    Args:
        place: Server and name.

    Raises:
        MissingDependency: The client library is not installed.
        BadTurn: A parameter in the URL that the client library does not know.
    """

    def __init__(self, place: MeetingPlace) -> None:
        try:
            import redis  # noqa: PLC0415  # an extra: only who shares a backend needs it
            from redis.backoff import NoBackoff  # noqa: PLC0415  # as above
            from redis.retry import Retry  # noqa: PLC0415  # as above
        except ImportError as error:
            raise MissingDependency("Scheduler(shared=...) needs a client: pip install 'pagefault[valkey]'") from error
        self._place = place
        self._wait = min(LONGEST_CALL, place.lease / 2)
        self._lease = str(round(place.lease * MICROS))
        self._failures: tuple[type[Exception], ...] = (redis.RedisError, OSError)

        def client(wait: float) -> redis.Redis:
            return redis.Redis.from_url(
                place.server,
                decode_responses=True,
                protocol=2,
                socket_timeout=wait,
                socket_connect_timeout=self._wait,
                retry=Retry(NoBackoff(), 0),  # when to try again is decided where it is known what for
                max_connections=1,
            )

        try:
            self._calls = client(self._wait)
            self._reads = client(place.lease / 3 + self._wait)
        except ValueError as error:
            raise SchedulerUnreachable(f"{place.shown} cannot be used: {error}") from error
        self._check_parameters()
        self._script = self._calls.register_script(
            files("pagefault.coordination").joinpath("log.lua").read_text(encoding="utf-8")
        )

    def join(self, before: Membership, rules: str, bodies: Sequence[str], attempt: str) -> Reply:
        """Become a client, in place of who one was before.

        Args:
            before: Who that was.
            rules: One's rules, as text.
            bodies: Turns that go on.
            attempt: The same for what is sent again because no answer came: then one is not two clients, and who one
                was before is not taken for somebody whose lease has ended.

        Raises:
            RulesDiffer: Others share this backend by other rules.
            SchedulerUnreachable: The server did not answer, or refused.
        """
        answer = self._call("join", before, rules, attempt, *bodies)
        if answer[0] == "rules":
            raise RulesDiffer(
                f"{self._place.shown} is shared by the rules {answer[1]}, this scheduler has {rules}; give it the same "
                "rules or another name (?name=...), or stop the others first"
            )
        return self._reply(answer, before)

    def append(self, who: Membership, batch: int, bodies: Sequence[str], *, only_here: bool = False) -> Reply:
        """Write entries, renew the lease and read what was written since.

        Args:
            who: The writer.
            batch: Rises with each batch; the same one sent twice is written once.
            bodies: What happened, in order.
            only_here: Write only if nothing was written since.

        Raises:
            SchedulerUnreachable: The server did not answer, or refused.
        """
        guard = who.position if only_here else ""
        return self._reply(self._call("append", who, str(batch), guard, *bodies), who)

    def follow(self, position: str) -> tuple[Entry, ...]:
        """Entries after ``position``; waits for one, a third of a lease at most.

        Raises:
            SchedulerUnreachable: The server did not answer, or refused.
        """
        key = self._place.keys[1]
        try:
            found: Any = self._reads.xread({key: position}, block=round(self._place.lease * 1_000 / 3))
        except self._failures as error:
            raise self._unreachable(error) from error
        except UnicodeDecodeError as error:
            raise self._foreign(error) from error
        return tuple(self._entry(place, fields) for _, entries in found or () for place, fields in entries)

    def save(self, who: Membership, state: str) -> None:
        """Keep the state at one's position for those who come later, unless a later one is kept.

        Raises:
            SchedulerUnreachable: The server did not answer, or refused.
        """
        self._call("save", who, state)

    def leave(self, who: Membership) -> None:
        """Give back the lease and end all turns.

        Raises:
            SchedulerUnreachable: The server did not answer, or refused.
        """
        self._call("leave", who)

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()
        self._reads.close()

    # ----------------------------------------------------------------- details

    def _check_parameters(self) -> None:
        """Make a connection that is never opened: the client looks at a URL's parameters only then."""
        pool = self._calls.connection_pool
        try:
            pool.connection_class(**pool.connection_kwargs)
        except TypeError as error:
            raise BadTurn(
                f"{self._place.shown}: the client library takes no such parameter in the URL's query: {error}"
            ) from error

    def _call(self, verb: str, who: Membership, *values: str) -> list[Any]:
        arguments = (verb, who.epoch, who.position or "0-0", who.client, self._lease, *values)
        try:
            answer: Any = self._script(keys=self._place.keys, args=arguments)
        except self._failures as error:
            raise self._unreachable(error) from error
        except UnicodeDecodeError as error:
            raise self._foreign(error) from error
        return list(answer)

    def _entries(self, raw: Any) -> tuple[Entry, ...]:
        return tuple(self._entry(place, dict(zip(it := iter(fields), it, strict=False))) for place, fields in raw)

    def _entry(self, place: str, fields: dict[str, str]) -> Entry:
        try:
            return Entry(id=place, client=fields["c"], body=fields["b"])
        except KeyError as error:
            raise self._foreign(error) from error

    def _foreign(self, error: Exception) -> SharedStateUnreadable:
        return SharedStateUnreadable(
            f"the log at {self._place.shown} holds what pagefault does not write ({error!r:.80}); stop what else "
            "writes there, or give the scheduler another name (?name=...)"
        )

    def _reply(self, answer: list[Any], who: Membership) -> Reply:
        kind, *values = answer
        if kind == "read":
            return Reply(kind=kind, now=int(values[0]) / MICROS, entries=self._entries(values[1]), membership=who)
        if kind == "loaded":
            now, client, epoch, position, state, entries = values
            membership = Membership(epoch=epoch, client=client, position=position)
            return Reply(
                kind=kind, now=int(now) / MICROS, entries=self._entries(entries), membership=membership, state=state
            )
        return Reply(kind=kind)

    def _unreachable(self, error: Exception) -> SchedulerUnreachable:
        return SchedulerUnreachable(
            f"{self._place.shown} could not be used ({type(error).__name__}: {error}); is the server running, are "
            "address, password and database right, and does it want valkey:// (plain) or valkeys:// (encrypted)?"
        )
