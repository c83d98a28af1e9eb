"""Canonical JSON: the one textual form in which a message is hashed, stored and restored.

Plain ASCII JSON with sorted keys. Strings that hold surrogate code points cannot survive
JSON (two lone halves would come back as one character), so such a string is written as
``{"__utf8__": "<hex>"}`` and a user's own keys that begin with the marker are escaped.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pagefault.errors import UnsupportedMessage

_MARK: Final = "__utf8__"
_ESCAPE: Final = "__utf8__:"
_OPAQUE: Final = "__opaque__"
MAX_DEPTH: Final = 300
MAX_CONTAINERS: Final = 1_000_000
KEPT_CONTAINERS: Final = 10_000
_INT_BITS: Final = 14_000  # just below the 4,300 digits that Python converts


def dump(value: object) -> tuple[str, bool]:
    r"""Canonical JSON of ``value``.

    A value that JSON cannot hold is replaced by ``{"__opaque__": "<type>"}``; tuples become
    lists and keys that are numbers, booleans or ``None`` become text, as JSON does.

    Returns:
        The JSON text (ASCII), and whether a value or a key had to be replaced.

    Raises:
        UnsupportedMessage: The value is nested too deeply, refers to itself or is endless
            (more than a million lists and dictionaries, shared ones counted wherever they occur).

    Example:
        >>> dump({"b": (1, 2), "a": "x"})
        ('{"a":"x","b":[1,2]}', False)
        >>> load(dump("\ud83d")[0]) == "\ud83d"
        True
    """
    text, odd, _ = _write(value)
    return text, bool(odd)


def exact(value: object) -> tuple[str, str]:
    """The same text, and what it would not give back: for values of which the text is the only copy.

    That tuples come back as lists, and subclasses of text and numbers as what they are made of, does not count.

    Returns:
        The JSON text, and the first thing in ``value`` that JSON has no form for, ``""`` where there is none.

    Raises:
        UnsupportedMessage: As for :func:`dump`.

    Example:
        >>> exact({"a": (1, 2)})
        ('{"a":[1,2]}', '')
        >>> exact({1: "a"})[1]
        'the key 1, where JSON takes text'
    """
    text, odd, keys = _write(value)
    if odd:
        return text, f"a value that JSON cannot ({odd[0]})"
    return text, f"the key {keys[0]}, where JSON takes text" if keys else ""


def _write(value: object) -> tuple[str, list[str], list[str]]:
    """Canonical JSON; the types of what it replaced, and the keys that it wrote as text."""
    writable, plain = _survey(value)
    if not writable:
        raise UnsupportedMessage(
            f"a message is nested deeper than {MAX_DEPTH} levels, refers to itself or holds more than "
            f"{MAX_CONTAINERS} lists; flatten its tool arguments or artifact before it enters the conversation"
        )
    odd: list[str] = []
    keys: list[str] = []

    def replace(part: Any) -> dict[str, str]:
        odd.append(type(part).__name__)
        return {_OPAQUE: odd[-1]}

    if not plain:
        value = _map(value, lambda part: part, lambda d: _text_keys(d, replace, keys))
    try:
        text = _dumps(value, replace)
    except ValueError:  # a number with more digits than Python converts
        value = _map(value, lambda part: replace(part) if _is_endless(part) else part)
        text = _dumps(value, replace)
    if "\\ud" in text or _MARK in text:
        text = _dumps(_map(value, _escape, _escape_keys), replace)
    return text, odd, keys


def load(text: str) -> Any:
    """The value that :func:`dump` wrote."""
    value = _decode(text)
    return _map(value, _unescape, _unescape_keys) if _MARK in text else value


def sha256(text: str) -> str:
    """64 hex digits over ASCII text."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def identity(text: str, *, sha256: str = "") -> bytes:
    """Digest (32 bytes) of a canonical text with each surrogate read as ``?``; ``sha256`` is the text's, if known.

    Checkpoint serialisers write ``?`` for a surrogate; both spellings must be one page.
    """
    if sha256 and _MARK not in text:
        return bytes.fromhex(sha256)
    if _MARK in text:
        text = _dumps(_map(load(text), _readable, lambda d: {_readable(k): v for k, v in d.items()}), str)
    return hashlib.sha256(text.encode("ascii")).digest()


def is_writable(value: object) -> bool:
    """Whether :func:`dump` takes the value: not too deep, not part of itself, not endless."""
    return _survey(value)[0]


def prune(value: Any) -> Any:
    """A copy that :func:`dump` takes, whatever ``value`` refers to; no code of its parts runs, which may raise.

    What lies deeper than ``MAX_DEPTH``, what refers to a container that it is in, what comes after the first
    10,000 lists and dictionaries (outer ones first), and objects of other types become opaque placeholders. Those after
    the first 10,000 of these are text: a placeholder is a dictionary, too.
    """
    top: list[Any] = [value]
    kept = replaced = 0

    def placeholder(what: str) -> Any:
        nonlocal replaced
        replaced += 1
        return {_OPAQUE: what} if replaced <= KEPT_CONTAINERS else f"{_OPAQUE}: {what}"

    todo: deque[tuple[Any, Any, int, frozenset[int]]] = deque([(top, 0, 1, frozenset())])
    while todo:
        target, key, level, around = todo.popleft()
        part = target[key]
        base = next((base for base in (dict, list, tuple) if issubclass(type(part), base)), None)
        if base is None:
            if issubclass(type(part), str):
                target[key] = str.__str__(part)
            elif not issubclass(type(part), int | float | None):
                target[key] = placeholder(type(part).__name__)
            continue
        why = (
            "refers to itself" if id(part) in around
            else "nested too deep" if level >= MAX_DEPTH
            else "too large" if kept >= KEPT_CONTAINERS
            else ""
        )  # fmt: skip
        if why:
            target[key] = placeholder(f"{type(part).__name__}, {why}")
            continue
        kept += 1
        copy = dict(dict.items(part)) if base is dict else list(base.__iter__(part))
        target[key] = copy
        inside = around | {id(part)}
        todo.extend((copy, k, level + 1, inside) for k in (copy if isinstance(copy, dict) else range(len(copy))))
    return top[0]


def _survey(value: object) -> tuple[bool, bool]:
    """Whether the value can be written, and whether all its keys are plain strings."""
    if not isinstance(value, dict | list | tuple):
        return True, True
    plain, size = True, 0
    level: dict[int, tuple[Any, int]] = {id(value): (value, 1)}  # shared parts are walked once a level, but count
    for _ in range(MAX_DEPTH + 1):
        below: dict[int, tuple[Any, int]] = {}
        for container, times in level.values():
            size += times
            if isinstance(container, dict):
                plain = plain and all(type(key) is str for key in container)
            for part in container.values() if isinstance(container, dict) else container:
                if isinstance(part, dict | list | tuple):
                    below[id(part)] = part, times + below.get(id(part), (None, 0))[1]
        if not below:
            return size <= MAX_CONTAINERS, plain
        level = below
    return False, plain


def _map(value: Any, leaf: Callable[[Any], Any], keys: Callable[[dict[Any, Any]], dict[Any, Any]] = dict) -> Any:
    """A copy with ``leaf`` applied to every part and ``keys`` to every dictionary; tuples become lists.

    A part that ``leaf`` replaces is not looked into. Not recursive: the caller's stack may be deep already.
    """
    top: list[Any] = [value]
    todo: list[Any] = [top]
    while todo:
        copy = todo.pop()
        for at in list(copy) if isinstance(copy, dict) else range(len(copy)):
            old = copy[at]
            new = leaf(old)
            if new is old and isinstance(old, dict | list | tuple):
                new = keys(old) if isinstance(old, dict) else list(old)
                todo.append(new)
            copy[at] = new
    return top[0]


_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_decode: Final = json.JSONDecoder().decode


def _dumps(value: object, default: Callable[[Any], Any]) -> str:
    try:
        return _encode(value)
    except TypeError:  # something that needs the default, and an encoder of its own for it
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=default)


def _is_endless(part: object) -> bool:
    return isinstance(part, int) and part.bit_length() > _INT_BITS


def _text_keys(data: dict[Any, Any], replace: Callable[[Any], object], changed: list[str]) -> dict[str, Any]:
    """Every key as text, no two the same: text keys as they are, others as JSON writes them."""
    result = {str.__str__(key): value for key, value in data.items() if isinstance(key, str)}
    for place, (key, value) in enumerate(data.items()):
        if isinstance(key, str):
            continue
        if key is None or (isinstance(key, int | float) and not _is_endless(key)):
            text = json.dumps(key)
            changed.append(f"{key!r:.40}")
        else:  # its own text could differ from one process to the next
            replace(key)
            text = f"{_OPAQUE}:{type(key).__name__}:{place}"
        while text in result:
            text = f"{type(key).__name__}:{text}"
        result[text] = value
    return result


def _is_broken(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def _escape(part: Any) -> Any:
    if isinstance(part, str) and _is_broken(part):
        return {_MARK: part.encode("utf-8", "surrogatepass").hex()}
    return part


def _escape_keys(data: dict[str, Any]) -> dict[str, Any]:
    return {_escape_key(key): value for key, value in data.items()}


def _escape_key(key: str) -> str:
    if _is_broken(key):
        return f"{_ESCAPE}hex:{key.encode('utf-8', 'surrogatepass').hex()}"
    return f"{_ESCAPE}key:{key}" if key.startswith(_MARK) else key


def _unescape(part: Any) -> Any:
    if isinstance(part, dict) and part.keys() == {_MARK}:
        return bytes.fromhex(part[_MARK]).decode("utf-8", "surrogatepass")
    return part


def _unescape_keys(data: dict[str, Any]) -> dict[str, Any]:
    return {_unescape_key(key): value for key, value in data.items()}


def _unescape_key(key: str) -> str:
    if key.startswith(f"{_ESCAPE}hex:"):
        return bytes.fromhex(key.removeprefix(f"{_ESCAPE}hex:")).decode("utf-8", "surrogatepass")
    return key.removeprefix(f"{_ESCAPE}key:")


def _readable(part: Any) -> Any:
    return part.encode("utf-8", "replace").decode("utf-8") if isinstance(part, str) else part
