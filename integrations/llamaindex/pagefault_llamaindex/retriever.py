"""A session as a retriever: its pages as nodes, for query engines and context chat engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from pagefault import Found, Source, Space, SpaceId
from pagefault.arguments import ScopeName, check_scope
from pagefault.recall import shared
from pagefault_llamaindex.memory import PagefaultMemory

_QUIET: Final = frozenset({"session", "version", "outcome"})


class PagefaultRetriever(BaseRetriever):
    """Finds what is remembered and pages of a session, verbatim; nothing when the evidence is not good enough.

    A node of what is remembered comes first and has its ``key``, a page's its ``address``. Behind the best pages
    stands what was said right after them, if that may correct or answer them; a page that a newer one says anew has
    that one's address as ``superseded_by``. A blank query finds nothing.

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
        asked = self._asked(query_bundle.query_str)
        if not asked:
            return []
        space = self._memory if isinstance(self._memory, Space) else self._memory.space
        return _nodes(space.recall(**asked), space.id, self._limit)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        asked = self._asked(query_bundle.query_str)
        if not asked:
            return []
        space = self._memory if isinstance(self._memory, Space) else await self._memory.aspace()
        return _nodes(await space.arecall(**asked), space.id, self._limit)

    def _asked(self, query: str) -> dict[str, Any]:
        """What to ask for; nothing where an engine made a blank query of a question, which a space refuses."""
        how: dict[str, Any] = {"limit": self._limit, "scope": self._scope, "sources": self._sources}
        return {"query": query, **how} if query.strip() else {}


def _nodes(found: Found, home: SpaceId, limit: int) -> list[NodeWithScore]:
    """Items first, as in the text of a recall."""
    own = [
        _node(
            recalled.item.searched,
            recalled.score,
            {
                "key": recalled.item.key,
                "version": recalled.item.version,
                "updated_at": recalled.item.updated_at,
                "outcome": recalled.outcome.value,
            },
        )
        for recalled in found.items
    ]
    for page in found.quoted:
        space = page.space or home
        metadata = {
            "address": page.address,
            "session": space.thread,
            "created_at": page.page.created_at,
            "roles": ", ".join(dict.fromkeys(m.role.value for m in page.page.messages)),
            "trust": page.trust,
            "outcome": found.outcome.value,
        }
        if page.superseded_by is not None:
            metadata["superseded_by"] = page.superseded_by
        own.append(_node(page.page.text, page.score, metadata, id_=f"{space.key}/{page.page.chain}"))
    outside = [
        _node(
            recalled.passage.text,
            recalled.score,
            {
                "source": recalled.source,
                "address": recalled.passage.address,
                "updated_at": recalled.passage.updated_at,
                "outcome": recalled.outcome.value,
            },
        )
        for recalled in found.passages
    ]
    return shared(own, outside, limit)


def _node(text: str, score: float, metadata: dict[str, Any], **more: Any) -> NodeWithScore:
    """A node whose metadata is no part of its embedding, and of a prompt without what says nothing to a model.

    A key or address that breaks its line, and so could read like other metadata, is not in a prompt either.
    """
    quiet = [name for name, value in metadata.items() if name in _QUIET or not str(value).isprintable()]
    node = TextNode(
        text=text,
        metadata=metadata,
        excluded_embed_metadata_keys=list(metadata),
        excluded_llm_metadata_keys=quiet,
        **more,
    )
    return NodeWithScore(node=node, score=score)
