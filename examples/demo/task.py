"""What the agent is told: its system prompt, its reading task, and how an answer looks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NOT_SAID: Final = "The documentation I read does not say."
READ: Final = "Read the Python reference, all topics from the first to the last. You will be asked about it later."
SYSTEM: Final = f"""You read documentation with tools and answer questions about it.

To read: call list_topics, then read_topic with what the last line of each result names after "next:", several \
parts at once where they are short, until a result says that it is the end.

Your context window is small. Pages that do not fit leave it; messages that begin with [pagefault: list them. To \
answer a question, call recall first: with a query, or with addresses that the lists name, and with addresses again \
where a page was cut. Never answer from your own knowledge. Answer with two lines:
Quote: one sentence, copied from a recalled page exactly as it stands there
Page: the number of that page
If no recalled page answers the question, answer only: {NOT_SAID}"""

_ANSWER: Final = re.compile(r"Quote:\s*(.+?)\s*\nPage:\s*(\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """A quotation and the page it is said to stand in; both empty when the agent abstained."""

    quote: str = ""
    page: str = ""


def quoted(sentence: str, page: str) -> str:
    """An answer in the form that the system prompt asks for."""
    return f"Quote: {sentence}\nPage: {page}"


def read_answer(text: str) -> Answer | None:
    """The answer in a reply, ``None`` when it has no such form."""
    if NOT_SAID in text:
        return Answer()
    match = _ANSWER.search(text)
    if match is None:
        return None
    quote = match[1]
    is_wrapped = len(quote) > 1 and quote[0] in '"“' and quote[-1] in '"”'
    return Answer(quote=quote[1:-1] if is_wrapped else quote, page=match[2])
