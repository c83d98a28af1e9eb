"""A dispatcher as plain JSON values and back: the restored one decides equally for ever after.

Written out field by field: what is read back is checked, and nothing in it is code.
"""

# pyright: reportPrivateUsage=false
# All that decisions depend on is here, in one place, and nothing of it in the classes that decide.

from __future__ import annotations

import itertools
import math
from typing import Any

from pagefault.scheduling.accounts import Accounts
from pagefault.scheduling.affinity import WarmPrefixes
from pagefault.scheduling.dispatcher import Dispatcher, LiveTurn, Phase
from pagefault.scheduling.fairness import FairClass, Line
from pagefault.scheduling.limits import Meter, Window
from pagefault.scheduling.pace import Pace
from pagefault.scheduling.plain import digest_from, digest_to, request_from, request_to, usage_from, usage_to
from pagefault.scheduling.rules import Rules


def dispatcher_to(dispatcher: Dispatcher) -> dict[str, Any]:
    """A dispatcher as plain values, after ``pump``; its rules are not among them."""
    return {
        "wake_at": _time_to(dispatcher.wake_at),
        "next": _peek(dispatcher),
        "accounts": _accounts_to(dispatcher.accounts),
        "backend": _meter_to(dispatcher._backend),
        "pace": _pace_to(dispatcher._pace),
        "warm": _warm_to(dispatcher._warm),
        "classes": [[priority, _class_to(fair)] for priority, fair in dispatcher._classes.items()],
        "turns": [[number, *_entry_to(entry)] for number, entry in dispatcher.turns.items()],
        "returning": list(dispatcher._returning),
    }


def dispatcher_from(rules: Rules, values: Any) -> Dispatcher:
    """A dispatcher from plain values.

    Raises:
        ValueError: They are none. Also ``KeyError`` and ``TypeError``.
    """
    made = Dispatcher(rules)
    made.wake_at = _time_from(values["wake_at"])
    made._numbers = itertools.count(int(values["next"]))
    _fill_accounts(made.accounts, values["accounts"])
    _fill_meter(made._backend, values["backend"])
    _fill_pace(made._pace, values["pace"])
    _fill_warm(made._warm, values["warm"])
    made._classes = {int(priority): _class_from(fair) for priority, fair in values["classes"]}
    for number, *entry in values["turns"]:
        made.turns[int(number)] = _entry_from(made, entry)
    made._waiting = sum(1 for entry in made.turns.values() if entry.phase is Phase.WAITING)
    made._returning = [int(number) for number in values["returning"]]
    return made


def _peek(dispatcher: Dispatcher) -> int:
    following = next(dispatcher._numbers)
    dispatcher._numbers = itertools.count(following)
    return following


def _entry_to(entry: LiveTurn) -> list[Any]:
    numbers = [entry.since, entry.cost, entry.inner]
    return [request_to(entry.request), usage_to(entry.expected), entry.phase.value, *numbers]


def _entry_from(dispatcher: Dispatcher, values: Any) -> LiveTurn:
    request, expected, phase, since, cost, inner = values
    asked = request_from(request)
    quotas = tuple(quota for _, quota in dispatcher.accounts.quotas(asked))
    entry = LiveTurn(asked, usage_from(expected), (dispatcher._backend, *quotas), float(since))
    entry.prompt = dispatcher._prompt(asked, entry.expected)
    entry.phase, entry.cost, entry.inner = Phase(phase), float(cost), int(inner)
    entry.line = dispatcher._classes[asked.priority]._lines[asked.account]
    return entry


def _accounts_to(accounts: Accounts) -> dict[str, Any]:
    return {
        "records": [
            [*account, r.turns, r.failed, r.counted, r.inputs, r.outputs, r.cached, r.cost]
            for account, r in accounts._records.items()
        ],
        "meters": [[list(key), _meter_to(meter)] for key, meter in accounts._meters.items()],
    }


def _fill_accounts(accounts: Accounts, values: Any) -> None:
    for tenant, agent, *numbers, cost in values["records"]:
        record = accounts._record((str(tenant), str(agent)))
        record.turns, record.failed, record.counted, *tokens = map(int, numbers)
        record.inputs, record.outputs, record.cached = tokens
        record.cost = float(cost)
    for key, meter in values["meters"]:
        limits = accounts._rules.tenant_quotas[key[0]] if len(key) == 1 else accounts._rules.quotas[key[1]]
        _fill_meter(accounts._meter(tuple(key), limits), meter)


def _meter_to(meter: Meter) -> dict[str, Any]:
    return {
        "running": meter.running,
        "in_flight": meter.in_flight,
        "requests": _window_to(meter._requests),
        "tokens": _window_to(meter._tokens),
    }


def _fill_meter(meter: Meter, values: Any) -> None:
    meter.running, meter.in_flight = int(values["running"]), int(values["in_flight"])
    _fill_window(meter._requests, values["requests"])
    _fill_window(meter._tokens, values["tokens"])


def _window_to(window: Window | None) -> list[Any]:
    return [] if window is None else [[key, at, amount] for key, (at, amount) in window._entries.items()]


def _fill_window(window: Window | None, values: Any) -> None:
    for key, at, amount in values:
        if window is None:
            raise ValueError("a minute is kept without a limit")
        window.add(int(key), int(amount), float(at))


def _pace_to(pace: Pace) -> list[Any]:
    return [pace._width, pace._pause, _time_to(pace.until), pace.reason]


def _fill_pace(pace: Pace, values: Any) -> None:
    width, pause, until, reason = values
    pace._width, pace._pause = float(width), float(pause)
    pace.until = -math.inf if until is None else float(until)
    pace.reason = str(reason)


def _warm_to(warm: WarmPrefixes) -> dict[str, Any]:
    return {"others": warm._others, "seen": [[digest_to(digest), *seen] for digest, seen in warm._seen.items()]}


def _fill_warm(warm: WarmPrefixes, values: Any) -> None:
    seen = [
        (digest_from(digest), int(tokens), int(own), float(at), int(busy))
        for digest, tokens, own, at, busy in values["seen"]
    ]
    warm.remember(int(values["others"]), seen)


def _class_to(fair: FairClass) -> dict[str, Any]:
    return {
        "virtual": fair.virtual,
        "since": fair.since,
        "open": fair._open,
        "room": fair._room,
        "lines": [_line_to(line) for line in fair._lines.values()],
        "waiting": [list(account) for account in fair.waiting],
    }


def _class_from(values: Any) -> FairClass:
    fair = FairClass()
    fair.virtual, fair.since = float(values["virtual"]), float(values["since"])
    fair._open, fair._room = int(values["open"]), int(values["room"])
    for line in map(_line_from, values["lines"]):
        fair._lines[line.account] = line
    fair.waiting = {account: fair._lines[account] for account in map(_account_from, values["waiting"])}
    return fair


def _line_to(line: Line) -> list[Any]:
    return [*line.account, line.counter, list(line.waiting), line.passed, line.open, line.blocked]


def _line_from(values: Any) -> Line:
    tenant, agent, counter, waiting, passed, opened, blocked = values
    line = Line((str(tenant), str(agent)))
    line.counter, line.passed, line.open, line.blocked = float(counter), int(passed), int(opened), bool(blocked)
    line.waiting.extend(int(number) for number in waiting)
    return line


def _account_from(values: Any) -> tuple[str, str]:
    tenant, agent = values
    return str(tenant), str(agent)


def _time_to(time: float) -> float | None:
    return None if math.isinf(time) else time


def _time_from(time: Any) -> float:
    return math.inf if time is None else float(time)
