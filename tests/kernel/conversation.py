"""A conversation without end that is always the same: message ``n`` and the pages it makes."""

from __future__ import annotations

from typing import Any

from pagefault.messages import canonical

PERIOD = 9
LARGE_EVERY = 20


def message(n: int) -> dict[str, Any]:
    """Message ``n``, from 0: talk, and a group of one assistant message with two tool results."""
    turn, place = divmod(n, PERIOD)
    if place == 4:
        return {"role": "assistant", "content": "", "tool_calls": [_call(turn, "a"), _call(turn, "b")]}
    if place in {5, 6}:
        size = 8_000 if turn % LARGE_EVERY == LARGE_EVERY - 1 else 12  # the large ones are stored in chunks
        return {"role": "tool", "tool_call_id": f"{turn}{'ab'[place - 5]}", "content": f"result {n} é\udce9 " * size}
    return {"role": "user" if place % 2 else "assistant", "content": f"message {n} of turn {turn}", "id": f"m{n}"}


def _call(turn: int, letter: str) -> dict[str, Any]:
    return {"id": f"{turn}{letter}", "function": {"name": "look", "arguments": f'{{"turn": {turn}}}'}}


def bodies(count: int) -> list[str]:
    """The bodies of the complete pages that the first ``count`` messages make."""
    groups: list[list[dict[str, Any]]] = []
    for n in range(count):
        if n % PERIOD in {5, 6}:
            groups[-1].append(message(n))
        else:
            groups.append([message(n)])
    if count % PERIOD in {5, 6}:
        groups.pop()  # a group that waits for its tool results
    return [canonical.dump(group)[0] for group in groups]
