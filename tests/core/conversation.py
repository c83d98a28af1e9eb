"""Conversations as chat dictionaries, and what a prompt made of one must look like.

Written from the specification, without the code under test: pages are grouped, counted and
chained here a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pagefault.chain import ROOT, link
from pagefault.chat import CHAT
from pagefault.messages import canonical
from pagefault.page import SpaceId
from pagefault.paths.paging import Paging, Prompt
from pagefault.window.budget import Budget
from pagefault.window.compaction import members

SPACE: Final = SpaceId(tenant="acme", user="ada", thread="t1", agent="")
Message = dict[str, Any]


class Quarters:
    """A counter that any test can do in its head: a token is four characters."""

    reserve = 0.0

    def count(self, text: str) -> int:
        return len(text) // 4


def paging() -> Paging:
    return Paging(SPACE, counter=Quarters, note=lambda paging, lineage: None)


def system(text: str) -> Message:
    return {"role": "system", "content": text}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def calls(*ids: str, tool: str = "search") -> Message:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": i, "name": tool, "args": {"q": i}} for i in ids],
    }


def result(call_id: str, text: str, **more: Any) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": text, **more}


def group(call_id: str, text: str) -> list[Message]:
    return [calls(call_id), result(call_id, text)]


def talk(turns: int, size: int = 200, name: str = "") -> list[Message]:
    """A system message and a conversation of ``turns`` turns of about ``size`` characters a message."""
    messages = [system("Be brief.")]
    for turn in range(turns):
        messages += [user(f"{name}question {turn} ".ljust(size, "x")), said(f"answer {turn} ".ljust(size, "y"))]
    return messages


def tokens(message: Message) -> int:
    """Tokens of one message as the counter sees it."""
    asked = sum(
        8 + len(c["name"]) // 4 + len(canonical.dump(c["args"])[0]) // 4 for c in message.get("tool_calls") or ()
    )
    return 4 + len(message["content"] or "") // 4 + asked + (8 if message.get("tool_call_id") else 0)


@dataclass(frozen=True, slots=True)
class Span:
    """A page: its messages, and whether it can still grow."""

    start: int
    stop: int
    closed: bool


def pages(messages: list[Message]) -> list[Span]:
    """A page is a message, or calls with all that comes until they are answered or the model speaks again."""
    spans: list[Span] = []
    waiting: set[str] = set()
    for index, message in enumerate(messages):
        if waiting and message["role"] != "assistant":
            waiting.discard(message.get("tool_call_id", ""))
            spans[-1] = Span(spans[-1].start, index + 1, not waiting)
            continue
        if waiting:
            spans[-1] = Span(spans[-1].start, spans[-1].stop, closed=True)
        waiting = {c["id"] for c in message.get("tool_calls") or ()}
        spans.append(Span(index, index + 1, not waiting))
    return spans


def chains(messages: list[Message]) -> list[str]:
    """The chain after each closed page."""
    found = [ROOT]
    for span in pages(messages):
        if span.closed:
            digest = canonical.identity(canonical.dump(messages[span.start : span.stop])[0])
            found.append(link(found[-1], digest))
    return found[1:]


def must_stay(messages: list[Message], pinned: set[int]) -> set[int]:
    """Numbers of the pages that no reclaim may take."""
    spans = pages(messages)
    stay = {len(spans)} | pinned
    stay |= {n for n, s in enumerate(spans, 1) if all(m["role"] == "system" for m in messages[: s.stop])}
    spoken = [n for n, s in enumerate(spans, 1) if any(m["role"] == "user" for m in messages[s.start : s.stop])]
    return stay | set(spoken[-1:]) | {n for n, s in enumerate(spans, 1) if not s.closed}


def is_block(message: Message) -> bool:
    return message.keys() == {"role", "content"} and message["content"].startswith("[pagefault: ")


def sent(prompt: Prompt, messages: list[Message]) -> list[Message]:
    """The messages that the model gets."""
    return list(messages) if prompt.natives is None else prompt.natives


def is_extension(longer: list[Message], shorter: list[Message]) -> bool:
    return longer[: len(shorter)] == shorter


def place_of_cut(message: Message, messages: list[Message]) -> int:
    """Where the tool result stands that is shown in part: its beginning and its end, word for word."""
    place = next(i for i, m in enumerate(messages) if m.get("tool_call_id") == message["tool_call_id"])
    head, rest = message["content"].split("\n[pagefault: ", 1)
    tail = rest.split("from here.]\n", 1)[1]
    whole = messages[place]["content"]
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + len(tail) < len(whole)
    return place


def check_prompt(prompt: Prompt, messages: list[Message], budget: Budget, overhead: int = 0) -> set[int]:
    """Everything that holds for every prompt, whatever happened before. Returns the absent pages."""
    spans, shown = pages(messages), sent(prompt, messages)
    real = [m for m in shown if not is_block(m)]
    view = prompt.lineage.view

    size = overhead + sum(tokens(m) for m in shown)
    assert size <= prompt.tokens, "the count is a bound"
    assert size <= budget.window - budget.reserve, "the prompt fits"

    places = {id(m): index for index, m in enumerate(messages)}
    order = [places[id(m)] if id(m) in places else place_of_cut(m, messages) for m in real]
    shown_in_part = {index for m, index in zip(real, order, strict=True) if id(m) not in places}
    cut_pages = {n for n, s in enumerate(spans, 1) if shown_in_part & set(range(s.start, s.stop))}
    assert cut_pages == {p.seq for p in view.previews}, "what is cut is a preview"
    assert order == sorted(set(order)), "messages in their order, each once"
    inside = set(order)
    absent = {n for n, s in enumerate(spans, 1) if not inside & set(range(s.start, s.stop))}
    whole = {i for n, s in enumerate(spans, 1) if n not in absent for i in range(s.start, s.stop)}
    assert inside == whole, "pages are never split"

    named = members(view.block.ranges) if view.block else set()
    assert named == absent, "a page is in the prompt or named by the block"
    assert [m["content"] for m in shown if is_block(m)] == ([view.block.text] if view.block else [])
    lead = next((i for i, m in enumerate(shown) if m["role"] != "system"), len(shown))
    assert view.block is None or is_block(shown[lead]), "the block follows the system messages"

    stay = must_stay(messages, view.pinned)
    assert not stay & absent, "what must stay is there"
    free = [n for n in range(1, len(spans) + 1) if n not in absent | stay]
    assert not free or prompt.tokens <= budget.high, "above high, all that may leave has left"
    assert not set(prompt.evicted) - absent

    answered = {m["tool_call_id"] for m in messages if m.get("tool_call_id")}
    open_calls: set[str] = set()
    for message in shown:
        if message.get("tool_call_id"):
            assert message["tool_call_id"] in open_calls, "no result without its call"
        open_calls |= {c["id"] for c in message.get("tool_calls") or ()}
    given = {m["tool_call_id"] for m in shown if m.get("tool_call_id")}
    assert open_calls & answered <= given, "no call without its result"
    return absent


def check_chains(prompt: Prompt, messages: list[Message]) -> None:
    """The path's chain is that of these messages, page by page."""
    expected = chains(messages)
    assert [prompt.lineage.chain_at(n) for n in range(1, len(expected) + 1)] == expected
    assert prompt.lineage.length == len(expected)
    assert prompt.lineage.chain_at(len(expected) + 1) is None
    assert prompt.lineage.seen == messages
    assert prompt.lineage.codec is CHAT
