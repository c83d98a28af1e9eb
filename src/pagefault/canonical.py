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
    opaque = False

    def replace(odd: Any) -> dict[str, str]:
        nonlocal opaque
        opaque = True
        return {"__opaque__": type(odd).__name__}

    try:
        text = _dumps(value, replace)
        if "\\ud" in text or _MARK in text:
            text = _dumps(_escape(value), replace)
    except (RecursionError, ValueError) as error:
        raise UnsupportedMessage(
            f"a message is nested too deeply or refers to itself ({error}); "
            "flatten its tool arguments or artifact before it enters the conversation"
        ) from error
    return text, opaque


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
