"""A session as a retriever: its pages as nodes, for query engines and context chat engines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from pagefault import Found, Outcome, Source, SpaceId
from pagefault.arguments import ScopeName, check_limit, check_time
from pagefault.page import Page
from pagefault.recall import reading, shared
from pagefault.recall.rendering import time_of
from pagefault_llamaindex.home import Home, aspace_of, check_home, space_of


class PagefaultRetriever(BaseRetriever):
    """Finds what is remembered and pages of a session, verbatim; nothing when the evidence is not good enough.

    A node of what is remembered comes first and has its ``key``, a page's its ``address``. Behind the best pages
    stands what was said right after them, if that may correct or answer them; a page that a newer one says anew has
    that one's address as ``superseded_by``. A blank query finds nothing.

    A page's node is the message's own text; where tools were called, the calls and who says what as well. As nodes of
    any index it stands in an engine's prompt without a fence around it, ``trust`` says who wrote it. An agent that is
    to tell quoted text from instructions is better served by the ``recall`` tool. Metadata that a model is shown
    names weak evidence (``outcome: weak``), and the ``session`` of a page from another one. ``created_at`` and
    ``updated_at`` are text, as a recall shows them: ``2026-11-28T18:50:00Z``.

    Args:
        memory: The session's memory, or a space.
        limit: Nodes returned at most, 1 to 100.
        scope: ``"user"`` looks into all sessions of this user; a node's ``session`` says which.
        sources: Asked as well; what they say has up to a third of the nodes, the last ones, with the name of its
            ``source``. One that gives no answer is logged.
        after: Only what is from this time on, Unix seconds as for ``space.recall``.
        before: Only what is from before this time, likewise.
        **kwargs: For LlamaIndex's ``BaseRetriever``.

    Raises:
        TypeError: ``memory`` is neither.
        ValueError: No such scope, a limit out of range, or no time.
        InvalidId: ``scope="user"`` for a session of no user.

    Example:
        >>> from llama_index.core.llms import ChatMessage
        >>> from pagefault_llamaindex import PagefaultMemory
        >>> memory = PagefaultMemory.from_defaults(":memory:", session_id="ada")
        >>> memory.put(ChatMessage(role="user", content="My cat is called Turing."))
        >>> PagefaultRetriever(memory).retrieve("the cat")[0].text
        'My cat is called Turing.'
        >>> memory.close()
    """

    def __init__(
        self,
        memory: Home,
        *,
        limit: int = 10,
        scope: ScopeName = "thread",
        sources: Sequence[Source] = (),
        after: float | None = None,
        before: float | None = None,
        **kwargs: Any,
    ) -> None:
        self._scope = check_home(memory, scope)
        check_time(after, before)
        self._limit = check_limit(limit)
        super().__init__(**kwargs)
        self._memory = memory
        self._sources = tuple(sources)
        self._time = {"after": after, "before": before}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        asked = self._asked(query_bundle.query_str)
        if not asked:
            return []
        space = space_of(self._memory)
        return _nodes(space.recall(**asked), space.id, self._limit)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        asked = self._asked(query_bundle.query_str)
        if not asked:
            return []
        space = await aspace_of(self._memory)
        return _nodes(await space.arecall(**asked), space.id, self._limit)

    def _asked(self, query: str) -> dict[str, Any]:
        """What to ask for; nothing where an engine made a blank query of a question, which a space refuses."""
        how: dict[str, Any] = {"limit": self._limit, "scope": self._scope, "sources": self._sources}
        return {"query": query, **how, **self._time} if query.strip() else {}


def _nodes(found: Found, home: SpaceId, limit: int) -> list[NodeWithScore]:
    """Items first, as in the text of a recall."""
    own = [
        _node(
            each.item.searched,
            each.score,
            each.outcome,
            {
                "key": each.item.key,
                "version": each.item.version,
                "updated_at": time_of(each.item.updated_at),
            },
        )
        for each in found.items
    ]
    for page in found.quoted:
        space = page.space or home
        metadata = {
            "address": page.address,
            "session": space.thread,
            "created_at": time_of(page.page.created_at),
            "roles": ", ".join(dict.fromkeys(m.role.value for m in page.page.messages)),
            "trust": page.trust,
        }
        if page.superseded_by is not None:
            metadata["superseded_by"] = page.superseded_by
        quiet = {"session"} if page.space is None else set[str]()
        id_ = f"{space.key}/{page.page.chain}"
        own.append(_node(_said(page.page), page.score, found.outcome, metadata, quiet=quiet, id_=id_))
    outside: list[NodeWithScore] = []
    for recalled in found.passages:
        passage = recalled.passage
        metadata = {"source": recalled.source, "address": passage.address}
        if passage.updated_at is not None:
            metadata["updated_at"] = time_of(passage.updated_at)
        outside.append(_node(passage.text, recalled.score, recalled.outcome, metadata))
    return shared(own, outside, limit)


def _said(page: Page) -> str:
    """The text of a message as it is; of calls and their results also who says what, and with which arguments."""
    return page.text if len(page.messages) == 1 and not page.messages[0].calls else reading(page)


def _node(
    text: str,
    score: float,
    outcome: Outcome,
    metadata: dict[str, Any],
    *,
    quiet: Collection[str] = (),
    **more: Any,
) -> NodeWithScore:
    """A node whose metadata is no part of its embedding, and of a prompt without what says nothing to a model.

    A key or address that breaks its line, and so could read like other metadata, is not in a prompt either.
    """
    hidden = {"version", *quiet} | ({"outcome"} if outcome is Outcome.ANSWER else set())
    metadata |= {"outcome": outcome.value}
    node = TextNode(
        text=text,
        metadata=metadata,
        excluded_embed_metadata_keys=list(metadata),
        excluded_llm_metadata_keys=[
            name for name, value in metadata.items() if name in hidden or not str(value).isprintable()
        ],
        **more,
    )
    return NodeWithScore(node=node, score=score)
