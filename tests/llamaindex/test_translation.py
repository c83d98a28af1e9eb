"""A page that one framework wrote reads the same in the other, or says why it cannot."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

import pagefault
import pagefault_langgraph
import pagefault_llamaindex
from pagefault.errors import CannotTranslate
from pagefault.messages import canonical
from pagefault.ports import Codec
from pagefault.translation import speak
from pagefault_langgraph.messages import LANGCHAIN
from pagefault_llamaindex.encoding import RecalledBlock
from pagefault_llamaindex.messages import LLAMAINDEX
from tests.langgraph.odd_messages import messages as langchain_oddities
from tests.llamaindex.odd_messages import messages as llamaindex_oddities
from tests.properties import tried

TEXTS = st.text(max_size=20) | st.sampled_from(["\ud83d", "記憶 \U0001f600\x00"])
NAMES = st.none() | st.sampled_from(["ada", "größe"])
KEYS = st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)
NON_EMPTY = TEXTS.filter(bool)
DATA = st.binary(min_size=1, max_size=12).map(lambda data: base64.b64encode(data).decode())
URLS = st.sampled_from(
    ["https://x.org/y.png", "https://x.org/ä b", "http://x", "gs://bucket/o", "data:,text", "not a url"]
)
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
def media(draw: st.DrawFn) -> dict[str, Any]:
    """One of LangChain's standard data blocks."""
    kind = draw(st.sampled_from(["image", "audio", "video", "file"]))
    mime = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "file": "application/pdf"}[kind]
    if draw(st.booleans()):
        block = {"type": kind, "base64": draw(DATA), "mime_type": mime}
    else:
        block = {"type": kind, "url": draw(URLS)} | draw(st.sampled_from([{}, {"mime_type": mime}]))
    extras = {"image": {"detail": "low"}, "file": {"filename": "größe.pdf"}}.get(kind)
    return {**block, "extras": extras} if extras and draw(st.booleans()) else block


@st.composite
def reasoning(draw: st.DrawFn) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "reasoning", "reasoning": draw(NON_EMPTY)}
    if draw(st.booleans()):
        block["id"] = "rs_1"
    extras = draw(st.dictionaries(KEYS.filter(lambda key: key != "id"), VALUES.filter(lambda v: v is not None)))
    return {**block, "extras": extras} if extras else block


def several(draw: Any, *kinds: st.SearchStrategy[dict[str, Any]]) -> Any:
    """Content of at least one part that is no text, so that it stays a list."""
    texts = NON_EMPTY.map(lambda text: {"type": "text", "text": text})
    parts = draw(st.lists(st.one_of(texts, *kinds), max_size=3))
    return [*parts, draw(st.one_of(*kinds))]


@st.composite
def conversations(draw: st.DrawFn) -> list[BaseMessage]:
    """Words, parallel calls and their results."""
    said: list[BaseMessage] = []
    for turn in range(draw(st.integers(1, 3))):
        make = draw(st.sampled_from([HumanMessage.model_construct, SystemMessage.model_construct]))
        content = several(draw, media()) if draw(st.booleans()) else draw(TEXTS)
        said.append(make(content=content, name=draw(NAMES)))
        calls = [
            {"type": "tool_call", "id": f"c{turn}.{n}", "name": f"tool{n}", "args": draw(ARGUMENTS)}
            for n in range(draw(st.integers(0, 3)))
        ]
        content = several(draw, reasoning(), media()) if draw(st.booleans()) else draw(TEXTS)
        if calls and draw(st.booleans()):
            content = [*calls, {"type": "text", "text": draw(NON_EMPTY)}]
        said.append(AIMessage.model_construct(content=content, name=draw(NAMES), tool_calls=calls))
        for call in calls:
            content = several(draw, media()) if draw(st.booleans()) else draw(TEXTS)
            said.append(ToolMessage.model_construct(content=content, tool_call_id=call["id"], name=draw(NAMES)))
    return said


def told(message: Any) -> Any:
    """What a LangChain message says; JSON tells 1, 1.0 and True apart."""
    calls = [(c["id"], c["name"], canonical.dump(c["args"])) for c in getattr(message, "tool_calls", ())]
    return type(message), canonical.dump(message.content), message.name, calls, getattr(message, "tool_call_id", None)


def shown(message: ChatMessage) -> Any:
    """What a LlamaIndex message says."""
    return message.role, canonical.dump(LLAMAINDEX.encode(message))


@tried(40)
@given(said=conversations())
def test_there_and_back(memory: pagefault.Memory, said: list[BaseMessage]) -> None:
    there = as_llamaindex(memory, said)
    back = as_langchain(memory, there)
    assert [shown(m)[0].value for m in there] == [
        {"human": "user", "ai": "assistant"}.get(m.type, m.type) for m in said
    ]
    assert ["".join(b.text for b in m.blocks if isinstance(b, TextBlock)) for m in there] == [m.text for m in said]
    assert [told(m) for m in back] == [told(m) for m in said]
    assert [shown(m) for m in as_llamaindex(memory, back)] == [shown(m) for m in there]


BLOCKS = st.one_of(
    NON_EMPTY.map(lambda text: TextBlock(text=text)),
    st.builds(
        ImageBlock,
        image=st.binary(min_size=1, max_size=12),
        image_mimetype=st.just("image/png"),
        detail=st.sampled_from([None, "low"]),
    ),
    st.builds(ImageBlock, url=st.sampled_from(["https://x.org/y.png", "https://x.org/z"]), detail=NAMES),
    st.builds(AudioBlock, audio=st.binary(min_size=1, max_size=12), format=st.just("mp3")),
    st.builds(VideoBlock, url=st.just("https://x.org/y.mp4")),
    st.builds(VideoBlock, video=st.binary(min_size=1, max_size=12), video_mimetype=st.just("video/mp4")),
    st.builds(
        DocumentBlock,
        data=st.binary(min_size=1, max_size=12),
        document_mimetype=st.just("text/plain"),
        title=st.sampled_from([None, "t.txt"]),
    ),
    st.builds(DocumentBlock, url=st.just("https://x.org/y.pdf")),
)
THOUGHTS = st.builds(
    ThinkingBlock,
    content=NON_EMPTY,
    additional_information=st.dictionaries(KEYS, VALUES.filter(lambda value: value is not None), max_size=2),
)
CALLS = st.builds(ToolCallBlock, tool_call_id=st.just("c"), tool_name=st.just("look"), tool_kwargs=ARGUMENTS)


@tried(40)
@given(
    asked=st.lists(BLOCKS, min_size=1, max_size=3),
    said=st.lists(BLOCKS | THOUGHTS, max_size=3),
    call=st.tuples(CALLS, st.integers(0, 3)),
    found=st.lists(BLOCKS, min_size=1, max_size=3),
)
def test_and_back_again(
    memory: pagefault.Memory, asked: list[Any], said: list[Any], call: tuple[ToolCallBlock, int], found: list[Any]
) -> None:
    """What LlamaIndex's own constructors make is what comes back."""
    called, place = call
    messages = [
        ChatMessage(role="user", blocks=asked),
        ChatMessage(role="assistant", blocks=[*said[:place], called, *said[place:]]),
        ChatMessage(role="tool", blocks=found, additional_kwargs={"tool_call_id": "c"}),
    ]
    there = as_langchain(memory, messages)
    assert [shown(m) for m in as_llamaindex(memory, there)] == [shown(m) for m in messages]
    assert [told(m) for m in as_langchain(memory, as_llamaindex(memory, there))] == [told(m) for m in there]


def both_ways(page: pagefault.RecalledPage) -> bool:
    """Whether the other framework can say the page; then it says the same back."""
    mine, theirs = (LANGCHAIN, LLAMAINDEX) if page.page.format == LANGCHAIN.format else (LLAMAINDEX, LANGCHAIN)
    read: dict[Any, Any] = {LANGCHAIN: pagefault_langgraph.messages_of, LLAMAINDEX: pagefault_llamaindex.messages_of}
    try:
        there = read[theirs](page)
    except CannotTranslate:
        return False
    said = [speak(mine.format, data, "") for data in canonical.load(page.page.body)]
    assert [speak(theirs.format, canonical.load(canonical.dump(theirs.encode(m))[0]), "") for m in there] == [
        replace(each, message_id="") if theirs is LLAMAINDEX else each for each in said
    ]
    return True


@pytest.mark.parametrize("odd", [langchain_oddities, llamaindex_oddities])
def test_odd_messages_say_the_same_or_say_why(memory: pagefault.Memory, odd: Any) -> None:
    codec = LANGCHAIN if odd is langchain_oddities else LLAMAINDEX
    natives = list(odd(7, 300))
    outcomes = [both_ways(page) for page in stored(memory, codec, natives)]
    assert any(outcomes)
    assert not all(outcomes)


def test_media_are_what_the_other_framework_makes_of_them(memory: pagefault.Memory) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
    blocks = [ImageBlock(image=data), ImageBlock(image=BytesIO(data), image_mimetype="image/png")]
    [there] = as_langchain(memory, [ChatMessage(role="user", blocks=blocks)])
    assert (
        there.content_blocks
        == [{"type": "image", "base64": base64.b64encode(data).decode(), "mime_type": "image/png"}] * 2
    )
    openai = [{"type": "image_url", "image_url": {"url": blocks[0].inline_url(), "detail": "low"}}]
    [back] = as_llamaindex(memory, [HumanMessage(openai)])
    [image] = back.blocks
    assert isinstance(image, ImageBlock)
    assert (image.resolve_image().read(), image.image_mimetype, image.detail) == (data, "image/png", "low")


def test_what_anthropic_says_with_a_call(memory: pagefault.Memory) -> None:
    call: Any = {"name": "look", "id": "c", "args": {"x": 1}}
    content: Any = [
        {"type": "thinking", "thinking": "hm", "signature": "s=="},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c", "name": "look", "input": {"x": 1}},
    ]
    [asked, _] = as_llamaindex(memory, [AIMessage(content, tool_calls=[call]), ToolMessage("r", tool_call_id="c")])
    assert asked.blocks == [
        ThinkingBlock(content="hm", additional_information={"signature": "s=="}),
        TextBlock(text="I look."),
        ToolCallBlock(tool_call_id="c", tool_name="look", tool_kwargs={"x": 1}),
    ]


def test_several_texts_stay_several(memory: pagefault.Memory) -> None:
    said = [ChatMessage(role="user", blocks=[TextBlock(text="a"), TextBlock(text="b")])]
    there = as_langchain(memory, said)
    assert there[0].content == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert [shown(m)[0] for m in as_llamaindex(memory, there)] == ["user"]
    assert [b.text for b in as_llamaindex(memory, there)[0].blocks if isinstance(b, TextBlock)] == ["a", "b"]


def test_arguments_that_look_like_our_marks_are_data(memory: pagefault.Memory) -> None:
    arguments = {"__pagefault__": "bytes", "value": "AA=="}
    calls: Any = [{"type": "tool_call", "id": "c", "name": "f", "args": arguments}]
    there = as_llamaindex(memory, [AIMessage("", tool_calls=calls), ToolMessage("r", tool_call_id="c")])
    assert [b.tool_kwargs for b in there[0].blocks if isinstance(b, ToolCallBlock)] == [arguments]
    [back, _] = as_langchain(memory, there)
    assert isinstance(back, AIMessage)
    assert [call["args"] for call in back.tool_calls] == [arguments]


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
        ([ImageBlock(path=__file__, image_mimetype="image/png")], "image by the path of a file"),
        ([VideoBlock(url="http://x/y.mp4", fps=3)], "fps = 3"),
        ([CachePoint(cache_control=CacheControl(type="ephemeral"))], "cache"),
        ([CitableBlock(title="t", source="s", content=[TextBlock(text="x")])], "citable"),
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
        (HumanMessage([{"type": "file", "file_id": "f"}]), "neither a URL nor data"),
        (HumanMessage([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]), "cache_control"),
        (AIMessage("x", additional_kwargs={"audio": {"id": "a"}}), "additional_kwargs.audio"),
        (HumanMessage("x", additional_kwargs={"o": object()}), "JSON could not hold"),
    ],
)
def test_what_llamaindex_is_not_given(memory: pagefault.Memory, message: BaseMessage, named: str) -> None:
    with pytest.raises(CannotTranslate, match="page 1") as refused:
        as_llamaindex(memory, [message])
    assert named in str(refused.value)
