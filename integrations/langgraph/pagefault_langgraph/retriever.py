"""A memory as a LangChain retriever: what answers a query, as documents."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Annotated, Any, Final

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import ConfigDict, Field, SkipValidation

from pagefault import Found, Memory, Source, SpaceId
from pagefault.arguments import ScopeName
from pagefault.recall import reading, shared
from pagefault.space import Space
from pagefault_langgraph.identity import Identity
from pagefault_langgraph.locate import identify

_config: Final[ContextVar[RunnableConfig | None]] = ContextVar("pagefault_retriever_config", default=None)


class PagefaultRetriever(BaseRetriever):
    """What ``recall`` finds in one conversation, and among its user's items, as documents.

    An abstention gives no documents, nor does a blank query. All have a ``source`` to be quoted (``page 12``,
    ``item diet``, the name of a source outside), ``score`` and ``outcome`` as metadata. A page's document is its
    reading, verbatim, with ``address``, ``seq``, ``created_at`` and ``trust``, who wrote it; an item's has its
    ``key``, ``version`` and ``updated_at``. Behind the best pages stands what was said right after them, if that may
    correct or answer them; a page that a newer one says anew has that one's address as ``superseded_by``. A page of
    another conversation (``scope="user"``) also has its ``thread`` and ``agent``. A passage of a source
    outside has its ``address`` there.

    As documents of any index they stand in a chain's prompt without a fence around them: a page that gives
    instructions reads like the prompt's own. Where a model is to tell them apart, quote ``space.recall(query).text``
    instead, or give an agent the ``recall`` tool.

    Args:
        memory: From ``pagefault.open(...)``.
        space: Whose conversation; by default the one that the run's config names, as for the middleware.
        identity: From the run's config to a ``SpaceId``, where the default does not do.
        scope: ``"user"`` looks into all conversations of this user.
        sources: Asked as well; what they say has up to a third of the documents, the last ones. One that gives no
            answer is logged.
        k: Documents returned at most; ``invoke(query, k=...)`` says it for one call, and of which time they are
            ``after=`` and ``before=``, Unix seconds as for ``space.recall``.

    Example:
        >>> import pagefault
        >>> from pagefault import SpaceId
        >>> with pagefault.open(":memory:", embedder=None) as memory:
        ...     space = memory.space(user="ada", thread="t1")
        ...     space.append([{"role": "user", "content": "My cat is called Turing."}])
        ...     PagefaultRetriever(memory=memory, space=space.id).invoke("cat")[0].page_content
        'user: My cat is called Turing.'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    memory: Memory
    space: SpaceId | None = None
    identity: Identity | None = None
    scope: ScopeName = "thread"
    sources: Annotated[Sequence[Source], SkipValidation] = ()
    k: int = Field(default=10, ge=1, le=100)

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002  # LangChain's name
        """The documents for a query."""
        token = _config.set(ensure_config(config))
        try:
            return super().invoke(input, config, **kwargs)
        finally:
            _config.reset(token)

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: A002  # LangChain's name
        """Async twin of :meth:`invoke`."""
        token = _config.set(ensure_config(config))
        try:
            return await super().ainvoke(input, config, **kwargs)
        finally:
            _config.reset(token)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002  # LangChain passes it by name
        k: int | None = None,
        after: float | None = None,
        before: float | None = None,
    ) -> list[Document]:
        asked = self._asked(query, k, after, before)
        return _documents(self._space().recall(**asked), asked["limit"]) if asked else []

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002  # as above
        k: int | None = None,
        after: float | None = None,
        before: float | None = None,
    ) -> list[Document]:
        asked = self._asked(query, k, after, before)
        return _documents(await self._space().arecall(**asked), asked["limit"]) if asked else []

    def _asked(self, query: str, k: int | None, after: float | None, before: float | None) -> dict[str, Any]:
        """What to ask for; nothing where a chain made a blank query of a question, which a space refuses."""
        limit = self.k if k is None else k
        how = {"limit": limit, "after": after, "before": before, "scope": self.scope, "sources": self.sources}
        return {"query": query, **how} if query.strip() else {}

    def _space(self) -> Space:
        return self.memory.at(self.space or identify(self.identity, _config.get() or {}, []))


def _documents(found: Found, limit: int) -> list[Document]:
    """Items first, as in the text of a recall."""
    outcome = found.outcome.value
    documents = [
        Document(
            page_content=recalled.item.searched,
            metadata={
                "source": f"item {recalled.item.key}",
                "key": recalled.item.key,
                "version": recalled.item.version,
                "updated_at": recalled.item.updated_at,
                "score": recalled.score,
                "outcome": recalled.outcome.value,
            },
        )
        for recalled in found.items
    ]
    documents += [
        Document(
            id=recalled.page.chain if recalled.space is None else f"{recalled.space.key}/{recalled.page.chain}",
            page_content=reading(recalled.page),
            metadata={
                "source": f"page {recalled.address}",
                "address": recalled.address,
                "seq": recalled.page.seq,
                "created_at": recalled.page.created_at,
                "trust": recalled.trust,
                "score": recalled.score,
                "outcome": outcome,
                **({"superseded_by": recalled.superseded_by} if recalled.superseded_by else {}),
                **_elsewhere(recalled.space),
            },
        )
        for recalled in found.quoted
    ]
    outside = [
        Document(
            page_content=recalled.passage.text,
            metadata={
                "source": recalled.source,
                "address": recalled.passage.address,
                "updated_at": recalled.passage.updated_at,
                "score": recalled.score,
                "outcome": recalled.outcome.value,
            },
        )
        for recalled in found.passages
    ]
    return shared(documents, outside, limit)


def _elsewhere(space: SpaceId | None) -> dict[str, str]:
    return {} if space is None else {"thread": space.thread, "agent": space.agent}
