"""One space in this process: its paths, the step that every model call takes, and reclaims.

Deciding runs inline in the caller under the space's lock and does no I/O; what has to be
written is only noted. Several paths of one space can be live at once (time travel, parallel
runs); each call finds its own by the messages it brings.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pagefault.errors import PinnedOverBudget
from pagefault.estimate import reserved
from pagefault.page import Role, SpaceId
from pagefault.paths.lineage import Lineage
from pagefault.paths.previewing import oversize, squeeze
from pagefault.paths.prompt import growth, render, staying
from pagefault.paths.slot import Slot
from pagefault.ports import Codec, TokenCounter
from pagefault.tokens import lines_add_up
from pagefault.window.budget import Budget
from pagefault.window.calibration import Gauge, Sent
from pagefault.window.compaction import Block, Scale, compact
from pagefault.window.eviction import Candidate, PageCost, clock_after
from pagefault.window.notes import NAMED, NOTICE, Note, PinnedItem, change_text, items_text, pressure_text
from pagefault.window.pager import Census, check, victims, whole_turns
from pagefault.window.preview import OVERSIZE
from pagefault.window.view import Pin, View, clock_of, from_record, generation_of, to_record

MAX_LINEAGES: Final = 16
"""Paths of one space that are remembered, such as those of workers side by side; of an older one only its record is."""
MESSAGE_OVERHEAD: Final = 8
_log: Final = logging.getLogger("pagefault")
_tuple: Final = tuple.__new__


class Prompt(NamedTuple):
    """What a step decided. A tuple, since each model call makes one.

    Attributes:
        space: The space that it belongs to.
        lineage: The path that the messages belong to.
        natives: The messages to send, or ``None`` to send the request untouched.
        record: The view record to persist, or ``None`` when no decision changed.
        evicted: Page numbers that left in this step.
        tokens: Upper bound of the whole request; exact for all that was counted behind the agent.
    """

    space: SpaceId
    lineage: Lineage
    natives: list[Any] | None
    record: dict[str, Any] | None
    evicted: tuple[int, ...]
    tokens: int

    @property
    def prefix(self) -> str:
        """Stays the same for as long as the prompt only grows."""
        return f"{self.space.key}:{self.lineage.view.generation}"


class Branch(NamedTuple):
    """A path that goes on from another one for the time of a run; see :mod:`pagefault.held`.

    Attributes:
        base: The path that it goes on from.
        shared: How many of its messages it begins with.
        path: All of it.
        question: Number of the page that the run answers, 0 for none.
    """

    base: Lineage
    shared: int
    path: Lineage
    question: int

    @property
    def tail(self) -> list[Any]:
        """The messages that are its own."""
        return self.path.seen[self.shared :]

    def goes_on_from(self, lineage: Lineage) -> bool:
        """Whether it goes on from the end of this path."""
        return self.base is lineage and self.shared == len(lineage.seen)


class Paging:
    """The in-process state of one space."""

    __slots__ = (
        "__weakref__", "_counter", "_note", "_refused", "branches", "lineages", "lock", "space", "target",
    )  # fmt: skip

    def __init__(
        self,
        space: SpaceId,
        *,
        counter: Callable[[], TokenCounter],
        note: Callable[[Paging, Lineage], None],
    ) -> None:
        self.space = space
        self.lock = threading.RLock()
        self.lineages: list[Lineage] = []
        self.branches: list[Branch] = []
        self.target = 0
        self._counter = counter
        self._note = note
        self._refused: object = None

    def step(
        self,
        natives: list[Any],
        codec: Codec,
        budget: Budget | Gauge,
        *,
        now: float,
        overhead: int = 0,
        record: Mapping[str, Any] | None = None,
        requested: list[Any] | None = None,
        notices: bool = False,
    ) -> Prompt:
        """One model call of a framework: take in what is new and say what to send. Does no I/O.

        Args:
            natives: The framework's whole message history.
            codec: Reads those messages.
            budget: For this call; a gauge learns from what the last answer reports.
            now: Unix seconds.
            overhead: Tokens of system prompt, tool schemas and transient messages.
            record: The view record in the framework's state, if any.
            requested: The request's messages where other middleware changed them.
            notices: Tell the model, once between reclaims, that pages are about to leave.

        Raises:
            BudgetError: What must stay does not fit.
            UnsupportedMessage: One of the messages is none.
        """
        with self.lock:
            lineage = self.lineages[0] if self.lineages else None
            if lineage is None or lineage.codec is not codec or not lineage.follow(natives, now):
                if lineage is not None and lineage.slots and lineage.codec is codec and lineage.is_prefix_of(natives):
                    self._rebuild(lineage, lineage.slots[-1], now)  # its last message changed in place
                lineage = self.align(natives, codec, now=now, record=record)
            elif record is not lineage.record:
                self._reconcile(lineage, record)
            if lineage.sent is not None and lineage.counted >= lineage.sent.gauge.due:
                lineage.weigh()
            gauge, limits = (budget, budget.budget) if isinstance(budget, Gauge) else (None, budget)
            overhead += growth(lineage, requested) if requested is not None else 0
            tokens = lineage.counted + lineage.loose + lineage.own_tokens
            if (
                overhead + tokens <= lineage.calm
                and lineage.judged_by is limits
                and lineage.peak * OVERSIZE <= limits.target
            ):  # as most calls are: what ``decide`` would say is known without asking it
                self.target = limits.target
                lineage.offered, lineage.peak = len(natives), 0
                due = gauge is not None and overhead + tokens >= gauge.due
                lineage.sent = _tuple(Sent, (gauge, len(natives), overhead, 0)) if due else None
                prompt = _tuple(Prompt, (self.space, lineage, None, None, (), overhead + tokens))  # less a call
            else:
                prompt = self.decide(
                    lineage, limits, now=now, overhead=overhead, record=record, requested=requested, notices=notices
                )
                lineage = prompt.lineage
                _judged(prompt, limits, gauge, overhead)
        if not lineage.queued:
            self._note(self, lineage)
        return prompt

    def decide(
        self,
        lineage: Lineage,
        budget: Budget,
        *,
        now: float,
        overhead: int = 0,
        record: Mapping[str, Any] | None = None,
        requested: list[Any] | None = None,
        by_turns: bool = False,
        notices: bool = False,
    ) -> Prompt:
        """What to send of a path that is up to date; see :meth:`step`. The caller holds the lock.

        ``by_turns``: of a turn that is over, all pages leave or none.
        """
        evicted: tuple[int, ...] = ()
        self.target = budget.target
        if not lineage.is_checked:
            _keep_last(lineage)
        if lineage.peak:
            if lineage.peak > budget.target // OVERSIZE:
                lineage.show(oversize(lineage, budget))
            lineage.peak = 0
        total = overhead + lineage.about()
        if total > budget.high and (total := overhead + lineage.ceiling()) > budget.high:
            lineage, evicted = self._reclaim(lineage, budget, overhead, now, by_turns=by_turns)
            total = overhead + lineage.ceiling()
        if notices and total > budget.high * NOTICE:
            total += _warn(lineage, budget, overhead)
        lineage.offered = len(lineage.seen)
        view = lineage.view
        if not view.generation:
            return Prompt(self.space, lineage, None, None, evicted, total)
        natives = None if view.is_plain else render(lineage, requested)
        is_news = generation_of(record) != view.generation
        return Prompt(self.space, lineage, natives, to_record(view) if is_news else None, evicted, total)

    # -- paths -----------------------------------------------------------------------------

    def align(
        self, natives: list[Any], codec: Codec, *, now: float, record: Mapping[str, Any] | None = None
    ) -> Lineage:
        """The path that ``natives`` is, grown by what is new."""
        with self.lock:
            for lineage in self.lineages:
                if lineage.codec is codec and lineage.is_prefix_of(natives):
                    break
            else:
                lineage = self._find(natives, codec, record, now)
            known = len(lineage.seen)
            if len(natives) > known:
                lineage.extend(natives[known:], now=now)
            if not self.lineages or self.lineages[0] is not lineage:
                self.lineages = [lineage, *(x for x in self.lineages if x is not lineage)][:MAX_LINEAGES]
            if record is not lineage.record:
                self._reconcile(lineage, record)
            return lineage

    def _find(self, natives: list[Any], codec: Codec, record: Mapping[str, Any] | None, now: float) -> Lineage:
        best, shared = None, -1
        for lineage in self.lineages:
            if lineage.codec is codec and (common := lineage.common(natives)) > shared:
                best, shared = lineage, common
                if common == len(lineage.seen):
                    break
        if best is None:
            fresh = Lineage(codec, self._counter())
            fresh.extend(natives, now=now, fresh=False)
            return fresh
        if shared == len(best.seen):  # the same path, reloaded: take over the new objects
            best.take_over(natives[:shared])
            return best
        child = best.fork(shared)
        child.take_over(natives[: len(child.seen)])
        if record:  # may name pages beyond the fork, so it is read where the whole path is known
            child.extend(natives[len(child.seen) :], now=now)
            child.adopt(View(clock=clock_of(record)))  # by which its own pages come in
            self._adopt(child, record)
            child.record = record
        return child

    def holding(self, codec: Codec, at: int, tip: str) -> Lineage | None:
        """The path known here whose page ``at`` has the chain ``tip``."""
        with self.lock:
            return next((x for x in self.lineages if x.codec is codec and x.chain_at(at) == tip), None)

    def admit(self, lineage: Lineage) -> None:
        """Make this the path last used."""
        with self.lock:
            self.lineages = [lineage, *(x for x in self.lineages if x is not lineage)][:MAX_LINEAGES]

    def lacking(self, lineage: Lineage) -> list[int]:
        """Pages that the next prompt shows or may show and whose messages are only in the store."""
        with self.lock:
            wanted = staying(lineage) | {s.seq for s in lineage.slots if s.seq not in lineage.absent}
            return lineage.left_behind(sorted(wanted))

    def _reconcile(self, lineage: Lineage, record: Mapping[str, Any] | None) -> None:
        """Take the state's record where it knows more than this process, or something else."""
        lineage.record = record
        if not record:
            return
        lineage.calm = -1
        ours, theirs = lineage.view.generation, generation_of(record)
        if theirs is None or theirs > ours or (theirs == ours and record != to_record(lineage.view)):
            self._adopt(lineage, record)

    def _adopt(self, lineage: Lineage, record: Mapping[str, Any]) -> None:
        try:
            view = from_record(record)
        except ValueError as error:
            if self._refused != str(error):  # said once, not at every step
                self._refused = str(error)
                _log.warning("view record of %s ignored, the window is rebuilt: %s", self.space, error)
            if (refused := generation_of(record)) is not None:  # the next decision must win over it
                lineage.view = replace(lineage.view, generation=max(refused, lineage.view.generation))
            return
        _carry(lineage, view)

    def after_fork(self) -> None:
        """In a forked child: the parent's threads are gone, and with them their locks and queue."""
        self.lock = threading.RLock()
        for lineage in (*self.lineages, *(branch.path for branch in self.branches)):
            lineage.queued = False
            lineage._grouping = threading.Lock()

    # -- reclaim ---------------------------------------------------------------------------

    def _reclaim(
        self, lineage: Lineage, budget: Budget, overhead: int, now: float, *, by_turns: bool
    ) -> tuple[Lineage, tuple[int, ...]]:
        # A bound that only just fits would bring every step here, and a graph's paging node to work each time.
        lineage.count_exactly((budget.low + budget.high) // 2 - overhead)
        if overhead + lineage.ceiling() <= budget.high:
            return lineage, ()
        base = lineage.view.with_items_folded(lambda text: _message_cost(lineage, text))
        view, chosen = lineage.view, set[int]()
        census = _census(lineage, view, overhead)
        while more := victims(census, budget):
            if by_turns:
                free = [cost.seq for cost in census.evictable if cost.seq not in census.last_resort]
                more = whole_turns(more, free, [slot.seq for slot in lineage.slots if slot.has_user])
            slots = lineage.slots
            if (edited := lineage.first_changed([slots[n - 1] for n in more])) is not None:
                lineage = self._rebuild(lineage, edited, now)
                return self._reclaim(lineage, budget, overhead, now, by_turns=by_turns)
            chosen.update(more)
            clock = clock_after(census.evictable, more, view.clock)
            view = base.with_block(_compacted(lineage, chosen, budget), clock)
            census = census.after(chosen, overhead=overhead + view.note_tokens, block=view.block_tokens)
        if not chosen and census.total > budget.window - budget.reserve:
            view, census = base, census.after((), overhead=overhead + base.note_tokens, block=base.block_tokens)
        if census.total > budget.high:
            view = view.with_previews(squeeze(lineage, _results(lineage), census.total - budget.high))
            census = _census(lineage, view, overhead)
        check(census, budget)
        for slot in lineage.slots:
            if slot.uses != 1.0:
                slot.uses = 1 + (slot.uses - 1) / 2
        lineage.adopt(replace(view, seal=lineage.seal(view.block.at)) if view.block else view)
        return lineage, tuple(sorted(chosen))

    def _rebuild(self, lineage: Lineage, changed: Slot, now: float) -> Lineage:
        """Someone changed a message in place: from there on it is another path."""
        child = lineage.fork(changed.start)
        child.is_sole, child.keeps_head = lineage.is_sole, lineage.keeps_head
        child.extend(lineage.seen[len(child.seen) :], now=now)
        _carry(child, lineage.view)
        child.count_exactly()
        self.lineages = [child, *(x for x in self.lineages if x is not lineage)]
        return child

    def leave_out(self, lineage: Lineage, seqs: Sequence[int], budget: Budget) -> None:
        """Have these closed pages, which cannot be shown, in the table of contents only. The caller holds the lock."""
        block = _compacted(lineage, set(seqs), budget)
        lineage.adopt(lineage.view.with_block(block, lineage.view.clock))

    # -- pins ------------------------------------------------------------------------------

    def pin(self, lineage: Lineage, seqs: Sequence[int]) -> None:
        """Keep these closed pages in every prompt from now on."""
        with self.lock:
            pins = [Pin(seq=seq, chain=lineage.chain_at(seq) or "") for seq in seqs]
            lineage.adopt(lineage.view.with_pins(pins))

    def release(self, lineage: Lineage, seqs: Sequence[int], *, unpin: bool = True) -> None:
        """Let these closed pages leave first at the next reclaim; those pinned only with ``unpin``."""
        with self.lock:
            view = lineage.view.without_pins(seqs) if unpin else lineage.view
            away = view.pinned | lineage.absent
            free = [seq for seq in seqs if seq not in away]
            lineage.adopt(view.with_released([Pin(seq=seq, chain=lineage.chain_at(seq) or "") for seq in free]))

    def pin_item(self, lineage: Lineage, key: str, text: str | None, limit: int) -> None:
        """Set a text that stands in every prompt, or remove it: a note now, in its place from the next reclaim on.

        Raises:
            PinnedOverBudget: All pinned items together would have more than ``limit`` tokens.
        """
        with self.lock:
            if any(item.key == key and item.text == text for item in lineage.view.items):
                return  # it says so already, and nothing has to be said again
            at = lineage.length
            chain = lineage.chain_at(at) or ""
            item = PinnedItem(key=key, text=text, at=at, chain=chain) if text is not None else None
            view = lineage.view.with_item(key, item)
            if (size := _message_cost(lineage, items_text(view.items))) > limit and item is not None:
                raise PinnedOverBudget(
                    f"with {key!r} the pinned items would have {size} tokens, the limit is {limit} (an eighth of the "
                    "target); shorten it or remove another one"
                )
            said = change_text(key, text)
            cost = _message_cost(lineage, said)
            note = Note(before=len(lineage.slots) + 1, at=at, chain=chain, about="item", text=said, tokens=cost)
            lineage.adopt(view.with_note(note))


def _judged(prompt: Prompt, budget: Budget, gauge: Gauge | None, overhead: int) -> None:
    """Note on the path what was sent, and up to where it may grow without a reclaim or a notice."""
    lineage = prompt.lineage
    lineage.judged_by, lineage.calm = budget, int(budget.high * NOTICE)
    generation = lineage.view.generation
    if gauge is not None:
        if prompt.evicted:
            gauge.again()
        due = prompt.tokens >= gauge.due
        lineage.sent = Sent(gauge, len(lineage.seen), overhead, generation) if due else None
    if generation:
        lineage.calm = -1


def _carry(lineage: Lineage, view: View) -> None:
    """Adopt a view with all its pinned items: they outlive an edit of the messages before them."""
    lineage.adopt(view)
    if lineage.view.items != view.items:
        at = lineage.length
        whole = lineage.view.with_items_of(view, at, lineage.chain_at(at) or "")
        lineage.adopt(whole.with_items_folded(lambda text: _message_cost(lineage, text)))


def _results(lineage: Lineage) -> list[Slot]:
    """Pages that have to stay but may be shown in part."""
    free = staying(lineage) - lineage.view.pinned - lineage.absent
    return [lineage.slots[seq - 1] for seq in sorted(free)]


def _keep_last(lineage: Lineage) -> None:
    """Bring back what has to stay: on a shorter path an older page may have become the last."""
    lineage.is_checked = True
    back = staying(lineage) & lineage.absent
    if back and not lineage.left_behind(sorted(back)):
        lineage.adopt(lineage.view.with_present(back))
        lineage.is_checked = True


def _census(lineage: Lineage, view: View, overhead: int) -> Census:
    slots, away, system = lineage.slots, view.absent, Role.SYSTEM.value
    lead = next((s.seq for s in slots if s.role != system), len(slots) + 1)
    stay = staying(lineage).union(range(1, lead))
    pages: list[Candidate] = [slot for slot in slots if slot.seq not in away]
    if shown := {p.seq: p.tokens for p in view.previews}:
        pages = [PageCost(p.seq, shown.get(p.seq, p.tokens), p.kind, p.uses, p.born) for p in pages]
    return Census(
        overhead=overhead + view.note_tokens,
        held=[page for page in pages if page.seq in stay],
        evictable=[page for page in pages if page.seq not in stay],
        released=frozenset({p.seq for p in view.released}),
        last_resort=frozenset({slot.seq for slot in slots if slot.role == system}),
        block=view.block_tokens,
    )


def _compacted(lineage: Lineage, chosen: set[int], budget: Budget) -> Block:
    slots = lineage.slots
    gone = [slots[n - 1] for n in sorted(chosen)]
    entries = [slot.line or lineage.line_of(slot) for slot in gone]
    tip = lineage.chain_at(gone[-1].seq) or ""
    counter = lineage.counter
    adds_up, known = lines_add_up(counter), lineage.joined.get
    scale = Scale(counter.count, lambda tokens: reserved(tokens + MESSAGE_OVERHEAD, counter), adds_up, known)
    return compact(lineage.view.block, entries, tip, limit=budget.block, scale=scale)


def _message_cost(lineage: Lineage, text: str) -> int:
    return reserved(lineage.counter.count(text) + MESSAGE_OVERHEAD, lineage.counter)


def _warn(lineage: Lineage, budget: Budget, overhead: int) -> int:
    """Note at the tail that pages will leave soon, once between reclaims; what the note costs."""
    if any(note.about == "pressure" for note in lineage.view.notes):
        return 0
    lineage.count_exactly()
    total = overhead + lineage.ceiling()
    free = _census(lineage, lineage.view, overhead).evictable
    if total <= budget.high * NOTICE or not free:
        return 0
    largest = sorted(free, key=lambda p: (-p.tokens, p.seq))[:NAMED]
    gists = [(p.seq, p.tokens, c.gist if (c := lineage.slots[p.seq - 1].content) else "") for p in largest]
    texts = (pressure_text(total / budget.high, gists[:lines]) for lines in range(NAMED, -1, -2))
    text = next((t for t in texts if total + _message_cost(lineage, t) <= budget.high), None)
    if text is None:  # no room for a word: the reclaim comes next
        return 0
    last = lineage.slots[-1]
    is_asked = last.role == Role.USER and last.start >= lineage.offered  # a question stays the last word
    before = last.seq if is_asked else last.seq + 1
    at = min(before - 1, lineage.length)
    cost = _message_cost(lineage, text)
    note = Note(before=before, at=at, chain=lineage.chain_at(at) or "", about="pressure", text=text, tokens=cost)
    lineage.adopt(lineage.view.with_note(note))
    return cost
