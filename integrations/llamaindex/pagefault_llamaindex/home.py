"""Whose conversation a tool or retriever reads: a session's memory, or a space."""

from __future__ import annotations

from pagefault import Space
from pagefault.arguments import ScopeName, check_scope
from pagefault.errors import InvalidId
from pagefault_llamaindex.memory import PagefaultMemory

Home = PagefaultMemory | Space


def check_home(memory: object, scope: object = "thread") -> ScopeName:
    """The scope, once both are seen to go together.

    Raises:
        TypeError: ``memory`` is neither.
        ValueError: No such scope.
        InvalidId: ``scope="user"``, and the conversation is nobody's.
    """
    if not isinstance(memory, PagefaultMemory | Space):
        raise TypeError(f"memory is a PagefaultMemory or a Space, got {type(memory).__name__} {memory!r:.60}")
    checked = check_scope(scope)
    check_user(checked, memory.user if isinstance(memory, PagefaultMemory) else memory.id.user)
    return checked


def check_user(scope: ScopeName, user: str) -> None:
    """Refuse all conversations of nobody, where that is asked for, not when a model first recalls.

    Raises:
        InvalidId: ``scope="user"`` without a user.
    """
    if scope == "user" and not user:
        raise InvalidId("scope='user' reads all conversations of a user, and this one has none; give it user=...")


def space_of(memory: Home) -> Space:
    """The space behind it."""
    return memory if isinstance(memory, Space) else memory.space


async def aspace_of(memory: Home) -> Space:
    """Async twin of :func:`space_of`: what was written down is opened beside the loop."""
    return memory if isinstance(memory, Space) else await memory.aspace()
