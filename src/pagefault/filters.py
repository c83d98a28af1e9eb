"""Filters over item values: which value has what is asked for. Pure.

A filter names keys; each must equal what is given or satisfy its operators (``$eq $ne $gt $gte
$lt $lte``). A dictionary without operators asks for a part of a nested one. Numbers compare
with numbers, text with text; anything else is not less and not greater.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from pagefault.errors import BadFilter
from pagefault.items import WIDE, equals_tag

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
OPERATORS: Final = frozenset({"$eq", "$ne", *_ORDER})


def check_filter(wanted: object) -> Mapping[str, Any]:
    """The filter, once it is seen to be one.

    Raises:
        BadFilter: No dictionary, an unknown operator, an operand that cannot be compared, a number that no value can
            be, or nested too deeply.

    Example:
        >>> check_filter({"age": {"$above": 3}})
        Traceback (most recent call last):
        ...
        pagefault.errors.BadFilter: unknown operator '$above' for 'age'; there are $eq, $gt, $gte, $lt, $lte, $ne
    """
    if not isinstance(wanted, Mapping):
        raise BadFilter(f"a filter is a dictionary, got {type(wanted).__name__} {wanted!r:.60}")
    for key, condition in wanted.items():
        if not isinstance(key, str) or key.startswith("$"):
            raise BadFilter(f"a filter names keys of the value, got {key!r:.60}; write {{'key': {{'$gt': 3}}}}")
        try:
            _check_condition(key, condition)
        except RecursionError:
            raise BadFilter(f"the filter for {key!r:.60} is nested too deeply, or refers to itself") from None
    return wanted


def matches(value: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a value has what a checked filter asks for.

    Example:
        >>> matches({"age": 7, "name": {"first": "Ada"}}, {"age": {"$gt": 3, "$lte": 7}, "name": {"first": "Ada"}})
        True
    """
    return isinstance(value, Mapping) and all(_has(value.get(key), condition) for key, condition in wanted.items())


def tags_of(wanted: Mapping[str, Any]) -> list[list[str]]:
    """Groups of tags of which an item that matches has one each: they narrow the search, and decide nothing.

    What a filter asks to be ``None`` may be absent, and absent values have no tag.
    """
    groups: list[list[str]] = []
    for key, condition in wanted.items():
        same = condition.get("$eq") if _is_operators(condition) else condition
        if isinstance(same, str | int | float):
            groups.append([equals_tag(key, same), WIDE])
    return groups


def _check_condition(key: str, condition: Any) -> None:
    if not isinstance(condition, Mapping):
        _check_number(key, condition)
        return
    if not _is_operators(condition):
        check_filter(condition)
        return
    for name, operand in condition.items():
        if name not in OPERATORS:
            raise BadFilter(f"unknown operator {name!r:.60} for {key!r:.60}; there are {', '.join(sorted(OPERATORS))}")
        if name in _ORDER and _sort_of(operand) is None:
            raise BadFilter(f"{name} compares numbers or text, {key!r:.60} is given {operand!r:.60}")
        _check_number(key, operand)


def _check_number(key: str, operand: Any) -> None:
    """Whether it has a form in JSON; those of integers end where Python does not write them out any more."""
    try:
        if isinstance(operand, int):
            str(operand)
    except ValueError as error:
        raise BadFilter(f"the number for {key!r:.60} is larger than any that a value can hold ({error})") from None


def _is_operators(condition: Any) -> bool:
    return isinstance(condition, Mapping) and any(isinstance(key, str) and key.startswith("$") for key in condition)


def _has(value: Any, condition: Any) -> bool:
    if _is_operators(condition):
        return all(_holds(value, name, operand) for name, operand in condition.items())
    if isinstance(condition, Mapping):
        return isinstance(value, Mapping) and all(_has(value.get(key), each) for key, each in condition.items())
    return _is_same(value, condition)


def _holds(value: Any, name: str, operand: Any) -> bool:
    if name in _ORDER:
        return _sort_of(value) == _sort_of(operand) and _ORDER[name](value, operand)
    return _is_same(value, operand) == (name == "$eq")


def _is_same(one: Any, other: Any) -> bool:
    """Equal as JSON: ``True`` is not 1, and a tuple is a list."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _sort_of(value: Any) -> type | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return str if isinstance(value, str) else float
