"""Whose conversation a call belongs to: from the application's configuration, never from the model."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from langchain_core.messages import BaseMessage

from pagefault import SpaceId
from pagefault.core import DEFAULT_TENANT
from pagefault.errors import AmbiguousAgent, InvalidId
from pagefault.paths.paging import Paging

_log: Final = logging.getLogger("pagefault")
_calling: Final[ContextVar[tuple[tuple[int, str], ...]]] = ContextVar("pagefault_calling", default=())
Identity = Callable[[Mapping[str, Any]], SpaceId]
"""Says from the config of a run whose conversation it is, in place of :func:`space_of`.

A run's ``context`` is at hand as well: ``langgraph.runtime.get_runtime(Context).context``.
"""


def space_of(config: Mapping[str, Any], messages: Sequence[BaseMessage] = ()) -> SpaceId:
    """The default identity.

    Tenant ``"default"``; user from the authenticated LangGraph user, else
    ``configurable["user_id"]``, else ``""``; thread from ``thread_id``. Without a thread the
    conversation is ephemeral and named after its first message, which the log says once. A root agent is its name;
    below the root the namespace path (``node:<uuid>|node:<uuid>``, the last one being the node
    that asks) is added without its ids, so that sub-agents sharing a thread share no space; a function with
    ``@task`` is part of what calls it. Where the parent has a ``PagingMiddleware``, the place of an unnamed sub-agent
    includes the tool that called it.

    Raises:
        InvalidId: ``thread_id`` or ``user_id`` is no usable string, or the authenticated user has no identity.
    """
    configurable = config.get("configurable") or {}
    thread = configurable.get("thread_id")
    if thread is None:
        if not messages or not messages[0].id:
            raise InvalidId(
                "no thread_id in the run's config and no message id to go by; pass configurable={'thread_id': ...} to "
                "the graph, or, outside of a graph, to the paged model, or identity=... to paged() or the middleware"
            )
        thread = f"~{messages[0].id}"
        _say_ephemeral()
    user = _user(configurable) if "user_id" in configurable or "langgraph_auth_user" in configurable else ""
    namespace = configurable.get("checkpoint_ns")
    metadata = config.get("metadata") or {}
    name = metadata.get("lc_agent_name") or ""
    parents = _parents(namespace, metadata, is_named=bool(name)) if namespace and "|" in namespace else ()
    if thread.__class__ is str and user.__class__ is str:
        return _space_id(user, thread, name, parents)
    return _space_id.__wrapped__(user, str(thread) if isinstance(thread, int) else thread, name, parents)


@cache
def _say_ephemeral() -> None:
    """Once in a process."""
    _log.warning(
        "a run's config has no thread_id, so its conversation is named after its first message, and only a run that "
        "brings along this very message finds it again; pass configurable={'thread_id': ...} (this is said once)"
    )


def _parents(namespace: str, metadata: Mapping[str, Any], *, is_named: bool) -> tuple[str, ...]:
    own = 1 + _tasks(metadata.get("langgraph_path"))
    parents = [part.split(":", 1)[0] for part in namespace.split("|")[:-own]]
    for depth, tool in () if is_named else _calling.get():
        if depth < len(parents):
            parents[depth] += f":{tool}"
    return tuple(parents)


def _tasks(path: Any) -> int:
    """In how many functions with ``@task``, one called by the other, a node asks; LangGraph's path says so."""
    depth = 0
    while isinstance(path, tuple) and path and path[-1] is True:
        depth, path = depth + 1, path[1]
    return depth


@contextmanager
def calling(tool: str, config: Mapping[str, Any]) -> Iterator[None]:
    """While a tool runs: a sub-agent in it is told by the tool's name from those in other tools."""
    depth = str((config.get("configurable") or {}).get("checkpoint_ns") or "").count("|")
    outer = tuple(call for call in _calling.get() if call[0] < depth)
    token = _calling.set((*outer, (depth, tool)))
    try:
        yield
    finally:
        _calling.reset(token)


class _Caller(NamedTuple):
    """An agent that was seen at work in a space.

    Attributes:
        owner: What pages for it.
        tools: Names of its tools.
        places: The tasks it runs in, outermost first.
        steps: For each of them, the checkpoint of the superstep that the task belongs to.
    """

    owner: weakref.ref[object]
    tools: frozenset[str]
    places: tuple[str, ...]
    steps: tuple[str, ...]


_callers: Final[weakref.WeakKeyDictionary[Paging, _Caller]] = weakref.WeakKeyDictionary()


def watch(paging: Paging, config: Mapping[str, Any], owner: object, tools: Sequence[Any]) -> None:
    """Notice when two different agents at once would be one.

    Only sub-agents that run in different tasks of the same superstep, page for themselves and have
    different tools are two for sure: a retry or a resumed run has the same task, time travel
    another superstep, and one agent called twice in parallel the same tools.

    Raises:
        AmbiguousAgent: They would share a space.
    """
    configurable = config.get("configurable") or {}
    namespace = str(configurable.get("checkpoint_ns") or "")
    if "|" not in namespace:
        return
    places = tuple(namespace.split("|")[:-1])
    steps = configurable.get("checkpoint_map") or {}
    known = tuple(str(steps.get("|".join(places[:depth]), "")) for depth in range(len(places)))
    caller = _Caller(weakref.ref(owner), frozenset(map(tool_name, tools)), places, known)
    last = _callers.get(paging)
    if last is not None and last.owner() not in {None, owner} and last.tools != caller.tools and _beside(last, caller):
        raise AmbiguousAgent(
            f"two agents at work at once would share {paging.space}: one with the tools {sorted(last.tools)}, one with "
            f"{sorted(caller.tools)}. Give each a name, create_agent(..., name='...'), or their own identity=..., or "
            "give the agent that calls them a PagingMiddleware, which tells them by the tool that called them"
        )
    _callers[paging] = caller


def _beside(one: _Caller, other: _Caller) -> bool:
    """Whether they run in different tasks of one superstep."""
    for mine, theirs, step, its in zip(one.places, other.places, one.steps, other.steps, strict=False):
        if mine != theirs:
            return bool(step) and step == its
    return False


def tool_name(tool: Any) -> str:
    """What a model calls a tool by, be it an object or a provider's dictionary."""
    if isinstance(tool, Mapping):
        function = tool.get("function")
        return str((function if isinstance(function, Mapping) else tool).get("name"))
    return str(getattr(tool, "name", tool))


@lru_cache(maxsize=4_096)
def _space_id(user: str, thread: str, name: str, parents: tuple[str, ...]) -> SpaceId:
    """The agent is its name, with its place in the graph when it runs below the root."""
    return SpaceId(tenant=DEFAULT_TENANT, user=user, thread=thread, agent="/".join([name, *parents]))


def _user(configurable: Mapping[str, Any]) -> Any:
    authenticated = configurable.get("langgraph_auth_user")
    if authenticated is None:
        user = configurable.get("user_id")
        return "" if user is None else str(user) if isinstance(user, int) else user
    if isinstance(authenticated, Mapping):
        identity = authenticated.get("identity")
    else:
        identity = getattr(authenticated, "identity", None)
    if not identity:  # what a caller says of itself counts only where nobody is logged in
        raise InvalidId(
            "the authenticated user of this run has no identity; let the auth handler return one, or, where nobody logs"
            " in, say whose conversations they are with identity=... on the middleware, node, model or tool"
        )
    return identity
