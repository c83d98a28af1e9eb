"""What LangGraph's store operations mean for items. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, Op, PutOp, SearchOp, get_text_at_path

from pagefault.errors import InvalidItem
from pagefault.filters import check_filter
from pagefault.items import check_ttl, is_under, path_of, plain
from pagefault.recall import FIELD
from pagefault.shelf import Change, Search

WHOLE: Final = "$"
_MINUTE: Final = 60.0


def plan(op: Op, fields: Sequence[str] | None) -> Op | Change | Search:
    """The operation, checked, in the terms of a shelf; values are copied.

    Raises:
        InvalidNamespaceError: A label that is no text, empty, or holds a dot or NUL.
        InvalidItem: A value or time to live that cannot be kept.
        BadFilter: A filter that cannot be evaluated.
        ValueError: A limit, offset or kind of match that makes no sense.
        TypeError: Not an operation.
    """
    match op:
        case GetOp():
            return op._replace(namespace=labels_of(op.namespace), key=_key(op.namespace, op.key))
        case PutOp():
            return change_of(op, fields)
        case SearchOp():
            return _search_of(op)
        case ListNamespacesOp():
            _check_page(op.limit, op.offset)
            if op.max_depth is not None and (not isinstance(op.max_depth, int) or op.max_depth < 0):
                raise ValueError(f"max_depth={op.max_depth!r:.60}; give a number of labels")
            conditions = tuple(each._replace(path=labels_of(each.path)) for each in op.match_conditions or ())
            for each in conditions:
                if each.match_type not in {"prefix", "suffix"}:
                    raise ValueError(f"a namespace matches by 'prefix' or 'suffix', not by {each.match_type!r:.60}")
            return op._replace(match_conditions=conditions)
    raise TypeError(f"not a store operation: {type(op).__name__} {op!r:.60}")


def change_of(op: PutOp, fields: Sequence[str] | None, *, version: int | None = None) -> Change:
    """A write or, for the value ``None``, a deletion."""
    namespace = labels_of(op.namespace)
    key = _key(namespace, op.key)
    if op.value is None:
        return Change(namespace=namespace, key=key, deletes=True, version=version)
    if not isinstance(op.value, Mapping):
        raise InvalidItem(f"the value of {key!r:.60} is a dictionary, got {type(op.value).__name__} {op.value!r:.60}")
    value = plain(dict(op.value), key)
    ttl = check_ttl(op.ttl * _MINUTE if isinstance(op.ttl, int | float) and not isinstance(op.ttl, bool) else op.ttl)
    return Change(
        namespace=namespace, key=key, value=value, ttl=ttl, text=_text(value, op.index, fields), version=version
    )


def labels_of(namespace: Any) -> tuple[str, ...]:
    """The labels of a namespace, checked as LangGraph's own methods check them, and for NUL.

    Raises:
        InvalidNamespaceError: A label that is no text, empty, or holds a dot or NUL.
    """
    if isinstance(namespace, str) or not isinstance(namespace, Iterable):
        raise InvalidNamespaceError(f"a namespace is a tuple of labels, got {namespace!r:.60}")
    labels = tuple(namespace)
    for label in labels:
        if not isinstance(label, str):
            raise InvalidNamespaceError(f"label {label!r:.60} of {labels!r:.120} is no text; convert it with str(...)")
        if not label or "." in label or "\x00" in label:
            raise InvalidNamespaceError(f"label {label!r:.60} of {labels!r:.120} is empty or holds a dot or NUL")
    return labels


def namespace_page(namespaces: Iterable[tuple[str, ...]], op: ListNamespacesOp) -> list[tuple[str, ...]]:
    """Those that meet all conditions, cut to the depth, in order, the wanted page of them."""
    conditions = op.match_conditions or ()
    found = (ns for ns in namespaces if all(is_under(ns, c.path, c.match_type) for c in conditions))
    return sorted({ns[: op.max_depth] for ns in found})[op.offset : op.offset + op.limit]


def _key(namespace: Any, key: Any) -> str:
    text = str(key)
    path_of(tuple(namespace), text)
    return text


def _search_of(op: SearchOp) -> Search:
    _check_page(op.limit, op.offset)
    if op.query is not None and not isinstance(op.query, str):
        raise ValueError(f"query={op.query!r:.60}; give text, or None for the newest")
    return Search(
        namespace=labels_of(op.namespace_prefix),
        query=op.query or "",
        wanted=check_filter(op.filter) if op.filter is not None else {},
        limit=op.limit,
        offset=op.offset,
        refresh=op.refresh_ttl,
    )


def _check_page(limit: Any, offset: Any) -> None:
    for name, number in (("limit", limit), ("offset", offset)):
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ValueError(f"{name}={number!r:.60}; give a number from 0 on")


def _text(value: dict[str, Any], index: Any, fields: Sequence[str] | None) -> str | None:
    """What search is to see of a value: nothing, some of its fields, or, as ``None``, all of it."""
    if index is False:
        return ""
    paths = fields if index is None else index
    if paths is None:
        return None
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str) for path in paths):
        raise InvalidItem(f"index is False or a list of paths such as 'text' or 'notes[*].title', got {index!r:.60}")
    if list(paths) == [WHOLE]:
        return None
    return FIELD.join(text for path in paths for text in get_text_at_path(value, path))
