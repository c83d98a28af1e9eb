"""Calling an embedder, which is somebody else's code: whatever it does, an ``EmbedderError`` says so."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from pagefault.embedders import WordLlamaEmbedder, fingerprint, validate_vectors
from pagefault.errors import EmbedderError, PagefaultError
from pagefault.kernel import Kernel
from pagefault.ports import Dense, Embedder, Header
from pagefault.recall import pieces_of

T = TypeVar("T")
UNIT_SECONDS: Final = 60.0
"""A unit of pages, or the first text of all, gets so long."""
UNIT_PIECES: Final = 16
"""An embedder is given so many pieces of texts at a time."""
QUERY_SECONDS: Final = 10.0
"""Questions get so long; then full text answers them alone."""
KEPT_ANSWERS: Final = 64


class _Question(NamedTuple):
    """A question that waits for its vector."""

    tenant: str
    text: str
    answer: asyncio.Future[Sequence[float]]


class Vectors:
    """One embedder, or none, called on the kernel's thread for guests and never waited for without a limit.

    Our own one, once it is loaded, answers a question at once. Used on the kernel's loop thread. Every method raises an
    ``EmbedderError`` for whatever the embedder does, hanging included.
    """

    def __init__(self, kernel: Kernel, embedder: Embedder | None) -> None:
        self._kernel = kernel
        self._embedder = embedder
        self._identity: Header | None = None
        self._questions: list[_Question] = []
        self._answering: asyncio.Task[None] | None = None
        self._answers: OrderedDict[tuple[str, str], Sequence[float]] = OrderedDict()

    @property
    def is_on(self) -> bool:
        """Whether there is an embedder at all."""
        return self._embedder is not None

    @property
    def name(self) -> str:
        """The embedder's name, for messages."""
        return "none" if self._embedder is None else _name(self._embedder)

    async def header(self) -> Header:
        """What the store is opened with; see :func:`header_of`."""
        return await self._ask(lambda: header_of(self._embedder), seconds=UNIT_SECONDS)

    async def identity(self) -> Header:
        """The same without a probe; see :func:`identity_of`."""
        embedder = self._embedder
        if self._identity is None and embedder is not None:
            name, dimension = await self._ask(lambda: identity_of(embedder), seconds=UNIT_SECONDS)
            self._identity = Header(embedder=name, dimension=dimension)
        return self._identity or Header()

    async def of_texts(self, texts: Sequence[str], *, urgent: bool = False) -> tuple[list[Dense], float]:
        """The vectors of the pieces of each text, of pages or items, and the seconds that a piece took."""

        def timed(unit: Sequence[str]) -> tuple[Dense, float]:
            began = time.perf_counter()
            return embed(self._embedder, unit), time.perf_counter() - began

        cut = [pieces_of(text) for text in texts]
        flat = [piece for each in cut for piece in each]
        vectors: list[Sequence[float]] = []
        seconds = 0.0
        for first in range(0, len(flat), UNIT_PIECES):
            unit = flat[first : first + UNIT_PIECES]
            made, took = await self._ask(partial(timed, unit), urgent=urgent, seconds=UNIT_SECONDS)
            vectors += made
            seconds += took
        return _grouped(vectors, cut), seconds / max(1, len(flat))

    async def of_query(self, tenant: str, text: str) -> Sequence[float]:
        """The vector of a question; asked twice, for pages and then for items, it is made once.

        Questions that come while the embedder is busy with another one are given to it together,
        those of one tenant at a time.
        """
        vector = self._answers.pop((tenant, text), None)
        if vector is None and _is_at_hand(self._embedder):
            vector = self._keep(tenant, text, embed_queries(self._embedder, [text])[0])
        if vector is None:
            answer: asyncio.Future[Sequence[float]] = asyncio.get_running_loop().create_future()
            self._questions.append(_Question(tenant, text, answer))
            if self._answering is None or self._answering.done():
                self._answering = asyncio.create_task(self._answer())
            vector = self._keep(tenant, text, await answer)
        return vector

    def _keep(self, tenant: str, text: str, vector: Sequence[float]) -> Sequence[float]:
        self._answers[tenant, text] = vector
        if len(self._answers) > KEPT_ANSWERS:
            self._answers.popitem(last=False)
        return vector

    async def _answer(self) -> None:
        """Embed what waits until nothing does. Whatever happens, nobody is left waiting."""
        while self._questions:
            tenant = self._questions[0].tenant
            batch = [q for q in self._questions if q.tenant == tenant][: self._questions_at_once]
            self._questions = [q for q in self._questions if q not in batch]
            try:
                await self._answer_all(batch)
            except EmbedderError:  # one of them may be why: each gets its own answer, or its own error
                for question in batch:
                    await self._answer_one(question)
            except Exception as error:  # noqa: BLE001  # such as a memory that is closing: it is the askers' to hear
                _fail(batch, error)

    @property
    def _questions_at_once(self) -> int:
        """An embedder that reads questions in a way of its own takes them one by one, unless it says otherwise."""
        is_single = hasattr(self._embedder, "embed_query") and not hasattr(self._embedder, "embed_queries")
        return 1 if is_single else UNIT_PIECES

    async def _answer_all(self, batch: Sequence[_Question]) -> None:
        texts = [question.text for question in batch]
        vectors = await self._ask(lambda: embed_queries(self._embedder, texts), urgent=True, seconds=QUERY_SECONDS)
        for question, vector in zip(batch, vectors, strict=True):
            if not question.answer.done():
                question.answer.set_result(vector)

    async def _answer_one(self, question: _Question) -> None:
        try:
            await self._answer_all([question])
        except Exception as error:  # noqa: BLE001  # the asker's to hear
            _fail([question], error)

    async def _ask(self, fn: Callable[[], T], *, urgent: bool = False, seconds: float) -> T:
        try:
            return await self._kernel.consult(fn, urgent=urgent, seconds=seconds)
        except TimeoutError as error:
            raise EmbedderError(
                f"embedder {self.name!r} did not answer within {seconds:g} s; it is left alone until it does. "
                "Give it a time limit of its own, or open the memory with another one"
            ) from error


def _is_at_hand(embedder: Embedder | None) -> bool:
    """Whether it is ours and loaded: then a question has its vector before another thread could be asked for it."""
    return type(embedder) is WordLlamaEmbedder and embedder.is_loaded


def _fail(questions: Sequence[_Question], error: Exception) -> None:
    for question in questions:
        if not question.answer.done():
            question.answer.set_exception(error)


def header_of(embedder: Embedder | None) -> Header:
    """What the store is opened with.

    Raises:
        EmbedderError: The embedder cannot say what it is, or fails on a probe.
    """
    if embedder is None:
        return Header()
    name, dimension = identity_of(embedder)
    try:
        probe = fingerprint(embedder)
    except (PagefaultError, KeyboardInterrupt):
        raise
    except BaseException as error:  # as in ``_checked``
        raise EmbedderError(f"embedder {name!r} failed on a probe: {error!r:.200}") from error
    return Header(embedder=name, dimension=dimension, fingerprint=probe)


def identity_of(embedder: Embedder) -> tuple[str, int]:
    """Name and dimension of an embedder.

    Raises:
        EmbedderError: One of them is unusable.
    """
    try:
        name, dimension = embedder.name, embedder.dimension
    except Exception as error:
        kind = type(embedder).__name__
        raise EmbedderError(f"an embedder needs a name and a dimension, {kind}: {error!r:.200}") from error
    if not isinstance(name, str) or not name:
        raise EmbedderError(f"the name of an embedder is non-empty text, {type(embedder).__name__} gives {name!r:.60}")
    if not isinstance(dimension, int) or isinstance(dimension, bool) or dimension < 1:
        raise EmbedderError(f"the dimension of embedder {name!r} is {dimension!r:.60}; it must be a positive integer")
    return name, dimension


def embed_queries(embedder: Embedder | None, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """The vectors of questions, by ``embed_queries`` or ``embed_query`` where the embedder reads them in another way.

    Raises:
        EmbedderError: As for :func:`embed`, or there is no embedder.
    """
    if embedder is None:
        raise EmbedderError("without an embedder there is no vector of a question")
    return _checked(embedder, texts, lambda: _own_way(embedder)(texts), "failed on a question")


def _own_way(embedder: Embedder) -> Callable[[Sequence[str]], Sequence[Sequence[float]]]:
    """How an embedder reads questions."""
    several: Callable[[Sequence[str]], Sequence[Sequence[float]]] | None = getattr(embedder, "embed_queries", None)
    one: Callable[[str], Sequence[float]] | None = getattr(embedder, "embed_query", None)
    if several is not None:
        return several
    return embedder.embed if one is None else lambda texts: [one(text) for text in texts]


def embed(embedder: Embedder | None, texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Vectors of some texts, checked.

    Raises:
        EmbedderError: The embedder raised, or its vectors are unusable.
    """
    return [] if embedder is None else _checked(embedder, texts, lambda: embedder.embed(texts), "failed")


def _checked(
    embedder: Embedder, texts: Sequence[str], ask: Callable[[], Sequence[Sequence[float]]], failed: str
) -> Sequence[Sequence[float]]:
    try:
        vectors = ask()
        validate_vectors(embedder, texts, vectors)
    except (PagefaultError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an exit or a panic, too: the worker thread it runs on is ours
        raise EmbedderError(f"embedder {embedder.name!r} {failed}: {error!r:.200}") from error
    return vectors


def embed_pieces(embedder: Embedder | None, texts: Sequence[str]) -> list[Dense]:
    """The vectors of the pieces of each text, checked.

    Raises:
        EmbedderError: As for :func:`embed`.
    """
    cut = [pieces_of(text) for text in texts]
    return _grouped(embed(embedder, [piece for each in cut for piece in each]), cut)


def _grouped(vectors: Sequence[Sequence[float]], cut: Sequence[Sequence[str]]) -> list[Dense]:
    """Vectors in a row as those of each text."""
    each = iter(vectors)
    return [[next(each) for _ in parts] for parts in cut]


def _name(embedder: Embedder) -> str:
    try:
        return str(embedder.name)
    except Exception:  # noqa: BLE001  # it is somebody else's, and this is about another error
        return type(embedder).__name__
