"""What each account has used, what it may use, and what its next call will probably use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from pagefault.scheduling.costs import NOTHING, Usage
from pagefault.scheduling.fairness import AccountId
from pagefault.scheduling.limits import Limits, Meter
from pagefault.scheduling.rules import Request, Rules

MOST_RECORDS: Final = 10_000
MOST_METERS: Final = 10_000
UNLIMITED: Final = 2**53
UNKNOWN_INPUT: Final = 1_000
UNKNOWN_OUTPUT: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountUsage:
    """What an account was charged for.

    Attributes:
        turns: Calls that ended well.
        failed: Calls that did not; without a report of usage they cost nothing.
        usage: Tokens of all of them.
        cost: What they cost.
    """

    turns: int = 0
    failed: int = 0
    usage: Usage = NOTHING
    cost: float = 0.0


class _Metered(Protocol):
    meters: tuple[Meter, ...]


class _Record:
    __slots__ = ("cached", "cost", "counted", "failed", "inputs", "outputs", "turns")

    def __init__(self) -> None:
        self.turns = self.failed = self.counted = self.inputs = self.outputs = self.cached = 0
        self.cost = 0.0

    def frozen(self) -> AccountUsage:
        used = Usage(input_tokens=self.inputs, output_tokens=self.outputs, cached_tokens=self.cached)
        return AccountUsage(turns=self.turns, failed=self.failed, usage=used, cost=self.cost)


class Accounts:
    """Usage and quotas by tenant and agent. Of the usage of idle accounts the latest 10,000 are kept."""

    __slots__ = ("_meters", "_records", "_room_for_meters", "_rules", "have_quotas")

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.have_quotas = bool(rules.quotas or rules.tenant_quotas)
        self._records: OrderedDict[AccountId, _Record] = OrderedDict()
        self._meters: dict[tuple[str, ...], Meter] = {}
        self._room_for_meters = MOST_METERS

    def usage(self, account: AccountId) -> AccountUsage | None:
        """What an account has used; ``None`` for one that nobody knows."""
        record = self._records.get(account)
        return None if record is None else record.frozen()

    def expected(self, request: Request) -> Usage:
        """What a call will use: as its caller says; else as the account's calls so far, else a guess."""
        record = self._record(request.account)
        inputs, outputs = request.input_tokens, request.max_output_tokens
        if inputs is None or outputs is None:
            room = self._room(request)
            if inputs is None:
                guess = record.inputs // record.counted if record.counted else UNKNOWN_INPUT
                inputs = min(guess, max(0, room - (outputs or 0)))
            if outputs is None:
                guess = record.outputs // record.counted if record.counted else UNKNOWN_OUTPUT
                outputs = min(guess, max(0, room - inputs))
        return Usage(input_tokens=inputs, output_tokens=outputs)

    def quotas(self, request: Request) -> tuple[tuple[str, Meter], ...]:
        """The quotas a call has to fit: of its tenant, of its account's agent and of its own agent."""
        if not self.have_quotas:
            return ()
        rules = self._rules
        tenant, root = request.account
        found: list[tuple[str, Meter]] = []
        limits = rules.tenant_quotas.get(tenant)
        if limits is not None:
            found.append((f"tenant {tenant!r}", self._meter((tenant,), limits)))
        for agent in dict.fromkeys((root, request.agent)):
            limits = rules.quotas.get(agent)
            if limits is not None:
                found.append((f"agent {agent!r}", self._meter((tenant, agent), limits)))
        return tuple(found)

    def charge(self, request: Request, used: Usage, cost: float, *, failed: bool) -> None:
        """A call has ended."""
        record = self._record(request.account)
        if failed:
            record.failed += 1
        else:
            record.turns += 1
        if used is not NOTHING:  # a call that failed after it reported what it used is like any other
            record.counted += 1
        record.inputs += used.input_tokens
        record.outputs += used.output_tokens
        record.cached += used.cached_tokens
        record.cost += cost

    def tidy(self, turns: Iterable[_Metered], now: float) -> None:
        """Let go of quotas' meters that are like new ones, so that memory does not grow with the number of tenants."""
        if len(self._meters) <= self._room_for_meters:
            return
        used = {id(meter) for turn in turns for meter in turn.meters}
        self._meters = {
            key: meter for key, meter in self._meters.items() if id(meter) in used or not meter.is_like_new(now)
        }
        self._room_for_meters = max(MOST_METERS, 2 * len(self._meters))

    def _record(self, account: AccountId) -> _Record:
        record = self._records.get(account)
        if record is None:
            record = self._records[account] = _Record()
            if len(self._records) > MOST_RECORDS:
                self._records.popitem(last=False)
        else:
            self._records.move_to_end(account)
        return record

    def _room(self, request: Request) -> int:
        """A guess is never what makes a call too large."""
        everyone = (self._rules.limits, *(meter.limits for _, meter in self.quotas(request)))
        return int(min(UNLIMITED, *(each.largest for each in everyone)))

    def _meter(self, key: tuple[str, ...], limits: Limits) -> Meter:
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(limits)
        return meter
