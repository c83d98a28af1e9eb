"""Paths of one space at once, as after time travel or in parallel runs: each goes on as if it were alone."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pagefault.chat import CHAT
from pagefault.errors import BudgetError
from pagefault.paths.paging import Paging
from pagefault.window.budget import Budget
from tests.core import conversation as c
from tests.properties import tried

BUDGET = Budget(window=1_400, target=1_000, reserve=200)
SIZES = st.sampled_from([20, 100, 300, 900, 1_500])
Deed = tuple[str, int]
DEEDS = st.one_of(
    st.tuples(st.sampled_from(["chat", "tool"]), SIZES),
    st.tuples(st.sampled_from(["pin", "release"]), st.integers(1, 12)),
    st.tuples(st.sampled_from(["item", "reload"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["edit", "cut"]), st.integers(2, 20)),
)


class Path:
    """One path of a conversation, and what a framework keeps of it."""

    def __init__(self, paging: Paging, other: Path | None = None) -> None:
        self.paging = paging
        self.messages: list[c.Message] = list(other.messages) if other else [c.system("rules"), c.user("begin")]
        self.record: dict[str, Any] | None = other.record if other else None
        self.serial: int = other.serial if other else 0

    def does(self, deed: Deed, name: str) -> tuple[Any, ...]:
        """Do something and call the model; what it is sent, and what was decided."""
        kind, number = deed
        self.serial += 1
        said = f"{name} {self.serial} "
        if kind == "chat":
            self.messages = [*self.messages, c.said(said.ljust(number, "a")), c.user(said)]
        elif kind == "tool":
            self.messages = [*self.messages, *c.group(said, said.ljust(number, "t"))]
        elif kind == "reload":
            self.messages, self.record = copy.deepcopy(self.messages), copy.deepcopy(self.record)
        elif kind == "edit" and number < len(self.messages):
            self.messages = list(self.messages)
            self.messages[number] = {**self.messages[number], "content": said}
        elif kind == "cut":
            self.messages = [*self.messages[:number], c.user(said)]
        lineage = self.paging.align(self.messages, CHAT, now=1.0, record=self.record)
        if kind in {"pin", "release"} and number <= lineage.length:
            (self.paging.pin if kind == "pin" else self.paging.release)(lineage, [number])
        elif kind == "item":
            self.paging.pin_item(lineage, f"item {number}", said, 125)
        return self.step()

    def step(self) -> tuple[Any, ...]:
        try:
            prompt = self.paging.step(list(self.messages), CHAT, BUDGET, now=1.0, record=self.record, notices=True)
        except BudgetError as error:
            return ("refused", str(error))
        self.record = prompt.record or self.record
        c.check_chains(prompt, self.messages)
        return c.sent(prompt, self.messages), prompt.evicted, self.record


@tried(200)
@given(
    before=st.lists(DEEDS, max_size=6),
    beyond=st.lists(DEEDS, max_size=4),
    after=st.lists(st.tuples(st.booleans(), DEEDS), min_size=1, max_size=16),
)
def test_two_paths_at_once_go_on_as_each_would_alone(before, beyond, after):
    together, apart = c.paging(), [c.paging(), c.paging()]
    roots = [Path(each) for each in (together, *apart)]
    for deed in [("item", 0), *before]:  # a path without a record goes on from what others decided of its past
        first, *others = [root.does(deed, "both") for root in roots]
        assert others == [first, first]
    shared = [Path(together, roots[0]), Path(together, roots[0])]
    alone = [Path(each, root) for each, root in zip(apart, roots[1:], strict=True)]
    parting = [(branch, ("chat", 20)) for branch in (False, True)]
    ahead = [(False, deed) for deed in beyond]  # before the other one is gone back to
    for branch, deed in [parting[0], *ahead, parting[1], *after]:
        name = f"branch {branch:d}"
        assert shared[branch].does(deed, name) == alone[branch].does(deed, name)
