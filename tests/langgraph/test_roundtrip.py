"""What leaves the window comes back byte for byte, whatever it is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

import pagefault
from pagefault.errors import UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.projection import project
from pagefault.tokens import default_counter, message_tokens
from pagefault_langgraph.messages import LANGCHAIN
from tests.langgraph.odd_messages import messages

COUNT = 10_000
BUDGET = pagefault.Budget(window=40_000_000, target=30_000_000, reserve=100)


def write(directory: Path, history: list[BaseMessage], budget: pagefault.Budget) -> int:
    """Page a history into a directory as a graph would; how many pages left the window."""
    with pagefault.open(directory, embedder=None) as memory:
        space = memory.space(thread="odd")
        prompt = space.step(history, LANGCHAIN, budget, now=1.0)
        return len(prompt.evicted)


def read(directory: Path, pages: int) -> list[tuple[str, str, list[Any]]]:
    """Body, recorded hash and decoded messages of every page, in a process' fresh view."""
    found: list[tuple[str, str, list[Any]]] = []
    with pagefault.open(directory, embedder=None) as memory:
        space = memory.space(thread="odd")
        for first in range(1, pages + 1, 200):
            for recalled in space.fault(f"{first}-{min(pages, first + 199)}", budget=500).pages:
                data = canonical.load(recalled.page.body)
                found.append((recalled.page.body, recalled.page.sha256, [LANGCHAIN.decode(item) for item in data]))
    return found


NUMBERS = {"f": -1.7976931348623157e308, "small": 5e-324, "no": None, "yes": True, "n": -(2**70), "nan": float("nan")}


def test_the_bound_is_never_below_the_count() -> None:
    counter = default_counter()
    odd = list(messages(7, 2_000))
    texts = ["", "plain", "\x00\x1f", '"' * 50, "\\" * 50, "\u8a18" * 20, "\U0001f600" * 9, "\ud83d", "\x7f" * 30]
    for text in texts:
        big = {text: text, "n": 10**40}
        for args in ({"text": text}, {text: "value"}, big, NUMBERS, {"deep": {"text": [text]}}, {}):
            odd.append(AIMessage(content="", tool_calls=[{"name": "tool", "args": args, "id": text}], id="m"))
            odd.append(AIMessage(content=text, tool_calls=[{"name": "w" * 64, "args": args, "id": None}] * 3, id="m"))
    for message in odd:
        read = project(LANGCHAIN.format, LANGCHAIN.encode(message))
        (bound,), content = LANGCHAIN.measure([message])
        assert message_tokens(read, counter) <= bound, message
        assert content is LANGCHAIN.content(message)


def test_a_message_whose_parts_name_each_other_goes_through_a_step_and_the_store_at_once() -> None:
    tree: dict[str, Any] = {"name": "root", "children": [{"name": "one"}, {"name": "two"}]}
    for child in tree["children"]:
        child["parent"] = tree
    shared: list[Any] = ["leaf"]
    for _ in range(26):
        shared = [shared, shared]
    answer = ToolMessage([{"type": "tree", "value": shared}], tool_call_id="c", artifact=tree)
    call = AIMessage("", tool_calls=[{"name": "parse", "args": {}, "id": "c"}])
    history: list[BaseMessage] = [HumanMessage("Parse it.", additional_kwargs={"shared": shared}), call, answer]
    with pagefault.open(":memory:", embedder=None) as memory:
        space = memory.space(thread="odd")
        space.step(history, LANGCHAIN, BUDGET, now=1.0)
        memory.flush()
        assert [page.page.opaque for page in space.fault("1-2").pages] == [True, True]


def test_many_messages_are_the_same_when_each_of_them_is() -> None:
    ones = list(messages(11, 300))
    others = [message.model_copy(deep=True) for message in ones]
    assert LANGCHAIN.are_same(ones, others) == all(map(LANGCHAIN.is_same, ones, others))
    for one, other in zip(ones, others, strict=True):
        assert LANGCHAIN.are_same([one], [other]) == LANGCHAIN.is_same(one, other), one
        assert not LANGCHAIN.are_same([one], [ToolMessage("other", tool_call_id="other")])
    assert LANGCHAIN.are_same([], [])


def test_many_messages_are_encoded_as_each_of_them_is() -> None:
    odd = list(messages(13, 300))
    told = HumanMessage("hi", mood="glad")  # a field that the class does not know
    cached = HumanMessage("hi")
    vars(cached)["shout"] = "HI"  # something that a framework keeps beside the fields
    for many in ([], odd, [told, cached], [*odd, told], [*odd, cached]):
        one_by_one = list(map(LANGCHAIN.encode, many))
        assert LANGCHAIN.encode_all(many) == one_by_one
        assert list(map(list, LANGCHAIN.encode_all(many))) == list(map(list, one_by_one)), "fields in the same order"
    for none in ("text", {"role": "user", "content": "hi"}, object(), Path()):
        with pytest.raises(UnsupportedMessage):
            LANGCHAIN.encode_all([*odd, none])


@pytest.mark.parametrize(("value", "other"), [(1, True), (1, 1.0), ({"n": [0]}, {"n": [False]}), ("1", 1)])
def test_what_python_takes_for_equal_is_not_the_same_for_a_tool(value: object, other: object) -> None:
    def calling(argument: object) -> list[BaseMessage]:
        calls = [{"name": "f", "args": {"x": "text", "y": each}, "id": "c"} for each in ("text", argument)]
        return [HumanMessage("go on"), AIMessage("", tool_calls=calls)]

    assert LANGCHAIN.are_same(calling(value), calling(value))
    assert not LANGCHAIN.are_same(calling(value), calling(other))


def test_ten_thousand_messages_through_evict_and_fault(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    history = list(messages(seed, COUNT))
    evicted = write(tmp_path / "memory", history, pagefault.Budget(window=90_000, target=30_000))
    pages = sum(not isinstance(m, ToolMessage) for m in history)
    assert evicted > pages * 0.8
    differences = 0
    at = 0
    for body, sha256, natives in read(tmp_path / "memory", pages):
        originals = history[at : at + len(natives)]
        at += len(natives)
        same = (
            canonical.sha256(body)
            == sha256
            == canonical.sha256(canonical.dump([LANGCHAIN.encode(m) for m in originals])[0])
        )
        differences += not (
            same and natives == originals and [type(m) for m in natives] == [type(m) for m in originals]
        )
    assert at == len(history)
    assert differences == 0


def test_five_megabyte_bodies(tmp_path: Path) -> None:
    big = "".join(random.Random(5).choices("abcdefgh \n記\U0001f600", k=5_000_000))
    history: list[BaseMessage] = [
        HumanMessage(content=big, id="h"),
        AIMessage(content="", tool_calls=[{"name": "t", "args": {"text": big[:1_000_000]}, "id": "c"}], id="a"),
        ToolMessage(content="\x00" * 5_000_000, tool_call_id="c", id="t"),
        HumanMessage(content="next", id="n"),
    ]
    write(tmp_path / "memory", history, BUDGET)
    found = [native for _, _, natives in read(tmp_path / "memory", 3) for native in natives]
    assert found == history


def test_values_that_json_cannot_hold_stay_with_the_framework(tmp_path: Path) -> None:
    history: list[BaseMessage] = [
        AIMessage(content="", tool_calls=[{"name": "t", "args": {}, "id": "c"}], id="a"),
        ToolMessage(content="plot made", tool_call_id="c", id="t", artifact=object()),
        HumanMessage(content="next", id="n"),
    ]
    write(tmp_path / "memory", history, BUDGET)
    with pagefault.open(tmp_path / "memory", embedder=None) as memory:
        (found,) = memory.space(thread="odd").fault(1).pages
    assert found.page.opaque
    assert "plot made" in found.page.text
