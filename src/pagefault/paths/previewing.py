"""Which tool results of a path are shown in part, and how much of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pagefault.estimate import cost_of
from pagefault.page import Kind, Role
from pagefault.paths.content import count, projection_of
from pagefault.paths.lineage import Lineage
from pagefault.paths.slot import Slot
from pagefault.window.budget import Budget
from pagefault.window.preview import LEAST_TOKENS, OVERSIZE, PREVIEW, Cut, Preview, cap, cut


class _Part(NamedTuple):
    """A part of a tool result, as it is shown now."""

    slot: Slot
    number: int
    text: str
    tokens: int
    cut: Cut | None


def oversize(lineage: Lineage, budget: Budget) -> list[Preview]:
    """Previews for the tool results among the newest messages that would crowd out all else."""
    limit = budget.target // OVERSIZE
    known = lineage.absent | lineage.view.pinned | {p.seq for p in lineage.view.previews}
    newest = (s for s in lineage.slots if s.stop > lineage.peak_from and s.upper > limit and s.seq not in known)
    parts = [
        part for slot in newest if slot.closed and slot.kind is not Kind.RECALLED for part in _parts(lineage, slot)
    ]
    room = max(LEAST_TOKENS, budget.target // PREVIEW)
    return _previews(lineage, parts, {part: room for part in parts if part.tokens > limit})


def squeeze(lineage: Lineage, slots: Iterable[Slot], excess: int) -> list[Preview]:
    """Previews by which the tool results of some pages need ``excess`` tokens less, as far as that goes.

    The largest ones are cut first, all of them to the same size.
    """
    parts = [part for slot in slots if slot.closed for part in _parts(lineage, slot)]
    sizes = [part.tokens for part in parts]
    limit = max(LEAST_TOKENS, cap(sizes, sum(sizes) - excess))
    return _previews(lineage, parts, {part: limit for part in parts if part.tokens > limit})


def shown(lineage: Lineage, slot: Slot) -> list[Any]:
    """The framework's messages of a slot as the model reads them: cut where they are previewed."""
    preview = lineage.previews.get(slot.seq)
    return lineage.natives(slot) if preview is None else _shortened(lineage, slot, preview.cuts)


def _shortened(lineage: Lineage, slot: Slot, cuts: Sequence[Cut]) -> list[Any]:
    """The messages of a slot with some parts shown by their beginning and end."""
    codec, by_part = lineage.codec, {c.part: c for c in cuts}
    short: list[Any] = []
    part = 0
    for native in lineage.natives(slot):
        parts = projection_of(native, codec).parts
        found = [by_part.get(part + number) for number in range(1, len(parts) + 1)]
        texts = [c.shown(text, slot.seq) if c else None for c, text in zip(found, parts, strict=True)]
        short.append(codec.with_parts(native, texts) if any(found) else native)
        part += len(parts)
    return short


def _parts(lineage: Lineage, slot: Slot) -> Iterator[_Part]:
    preview = lineage.previews.get(slot.seq)
    cuts = {c.part: c for c in preview.cuts} if preview else {}
    number = 0
    for native in lineage.natives(slot):
        message = projection_of(native, lineage.codec)
        for text in message.parts:
            number += 1
            if message.role is Role.TOOL and text:
                known = cuts.get(number)
                words = known.shown(text, slot.seq) if known else text
                yield _Part(slot, number, text, _cost(lineage, words), known)


def _previews(lineage: Lineage, parts: list[_Part], limits: Mapping[_Part, int]) -> list[Preview]:
    previews: list[Preview] = []
    for slot in {part.slot.seq: part.slot for part in limits}.values():
        cuts = tuple(_cut(lineage, part, limits.get(part)) for part in parts if part.slot is slot)
        kept = tuple(c for c in cuts if c is not None)
        messages = [projection_of(native, lineage.codec) for native in _shortened(lineage, slot, kept)]
        chain = lineage.chain_at(slot.seq) or ""
        tokens = count(messages, lineage.counter)
        previews.append(Preview(seq=slot.seq, chain=chain, cuts=kept, tokens=tokens))
    return previews


def _cut(lineage: Lineage, part: _Part, limit: int | None) -> Cut | None:
    if limit is None:
        return part.cut
    return cut(part.text, part.number, part.slot.seq, limit, lambda text: _cost(lineage, text))


def _cost(lineage: Lineage, text: str) -> int:
    return cost_of(text, lineage.counter)
