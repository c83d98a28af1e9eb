"""Whose conversation a call belongs to: from the application's configuration, never from the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_core.messages import BaseMessage

from pagefault import SpaceId
from pagefault.errors import InvalidId
from pagefault.memory import DEFAULT_TENANT

Identity = Callable[[Mapping[str, Any]], SpaceId]


def space_of(config: Mapping[str, Any], messages: Sequence[BaseMessage] = ()) -> SpaceId:
    """The default identity.

    Tenant ``"default"``; user from the authenticated LangGraph user, else
    ``configurable["user_id"]``, else ``""``; thread from ``thread_id``. Without a thread the
    conversation is ephemeral and named after its first message. A root agent is its name;
    below the root the namespace path (``node:<uuid>|node:<uuid>``, the last one being the node
    that asks) is added without its ids, so that sub-agents sharing a thread share no space.

    Raises:
        InvalidId: ``thread_id`` or ``user_id`` is no usable string.
    """
    configurable = config.get("configurable") or {}
    thread = configurable.get("thread_id")
    if thread is None:
        thread = f"~{messages[0].id}" if messages and messages[0].id else None
    if thread is None:
        raise InvalidId(
            "no thread_id in the run's config and no message id to go by; pass configurable={'thread_id': ...} to the "
            "graph, or, outside of a graph, identity=... to paged() or the middleware"
        )
    user = _user(configurable)
    namespace = configurable.get("checkpoint_ns")
    parents = _parents(namespace) if namespace and "|" in namespace else ()
    name = (config.get("metadata") or {}).get("lc_agent_name") or ""
    if isinstance(thread, str) and isinstance(user, str):
        return _space_id(user, thread, name, parents)
    return _space_id.__wrapped__(user, str(thread) if isinstance(thread, int) else thread, name, parents)


def _parents(namespace: str) -> tuple[str, ...]:
    return tuple(part.split(":", 1)[0] for part in namespace.split("|")[:-1])


@lru_cache(maxsize=4_096)
def _space_id(user: str, thread: str, name: str, parents: tuple[str, ...]) -> SpaceId:
    """The agent is its name, with its place in the graph when it runs below the root."""
    return SpaceId(tenant=DEFAULT_TENANT, user=user, thread=thread, agent="/".join([name, *parents]))


def _user(configurable: Mapping[str, Any]) -> Any:
    authenticated = configurable.get("langgraph_auth_user")
    if authenticated is None:
        user = configurable.get("user_id") or ""
        return str(user) if isinstance(user, int) else user
    if isinstance(authenticated, Mapping):
        identity = authenticated.get("identity")
    else:
        identity = getattr(authenticated, "identity", None)
    user = identity or configurable.get("user_id") or ""
    return str(user) if isinstance(user, int) else user
