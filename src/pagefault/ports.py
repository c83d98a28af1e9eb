"""The ports: what the core needs from the outside, as small Protocols.

A store, an embedder or a counter of your own only has to fit its Protocol;
``pagefault.testing`` holds the contract suite that every store passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar
from uuid import UUID

from pagefault.page import SpaceId

T = TypeVar("T")
NEAR: Final = "near:"
"""How a fingerprint begins whose digits are compared by nearness."""
LARGEST: Final = 1e18
"""Vectors and weights are float32 in the engine, which sums their squares: none is longer."""
FORMAT: Final = 3
"""Format version of the records written now.

Since 2 a long page has a vector for each of its pieces. Since 3 the words of each space lie in lists of their own; what
was written as 2 is read, and written on, as it is.
"""
RecordKind = Literal["page", "head", "item"]
Dense = Sequence[Sequence[float]]
"""The vectors of one record: one for each piece of its text, at least one, usually no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which space a store call is about; the adapter adds it to every filter itself.

    Attributes:
        tenant: The tenant's id.
        space: ``SpaceId.key``, 32 hex digits.
    """

    tenant: str
    space: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserScope:
    """All spaces of one user of one tenant: what was written with this ``Record.user``. For reading alone.

    Attributes:
        tenant: The tenant's id.
        user: The user's id within the tenant, not empty.
    """

    tenant: str
    user: str


Reach = Scope | UserScope
"""How far a read by filter goes; the adapter adds it to the filter itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """A sparse vector: distinct indices below 2^32 and their weights, same length."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a store, of any kind.

    Attributes:
        id: Point id.
        kind: ``"page"`` (immutable), ``"head"`` (one per space, replaced) or ``"item"`` (keyed, versioned).
        seq: Page number, the length of the chain for a head, the version of an item. 0 <= seq < 2^53.
        fields: Flat scalars kept beside the body: chain, parent, format and the like.
            Keys ``id kind seq tenant space body sha256 chunks tags nonce _scope _user _pieced`` are the store's own.
        body: Text of any length; canonical JSON (ASCII). Larger bodies are chunked by the adapter.
        sha256: 64 hex digits over the body, checked by the reader.
        sparse: Term weights for full-text search, ``None`` when the record is not indexed.
        dense: Embeddings of the pieces of its text, ``None`` until they are computed.
        tags: Short words by which ``Where.tags`` finds it. Like vectors, never returned.
        user: By which a :class:`UserScope` finds it as well; ``""`` for nobody.
    """

    id: UUID
    kind: RecordKind
    seq: int
    fields: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    body: str = ""
    sha256: str = ""
    sparse: Sparse | None = None
    dense: Dense | None = None
    tags: Sequence[str] = ()
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """An item to write, if the stored one still has the version that the writer knows.

    Attributes:
        record: The item; its ``seq`` is the new version, at least 1.
        version: The version it takes the place of, 0 for none.
    """

    record: Record
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What a scan or search is restricted to, besides its scope.

    Attributes:
        kind: The record kind.
        first: Smallest ``seq``, inclusive.
        last: Largest ``seq``, inclusive; ``None`` for no limit.
        ids: Only these points; ``None`` for no restriction.
        tags: Groups of tags; of each group at least one must be there. Only within one space.
        newest: Scan from the largest ``seq`` down.
        fields: Which fields the answer is to carry, ``None`` for all. Reading fewer is quicker.
        bare: Of a search's hits only ``id`` and ``score`` are looked at, by somebody who knows each id: a store may
            leave out the rest, and the order of equal scores. Payloads cost an engine more than the search.
    """

    kind: RecordKind = "page"
    first: int = 0
    last: int | None = None
    ids: Sequence[UUID] | None = None
    tags: Sequence[Sequence[str]] = ()
    newest: bool = False
    fields: Sequence[str] | None = None
    bare: bool = False


Versions = Mapping[UUID, int | None]
"""Items by their ids, and beside each the version that it is to be at; ``None`` for whichever."""


class Hit(NamedTuple):
    """One search hit: point id, space, seq, raw score (cosine or BM25) and flat fields. No body.

    A search makes a hundred and more of them: a tuple takes a third of the time that a dataclass does.
    """

    id: UUID
    space: str
    seq: int
    score: float
    fields: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a data directory was written with; a mismatch is refused when it is opened.

    Attributes:
        embedder: The embedder's name, ``""`` for none (full-text search alone).
        dimension: Length of its vectors, 0 for none.
        fingerprint: Taken from a probe vector, ``""`` for none. After ``near:`` come bytes in hex,
            compared by nearness; others are compared as they are.
        version: Format version of the records.
    """

    embedder: str = ""
    dimension: int = 0
    fingerprint: str = ""
    version: int = FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many records of one kind a space holds.

    Attributes:
        scope: The space and its tenant.
        kind: The record kind.
        count: Records, however many chunks their bodies take.
    """

    scope: Scope
    kind: RecordKind
    count: int


class Runner(Protocol):
    """Runs blocking calls on the one thread that owns the engine.

    ``urgent`` calls (reads) go before the others (writes); after each call that is not
    urgent the thread rests at least 0.5 ms, since the engine holds the interpreter lock.
    """

    def __call__(self, fn: Callable[[], T], /, *, urgent: bool) -> Awaitable[T]:
        """Await the result of ``fn()``."""
        ...


class PageStore(Protocol):
    """Where records live. Every call is restricted to its scope inside the adapter."""

    async def open(self, header: Header | None) -> Header:
        """Create or load. Idempotent.

        Args:
            header: What the records are written with; ``None`` loads what is there as it is.

        Returns:
            The header as it is stored.

        Raises:
            StoreMissing: There is nothing to load, and no header was given.
            StoreLocked: Another process has it open.
            StoreUnwritable: It cannot be created or written.
            StoreMismatch: It was written with another header.
        """
        ...

    async def put(self, scope: Scope, records: Sequence[Record]) -> None:
        """Write records; on return they are stored (they survive a process kill).

        A page whose id exists is left as it is (insert-only); a head is replaced; items are refused.
        """
        ...

    async def swap(self, scope: Scope, swaps: Sequence[Swap]) -> list[bool]:
        """Write items whose stored version is the expected one: compare-and-set, each by itself.

        On return those written are stored. No two swaps may be of one item.

        Returns:
            For each whether it was written; ``False`` when somebody else was faster.
        """
        ...

    async def remove(self, scope: Scope, versions: Versions) -> None:
        """Delete these items, where they are at these versions.

        They are gone for every reader at once; their bytes, when the store is vacuumed.
        """
        ...

    async def amend(self, scope: Scope, versions: Versions, fields: Mapping[str, str | int | float | bool]) -> None:
        """Set some fields of these items, where they are at these versions.

        Their version, body and other fields stay. Ids not in scope are ignored.
        """
        ...

    async def index(self, scope: Scope, vectors: Mapping[UUID, Dense]) -> None:
        """Add the dense vectors of pages already stored, in place of older ones; ids not in scope are ignored."""
        ...

    async def get(
        self, scope: Scope, ids: Sequence[UUID], *, bodies: bool = True, words: bool = False
    ) -> dict[UUID, Record]:
        """The records with these ids that are in scope; absent ones are missing from the result.

        ``bodies=False`` leaves ``body`` empty, ``words=True`` gives ``sparse`` where there is one, as the engine
        keeps it (32-bit floats). Dense vectors are never returned.
        """
        ...

    async def scan(self, scope: Reach, where: Where, *, limit: int) -> list[Record]:
        """Up to ``limit`` records ordered by (seq, id), without bodies and vectors.

        With ``where.newest``, by (seq descending, id).
        """
        ...

    async def search(
        self, scope: Reach, queries: Sequence[Sparse | Sequence[float]], where: Where, *, limit: int
    ) -> list[list[Hit]]:
        """For each query (sparse: BM25 with IDF over this scope; else dense: cosine) its best hits.

        A record with several dense vectors counts once, by the nearest of them. Ordered by
        (score descending, seq descending). One result list per query.
        """
        ...

    async def count(self, scope: Reach, where: Where, *, limit: int | None = None) -> int:
        """How many records there are, or ``limit`` where there are as many or more; quicker than to list them."""
        ...

    async def idf(self, scope: Reach, terms: Sequence[int], *, kind: RecordKind = "page") -> dict[int, float]:
        """The IDF weight of each sparse index over this scope's records of a kind; absent terms are missing."""
        ...

    async def census(self) -> list[Tally]:
        """What each space of EVERY tenant holds: for an operator's commands, the one call without a scope."""
        ...

    async def sync(self) -> None:
        """Make everything stored durable (meant to survive power loss)."""
        ...

    async def close(self) -> None:
        """Flush and release. Idempotent."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors. Called on a thread of its own, a few texts at a time.

    One that reads a question differently from a page has ``embed_query(text)`` as well, or ``embed_queries(texts)``
    where it takes several at once: then questions that many agents ask at the same time are one call.
    """

    @property
    def name(self) -> str:
        """Model name and version; part of the store header."""
        ...

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector per text, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What a source outside answers.

    Attributes:
        text: Its words, as they are there.
        address: How the source itself names it.
        updated_at: When it was last written there, Unix seconds; ``None`` when not known.
    """

    text: str
    address: str = ""
    updated_at: float | None = None


class Source(Protocol):
    """Something outside that a recall asks as well. It is read, never written to.

    It is called on a thread of its own. One that raises, or does not answer in time, is named in the result.
    """

    @property
    def name(self) -> str:
        """How a result names it."""
        ...

    def search(self, space: SpaceId, query: str, *, limit: int) -> Sequence[Passage]:
        """Its best passages.

        Args:
            space: Who asks: what the source gives to this user of this tenant is its own to say.
            query: What to look for.
            limit: Passages at most.
        """
        ...


class TokenCounter(Protocol):
    """Counts tokens of plain text.

    ``reserve`` is the share (0..1) by which the count may be too low; 0 when exact.
    """

    @property
    def reserve(self) -> float:
        """Share added to every estimate."""
        ...

    def count(self, text: str) -> int:
        """Tokens of ``text``; never touches network or disk after the first call."""
        ...


class Codec(Protocol):
    """Reads and restores one framework's native messages."""

    @property
    def format(self) -> str:
        """The body tag: ``langchain/1``, ``llamaindex/1`` or ``chat/1``."""
        ...

    def measure(self, messages: Sequence[Any]) -> tuple[list[int], Any]:
        """Upper bounds of the messages' tokens, in about a microsecond each: all that a step needs to know.

        Beside them the content object of the last message, as :meth:`content` gives it.

        Raises:
            UnsupportedMessage: One of them is no message of this framework.
        """
        ...

    def content(self, message: Any, /) -> Any:
        """The content object itself, by which a change in place is noticed."""
        ...

    def sketch(self, message: Any) -> Sketch:
        """The little that grouping needs.

        Raises:
            UnsupportedMessage: Not a message of this framework.
        """
        ...

    def encode(self, message: Any) -> Any:
        """The message as JSON-like data (dicts, lists, strings, numbers)."""
        ...

    def encode_all(self, messages: Sequence[Any]) -> list[Any]:
        """What ``encode`` says of each."""
        ...

    def decode(self, data: Any) -> Any:
        """The native message that ``encode`` was given, as a new object."""
        ...

    def is_same(self, one: Any, other: Any) -> bool:
        """Whether two message objects read the same, decided cheaply; ``False`` may be wrong."""
        ...

    def are_same(self, ones: Sequence[Any], others: Sequence[Any]) -> bool:
        """Whether as many message objects read the same, each as the other in its place; ``False`` may be wrong."""
        ...

    def usage(self, message: Any) -> int | None:
        """Tokens of the request that this answer is to, where its provider reported them."""
        ...

    def key(self, message: Any) -> str | None:
        """The framework's id of a message, if it has one."""
        ...

    def with_parts(self, message: Any, texts: Sequence[str | None]) -> Any:
        """A copy of the message with the text of some content parts replaced; ``None`` keeps a part.

        Parts are those of the message's :class:`Projection`, in order.
        """
        ...

    def block(self, text: str, name: str) -> Any:
        """A native message that carries a compaction block; ``name`` is its stable id."""
        ...


class Sketch(NamedTuple):
    """What grouping needs of a message.

    Attributes:
        role: ``"system"``, ``"user"``, ``"assistant"`` or ``"tool"``.
        call_ids: Ids of the tool calls of an assistant message.
        call_id: For a tool result, the call it answers.
        recalled: A tool result written by pagefault's own recall tool.
        said_at: When it was said, in Unix seconds, where the message tells.
    """

    role: str
    call_ids: tuple[str, ...] = ()
    call_id: str = ""
    recalled: bool = False
    said_at: float | None = None
