"""What leaves the window comes back byte for byte, whatever it is."""

from __future__ import annotations

import random
from io import BytesIO
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from pydantic import BaseModel

import pagefault
from pagefault.errors import UnsupportedMessage
from pagefault.messages import canonical
from pagefault.messages.projection import project
from pagefault.tokens import default_counter, message_tokens
from pagefault_llamaindex.encoding import RecalledBlock
from pagefault_llamaindex.messages import LLAMAINDEX, accept, copy_of
from tests.llamaindex.odd_messages import PNG, messages

COUNT = 2_500
SMALL = pagefault.Budget(window=10**9, target=30_000, reserve=0)


def readable(message: ChatMessage) -> Any:
    """All fields, with streams as their bytes."""
    blocks = [{k: v.getvalue() if isinstance(v, BytesIO) else v for k, v in b.__dict__.items()} for b in message.blocks]
    kinds = [type(b) for b in message.blocks]
    nested = [[type(x) for x in getattr(b, "content", None) or ()] for b in message.blocks]
    return message.role, kinds, nested, blocks, message.additional_kwargs


def test_two_thousand_messages_through_evict_and_fault(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    history = list(messages(seed, COUNT))
    with pagefault.open(tmp_path, embedder=None) as memory:
        held = memory.space(thread="odd").held(LLAMAINDEX)
        held.put(accept(history))
        evicted = len(held.render(SMALL).evicted)
    with pagefault.open(tmp_path, embedder=None) as memory:
        space = memory.space(thread="odd")
        back = space.held(LLAMAINDEX).everything()
        spans = [f"{first}-{first + 99}" for first in range(1, evicted - 100, 100)]
        pages = [found.page for span in spans for found in space.fault(span).pages]
    assert evicted > 500
    assert all(canonical.sha256(page.body) == page.sha256 for page in pages)
    assert len(back) == len(history)
    assert sum(readable(one) != readable(other) for one, other in zip(history, back, strict=True)) == 0


def test_a_copy_is_equal_and_shares_nothing_that_can_change():
    for message in messages(7, 200):
        twin = copy_of(message)
        assert readable(twin) == readable(message)
        assert readable(copy_of(accept([message])[0])) == readable(message)
        assert twin.blocks is not message.blocks
        assert not {id(b) for b in twin.blocks} & {id(b) for b in message.blocks}
        for block in twin.blocks:
            if isinstance(block, TextBlock):
                block.text += "!"
            if isinstance(block, ToolCallBlock) and isinstance(block.tool_kwargs, dict):
                block.tool_kwargs["changed"] = True
        twin.additional_kwargs["changed"] = True
        assert "changed" not in str(message.additional_kwargs) + str(message.blocks)
    plain = copy_of(ChatMessage(role="user", content="x"))
    assert plain == ChatMessage(role="user", content="x")
    assert plain.model_dump() == ChatMessage(role="user", content="x").model_dump()
    assert plain.model_copy(deep=True) == plain


def test_the_bound_is_never_below_the_count():
    counter = default_counter()
    for message in messages(11, 600):
        read = project(LLAMAINDEX.format, LLAMAINDEX.encode(message))
        (bound,), content = LLAMAINDEX.measure([message])
        assert message_tokens(read, counter) <= bound
        assert content is LLAMAINDEX.content(message)


def test_tool_calls_and_thinking_are_counted():
    counter = default_counter()

    def tokens(message):
        return message_tokens(project(LLAMAINDEX.format, LLAMAINDEX.encode(message)), counter)

    call = ToolCallBlock(tool_call_id="1", tool_name="search", tool_kwargs={"query": "long " * 100})
    assert tokens(ChatMessage(role="assistant", blocks=[call])) > 100
    old = {"tool_calls": [{"id": "1", "function": {"name": "search", "arguments": "long " * 100}}]}
    assert tokens(ChatMessage(role="assistant", content="", additional_kwargs=old)) > 100
    assert tokens(ChatMessage(role="user", blocks=[ImageBlock(image=PNG)])) > 500


class Reply(BaseModel):
    """As some integrations put them into ``additional_kwargs``."""

    id: str = "call_1"
    parts: list[int] = [1, 2]


def test_objects_become_what_llama_index_stores_of_them():
    (message,) = accept([ChatMessage(role="assistant", content="x", additional_kwargs={"raw": Reply()})])
    assert message.additional_kwargs == {"raw": {"id": "call_1", "parts": [1, 2]}}


class Sticker(TextBlock):
    """A block of somebody's own."""


RING: list[Any] = []
RING.append(RING)


@pytest.mark.parametrize(
    "bad",
    [
        {"role": "user", "content": "x"},
        "hello",
        7,
        None,
        ChatMessage(role="assistant", content="x", additional_kwargs={"raw": object()}),
        ChatMessage(role="assistant", content="x", additional_kwargs={"ring": RING}),
        ChatMessage(role="assistant", content="x", additional_kwargs={"more": {"n": {1, 2}}}),
        ChatMessage(role="assistant", content="x", additional_kwargs={"more": {1: 2}}),
        ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_name="t", tool_kwargs={"more": [{1: 2}]})]),
        ChatMessage.model_construct(role="user", blocks=[Sticker(text="x")], additional_kwargs={}),
    ],
)
def test_what_could_not_be_restored_is_refused(bad):
    with pytest.raises(UnsupportedMessage):
        accept([bad])


def test_a_message_without_a_dictionary_of_arguments_is_refused_before_a_conversation_has_it():
    bare = ChatMessage.model_construct(role=MessageRole.USER, blocks=[TextBlock(text="x")], additional_kwargs=None)
    with pytest.raises(UnsupportedMessage, match="additional_kwargs is a dictionary, got NoneType"):
        LLAMAINDEX.measure([bare])


def test_a_batch_is_a_list_of_messages():
    for bad in ("text", ChatMessage(role="user", content="x"), 5, None):
        with pytest.raises(UnsupportedMessage, match="a list of ChatMessage is wanted"):
            accept(bad)
    assert accept([]) == []


def test_calls_without_ids_are_answered_by_name(tmp_path):
    call = ToolCallBlock(tool_name="look", tool_kwargs={})
    result = {"role": "tool", "content": "seen", "additional_kwargs": {"name": "look"}}
    history = [
        ChatMessage(role="user", content="?"),
        ChatMessage(role="assistant", blocks=[call, call]),
        ChatMessage(**result),
        ChatMessage(**result),
        ChatMessage(role="user", content="!"),
    ]
    with pagefault.open(":memory:", embedder=None) as memory:
        held = memory.space(thread="t").held(LLAMAINDEX)
        held.put(accept(history))
        assert [len(f.page.messages) for f in memory.space(thread="t").fault("1-3").pages] == [1, 3, 1]


def test_a_recalled_copy_stays_known_as_one():
    block = RecalledBlock(text="Pages of this conversation")
    message = ChatMessage(role="tool", blocks=[block], additional_kwargs={"tool_call_id": "1"})
    assert LLAMAINDEX.sketch(message).recalled
    back = LLAMAINDEX.decode(canonical.load(canonical.dump(LLAMAINDEX.encode(message))[0]))
    assert type(back.blocks[0]) is RecalledBlock
    assert project(LLAMAINDEX.format, LLAMAINDEX.encode(back)).recalled
