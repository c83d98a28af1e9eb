"""Count a dispatcher's slots and queues anew from its turns, when an exception from outside cut an event short."""

# pyright: reportPrivateUsage=false
# All that follows from the turns is here, in one place, as all that a snapshot holds is in another.

from __future__ import annotations

from collections.abc import Mapping

from pagefault.scheduling.affinity import WarmPrefixes
from pagefault.scheduling.dispatcher import Dispatcher, Phase


def recount(dispatcher: Dispatcher, inner: Mapping[int, int]) -> None:
    """Make good what was left half done. Charges and minutes stay as they are; of the prompt cache less is known.

    Args:
        dispatcher: The dispatcher; whoever waits no longer after this is not told by ``pump``.
        inner: The turns that go on, and how many turns inside each are open. Others are dropped.
    """
    dispatcher.turns = {number: entry for number, entry in dispatcher.turns.items() if number in inner}
    for fair in dispatcher._classes.values():
        fair.clear()
    for meter in (dispatcher._backend, *dispatcher.accounts._meters.values()):
        meter.running = meter.in_flight = 0
    dispatcher._warm = WarmPrefixes(dispatcher.rules.limits.kv_tokens)
    for number, entry in dispatcher.turns.items():
        entry.inner = inner[number]
        entry.phase = _phase(entry.phase, entry.inner)
        waits = entry.phase is Phase.WAITING
        dispatcher._class(entry.request.priority).put(entry.line, number, waits=waits)
        if entry.phase is Phase.RUNNING:
            dispatcher._take(entry, number, entry.since)
    dispatcher._moved.clear()
    turns = dispatcher.turns
    dispatcher._waiting = sum(1 for entry in turns.values() if entry.phase is Phase.WAITING)
    dispatcher._returning = [number for number, entry in turns.items() if entry.phase is Phase.RETURNING]
    for priority in tuple(dispatcher._classes):
        dispatcher._tidy(priority)


def _phase(phase: Phase, inner: int) -> Phase:
    if inner:
        return Phase.LENT
    return Phase.RETURNING if phase is Phase.LENT else phase
