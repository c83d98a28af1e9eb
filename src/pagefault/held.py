"""Conversations that only the store keeps: nobody brings their messages along with each call.

Chat dictionaries are such a conversation, and so is the memory of a framework without a state of
its own. A run may go on from it for a while with messages that are not part of it yet, such as an
agent's tool steps: a branch. It becomes the conversation when exactly these messages are added,
so a page is written once whoever saw it first.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from pagefault.chain import head_id
from pagefault.core import Core
from pagefault.errors import CorruptPage, PagefaultError, PagesLost, UnsupportedMessage
from pagefault.page import Role, SpaceId, in_words
from pagefault.paths.content import digest
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Branch, Paging, Prompt
from pagefault.paths.prompt import render
from pagefault.paths.restore import intact, restore
from pagefault.ports import Codec, Scope
from pagefault.window.budget import Budget
from pagefault.writing.records import Task
from pagefault.writing.writeback import is_crowded

MAX_BACKLOG: Final = 4_096
MAX_BRANCHES: Final = 4
LOADED_AT_ONCE: Final = 64
_log: Final = logging.getLogger("pagefault")


class Shown(NamedTuple):
    """What to send of a conversation.

    Attributes:
        lineage: Its path.
        shared: How many messages it had then, whether they are shown or not.
        natives: The messages to send; not to be changed.
        evicted: Page numbers that left for it.
        tokens: Upper bound of the whole request.
    """

    lineage: Lineage
    shared: int
    natives: list[Any]
    evicted: tuple[int, ...]
    tokens: int


class Held:
    """A space's own conversation, in the messages of one codec. Its callers pass messages that nobody else changes."""

    def __init__(self, core: Core, paging: Paging, codec: Codec) -> None:
        self.core = core
        self._paging = paging
        self._codec = codec

    # -- writing ---------------------------------------------------------------------------

    def put(self, natives: list[Any]) -> None:
        """Add messages at the end; waits first while more than 4,096 pages are not stored yet."""
        lineage = self.ready()
        if is_crowded(self._paging, lineage, MAX_BACKLOG):
            self.core.kernel.call(self.core.writeback.relieve(self._paging, lineage, MAX_BACKLOG))
        self.admit(natives)

    async def aput(self, natives: list[Any]) -> None:
        """Async twin of :meth:`put`."""
        await self.aroom()
        self.admit(natives)

    async def aroom(self) -> None:
        """Wait while more than 4,096 pages are not stored yet."""
        lineage = await self.aready()
        if is_crowded(self._paging, lineage, MAX_BACKLOG):
            await self.core.kernel.acall(self.core.writeback.relieve(self._paging, lineage, MAX_BACKLOG))

    async def astored(self) -> None:
        """Wait until all that was added is stored.

        Raises:
            StoreError: It cannot be now; it is tried again, as ever.
        """
        await self.core.kernel.acall(self.core.writeback.drain(self._paging, await self.aready()))

    def admit(self, natives: list[Any]) -> None:
        """Add messages at the end and wait for nothing: for who has waited for room, and holds a lock now."""
        with self._paging.lock:
            lineage = self._mine()  # another thread may have changed it since
            onward = (each for each in self._paging.branches if each.goes_on_from(lineage))
            branch = next((each for each in onward if _begins_with(natives, each.tail, self._codec)), None)
            path = lineage if branch is None else branch.path
            with self.core.writeback.growing(self._paging, path):
                self._paging.branches = []
                if branch is not None:
                    natives = natives[len(branch.tail) :]
                    self._promote(branch)
                path.extend(natives, now=time.time())

    def replace(self, natives: list[Any]) -> None:
        """Make these messages the conversation: where they begin with all of it, the others are added.

        Else they are another path, which shares the pages that both begin with. Pages of the one that was left may
        follow any of these; a restart must not take them for the conversation.
        """
        self.ready()
        self._replace(natives)

    async def areplace(self, natives: list[Any]) -> None:
        """Async twin of :meth:`replace`."""
        await self.aready()
        self._replace(natives)

    def take_out(self, natives: Sequence[Any], *, now_in: Held | None = None) -> None:
        """Take these very messages out; those that others add meanwhile stay.

        Whoever is killed meanwhile finds them here, or in the conversation ``now_in``, which has them already.
        """
        self.ready()
        others = () if now_in is None else (Task(now_in._paging, now_in.ready()),)
        gone = set(map(id, natives))
        with self._paging.lock:
            left = [native for native in self._mine().seen if id(native) not in gone]
            if gone:
                self._replace(left, others)

    def _replace(self, natives: list[Any], others: tuple[Task, ...] = ()) -> None:
        with self._paging.lock:
            lineage = self._mine()
            shared = lineage.common(natives)
            path = lineage if shared == len(lineage.seen) else self._instead(lineage, natives[:shared])
            natives = natives[len(path.seen) :]
            with self.core.writeback.growing(self._paging, path):
                path.extend(natives, now=time.time())  # first: where it refuses one, the conversation stays as it is
                self._paging.branches = []
                if path is not lineage:
                    self.core.writeback.owes(self._paging, path.length, others)
                    self._take_over(path, lineage)

    def _instead(self, lineage: Lineage, shared: list[Any]) -> Lineage:
        """A path that begins with the whole pages of these messages, which ``lineage`` begins with, too.

        Without any it has a root of its own. Either way no page of the old one is taken for its next.
        """
        path = lineage.fork(len(shared))
        if path.slots:
            path.take_over(shared[: len(path.seen)])
            path.ends_at_head = True
            return path
        fresh = Lineage(self._codec, self.core.counter)
        fresh.root = uuid.uuid4().hex
        return fresh

    def _take_over(self, lineage: Lineage, old: Lineage) -> None:
        old.is_sole = old.keeps_head = False
        lineage.is_sole = lineage.keeps_head = True
        self._paging.lineages = [lineage]

    # -- reading ---------------------------------------------------------------------------

    def render(self, budget: Budget, *, overhead: int = 0, by_turns: bool = False) -> Shown:
        """What to send now; see :meth:`Paging.decide`."""
        self.ready()
        return self._render(budget, overhead, by_turns=by_turns)

    async def arender(self, budget: Budget, *, overhead: int = 0, by_turns: bool = False) -> Shown:
        """Async twin of :meth:`render`."""
        await self.aready()
        return self._render(budget, overhead, by_turns=by_turns)

    def _render(self, budget: Budget, overhead: int, *, by_turns: bool) -> Shown:
        with self._paging.lock:
            lineage = self._mine()
            prompt = self._paging.decide(lineage, budget, now=time.time(), overhead=overhead, by_turns=by_turns)
            shown = _shown(prompt)
        if shown.evicted:
            self.core.writeback.note(self._paging, shown.lineage)
        return shown

    def shows(self) -> list[Any]:
        """What the window shows of it now; nothing before anything was decided."""
        with self._paging.lock:
            lineage = self._mine()
            return render(lineage) if lineage.view.generation else []

    def everything(self) -> list[Any]:
        """All messages in order, wherever they are."""
        return self.core.kernel.call(self._everything())

    async def aeverything(self) -> list[Any]:
        """Async twin of :meth:`everything`."""
        return await self.core.kernel.acall(self._everything())

    async def aintact(self) -> tuple[list[Any], dict[int, PagefaultError]]:
        """All messages, and what is wrong with those that are damaged, by their index: they stand as placeholders."""
        return await self.core.kernel.acall(self._intact())

    async def _everything(self) -> list[Any]:
        natives, wrong = await self._intact()
        for error in wrong.values():
            raise error
        return natives

    async def _intact(self) -> tuple[list[Any], dict[int, PagefaultError]]:
        lineage = self.known() or await self.own()

        async def load(pages: Sequence[int]) -> dict[int, None]:
            await self.core.retrieval.bring_back(self._paging, lineage, pages)
            return {}

        with self._paging.lock:
            missing = lineage.left_behind(range(1, len(lineage.slots) + 1))
        wrong: dict[int, PagefaultError] = {}
        for first in range(0, len(missing), LOADED_AT_ONCE):
            wrong |= (await intact(load, missing[first : first + LOADED_AT_ONCE], CorruptPage, PagesLost))[1]
        with self._paging.lock:
            places = [lineage.slots[seq - 1] for seq in sorted(wrong)]
            return list(lineage.seen), {at: wrong[slot.seq] for slot in places for at in range(slot.start, slot.stop)}

    async def ahas_any(self) -> bool:
        """Whether there are messages; where the head says so, none of them is read."""
        known = self.known()
        if known is None and not await self.core.kernel.acall(self._is_headed()):
            known = await self.aready()
        return known is None or bool(known.seen)

    async def _is_headed(self) -> bool:
        await self.core.writeback.open()
        point = head_id(self.space.key)
        scope = Scope(tenant=self.space.tenant, space=self.space.key)
        head = (await self.core.store.get(scope, [point], bodies=False)).get(point)
        return head is not None and head.seq > 0

    def path(self) -> Lineage | None:
        """The path that a run is on: its branch, else the conversation; ``None`` when nothing is known yet."""
        lineage = self.known()
        branch = next(iter(self._paging.branches), None)
        if lineage is not None and branch is not None and branch.goes_on_from(lineage):
            return branch.path
        return lineage

    # -- branches --------------------------------------------------------------------------

    def branch(
        self, base: Lineage, shared: int, tail: list[Any], budget: Budget, *, overhead: int = 0, by_turns: bool = False
    ) -> Shown:
        """What to send when a run adds ``tail`` to the first ``shared`` messages of ``base``. Does no I/O."""
        with self._paging.lock:
            path = self._branch(base, shared, tail)
            prompt = self._paging.decide(path, budget, now=time.time(), overhead=overhead, by_turns=by_turns)
            shown = _shown(prompt)
        if shown.lineage is not path:
            self.core.writeback.note(self._paging, shown.lineage)
        return shown

    def _branch(self, base: Lineage, shared: int, tail: list[Any]) -> Lineage:
        now = time.time()
        others = self._paging.branches
        from_here = [b for b in others if b.base is base and b.shared == shared]
        known = next((b for b in from_here if _begins_with(tail, b.tail, self._codec)), None)
        if known is None:
            path = base.fork(shared)
            path.keeps_head = False
            path.extend(base.seen[len(path.seen) : shared], now=now)
            known = Branch(base, shared, path, _question(path))
        with self.core.writeback.growing(self._paging, known.path):
            known.path.extend(tail[len(known.tail) :], now=now)
        if known.question and known.path.request != known.question:
            self._paging.pin(known.path, [known.question])
        self._paging.branches = [known, *(b for b in others if b is not known)][:MAX_BRANCHES]
        return known.path

    def _promote(self, branch: Branch) -> None:
        """The run's messages are the conversation's now."""
        self._take_over(branch.path, branch.base)
        if branch.question in branch.path.view.pinned - branch.base.view.pinned:
            self._paging.release(branch.path, [branch.question])

    @property
    def space(self) -> SpaceId:
        """Whose it is."""
        return self._paging.space

    # -- whose it is -----------------------------------------------------------------------

    def known(self) -> Lineage | None:
        """The conversation, as far as this process knows it."""
        self.core.check_open()
        return next((x for x in self._paging.lineages if x.is_sole and x.codec is self._codec), None)

    def ready(self) -> Lineage:
        """The conversation, taken from the store now if need be."""
        return self.known() or self.core.kernel.call(self.own())

    async def aready(self) -> Lineage:
        """Async twin of :meth:`ready`."""
        known = self.known()
        return known if known is not None else await self.core.kernel.acall(self.own())

    async def own(self) -> Lineage:
        """The conversation, from the store if need be."""
        core = self.core
        await core.writeback.open()
        restored = await restore(core.store, self._paging.space, self._codec, core.counter)
        with self._paging.lock:
            if (known := self.known()) is not None:
                return known
            others = [x for x in self._paging.lineages if x.seen and x.codec.format != self._codec.format]
            if others:
                return others[0]
            self._paging.lineages = [restored.lineage]
            if restored.damaged:
                self._paging.leave_out(restored.lineage, sorted(restored.damaged), core.budget)
                named, first = in_words(list(map(str, restored.damaged))), next(iter(restored.damaged.values()))
                _log.error("the window of %s goes on without what is damaged, %s: %s", self.space, named, first)
            core.writeback.attach(self._paging, restored)
            return restored.lineage

    def _mine(self) -> Lineage:
        """With the space's lock held: the conversation, which is this codec's."""
        mine = self.known()
        if mine is None:
            other = self._paging.lineages[0].codec.format
            raise UnsupportedMessage(
                f"{self._paging.space} belongs to a framework ({other}); add messages through its graph or engine"
            )
        return mine


def _shown(prompt: Prompt) -> Shown:
    seen = prompt.lineage.seen
    natives = list(seen) if prompt.natives is None else prompt.natives
    return Shown(prompt.lineage, len(seen), natives, prompt.evicted, prompt.tokens)


def _begins_with(natives: Sequence[Any], start: Sequence[Any], codec: Codec) -> bool:
    """Whether the first messages read like these."""
    if len(start) > len(natives):
        return False
    return all(_is_same(one, other, codec) for one, other in zip(start, natives, strict=False))


def _is_same(one: Any, other: Any, codec: Codec) -> bool:
    return one is other or codec.is_same(one, other) or digest([one], codec) == digest([other], codec)


def _question(path: Lineage) -> int:
    """The page with the user message that a run answers: the last one, if the path ends with it; else 0."""
    last = path.slots[-1] if path.slots else None
    return last.seq if last is not None and last.closed and last.role == Role.USER else 0
