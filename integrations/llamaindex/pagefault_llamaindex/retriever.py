"""A session as a retriever: its pages as nodes, for query engines and context chat engines."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from pagefault import Found, Space
from pagefault.arguments import ScopeName, check_scope
from pagefault_llamaindex.memory import PagefaultMemory


class PagefaultRetriever(BaseRetriever):
    """Finds pages of a session, verbatim; nothing when the evidence is not good enough.

    Args:
        memory: The session's memory, or a space.
        limit: Pages returned at most.
        scope: ``"user"`` looks into all sessions of this user; a node's ``session`` says which.
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
        self, memory: PagefaultMemory | Space, *, limit: int = 10, scope: ScopeName = "thread", **kwargs: Any
    ) -> None:
        if not isinstance(memory, PagefaultMemory | Space):
            raise TypeError(f"memory is a PagefaultMemory or a Space, got {type(memory).__name__} {memory!r:.60}")
        super().__init__(**kwargs)
        self._memory = memory
        self._limit = limit
        self._scope: ScopeName = check_scope(scope)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes(self._space.recall(query_bundle.query_str, limit=self._limit, scope=self._scope))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._space.arecall(query_bundle.query_str, limit=self._limit, scope=self._scope)
        return self._nodes(found)

    @property
    def _space(self) -> Space:
        return self._memory if isinstance(self._memory, Space) else self._memory.space

    def _nodes(self, found: Found) -> list[NodeWithScore]:
        spaces = [page.space or self._space.id for page in found.pages]
        return [
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
            for page, space in zip(found.pages, spaces, strict=True)
        ]
