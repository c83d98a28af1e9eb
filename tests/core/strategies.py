"""Values that the tests of the core draw from."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from pagefault.page import Call, Projection, Role, SpaceId
from tests.properties import tried

few: Final = tried(40)  # where one example is large
SURROGATES: Final = st.characters(categories=["Cs"])
HOSTILE: Final = st.sampled_from(
    ["\ud83d", "\ud83d\ude00", "😀", "\r\n", "\u2028", "\x85", "\x00", "\x1b[0m", "\u202e", "?", ""]
)
MARKERS: Final = st.sampled_from(
    [
        "__utf8__",
        "__utf8__:",
        "__utf8__:key:",
        "__utf8__:hex:",
        "__utf8__:hex:zz",
        "__utf8__:key:__utf8__",
        "__opaque__",
    ]
)


def texts(max_size: int = 40) -> st.SearchStrategy[str]:
    """Any text: ordinary, with lone surrogates, with what breaks lines, with our own markers."""
    plain = st.text(max_size=max_size)
    odd = st.lists(st.one_of(HOSTILE, MARKERS, SURROGATES, st.text(max_size=3)), max_size=6).map("".join)
    return st.one_of(plain, odd)


def json_values(leaves: int = 20) -> st.SearchStrategy[Any]:
    """Anything that JSON can say, and strings that only Python can."""
    atoms = st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-(2**200), 2**200), st.floats(allow_nan=False), texts()
    )
    return st.recursive(
        atoms,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts(), inner, max_size=4)),
        max_leaves=leaves,
    )


def ids(*, empty: bool) -> st.SearchStrategy[str]:
    """Parts of a space's id, rich in what could confuse a separator."""
    return st.text(alphabet="ab/\"\\,: []'é😀", min_size=0 if empty else 1, max_size=6)


SPACES: Final = st.builds(
    SpaceId, tenant=ids(empty=False), user=ids(empty=True), thread=ids(empty=False), agent=ids(empty=True)
)
CALLS: Final = st.builds(Call, id=texts(), name=texts(), arguments=texts())
PROJECTIONS: Final = st.builds(
    Projection,
    role=st.sampled_from(Role),
    text=texts(),
    name=texts(),
    calls=st.lists(CALLS, max_size=4).map(tuple),
    recalled=st.booleans(),
)


def doubled(levels: int) -> list[Any]:
    """A few objects that would be 2 ** levels if each were written wherever it occurs."""
    value: list[Any] = ["leaf"]
    for _ in range(levels):
        value = [value, value]
    return value


def family() -> dict[str, Any]:
    """Two children that name their parent, as parsed trees do."""
    parent: dict[str, Any] = {"name": "p", "children": [{"name": "a"}, {"name": "b"}]}
    for child in parent["children"]:
        child["parent"] = parent
    return parent


def nested(levels: int, *, into: Any = "x", dicts: bool = False) -> Any:
    """``into`` inside ``levels`` containers."""
    for _ in range(levels):
        into = {"k": into} if dicts else [into]
    return into


def has_line_break(text: str) -> bool:
    """Whether anything that some program takes for the end of a line is in the text."""
    return len(text.splitlines()) > 1 or text.endswith(("\n", "\r"))
