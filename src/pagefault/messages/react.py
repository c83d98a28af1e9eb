"""What a recall leaves in the messages of LlamaIndex's ``ReActAgent``.

Such an agent writes calls and results as text, and all steps of a run into its answer.
"""

from __future__ import annotations

import re
from typing import Final

from pagefault.messages.fences import quoted_in
from pagefault.page import Role

_ASKED: Final = re.compile(r"\nAction: recall\nAction Input: [^\n]*")


def copies_in(role: Role, text: str) -> tuple[str, ...]:
    """What of a message's text is not said there: what a recall quoted, and what it was asked."""
    if role is Role.ASSISTANT:
        quoted = quoted_in(text) if "\nObservation: " in text else []
        return (*quoted, *_ASKED.findall(text))
    return (text,) if text.startswith("Observation: ") and quoted_in(text) else ()
