"""Asking sources outside, which are somebody else's code: each on a thread of its own, and for so long."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextvars import copy_context
from itertools import islice
from typing import Final

from pagefault.embedders.calls import Vectors
from pagefault.errors import EmbedderError
from pagefault.faults.query import Query
from pagefault.kernel import Kernel
from pagefault.page import SpaceId
from pagefault.ports import Dense, Passage, Source, TokenCounter
from pagefault.recall import (
    Found,
    PassageEvidence,
    RecalledPassage,
    document_vector,
    judge_passages,
    query_vector,
    render_passages,
    sought,
    with_passages,
)

SECONDS: Final = 5.0
"""A source gets so long for an answer."""
_log: Final = logging.getLogger("pagefault")
_Answer = Future[list[Passage]]


class Sources:
    """Asks sources, and judges what they say. Used on the kernel's loop thread."""

    def __init__(self, kernel: Kernel, vectors: Vectors) -> None:
        self._kernel = kernel
        self._vectors = vectors
        self._late: dict[int, Source] = {}
        """By their ids, those that have worked on a question for too long: they are not asked until they answer."""

    async def add_to(
        self, found: Found, sources: Sequence[Source], space: SpaceId, wanted: Query, counter: TokenCounter
    ) -> Found:
        """A recall's result with what these sources say of that time; what goes wrong with one is said in it."""
        query, limit = wanted.text, wanted.limit
        asked = [self._ask(source, space, query, limit) for source in sources]
        answers = await asyncio.gather(*asked)
        failed = [answer for answer in answers if isinstance(answer, str)]
        told = [each for answer in answers if not isinstance(answer, str) for each in answer]
        passages = [each for each in told if (at := each.passage.updated_at) is None or wanted.is_in_time(at)]
        cosines = await self._similar(space.tenant, query, [each.passage.text for each in passages])
        terms = query_vector(query).indices

        def judged() -> Found:
            evidence = [
                PassageEvidence(found=each, terms=set(document_vector(each.passage.text).indices), cosine=cosine)
                for each, cosine in zip(passages, cosines, strict=True)
            ]
            best = judge_passages(evidence, sought(query, terms))
            best, weights = best[:limit], dict.fromkeys(terms, 1.0)
            text = render_passages(best, failed, weights, counter=counter, budget=wanted.budget)
            return with_passages(found, best, failed, text)

        return await self._kernel.run(judged, urgent=True)

    async def _ask(self, source: Source, space: SpaceId, query: str, limit: int) -> list[RecalledPassage] | str:
        """What a source says, or why it says nothing."""
        name = _name(source)
        if id(source) in self._late:
            return _failure(name, "it has not answered an earlier question yet")
        answer = _Answer()
        asyncio.get_running_loop().call_later(SECONDS, self._note_late, source, answer)
        context = copy_context()
        threading.Thread(
            target=lambda: context.run(_work, answer, source, space, query, limit), name=f"source {name}", daemon=True
        ).start()
        try:
            passages = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(answer)), SECONDS)
        except TimeoutError:
            return _failure(name, f"it did not answer within {SECONDS:g} s")
        except Exception as error:  # noqa: BLE001  # it is somebody else's, and harms nothing else
            return _failure(name, f"{type(error).__name__}: {error}")
        return [RecalledPassage(source=name, passage=passage) for passage in passages]

    def _note_late(self, source: Source, answer: _Answer) -> None:
        """Also where whoever asked has gone: threads that hang must not add up."""
        if not answer.done():
            self._late[id(source)] = source
            answer.add_done_callback(lambda _: self._late.pop(id(source), None))

    async def _similar(self, tenant: str, query: str, texts: Sequence[str]) -> list[float | None]:
        """How near each text is to the query, by the memory's own embedder."""
        if not texts or not self._vectors.is_on:
            return [None] * len(texts)
        try:
            asked = await self._vectors.of_query(tenant, query)
            made, _ = await self._vectors.of_texts([text or " " for text in texts], urgent=True)
        except EmbedderError as error:
            _log.warning("what sources say is judged by its words alone: %s", error)
            return [None] * len(texts)
        return [_nearest(asked, dense) for dense in made]


def _work(answer: _Answer, source: Source, space: SpaceId, query: str, limit: int) -> None:
    try:
        passages = [_checked(passage) for passage in islice(source.search(space, query, limit=limit), limit)]
    except BaseException as error:  # noqa: BLE001  # an exit, too: the thread is ours
        answer.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
    else:
        answer.set_result(passages)


def _checked(passage: object) -> Passage:
    if not isinstance(passage, Passage) or not isinstance(passage.text, str) or not isinstance(passage.address, str):
        raise TypeError(f"a source gives pagefault.Passage objects with text, got {passage!r:.60}")
    if not isinstance(passage.updated_at, int | float | None):
        raise TypeError(f"updated_at of a passage is Unix seconds or None, got {passage.updated_at!r:.60}")
    return passage


def _name(source: Source) -> str:
    try:
        return str(source.name)
    except Exception:  # noqa: BLE001  # as above
        return type(source).__name__


def _failure(name: str, why: str) -> str:
    _log.warning("source %r gave no answer: %s", name, why)
    plain = re.sub(r"[^\x20-\x7e]+", " ", f"{name!r} gave no answer: {why}")
    return f"Source {plain[:300]}"


def _nearest(one: Sequence[float], dense: Dense) -> float:
    return max((_cosine(one, other) for other in dense), default=0.0)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    norm = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / norm if norm else 0.0
