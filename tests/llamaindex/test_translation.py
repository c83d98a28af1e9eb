"""A page that one framework wrote reads the same in the other, or says why it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ThinkingBlock, ToolCallBlock

import pagefault
import pagefault_langgraph
import pagefault_llamaindex
from pagefault import canonical
from pagefault.errors import CannotTranslate
from pagefault.ports import Codec
from pagefault_langgraph.messages import LANGCHAIN
from pagefault_llamaindex.encoding import RecalledBlock
from pagefault_llamaindex.messages import LLAMAINDEX

TEXTS = st.text(max_size=20) | st.sampled_from(["\ud83d", "記憶 \U0001f600\x00"])
NAMES = st.none() | st.sampled_from(["ada", "größe"])
KEYS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)
COUNT = count()


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pagefault.Memory]:
    with pagefault.open(tmp_path_factory.mktemp("translation"), embedder=None) as opened:
        yield opened


def stored(memory: pagefault.Memory, codec: Codec, natives: list[Any]) -> list[pagefault.RecalledPage]:
    """The pages of a new conversation."""
    space = memory.space(thread=f"t{next(COUNT)}")
    space.held(codec).put(natives)
    pages = sum(codec.sketch(native).role != "tool" for native in natives)  # results stand on the page of their calls
    return list(space.fault(f"1-{pages}").pages)


def as_langchain(memory: pagefault.Memory, natives: list[ChatMessage]) -> list[BaseMessage]:
    return [m for page in stored(memory, LLAMAINDEX, natives) for m in pagefault_langgraph.messages_of(page)]


def as_llamaindex(memory: pagefault.Memory, natives: list[BaseMessage]) -> list[ChatMessage]:
    return [m for page in stored(memory, LANGCHAIN, natives) for m in pagefault_llamaindex.messages_of(page)]


@st.composite
def conversations(draw: st.DrawFn) -> list[BaseMessage]:
    """Words, parallel calls and their results."""
    said: list[BaseMessage] = []
    for turn in range(draw(st.integers(1, 3))):
        make = draw(st.sampled_from([HumanMessage.model_construct, SystemMessage.model_construct]))
        said.append(make(content=draw(TEXTS), name=draw(NAMES)))
        calls = [
            {"type": "tool_call", "id": f"c{turn}.{n}", "name": f"tool{n}", "args": draw(ARGUMENTS)}
            for n in range(draw(st.integers(0, 3)))
        ]
        said.append(AIMessage.model_construct(content=draw(TEXTS), name=draw(NAMES), tool_calls=calls))
        said += [
            ToolMessage.model_construct(content=draw(TEXTS), tool_call_id=c["id"], name=draw(NAMES)) for c in calls
        ]
    return said


def told(message: Any) -> Any:
    """What a LangChain message says; JSON tells 1, 1.0 and True apart."""
    calls = [(c["id"], c["name"], canonical.dump(c["args"])) for c in getattr(message, "tool_calls", ())]
    return type(message), message.content, message.name, calls, getattr(message, "tool_call_id", None)


def shown(message: ChatMessage) -> Any:
    """What a LlamaIndex message says."""
    return message.role, [(type(b), canonical.dump(b.__dict__)) for b in message.blocks], message.additional_kwargs


@settings(max_examples=40, deadline=None)
@given(said=conversations())
def test_there_and_back(memory: pagefault.Memory, said: list[BaseMessage]) -> None:
    there = as_llamaindex(memory, said)
    back = as_langchain(memory, there)
    assert [shown(m)[0].value for m in there] == [
        {"human": "user", "ai": "assistant"}.get(m.type, m.type) for m in said
    ]
    assert [m.content or "" for m in there] == [m.content for m in said]
    assert [told(m) for m in back] == [told(m) for m in said]
    assert [shown(m) for m in as_llamaindex(memory, back)] == [shown(m) for m in there]


def test_several_texts_stay_several(memory: pagefault.Memory) -> None:
    said = [ChatMessage(role="user", blocks=[TextBlock(text="a"), TextBlock(text="b")])]
    there = as_langchain(memory, said)
    assert there[0].content == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert [shown(m)[0] for m in as_llamaindex(memory, there)] == ["user"]
    assert [b.text for b in as_llamaindex(memory, there)[0].blocks if isinstance(b, TextBlock)] == ["a", "b"]


def test_arguments_that_look_like_our_marks_are_data(memory: pagefault.Memory) -> None:
    arguments = {"__pagefault__": "bytes", "value": "AA=="}
    calls: Any = [{"type": "tool_call", "id": "c", "name": "f", "args": arguments}]
    [asked, _] = as_llamaindex(memory, [AIMessage("", tool_calls=calls), ToolMessage("r", tool_call_id="c")])
    assert [b.tool_kwargs for b in asked.blocks if isinstance(b, ToolCallBlock)] == [arguments]


def test_ones_own_pages_are_exact_and_chat_reads_everywhere(memory: pagefault.Memory) -> None:
    image = ChatMessage(role="user", blocks=[ImageBlock(url="http://x/y.png"), TextBlock(text="see")])
    [page] = stored(memory, LLAMAINDEX, [image])
    assert pagefault_llamaindex.messages_of(page) == [image]
    human = HumanMessage([{"type": "image_url", "image_url": {"url": "http://x/y.png"}}], id="m")
    [page] = stored(memory, LANGCHAIN, [human])
    assert pagefault_langgraph.messages_of(page.page) == [human]
    space = memory.space(thread="chat")
    space.append([{"role": "user", "content": "hi", "id": "m"}])
    [page] = space.fault("1").pages
    assert pagefault_langgraph.messages_of(page) == [HumanMessage("hi", id="m")]
    assert pagefault_llamaindex.messages_of(page) == [ChatMessage(role="user", content="hi")]


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ([ImageBlock(url="http://x/y.png")], "image"),
        ([ThinkingBlock(content="hm"), TextBlock(text="x")], "thinking"),
        ([RecalledBlock(text="x")], "recalled"),
        ([ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs="{")], "no JSON"),
    ],
)
def test_what_langchain_is_not_given(memory: pagefault.Memory, blocks: list[Any], named: str) -> None:
    result = ChatMessage(role="tool", content="r", additional_kwargs={"tool_call_id": "c"})
    calls = any(isinstance(block, ToolCallBlock) for block in blocks)
    with pytest.raises(CannotTranslate, match="page 1, message 1") as refused:
        as_langchain(memory, [ChatMessage(role="assistant", blocks=blocks), *[result] * calls])
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (HumanMessage([{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]), "image_url"),
        (AIMessage("x", additional_kwargs={"reasoning_content": "hm"}), "reasoning_content"),
        (HumanMessage("x", additional_kwargs={"o": object()}), "JSON could not hold"),
    ],
)
def test_what_llamaindex_is_not_given(memory: pagefault.Memory, message: BaseMessage, named: str) -> None:
    with pytest.raises(CannotTranslate, match="page 1") as refused:
        as_llamaindex(memory, [message])
    assert named in str(refused.value)
