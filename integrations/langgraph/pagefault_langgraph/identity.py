"""Whose conversation a call belongs to: from the application's configuration, never from the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from pagefault import SpaceId
from pagefault.errors import InvalidId
from pagefault.memory import DEFAULT_TENANT

Identity = Callable[[RunnableConfig], SpaceId]


def space_of(config: Mapping[str, Any], messages: Sequence[BaseMessage]) -> SpaceId:
    """The default identity.

    Tenant ``"default"``; user from the authenticated LangGraph user, else
    ``configurable["user_id"]``, else ``""``; thread from ``thread_id``. Without a thread the
    conversation is ephemeral and named after its first message. A root agent is its name;
    below the root the namespace path without run ids is added, so that sub-agents that share
    a thread do not share a space.

    Raises:
        InvalidId: ``thread_id`` or ``user_id`` is no usable string.
    """
    configurable = config.get("configurable") or {}
    metadata = config.get("metadata") or {}
    thread = configurable.get("thread_id")
    if thread is None:
        thread = f"~{messages[0].id}" if messages and messages[0].id else None
    if thread is None:
        raise InvalidId("no thread_id in configurable and no message id to go by; pass configurable={'thread_id': ...}")
    return SpaceId(
        tenant=DEFAULT_TENANT,
        user=_user(configurable),
        thread=str(thread) if isinstance(thread, int) else thread,
        agent=_agent(str(metadata.get("lc_agent_name") or ""), str(configurable.get("checkpoint_ns") or "")),
    )


def _user(configurable: Mapping[str, Any]) -> str:
    authenticated = configurable.get("langgraph_auth_user")
    if isinstance(authenticated, Mapping):
        identity = authenticated.get("identity")
    else:
        identity = getattr(authenticated, "identity", None)
    user = identity or configurable.get("user_id") or ""
    return str(user) if isinstance(user, int) else user


def _agent(name: str, checkpoint_ns: str) -> str:
    """The agent's name, with its place in the graph when it runs below the root.

    ``checkpoint_ns`` is ``node:<uuid>|node:<uuid>``; the last part is the node that asks.
    """
    parents = [part.split(":", 1)[0] for part in checkpoint_ns.split("|")[:-1]]
    return "/".join([name, *parents]) if parents else name
