"""One path of one space, as this process knows it: messages grouped into slots.

A slot is a page's place in a path, before and after the page is materialised. The hot path
only sketches what is new; encoding, hashing and counting happen behind the agent, or inline
when a reclaim needs them. No I/O; the caller holds the space's lock.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import compress, islice
from operator import is_not
from typing import Any

from pagefault.chain import ROOT, link
from pagefault.messages import canonical
from pagefault.messages.equal import is_equal
from pagefault.page import Page
from pagefault.paths.content import Content, copy_of, digest, imprints, materialise, originals, page_of, read_as, sum_of
from pagefault.paths.dropped import Kept
from pagefault.paths.slot import Arrival, LeftBehind, Slot, group
from pagefault.ports import Codec, TokenCounter
from pagefault.window.budget import Budget
from pagefault.window.calibration import Sent
from pagefault.window.compaction import Entry
from pagefault.window.joined import Joined
from pagefault.window.preview import Preview
from pagefault.window.view import Seal, View


class Lineage:
    """A path: the framework's messages, the slots they form, and the view over them.

    Attributes:
        root: The chain before the first page; another one than ``ROOT`` where a conversation was begun anew.
        is_sole: No framework's state holds its messages, only the store does.
        keeps_head: The space's head may say where it ends.
        ends_at_head: Whatever the store has behind its head is another path's, one that was left for it.
        replaced: Message objects that it held before: to let go of thousands takes a while, which no step waits for.
        offered: So many of its messages the last prompt could show.
        calm: With up to so many tokens, ``judged_by`` leaves the path as it is; -1 where that is to be found out.
        vouched: Chains at some pages that a seal has shown, which need not be computed to be known.
        joined: Lines of contents joined before a reclaim asks for them.
        previews: How the pages that are in the window in part are shown, by number.
    """

    __slots__ = (
        "__weakref__", "_arrivals", "_clean", "_grouping", "_slots", "_tail", "_tail_size", "_uncounted", "absent",
        "calm", "codec", "counted", "counter", "ends_at_head", "is_checked", "is_sole", "joined", "judged_by",
        "keeps_head", "kept", "loose", "offered", "own_tokens", "peak", "peak_from", "previews", "queued", "record",
        "rendered", "replaced", "root", "seen", "sent", "view", "vouched",
    )  # fmt: skip

    def __init__(self, codec: Codec, counter: TokenCounter) -> None:
        self.codec = codec
        self.counter = counter
        self.seen: list[Any] = []
        self.replaced: list[Any] = []
        self._slots: list[Slot] = []
        self._arrivals: deque[Arrival] = deque()
        self._grouping = threading.Lock()
        self.view = View()
        self.absent: set[int] = set()
        self.previews: dict[int, Preview] = {}
        self.rendered: list[Any] | None = None
        self.counted = 0
        self.loose = 0
        self.own_tokens = 0
        self.calm = -1
        self.judged_by: Budget | None = None
        self.offered = 0
        self.queued = False
        self.record: Mapping[str, Any] | None = None
        self.is_checked = True
        self.sent: Sent | None = None
        self.peak = self.peak_from = 0
        self.root = ROOT
        self.is_sole = self.ends_at_head = False
        self.keeps_head = True
        self.kept: Kept | None = None
        self.vouched: dict[int, str] = {}
        self.joined = Joined()
        self._tail: Any = None
        self._tail_size = -1
        self._clean = 0
        self._uncounted: deque[Slot] = deque()

    # -- growing ---------------------------------------------------------------------------

    def follow(self, natives: list[Any], now: float) -> bool:
        """Take in the tail when ``natives`` is this very path, grown; else change nothing. Every model call does it."""
        seen = self.seen
        known = len(seen)
        if not known or known > len(natives) or (last := seen[-1]) is not natives[known - 1]:
            return False
        if last.__class__ is not LeftBehind:  # as ``has_grown``, without a call
            content = self.codec.content(last)
            if content is not self._tail or (self._tail_size >= 0 and len(content) != self._tail_size):
                return False
        if known == len(natives):
            return is_equal(seen, natives)
        tail = natives[known:]
        bounds, content = self.codec.measure(tail)
        arrival = (known + len(tail), now, True, bounds)
        try:
            seen.extend(tail)
            if is_same := is_equal(seen, natives):
                self._admit(tail, arrival, content)
            else:
                del seen[known:]
        except BaseException:
            self._take_back(known, arrival)
            raise
        return is_same

    def is_prefix_of(self, natives: list[Any]) -> bool:
        """Whether ``natives`` begins with exactly these message objects.

        ``list ==`` skips identical pointers at a nanosecond each; growing our own list saves a copy of the prefix.
        """
        length = len(self.seen)
        if length > len(natives) or (length and natives[length - 1] is not self.seen[length - 1]):
            return False
        self.seen.extend(natives[length:])
        try:
            return is_equal(self.seen, natives)
        finally:
            del self.seen[length:]

    def has_grown(self) -> bool:
        """Whether the last message got another content since it came, as some frameworks do it in place."""
        if not self.seen or isinstance(self.seen[-1], LeftBehind):
            return False
        content = self.codec.content(self.seen[-1])
        return content is not self._tail or (self._tail_size >= 0 and len(content) != self._tail_size)

    def take_over(self, natives: Sequence[Any]) -> None:
        """Hold these objects in place of equal ones, such as those of a reloaded state."""
        self.replaced, self.seen = self.seen, list(natives)
        self.rendered = None
        self._note_tail()

    def _note_tail(self) -> None:
        is_here = self.seen and not isinstance(self.seen[-1], LeftBehind)
        self._tail = self.codec.content(self.seen[-1]) if is_here else None
        self._tail_size = len(self._tail) if type(self._tail) is list else -1

    def common(self, natives: Sequence[Any]) -> int:
        """How many leading messages are the same, by identity, then reading, then digest."""
        are_new = list(map(is_not, self.seen, natives))
        ones, others = list(compress(self.seen, are_new)), list(compress(natives, are_new))
        if LeftBehind not in {*map(type, ones), *map(type, others)} and self.codec.are_same(ones, others):
            return min(len(self.seen), len(natives))
        known = 0  # messages before it are the same as a whole page
        is_same = self.codec.is_same
        for index, (mine, theirs) in enumerate(zip(self.seen, natives, strict=False)):
            if mine is theirs or index < known:
                continue
            if mine.__class__ is LeftBehind:  # what it said is known by its page's chain alone
                slot = self.slots[bisect_right(self.slots, index, key=lambda s: s.start) - 1]
                if not self._is_page(slot, natives[slot.start : slot.stop]):
                    return slot.start
                known = slot.stop
            elif theirs.__class__ is LeftBehind or not (is_same(mine, theirs) or self._reads_same(mine, theirs)):
                return index
        return min(len(self.seen), len(natives))

    def _reads_same(self, mine: Any, theirs: Any) -> bool:
        return digest([mine], self.codec) == digest([theirs], self.codec)

    def _is_page(self, slot: Slot, natives: Sequence[Any]) -> bool:
        mixed = any(isinstance(native, LeftBehind) for native in natives)
        whole = len(natives) == slot.stop - slot.start and not mixed
        return whole and link(slot.parent, digest(natives, self.codec)) == slot.chain

    def extend(self, natives: Sequence[Any], *, now: float, fresh: bool = True) -> None:
        """Admit messages at the end. All or nothing: a message that is none changes nothing.

        Only their size is looked at; they are grouped into slots when someone needs the slots.
        """
        bounds, content = self.codec.measure(natives)
        if not bounds:
            return
        known = len(self.seen)
        arrival = (known + len(bounds), now, fresh, bounds)
        try:
            self.seen.extend(natives)
            self._admit(natives, arrival, content)
        except BaseException:
            self._take_back(known, arrival)
            raise

    def _take_back(self, known: int, arrival: Arrival) -> None:
        """Forget what an exception from outside kept from arriving; ``loose`` may keep its tokens: it is a bound."""
        if not self._arrivals or self._arrivals[-1] is not arrival:
            del self.seen[known:]
            self.rendered = None
            self._note_tail()

    def _admit(self, natives: Sequence[Any], arrival: Arrival, content: Any) -> None:
        """Account for messages that have just come to the end of ``seen``; ``content`` is the last one's.

        They have come once their arrival is noted, which is the last thing to be done.
        """
        bounds = arrival[3]
        if (peak := max(bounds)) > self.peak:
            self.peak_from = self.peak_from if self.peak else arrival[0] - len(bounds)
            self.peak = peak
        if self.rendered is not None:
            if self.view.notes and self.slots and not self.slots[-1].closed:
                self.rendered = None  # what comes joins a page that stands before a note
            else:
                self.rendered.extend(natives)
        self.loose += sum(bounds)
        self._tail = content
        self._tail_size = len(content) if type(content) is list else -1
        self._arrivals.append(arrival)

    @property
    def slots(self) -> list[Slot]:
        """Every page's place, in order; groups what has arrived since."""
        if self._arrivals:
            with self._grouping:
                while self._arrivals:
                    arrival, sketch_of, clock = self._arrivals[0], self.codec.sketch, self.view.clock
                    group(arrival, self.seen, self._slots, self._uncounted, sketch_of=sketch_of, clock=clock)
                    self._arrivals.popleft()
        return self._slots

    def fork(self, messages: int) -> Lineage:
        """A path that shares the first ``messages`` messages, as far as whole closed pages go."""
        child = Lineage(self.codec, self.counter)
        beyond = (at for at, slot in enumerate(self.slots) if slot.stop > messages or not slot.closed)
        keep = next(beyond, len(self.slots))
        while keep and self.slots[keep - 1].waiting:  # closed only by what came after the fork
            keep -= 1
        child.root, child.ends_at_head = self.root, self.ends_at_head
        child._slots = self.slots[:keep]
        child.vouched = {seq: chain for seq, chain in self.vouched.items() if seq <= keep}
        child.seen = self.seen[: child._slots[-1].stop if keep else 0]
        child._note_tail()
        child.adopt(self.view)
        return child

    # -- counting --------------------------------------------------------------------------

    def about(self) -> int:
        """Upper bound of what the block and resident pages cost, as exact as when ``ceiling`` was asked last."""
        return self.counted + self.loose + self.own_tokens

    def ceiling(self) -> int:
        """Upper bound of what the block and resident pages cost; exact for all that is materialised."""
        while self._uncounted and self._uncounted[0].content is not None:
            slot = self._uncounted.popleft()
            self.loose -= slot.upper
            self.counted += self.tokens_of(slot)
        return self.counted + self.loose + self.own_tokens

    def count_exactly(self, enough: int = -1) -> None:
        """Materialise resident pages that were only bounded so far: all, or until ``ceiling`` is down to ``enough``."""
        _ = self.slots  # group what has arrived
        for slot in list(self._uncounted):
            if self.ceiling() <= enough:
                return
            if slot.content is None:
                content = self.content_of(slot)
                if slot.closed:
                    slot.hold(content)
                else:  # it may still grow: keep the bound, but a tight one
                    self.loose += content.tokens - slot.upper
                    slot.upper = slot.tokens = content.tokens
        self.ceiling()

    def weigh(self) -> None:
        """Tell the gauge of the last request what its answer reports, beside what is counted here.

        Later, while something of that request was only bounded so far.
        """
        sent = self.sent
        if sent is None or sent.messages >= len(self.seen) or sent.generation != self.view.generation:
            return
        reported = self.codec.usage(self.seen[sent.messages])
        if reported is None:
            sent.gauge.unreported(self.counted)
            return
        slots = self.slots  # groups what arrived, which is then among the uncounted
        self.ceiling()  # and takes out of them what has been counted since
        if self._uncounted and self._uncounted[0].start < sent.messages:
            return
        resident = (s for s in slots if s.stop <= sent.messages and s.seq not in self.absent)
        counted = sent.overhead + self.own_tokens + sum(map(self.tokens_of, resident))
        sent.gauge.report(counted=counted, reported=reported)

    def tokens_of(self, slot: Slot) -> int:
        """What a page costs as it is shown."""
        return self.previews[slot.seq].tokens if slot.seq in self.previews else slot.tokens

    def show(self, previews: Sequence[Preview]) -> None:
        """Show these pages in part from now on."""
        if previews:
            self.adopt(self.view.with_previews(previews))

    def adopt(self, view: View) -> None:
        """Make ``view`` the view of this path, keeping what belongs to it, and count anew."""
        self._vouch(view)
        self.calm = -1
        self.view = view.on_path(self.chain_at)
        self.absent = absent = self.view.absent
        self.own_tokens = self.view.block_tokens + self.view.note_tokens
        self.rendered, self.is_checked = None, False
        self.previews = shown = {preview.seq: preview for preview in self.view.previews}
        resident = [s for s in self.slots if s.seq not in absent]
        counted = [s for s in resident if s.content is not None]
        self.counted = sum([shown[s.seq].tokens if s.seq in shown else s.tokens for s in counted])
        self._uncounted = deque([s for s in resident if s.content is None])
        self.loose = sum([s.upper for s in self._uncounted])

    # -- content and chains ----------------------------------------------------------------

    def is_shown(self, seq: int) -> bool:
        """Whether the last prompt had this page; what none had yet is in no window. There is no page 0."""
        return seq > 0 and seq not in self.absent and self.slots[seq - 1].stop <= self.offered

    def natives(self, *slots: Slot) -> list[Any]:
        """The framework's messages of some slots."""
        return [native for slot in slots for native in self.seen[slot.start : slot.stop]]

    def content_of(self, slot: Slot) -> Content:
        """Its content with its body, materialised anew if need be; does not keep it in the slot."""
        if slot.content is not None and slot.content.body:
            return slot.content
        made = materialise(self.natives(slot), self.codec, self.counter, slot.kind, slot.content)
        if slot.copy and slot.digest and canonical.identity(made.body) != slot.digest:  # changed since it was chained
            said = originals(slot.copy, self.codec)  # any other body its chain would deny
            made = materialise(said, self.codec, self.counter, slot.kind, slot.content)
        return made

    def line_of(self, slot: Slot) -> Entry:
        """Its line in a table of contents, not counted."""
        gist = slot.content.gist if slot.content is not None else slot.kind.value
        return Entry(slot.seq, slot.seq, gist)

    def settle(self, slot: Slot) -> None:
        """Note that the store has the page; its body need not stay in this process."""
        slot.stored = True
        if slot.content is not None:
            slot.content = replace(slot.content, body="", messages=(), copy=None)

    def chain_at(self, seq: int) -> str | None:
        """The chain at page ``seq``, or ``None`` when this path has no such closed page."""
        if not 1 <= seq <= len(self.slots) or not self.slots[seq - 1].closed:
            return None
        if not self._knows(seq):
            if base := max((known for known in self.vouched if known < seq), default=0):
                chain = self.vouched[base]
                for slot in self.slots[base:seq]:  # the messages of one that is chained may be left behind
                    chain = slot.chain or link(chain, digest(self.natives(slot), self.codec))
                self.vouched[seq] = chain
            else:
                self.link_up_to(seq)
        return self.slots[seq - 1].chain or self.vouched[seq]

    def _knows(self, seq: int) -> bool:
        return bool(self.slots[seq - 1].chain) or seq in self.vouched

    def link_up_to(self, seq: int) -> None:
        """Chain all closed pages up to ``seq``; takes their digests, not their whole content."""
        first = seq
        while first > 1 and not self.slots[first - 2].chain:
            first -= 1
        for slot in self.slots[first - 1 : seq]:
            if slot.chain or not slot.closed:
                continue
            content, natives = slot.content, self.natives(slot)
            if slot.seq not in self.absent:
                slot.copy = content.copy if content else copy_of(natives, self.codec)
            slot.imprint = content.imprint if content else self._imprints([slot])[0]
            slot.digest = content.digest if content else digest(natives, self.codec)
            slot.parent = self.slots[slot.seq - 2].chain if slot.seq > 1 else self.root
            slot.chain = link(slot.parent, slot.digest)

    def seal(self, seq: int) -> Seal | None:
        """What the pages up to ``seq`` read; ``None`` when one of them has no imprint."""
        chain = self.chain_at(seq) or ""
        known = [slot.imprint for slot in self.slots[:seq]]
        return Seal(at=seq, chain=chain, sum=sum_of(known)) if chain and all(known) else None

    def _vouch(self, view: View) -> None:
        """Take the chains that a view names where its seal shows that this path reads as it did then."""
        seal = view.seal
        if seal is None or not 1 <= seal.at <= self.length or self._knows(seal.at):
            return
        slots = self.slots[: seal.at]
        if any(isinstance(native, LeftBehind) for native in self.seen[: slots[-1].stop]):
            return
        unread = [slot for slot in slots if not slot.chain]
        for slot, made in zip(unread, self._imprints(unread), strict=True):
            slot.imprint = made
        if sum_of(slot.imprint for slot in slots) == seal.sum:
            self.vouched |= {seq: chain for seq, chain in [*view.proofs, (seal.at, seal.chain)] if 1 <= seq <= seal.at}

    def page(self, slot: Slot) -> Page:
        """The immutable page of a closed slot."""
        self.link_up_to(slot.seq)
        return page_of(
            self.content_of(slot),
            seq=slot.seq,
            chain=slot.chain,
            parent=slot.parent,
            kind=slot.kind,
            format_=self.codec.format,
            created_at=slot.created_at,
        )

    def page_at_hand(self, slot: Slot) -> Page | None:
        """The page of a closed slot as the store has it; ``None`` where only the store can say that.

        A page from before this process bears another time there, and one whose messages are left behind, were
        changed in place, or hold what is not of Python's plain types may read otherwise. (Where another path of the
        space has said the same before, the store has the page with that one's time.)
        """
        natives = self.natives(slot)
        if not slot.fresh or any(isinstance(native, LeftBehind) for native in natives):
            return None
        self.link_up_to(slot.seq)
        return self.page(slot) if slot.imprint and self._imprints([slot]) == [slot.imprint] else None

    def first_changed(self, slots: Sequence[Slot]) -> Slot | None:
        """The first of these whose messages do not read as they did when it was chained or materialised."""
        copied = [slot for slot in slots if slot.copy is not None]
        if read_as(self.natives(*copied), [each for slot in copied for each in slot.copy or ()], self.codec):
            slots = [slot for slot in slots if slot.copy is None]
        for slot, now in zip(slots, self._imprints(slots), strict=True):
            content = slot.content
            if now and now == (slot.imprint or (content.imprint if content else b"")):
                continue
            known = slot.digest or (content.digest if content else b"")
            if known and digest(self.natives(slot), self.codec) != known:
                return slot
        return None

    def _imprints(self, slots: Sequence[Slot]) -> list[bytes]:
        return imprints(self.natives(*slots), [slot.stop - slot.start for slot in slots], self.codec)

    def unstored(self, limit: int) -> list[Slot]:
        """Up to ``limit`` closed pages that the store does not have yet, oldest first."""
        slots = self.slots
        while self._clean < len(slots) and slots[self._clean].stored:
            self._clean += 1
        rest = map(slots.__getitem__, range(self._clean, len(slots)))  # islice would walk there from the first page
        return list(islice((s for s in rest if s.closed and not s.stored), limit))

    def is_behind(self, limit: int) -> bool:
        """Whether the store lacks more than ``limit`` closed pages; mostly seen without looking at each."""
        return len(self.slots) - self._clean > limit and len(self.unstored(limit + 1)) > limit

    def left_behind(self, seqs: Sequence[int]) -> list[int]:
        """Those of these pages whose messages are only in the store."""
        return [s for s in seqs if any(isinstance(n, LeftBehind) for n in self.natives(self.slots[s - 1]))]

    def leave_behind(self, seqs: Iterable[int]) -> None:
        """Let go of the messages of these stored pages; their ids stay known."""
        for slot in [self.slots[seq - 1] for seq in seqs]:
            for index in range(slot.start, slot.stop):
                self.seen[index] = LeftBehind(self.key_at(index))

    def key_at(self, index: int) -> str | None:
        """The framework's id of a message of this path, whether it is here or left behind."""
        native = self.seen[index]
        return native.key if isinstance(native, LeftBehind) else self.codec.key(native)

    def put_back(self, page: Page) -> None:
        """Take the messages of a page from its body."""
        slot = self.slots[page.seq - 1]
        self.seen[slot.start : slot.stop] = [self.codec.decode(item) for item in canonical.load(page.body)]
        self.rendered = None

    def doubt(self, seqs: Sequence[int]) -> bool:
        """Have these pages written again; ``False`` when their messages are not here any more, or were changed."""
        slots = [self.slots[seq - 1] for seq in seqs]
        if self.left_behind(seqs) or self.first_changed(slots) is not None:
            return False
        for slot in slots:
            slot.stored = slot.fresh = False
        self._clean = 0
        return True

    @property
    def request(self) -> int:
        """Number of the page with the last user message, 0 without one."""
        return next((slot.seq for slot in reversed(self.slots) if slot.has_user), 0)

    @property
    def length(self) -> int:
        """Number of closed pages."""
        return len(self.slots) - (1 if self.slots and not self.slots[-1].closed else 0)
