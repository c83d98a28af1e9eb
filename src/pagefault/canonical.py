"""Canonical JSON: the one textual form in which a message is hashed, stored and restored.

Plain ASCII JSON with sorted keys. Strings that hold surrogate code points cannot survive
JSON (two lone halves would come back as one character), so such a string is written as
``{"__utf8__": "<hex>"}`` and a user's own keys that begin with the marker are escaped.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from pagefault.errors import UnsupportedMessage

_MARK: Final = "__utf8__"
_ESCAPE: Final = "__utf8__:"
MAX_DEPTH: Final = 300


def dump(value: object) -> tuple[str, bool]:
    r"""Canonical JSON of ``value``.

    A value that JSON cannot hold is replaced by ``{"__opaque__": "<type>"}``; tuples become
    lists and numeric keys become text, as JSON does.

    Returns:
        The JSON text (ASCII), and whether a value had to be replaced.

    Raises:
        UnsupportedMessage: The value is nested too deeply or refers to itself.

    Example:
        >>> dump({"b": (1, 2), "a": "x"})
        ('{"a":"x","b":[1,2]}', False)
        >>> load(dump("\ud83d")[0]) == "\ud83d"
        True
    """
    if _is_deeper(value, MAX_DEPTH):
        raise UnsupportedMessage(
            f"a message is nested deeper than {MAX_DEPTH} levels or refers to itself; "
            "flatten its tool arguments or artifact before it enters the conversation"
        )
    opaque = False

    def replace(odd: Any) -> dict[str, str]:
        nonlocal opaque
        opaque = True
        return {"__opaque__": type(odd).__name__}

    text = _dumps(value, replace)
    if "\\ud" in text or _MARK in text:
        text = _dumps(_escape(value), replace)
    return text, opaque


def prune(value: Any, depth: int = MAX_DEPTH) -> Any:
    """The value with everything deeper than ``MAX_DEPTH`` replaced by an opaque placeholder."""
    if not isinstance(value, dict | list | tuple):
        return value
    if depth <= 1:
        return {"__opaque__": f"{type(value).__name__}, nested too deep"}
    if isinstance(value, dict):
        return {k: prune(v, depth - 1) for k, v in value.items()}
    return [prune(v, depth - 1) for v in value]


def _is_deeper(value: Any, limit: int) -> bool:
    """Whether containers nest deeper than ``limit``; a cycle is infinitely deep."""
    if not isinstance(value, dict | list | tuple):
        return False
    level: dict[int, Any] = {id(value): value}  # by identity: shared and cyclic parts are walked once a level
    for _ in range(limit + 1):
        level = {
            id(c): c
            for v in level.values()
            for c in (v.values() if isinstance(v, dict) else v)
            if isinstance(c, dict | list | tuple)
        }
        if not level:
            return False
    return True


def load(text: str) -> Any:
    """The value that :func:`dump` wrote."""
    value = json.loads(text)
    return _unescape(value) if _MARK in text else value


def sha256(text: str) -> str:
    """64 hex digits over ASCII text."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def identity(text: str) -> bytes:
    """Digest (32 bytes) of a canonical text with each surrogate read as ``?``.

    Checkpoint serialisers write ``?`` for a surrogate; both spellings must be one page.
    """
    if _MARK in text:
        text = _dumps(_without_surrogates(load(text)), str)
    return hashlib.sha256(text.encode("ascii")).digest()


def _dumps(value: object, default: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), default=default)
    except TypeError:  # keys that JSON does not know, or that do not sort together
        return json.dumps(_string_keys(value), sort_keys=True, separators=(",", ":"), default=default)


def _string_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {k if isinstance(k, str) else f"{type(k).__name__}:{k}": _string_keys(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_string_keys(v) for v in value]
    return value


def _is_broken(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return {_MARK: value.encode("utf-8", "surrogatepass").hex()} if _is_broken(value) else value
    if isinstance(value, dict):
        return {_escape_key(k): _escape(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_escape(v) for v in value]
    return value


def _escape_key(key: Any) -> Any:
    if isinstance(key, str) and _is_broken(key):
        return f"{_ESCAPE}hex:{key.encode('utf-8', 'surrogatepass').hex()}"
    return f"{_ESCAPE}key:{key}" if isinstance(key, str) and key.startswith(_MARK) else key


def _unescape(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_MARK}:
            return bytes.fromhex(value[_MARK]).decode("utf-8", "surrogatepass")
        return {_unescape_key(k): _unescape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_unescape(v) for v in value]
    return value


def _unescape_key(key: str) -> str:
    if key.startswith(f"{_ESCAPE}hex:"):
        return bytes.fromhex(key.removeprefix(f"{_ESCAPE}hex:")).decode("utf-8", "surrogatepass")
    return key.removeprefix(f"{_ESCAPE}key:")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(v) for v in value]
    return value
