"""A user's other conversations: which there are, and which of their pages are their past today.

The head of a space names the path that was written last: that path is what its conversation says.
Pages of paths that were left behind by an edit, a reset or time travel stay in the store, and are
not shown to anybody else. Runs on the kernel's loop thread.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from pagefault.chain import head_id
from pagefault.errors import BadAddress, InvalidId, PageNotFound, PagesLost
from pagefault.page import Address, SpaceId
from pagefault.paths.lineage import Lineage
from pagefault.paths.paging import Paging
from pagefault.ports import PageStore, Reach, Record, Scope, UserScope, Where

MAX_PLACES: Final = 10_000
"""Conversations of one user that are looked at."""
MAX_CHAINS: Final = 200_000
"""Pages whose chains are remembered, of all conversations together."""
WINDOW: Final = 4_096
_HEAD: Final = ("chain", "user", "thread", "agent")
_STRIDE: Final = 2**32
_log: Final = logging.getLogger("pagefault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another conversation of a user, as its head says.

    Attributes:
        space: Whose it is.
        key: The space's key, which takes a while to make.
        length: Pages on its present path.
        tip: Chain of the last of them.
    """

    space: SpaceId
    key: str
    length: int
    tip: str

    @property
    def scope(self) -> Scope:
        """For the store."""
        return Scope(tenant=self.space.tenant, space=self.key)


def user_scope(home: SpaceId) -> UserScope:
    """All spaces of the user whose space this is.

    Raises:
        InvalidId: It has no user.
    """
    if not home.user:
        raise InvalidId(
            f"scope='user' reads all conversations of a user, and {home} has none; name the user where the space "
            "is made, or in the run's configuration"
        )
    return UserScope(tenant=home.tenant, user=home.user)


class Past(NamedTuple):
    """A path as far as one run has come: what another run adds to it is not part of it.

    Attributes:
        path: The path, which may grow meanwhile.
        messages: How many of its messages count.
    """

    path: Lineage
    messages: int

    @property
    def length(self) -> int:
        """Number of its complete pages; the caller holds the lock of the space."""
        return min(bisect_right(self.path.slots, self.messages, key=lambda slot: slot.stop), self.path.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one search may see: a path of one's own, and other conversations where they count as well.

    It gives each page a number: its own, or one that is larger than any page number. Pages next
    to each other have numbers next to each other, those of two conversations never have.

    Attributes:
        paging: The asker's space.
        lineage: The asker's path.
        length: How many of its pages count.
        others: Other conversations; ``None`` when only one's own counts.
    """

    paging: Paging
    lineage: Lineage
    length: int
    others: Sequence[Other] | None = None

    @property
    def reach(self) -> Reach:
        """For the store."""
        home = self.paging.space
        return Scope(tenant=home.tenant, space=home.key) if self.others is None else user_scope(home)

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return self.length + sum(other.length for other in self.others or ())

    def number(self, index: int, seq: int) -> int:
        """The number of a page of the other conversation at this index of ``others``."""
        return (index + 1) * _STRIDE + seq

    def split(self, number: int) -> tuple[Other | None, int]:
        """Whose page a number is, ``None`` for one's own, and its page number there."""
        index, seq = divmod(number, _STRIDE)
        return (self.others or ())[index - 1] if index else None, seq

    def following(self, number: int, count: int) -> list[int]:
        """The numbers of so many pages right behind a page, as far as there are any."""
        other, seq = self.split(number)
        last = self.length if other is None else other.length
        return [number + step for step in range(1, 1 + min(count, last - seq))]

    def may_be_said(self, number: int) -> bool:
        """Whether a page may be one message alone; what is known of a path says so of one's own pages."""
        if number >= _STRIDE:
            return True
        slot = self.lineage.slots[number - 1]
        return slot.stop - slot.start == 1

    def address(self, number: int) -> str:
        """The address of the page with this number."""
        if number < _STRIDE:
            return str(number)
        other, seq = self.split(number)
        return str(Address(first=seq, last=seq, alias=other.space.alias if other else ""))


class Others:
    """Reads heads and paths of a user's other spaces; paths are remembered as long as their heads stay."""

    def __init__(self, store: PageStore) -> None:
        self._store = store
        self._paths: OrderedDict[str, tuple[str, list[str]]] = OrderedDict()
        self._chains = 0

    async def of(self, home: SpaceId) -> list[Other]:
        """The user's other spaces that have pages.

        Raises:
            InvalidId: There is no user.
        """
        heads = await self._store.scan(user_scope(home), Where(kind="head", fields=_HEAD), limit=MAX_PLACES)
        if len(heads) == MAX_PLACES:
            _log.warning("user %r has %d conversations or more; recall sees these alone", home.user, MAX_PLACES)
        others = (_other(home.tenant, head) for head in heads if head.seq)
        return [other for other in others if other is not None and other.space != home]

    async def path(self, other: Other) -> list[str]:
        """The chains of its pages, the first page's first.

        Raises:
            PagesLost: The store lacks one of them.
        """
        key = other.key
        tip, known = self._paths.get(key, (None, []))
        if tip != other.tip:
            known = await self._walk(other, known)
            _, before = self._paths.pop(key, ("", []))  # another recall may have walked meanwhile
            self._paths[key] = other.tip, known
            self._chains += len(known) - len(before)
        self._paths.move_to_end(key)
        while self._chains > MAX_CHAINS and len(self._paths) > 1:
            _, (_, oldest) = self._paths.popitem(last=False)
            self._chains -= len(oldest)
        return known

    async def _walk(self, other: Other, known: Sequence[str]) -> list[str]:
        """Back from the tip, as far as the path is another than the one known before."""
        parents: dict[tuple[int, str], str] = {}
        found: list[str] = []
        tip = other.tip
        for seq in range(other.length, 0, -1):
            if seq <= len(known) and known[seq - 1] == tip:
                return [*known[:seq], *reversed(found)]
            if (seq, tip) not in parents:
                where = Where(first=max(1, seq - WINDOW // 2), last=seq, newest=True, fields=("chain", "parent"))
                records = await self._store.scan(other.scope, where, limit=WINDOW)
                parents = {(r.seq, str(r.fields.get("chain"))): str(r.fields.get("parent")) for r in records}
            if (seq, tip) not in parents:
                raise PagesLost(f"page {seq} of {other.space} is not in the store, though its head says so")
            found.append(tip)
            tip = parents[seq, tip]
        return found[::-1]


def named(others: Sequence[Other], name: str) -> Other:
    """The one that an address names.

    Raises:
        PageNotFound: There is none.
        BadAddress: It could be either of several.
    """
    fitting = [other for other in others if other.space.alias == name]
    if not fitting:
        raise PageNotFound(f"{name} is no conversation of this user")
    if len(fitting) > 1:
        raise BadAddress(f"{name} could be {len(fitting)} conversations of this user; search for it by a query")
    return fitting[0]


def _other(tenant: str, head: Record) -> Other | None:
    """Whose head this is; nobody's when it does not lie where that space's head lies."""
    user, thread, agent = (str(head.fields.get(name, "")) for name in ("user", "thread", "agent"))
    found = _space_of(tenant, user, thread, agent, head.id.int)
    if found is None:
        _log.warning("head record %s of tenant %r is damaged; its conversation is left out", head.id, tenant)
        return None
    space, key = found
    return Other(space=space, key=key, length=head.seq, tip=str(head.fields.get("chain")))


@lru_cache(maxsize=2 * MAX_PLACES)
def _space_of(tenant: str, user: str, thread: str, agent: str, id_: int) -> tuple[SpaceId, str] | None:
    """The space whose head this is, and its key: a user has thousands, and all of them are named at each recall."""
    try:
        space = SpaceId(tenant=tenant, user=user, thread=thread, agent=agent)
    except InvalidId:
        return None
    key = space.key
    return (space, key) if head_id(key).int == id_ else None
