"""Traces: whether messages still hold the very objects that the writer saw, so that nothing has to be read again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from marshal import dumps
from operator import is_
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagefault.ports import Codec

if TYPE_CHECKING:
    from pagefault.lineage import Lineage
    from pagefault.slot import Slot

_TOGETHER: Final = 50
"""So many pages are compared at a time: what was looked at once is still at hand for the next look."""
_ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""Types whose objects nobody can change."""
_NESTS: Final = frozenset({dict, list})
_PLAIN: Final = {dict}


class Trace(NamedTuple):
    """The very objects that the messages of a page hold: where it is still these, they read as they did.

    Attributes:
        names: Of each message the names of its fields, in order.
        values: What stands in them, of all messages.
        empty: Those of the values that something could be put into.
        nests: Those of the values that can be changed in place otherwise.
        packed: What stood in these.
    """

    names: tuple[tuple[str, ...], ...]
    values: tuple[Any, ...]
    empty: tuple[Any, ...]
    nests: tuple[Any, ...]
    packed: bytes


def trace(natives: Sequence[Any], codec: Codec) -> Trace | None:
    """What messages hold now, without a look at their texts. ``None`` where they are no dictionaries of plain types."""
    data = list(map(codec.encode, natives))
    names = tuple([_shared(tuple(item)) for item in data])
    if set(map(type, data)) != _PLAIN or not all(type(name) is str for each in names for name in each):
        return None
    values = tuple(chain.from_iterable(map(dict.values, data)))
    empty = tuple([value for value in values if type(value) in _NESTS and not value])
    nests = tuple([value for value in values if type(value) not in _ATOMS and (value or type(value) not in _NESTS)])
    try:
        return Trace(names, values, empty, nests, dumps(nests, 2))
    except ValueError:
        return None


def holds(natives: Sequence[Any], traces: Sequence[Trace], codec: Codec) -> bool:
    """Whether messages hold what was traced of them, page by page: then they have the same imprints.

    What is not known to be the same object counts as another one.
    """
    data = list(map(codec.encode, natives))
    names = list(chain.from_iterable([t.names for t in traces]))
    return (
        set(map(type, data)) == _PLAIN
        and list(map(tuple, data)) == names
        and all(map(is_, chain.from_iterable(map(dict.values, data)), chain.from_iterable([t.values for t in traces])))
        and not any(chain.from_iterable([t.empty for t in traces]))
        and all(dumps(t.nests, 2) == t.packed for t in traces if t.nests)
    )


@lru_cache(maxsize=64)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """One tuple for all messages with the same fields."""
    return names


def changed(lineage: Lineage, slots: Sequence[Slot]) -> Slot | None:
    """The first of these slots whose messages do not read as they did, if there is one.

    Nearly always all of them hold the very objects that the writer saw, which is shown at two thirds of the price of
    their imprints.
    """
    some = (slots[start : start + _TOGETHER] for start in range(0, len(slots), _TOGETHER))
    rest = (slot for each in some if not _are_kept(lineage, each) for slot in each)
    return next((slot for slot in rest if not lineage.is_unchanged(slot)), None)


def _are_kept(lineage: Lineage, slots: Sequence[Slot]) -> bool:
    """Whether the messages of all of these hold what was traced of them."""
    traces: list[Trace] = []
    natives: list[Any] = []
    for slot in slots:
        content, known = slot.content, slot.trace
        if known is None or content is None or slot.start < lineage.renewed:
            return False
        if slot.imprint and slot.imprint != content.imprint:  # it was chained before
            return False
        traces.append(known)
        natives += lineage.seen[slot.start : slot.stop]
    return holds(natives, traces, lineage.codec)
