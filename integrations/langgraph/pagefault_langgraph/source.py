"""Any LangGraph store as a source that a recall asks as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.store.base import BaseStore

from pagefault import InvalidItem, Passage, SpaceId
from pagefault.items import reading

Namespace = tuple[str, ...] | Callable[[SpaceId], tuple[str, ...]]


class StoreSource:
    """Lets ``recall`` read a LangGraph ``BaseStore``, whoever makes it: the Qdrant team's, Postgres, another.

    It only searches, by the store's own search. Its sync method is called, on a thread of its own; one that lives on
    an event loop answers as long as that loop runs, so use the async form of your graph there.

    Args:
        store: The store.
        namespace: Below which to look; a function of who asks gives each user their own.
        name: How results name it.
        filter: The store's own filter.

    Raises:
        TypeError: Not a store.

    Example:
        >>> import pagefault
        >>> from langgraph.store.memory import InMemoryStore
        >>> store = InMemoryStore()
        >>> store.put(("users", "ada"), "diet", {"text": "vegan since 2020"})
        >>> source = StoreSource(store, lambda space: ("users", space.user), name="profiles")
        >>> with pagefault.open(":memory:", embedder=None) as memory:
        ...     found = memory.space(user="ada", thread="t1").recall("vegan since", sources=[source])
        ...     found.passages[0].passage.text, found.passages[0].source
        ('text: vegan since 2020', 'profiles')
    """

    def __init__(
        self,
        store: BaseStore,
        namespace: Namespace = (),
        *,
        name: str = "store",
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # the store's own word
    ) -> None:
        if not isinstance(store, BaseStore):
            raise TypeError(f"a StoreSource reads a LangGraph BaseStore, got {type(store).__name__} {store!r:.60}")
        self.name = name
        self._store = store
        self._namespace = namespace
        self._filter = dict(filter) if filter is not None else None

    def search(self, space: SpaceId, query: str, *, limit: int) -> Sequence[Passage]:
        """The items that the store finds.

        Raises:
            InvalidItem: The namespace has an empty label, such as that of a user who is not named.
        """
        namespace = self._namespace(space) if callable(self._namespace) else self._namespace
        if not all(namespace):  # some stores take it for "all of them"
            raise InvalidItem(f"the namespace {namespace!r:.120} of source {self.name!r} has an empty label")
        found = self._store.search(namespace, query=query, filter=self._filter, limit=limit)
        return [
            Passage(
                text=reading(item.value),
                address=f"{'/'.join(item.namespace)}/{item.key}",
                updated_at=item.updated_at.timestamp(),
            )
            for item in found
        ]
