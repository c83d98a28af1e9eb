"""What a recall hands to the model: pages quoted verbatim, each with its provenance, within a budget."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final

from pagefault.estimate import cost_of, utf8_bytes
from pagefault.messages.fences import ANY_FENCE, PAGES, fence_of, header, quotation
from pagefault.page import Address, Role, SpaceId, in_words
from pagefault.ports import TokenCounter
from pagefault.recall.found import RecalledPage
from pagefault.recall.gate import Outcome
from pagefault.recall.slices import Slice, imitates, slice_page

PAGE_TOKENS: Final = 160
"""No page is cut below this; rather fewer pages are shown. A page that is smaller takes what it needs."""

QUOTED: Final = 3
"""Where all that answers is in the window already, so many pages are quoted in short, to be found there: a model does
not see the numbers of the pages in its window."""
QUOTE_CHARS: Final = 240
_BLOCK_TOKENS: Final = 20
"""About what a quoted page costs beside its text: more pages than fit by this are not even counted."""

TOKEN_CHARS: Final = 8
"""More characters a token has not in a text, so one that is longer cannot fit and need not be counted."""
_NAME_CHARS: Final = 64
_NAMES: Final = 4
_LISTED: Final = (16, 4, 1)
"""So many addresses a line names at most, and where there is no room for it."""
_ELSEWHERE: Final = "Where a page names a conversation, it is from another one with the same user, not from this one."
_ABSTAINED: Final = (
    "Nothing reliable was found in the earlier conversation. Say that it is not known; do not guess an answer."
)
_ONLY_THERE: Final = (
    "Nothing certain was found in the earlier conversation. What is nearest is {}: answer only if it says so there, "
    "else say that it is not known."
)
_IMITATES: Final = " | holds text that looks like another speaker's"
_WEAK: Final = "The evidence is weak: these pages may be about something else. Do not state what they say as certain."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One stretch to show, as far as it fits."""

    recalled: RecalledPage
    address: Address
    after: str = ""

    @property
    def origin(self) -> str:
        said = f" | said after {self.after}" if self.after else ""
        return _origin(self.recalled) + said

    def piece(self, chars: int) -> Slice:
        return slice_page(self.recalled.page, self.address, chars)


def render(
    pages: Sequence[RecalledPage],
    outcome: Outcome,
    *,
    counter: TokenCounter,
    budget: int,
    addresses: Sequence[Address] = (),
    skip_resident: bool = False,
) -> str:
    """Quote pages for a model.

    Every page stands between two fences under a line that says where it comes from. The fence is
    derived from the content and does not occur in it, so no page can end its quotation or claim
    another origin. What does not fit is named with the address where it goes on.

    Args:
        pages: Best first; order is kept.
        outcome: What the gate said; an abstention shows no page.
        counter: Counts tokens; its reserve is respected.
        budget: Tokens that the text may take. Below about 300 only a notice remains, which is
            shown whatever the budget; it names as many addresses as fit, and one.
        addresses: What was asked for, where parts or offsets matter.
        skip_resident: Only name pages that are in the window already; where there are no others, the first
            of them are quoted in short.

    Raises:
        PageNotFound: An address names a part or offset that its page does not have.
    """
    if outcome is Outcome.ABSTAIN:
        return _ABSTAINED
    hidden = [recalled for recalled in pages if skip_resident and recalled.resident]
    items = [i for r in pages if not (skip_resident and r.resident) for i in [*_items(r, addresses), *_after(r)]]
    found = [item for item in items if not item.after]
    text = ""
    for most in _LISTED:
        notes = _notes(items, hidden, outcome, most)
        if not items:
            pointed = [item for r in hidden[:QUOTED] for item in [*_items(r, addresses), *_after(r)]]
            text = _pointed(pointed, "\n".join(notes), counter, budget)
        else:
            text = _quoted(items, found, notes, counter, budget) or _frame([], found, notes, most)
        if _fits(text, counter, budget):
            break
    return text


def _notes(items: Sequence[_Item], hidden: Sequence[RecalledPage], outcome: Outcome, most: int) -> list[str]:
    """The lines above what is quoted, with so many addresses at most."""
    here = f"already in your context at {_listed([r.address for r in hidden], most)}" if hidden else ""
    if not items:
        only = _ONLY_THERE.format(here) if outcome is Outcome.WEAK else f"Found {here}."
        return [only if hidden else _ABSTAINED]
    notes = [_WEAK] if outcome is Outcome.WEAK else []
    if any(item.recalled.space is not None for item in items):
        notes.append(_ELSEWHERE)
    return [*notes, f"Found {here}."] if hidden else notes


def _quoted(
    items: Sequence[_Item], found: Sequence[_Item], notes: Sequence[str], counter: TokenCounter, budget: int
) -> str | None:
    """As much as fits, with what was said after the pages found where that takes no room from the best of them."""
    text, is_whole = _fitted(items, notes, counter, budget)
    if not is_whole and len(found) < len(items):
        alone, is_whole = _fitted(found, notes, counter, budget)
        text = alone if is_whole or text is None else text
    return text


def _fitted(
    items: Sequence[_Item], notes: Sequence[str], counter: TokenCounter, budget: int
) -> tuple[str | None, bool]:
    """As much as fits, ``None`` where that is not even one page, and whether the first one is whole in it."""
    if (text := _entire(items, notes, counter, budget)) is not None:
        return text, True
    head = "\n".join([header(PAGES, ANY_FENCE), *notes, _missing(items)])
    shown = _choose(items, counter, budget - cost_of(head, counter))
    while shown:
        pieces = [(item, item.piece(chars)) for item, chars in shown]
        text = _frame(pieces, items, notes)
        if cost_of(text, counter) <= budget:
            return text, pieces[0][0] is items[0] and pieces[0][1].rest is None
        shown = _less(shown)
    return None, False


def left_out(unsearched: Address | None, damaged: Sequence[str]) -> str:
    """The lines under a recall that name what it could not show.

    Args:
        unsearched: The newest pages, where a full disk does not take them.
        damaged: Addresses of pages that were found and do not match their hash.

    Example:
        >>> print(left_out(Address(first=7, last=8), []).strip())
        Not searched, because the disk is full: pages 7-8. Ask for that by address.
    """
    said = ""
    if unsearched is not None:
        said += f"\nNot searched, because the disk is full: {in_words([str(unsearched)])}. Ask for that by address."
    if damaged:
        said += f"\nLeft out, because what is stored does not match its hash any more: {in_words(damaged)}."
    return said


def left_out_of(text: str) -> str:
    """Those lines of an abstention: where something else answers, it is not shown, but they are."""
    return text.partition("\n")[2]


def _fits(text: str, counter: TokenCounter, budget: int) -> bool:
    """Whether a text does not cost more; often its length says so."""
    return utf8_bytes(text) * (1 + counter.reserve) <= budget or cost_of(text, counter) <= budget


def _items(recalled: RecalledPage, addresses: Sequence[Address]) -> list[_Item]:
    whole = recalled.whole
    here = [a for a in addresses if a.alias == whole.alias and a.first <= whole.first <= a.last]
    named = dict.fromkeys(a if a.part or a.offset else whole for a in here)
    return [_Item(recalled=recalled, address=address) for address in named or [whole]]


def _after(recalled: RecalledPage) -> list[_Item]:
    then = recalled.then
    return [] if then is None else [_Item(recalled=then, address=then.whole, after=recalled.address)]


def _entire(items: Sequence[_Item], notes: Sequence[str], counter: TokenCounter, budget: int) -> str | None:
    """Everything, where it fits: the usual case, in which nothing has to be counted by itself."""
    limit = max(0, budget) * TOKEN_CHARS
    pieces = [item.piece(limit) for item in items]
    if any(piece.rest for piece in pieces) or sum(len(piece.text) for piece in pieces) > limit:
        return None
    text = _frame(list(zip(items, pieces, strict=True)), items, notes)
    return text if _fits(text, counter, budget) else None


def _pointed(items: Sequence[_Item], note: str, counter: TokenCounter, budget: int) -> str:
    """The note, and as many short quotes of what it names as fit."""
    for some in range(len(items), 0, -1):
        quotes = _frame([(item, item.piece(QUOTE_CHARS)) for item in items[:some]], items[:some], [])
        text = f"{note}\n{quotes}"
        if _fits(text, counter, budget):
            return text
    return note


def _tried(items: Sequence[_Item], counter: TokenCounter, room: int) -> list[tuple[_Item, Slice, float]]:
    """The items that have room, first come first, each with what could be shown of it at most and its cost."""
    tried: list[tuple[_Item, Slice, float]] = []
    left = float(room)
    for item in items[: max(1, room // _BLOCK_TOKENS)] if room > 0 else ():
        cuts = left >= PAGE_TOKENS or not tried  # else only what fits whole
        limit = int(room if cuts else left) * TOKEN_CHARS  # beyond it a text cannot fit and need not be counted
        piece = item.piece(limit)
        size = cost_of(_block(piece, item.origin, ANY_FENCE), counter) if piece.rest is None else math.inf
        if cuts or size <= left:
            tried.append((item, piece, size))
            left = max(0.0, left - min(size, PAGE_TOKENS))
    return tried


def _choose(items: Sequence[_Item], counter: TokenCounter, room: int) -> list[tuple[_Item, int]]:
    """How many characters of which items to show: first come first, then equal shares of the room.

    Items smaller than their share leave the rest to the others.
    """
    tried = _tried(items, counter, room)
    sizes = [size for _, _, size in tried]
    shares: dict[int, float] = {}
    left = float(room)
    for waiting, index in zip(range(len(tried), 0, -1), sorted(range(len(tried)), key=sizes.__getitem__), strict=True):
        shares[index] = min(sizes[index], left / waiting)
        left -= shares[index]
    chosen = []
    for index, (item, piece, _) in enumerate(tried):
        chars = len(piece.text)
        if sizes[index] > shares[index]:
            chars = _fitting(item, piece.text, counter, shares[index])
        if chars or not piece.text:
            chosen.append((item, chars))
    return chosen


def _fitting(item: _Item, text: str, counter: TokenCounter, share: float) -> int:
    """About the most characters whose block stays within a share of the room; 0 if none do."""
    chars, origin = min(len(text), int(share * TOKEN_CHARS)), item.origin
    while chars > 0:
        cost = cost_of(_block(item.piece(chars), origin, ANY_FENCE), counter)
        if cost <= share:
            break
        chars = min(chars * 9 // 10, int(chars * share / cost))
    return chars


def _less(shown: list[tuple[_Item, int]]) -> list[tuple[_Item, int]]:
    """A little less to show: the last item shortened, or dropped when little is left of it."""
    item, chars = shown[-1]
    return [*shown[:-1], (item, chars * 9 // 10)] if chars > PAGE_TOKENS else shown[:-1]


def _frame(
    shown: Sequence[tuple[_Item, Slice]], items: Sequence[_Item], notes: Sequence[str], most: int = _LISTED[0]
) -> str:
    """The whole text, which names so many of those items at most that are not shown."""
    origins = [item.origin + (_IMITATES if imitates(item.recalled.page, piece) else "") for item, piece in shown]
    texts = [text for (_, piece), origin in zip(shown, origins, strict=True) for text in (piece.text, origin)]
    fence = fence_of(texts, *(item.recalled.page.chain for item, _ in shown))
    there = {id(item) for item, _ in shown}
    missing = [item for item in items if id(item) not in there]
    lines = [header(PAGES, fence) if shown else "Pages were found."]
    lines += notes
    lines += [_block(piece, origin, fence) for (_, piece), origin in zip(shown, origins, strict=True)]
    if missing:
        lines.append(_missing(missing, most))
    return "\n".join(lines)


def _missing(items: Sequence[_Item], most: int = _LISTED[0]) -> str:
    listed = _listed([str(item.address) for item in items], most)
    return f"No room here for {listed}; recall these addresses, a few at a time."


def _block(piece: Slice, origin: str, fence: str) -> str:
    before = f" | begins earlier, at {replace(piece.address, offset=0)}" if piece.address.offset else ""
    rest = f"\n[{fence}] continues at {piece.rest}" if piece.rest else ""
    return quotation(f"page {piece.address} | {origin}{before}", piece.text, fence) + rest


def _origin(recalled: RecalledPage) -> str:
    """Time, speakers and trust of a page, on one line whatever the names hold."""
    speakers = list(dict.fromkeys(_speaker(m.role, m.name) for m in recalled.page.messages))
    if len(speakers) > _NAMES:
        speakers = [*speakers[:_NAMES], f"{len(speakers) - _NAMES} more"]
    words = [time_of(recalled.page.created_at), ", ".join(speakers) or "nobody", f"trust: {recalled.trust}"]
    if recalled.space is not None:
        words.insert(0, _conversation(recalled.space))
    if recalled.superseded_by is not None:
        words.append(f"a newer page says something like it: {recalled.superseded_by}")
    if recalled.resident:
        words.append("also in your context")
    return " | ".join(words)


def _conversation(space: SpaceId) -> str:
    agent = f", agent {_plain(space.agent)}" if space.agent else ""
    return f"conversation {_plain(space.thread)}{agent}"


def _speaker(role: Role, name: str) -> str:
    return f"{role} {_plain(name)}" if name else role.value


def _plain(name: str) -> str:
    return re.sub(r"[^\w .@-]", "_", name[:_NAME_CHARS])


def at_most(sizes: Iterable[int], room: float) -> int:
    """So many of some texts fit at most, by their characters: only so many have to be counted.

    Example:
        >>> at_most([80, 80, 1_000_000], 20)
        2
    """
    return bisect_right(list(accumulate(sizes)), room * TOKEN_CHARS)


def time_of(seconds: float) -> str:
    """A time as a line of provenance gives it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # not a time that a calendar has
        return "unknown time"


def _listed(addresses: Sequence[str], most: int) -> str:
    more = f" and {len(addresses) - most} more" if len(addresses) > most else ""
    return ", ".join(addresses[:most]) + more
