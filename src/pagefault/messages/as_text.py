"""What a recall leaves in the messages of LlamaIndex's agents that write calls and results as text.

``ReActAgent`` keeps all steps of a run in its answer; ``CodeActAgent`` calls tools in the code that it has executed.
"""

from __future__ import annotations

import re
from typing import Final

from pagefault.messages.fences import unquoted
from pagefault.page import Role

_ASKED: Final = re.compile(r"\nAction: recall\nAction Input: [^\n]*")
_CALLED: Final = re.compile(r"\brecall\([^\n]*")


def own_words(role: Role, text: str) -> str:
    """A message's text without what a recall quoted there, or was asked."""
    if role is Role.ASSISTANT:
        text = unquoted(text) if "\nObservation: " in text else text
        text = _CALLED.sub("", text) if "<execute>" in text else text
        return _ASKED.sub("", text)
    if text.startswith("Result of executing the code given:\n"):
        return unquoted(text)
    return "" if text.startswith("Observation: ") and unquoted(text) != text else text
