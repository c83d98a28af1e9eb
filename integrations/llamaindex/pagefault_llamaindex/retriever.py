"""A session as a retriever: its pages as nodes, for query engines and context chat engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from pagefault import Found, Source, Space
from pagefault.arguments import ScopeName, check_scope
from pagefault.recall import shared
from pagefault_llamaindex.memory import PagefaultMemory


class PagefaultRetriever(BaseRetriever):
    """Finds pages of a session, verbatim; nothing when the evidence is not good enough.

    Behind the best pages stands what was said right after them, if that may correct or answer them.

    Args:
        memory: The session's memory, or a space.
        limit: Nodes returned at most.
        scope: ``"user"`` looks into all sessions of this user; a node's ``session`` says which.
        sources: Asked as well; what they say has up to a third of the nodes, the last ones, with the name of its
            ``source``. One that gives no answer is logged.
        **kwargs: For LlamaIndex's ``BaseRetriever``.

    Example:
        >>> from llama_index.core.llms import ChatMessage
        >>> memory = PagefaultMemory.from_defaults(":memory:", session_id="ada")
        >>> memory.put(ChatMessage(role="user", content="My cat is called Turing."))
        >>> PagefaultRetriever(memory).retrieve("the cat")[0].text
        'My cat is called Turing.'
        >>> memory.close()
    """

    def __init__(
        self,
        memory: PagefaultMemory | Space,
        *,
        limit: int = 10,
        scope: ScopeName = "thread",
        sources: Sequence[Source] = (),
        **kwargs: Any,
    ) -> None:
        if not isinstance(memory, PagefaultMemory | Space):
            raise TypeError(f"memory is a PagefaultMemory or a Space, got {type(memory).__name__} {memory!r:.60}")
        super().__init__(**kwargs)
        self._memory = memory
        self._limit = limit
        self._scope: ScopeName = check_scope(scope)
        self._sources = tuple(sources)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._space.recall(query_bundle.query_str, limit=self._limit, scope=self._scope, sources=self._sources)
        return self._nodes(found)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._space.arecall(
            query_bundle.query_str, limit=self._limit, scope=self._scope, sources=self._sources
        )
        return self._nodes(found)

    @property
    def _space(self) -> Space:
        return self._memory if isinstance(self._memory, Space) else self._memory.space

    def _nodes(self, found: Found) -> list[NodeWithScore]:
        spaces = [page.space or self._space.id for page in found.quoted]
        pages = [
            NodeWithScore(
                node=TextNode(
                    id_=f"{space.key}/{page.page.chain}",
                    text=page.page.text,
                    metadata={
                        "address": page.address,
                        "session": space.thread,
                        "created_at": page.page.created_at,
                        "roles": ", ".join(dict.fromkeys(m.role.value for m in page.page.messages)),
                        "trust": page.trust,
                        "outcome": found.outcome.value,
                    },
                    excluded_embed_metadata_keys=["address", "session", "created_at", "roles", "trust", "outcome"],
                    excluded_llm_metadata_keys=["session", "outcome"],
                ),
                score=page.score,
            )
            for page, space in zip(found.quoted, spaces, strict=True)
        ]
        outside = [
            NodeWithScore(
                node=TextNode(
                    text=recalled.passage.text,
                    metadata={
                        "source": recalled.source,
                        "address": recalled.passage.address,
                        "updated_at": recalled.passage.updated_at,
                        "outcome": recalled.outcome.value,
                    },
                    excluded_embed_metadata_keys=["source", "address", "updated_at", "outcome"],
                    excluded_llm_metadata_keys=["outcome"],
                ),
                score=recalled.score,
            )
            for recalled in found.passages
        ]
        return shared(pages, outside, self._limit)
