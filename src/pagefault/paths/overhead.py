"""Tokens of what surrounds a conversation in a request: messages besides it, and schemas of tools and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from typing import Any, Final

from pagefault.estimate import reserved
from pagefault.messages.equal import is_equal
from pagefault.messages.projection import compact
from pagefault.page import Kind
from pagefault.paths.content import materialise
from pagefault.ports import Codec, TokenCounter

SCHEMA_OVERHEAD: Final = 8
_KEPT: Final = 4
_MOST_SCHEMAS: Final = 1_024


class Overhead:
    """Counts what surrounds a conversation, and remembers it.

    It is the same in nearly every call, and to count it takes a hundred times as long as all the rest of a step. It is
    the same by value: who marks a prompt for a provider's cache, or writes it anew, makes new objects for every call.

    Args:
        codec: Reads the messages.
        counter: Of the memory; asked for when something is counted.
        schema: From a tool to what of it is sent.
        are_same: Whether two lists of tools are the same by value.
    """

    def __init__(
        self,
        codec: Codec,
        counter: Callable[[], TokenCounter],
        schema: Callable[[Any], Any],
        are_same: Callable[[Any, Any], bool] = is_equal,
    ) -> None:
        self._codec = codec
        self._counter = counter
        self._schema = schema
        self._messages = _Lately(codec.are_same)
        self._tools = _Lately(are_same)
        self._schemas: dict[int, tuple[Any, int]] = {}

    def messages(self, natives: Sequence[Any]) -> int:
        """Exact tokens of some messages."""
        if not natives:
            return 0
        tokens = self._messages.find(natives)
        if tokens is None:
            tokens = materialise(natives, self._codec, self._counter(), Kind.MESSAGE).tokens
            self._messages.keep(self._copies(natives), tokens)  # some programs write into theirs
        return tokens

    def _copies(self, natives: Sequence[Any]) -> list[Any]:
        """Copies that share nothing that may change, unless they would not pass for these messages then."""
        try:
            deep = deepcopy(list(natives))
        except Exception:  # noqa: BLE001  # the code of any object, such as a lock
            deep = []
        return deep if self._codec.are_same(deep, natives) and deep else [copy(message) for message in natives]

    def schemas(self, tools: list[Any]) -> int:
        """Tokens of what tools and answers are described by."""
        tokens = self._tools.find(tools)
        if tokens is None:
            tokens = reserved(sum(map(self._of_one, tools)), self._counter())
            self._tools.keep(tools, tokens)
        return tokens

    def _of_one(self, tool: Any) -> int:
        """The same of one, without the counter's reserve; other middleware chooses among an agent's tools."""
        known = self._schemas.get(id(tool))
        if known is None or known[0] is not tool:
            if len(self._schemas) >= _MOST_SCHEMAS:
                self._schemas.clear()
            tokens = self._counter().count(compact(self._schema(tool))) + SCHEMA_OVERHEAD
            known = self._schemas[id(tool)] = tool, tokens
        return known[1]


class _Lately:
    """The last few lists that were counted. Several threads ask at once, so what is kept is only ever replaced."""

    def __init__(self, are_same: Callable[[Any, Any], bool]) -> None:
        self._are_same = are_same
        self._kept: list[tuple[list[Any], int]] = []

    def find(self, asked: Sequence[Any]) -> int | None:
        """Tokens of these, if they are known."""
        kept = self._kept
        for known in kept:
            if len(known[0]) == len(asked) and self._are_same(known[0], asked):
                if known is not kept[0]:
                    self._kept = [known, *(other for other in kept if other is not known)]
                return known[1]
        return None

    def keep(self, counted: list[Any], tokens: int) -> None:
        """Know these from now on."""
        self._kept = [(counted, tokens), *self._kept[: _KEPT - 1]]
