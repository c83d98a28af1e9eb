"""StandInModel: a deterministic stand-in for a chat model, so that the demo needs no key and no network.

It has no knowledge and no memory of its own. What it does next follows from the messages of this
one call alone, exactly as a model's behaviour does: it follows the reading directions in the last
tool result, and answers a question by recalling pages and quoting the sentence that fits best.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any, Final

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from examples.demo.passages import Passage, best_sentence, passages
from examples.demo.task import NOT_SAID, quoted, read_answer

ENOUGH: Final = 0.5
"""Share of a question that a sentence must cover to be given as its answer."""

LOOK: Final = "The contents list a page about this."
SEARCH: Final = "I search the pages that left my window."
READ: Final = "I read the best pages whole."
NEXT: Final = " If they do not say, I read on in: "
FOLLOW: Final = "I gave an answer before; I read the page that it names."

WHOLE: Final = 6
AT_ONCE: Final = 4
"""Pages that it reads whole after a search, two to a call."""

_NEXT: Final = re.compile(r"([\w-]+) (\d+)(?=[,\]])")
_LINE: Final = re.compile(r"^(\d+)(?:-(\d+))? (read_topic.*)$", re.MULTILINE)
_TOPIC: Final = re.compile(r"[(;] ?(?:name=)?([\w-]+), (?:part=)?\d")
_HERE: Final = re.compile(r"^Found already in your context at ([\d, ]+)", re.MULTILINE)
_NO_ROOM: Final = re.compile(r"^No room here for ([\d, ]+)", re.MULTILINE)
_NUMBER: Final = re.compile(r"\d+")


class StandInModel(BaseChatModel):
    """Stands in for a language model; see the module's docstring."""

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        """It knows the tools by name."""
        del tools, kwargs
        return self

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        del stop, run_manager, kwargs
        return ChatResult(generations=[ChatGeneration(message=respond(messages))])


def respond(messages: Sequence[BaseMessage]) -> AIMessage:
    """The next message, from nothing but the window."""
    task = max(i for i, m in enumerate(messages) if isinstance(m, HumanMessage) and not _is_contents(m))
    text, turn = str(messages[task].content), messages[task + 1 :]
    if not text.endswith("?"):
        return _read_on(turn)
    return _answer(text, turn, [str(m.content) for m in messages if _is_contents(m)])


def _is_contents(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage) and str(message.content).startswith("[pagefault:")


def _read_on(turn: Sequence[BaseMessage]) -> AIMessage:
    """Follow the directions at the end of the last result."""
    if not turn:
        return _call("", ("list_topics", {}))
    directions = str(turn[-1].content).rsplit("next: ", 1)
    if len(directions) == 1:
        return AIMessage(content="I have read the documentation.")
    return _call(
        "", *(("read_topic", {"name": name, "part": int(part)}) for name, part in _NEXT.findall(directions[1]))
    )


def _answer(question: str, turn: Sequence[BaseMessage], contents: Sequence[str]) -> AIMessage:
    """Look in the contents or search, then read the best pages whole, then quote what fits best.

    Its own last message says how far it has come: the steps before may have left the window.
    """
    step = str(next((m.content for m in reversed(turn) if isinstance(m, AIMessage)), ""))
    results = [str(message.content) for message in turn if isinstance(message, ToolMessage)]
    recalled = [passage for result in results for passage in passages(result)]
    if not step:
        listed = _listed(question, contents)
        return _recall(LOOK, [listed]) if listed else _search(question)
    if step == SEARCH and (whole := _worth_reading(results[-1], recalled)):
        later = f"{NEXT}{', '.join(whole[AT_ONCE:])}" if whole[AT_ONCE:] else ""
        return _recall(READ + later, whole[:AT_ONCE])
    best = best_sentence(question, [passage for passage in recalled if passage.trust == "tool"])
    if best is not None and best.score >= ENOUGH:
        return AIMessage(content=quoted(best.text, best.page))
    if step == LOOK:
        return _search(question)
    if step.startswith(READ):
        rest = step.split(NEXT)[1].split(", ") if NEXT in step else _named(recalled)
        if rest:
            return _recall(READ if NEXT in step else FOLLOW, rest)
    return AIMessage(content=NOT_SAID)


def _worth_reading(result: str, recalled: Sequence[Passage]) -> list[str]:
    """Pages an earlier answer names, the best in the window, those a search showed in part, those it only named."""
    cut = [passage.page for passage in recalled if passage.trust == "tool" and passage.is_cut]
    missing, here = (_NUMBER.findall(" ".join(line.findall(result))) for line in (_NO_ROOM, _HERE))
    return [*dict.fromkeys([*_named(recalled), *here[:1], *cut, *missing])][:WHOLE] + here[1:2]


def _named(recalled: Sequence[Passage]) -> list[str]:
    """Pages that recalled answers of its own give as their source."""
    answers = [read_answer(passage.text) for passage in recalled if passage.trust == "assistant"]
    return list(dict.fromkeys(answer.page for answer in answers if answer and answer.page))[:2]


def _listed(question: str, contents: Sequence[str]) -> str:
    """Where the contents in the window list a topic that the question names, if they say so to the page."""
    for first, last, gist in _LINE.findall("\n".join(contents)):
        if int(last or first) - int(first) < 4 and any(f'"{name}"' in question for name in _TOPIC.findall(gist)):
            return f"{first}-{last}" if last else str(first)
    return ""


def _search(question: str) -> AIMessage:
    return _call(SEARCH, ("recall", {"query": question}))


def _recall(step: str, addresses: Sequence[str]) -> AIMessage:
    """Two pages to a call, so that each result holds them whole."""
    pairs = [", ".join(addresses[at : at + 2]) for at in range(0, len(addresses), 2)]
    return _call(step, *(("recall", {"addresses": pair}) for pair in pairs))


def _call(step: str, *calls: tuple[str, dict[str, Any]]) -> AIMessage:
    return AIMessage(
        content=step,
        tool_calls=[{"name": name, "args": args, "id": f"call-{uuid.uuid4().hex[:12]}"} for name, args in calls],
    )
