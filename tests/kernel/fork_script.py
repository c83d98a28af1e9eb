"""Forks while two memories are open, and says what each side can do. Usage: fork_script.py DIRECTORY."""

from __future__ import annotations

import os
import sys
import warnings

import pagefault
from pagefault.errors import StoreError
from pagefault.space import Space
from tests.kernel.support import store_alone


def say(what: str, value: object) -> None:
    """Print one whole line at once."""
    sys.stdout.write(f"{what}: {value}\n")
    sys.stdout.flush()


def add(space: Space, *contents: str) -> None:
    """Append user messages."""
    space.append([{"role": "user", "content": content} for content in contents])


def contents(space: Space) -> list[str]:
    """What every page says, from the store."""
    count = len(space.view())
    with store_alone():
        return [found.page.text for found in space.fault(f"1-{count}").pages]


def child(kept: Space, thrown: Space) -> None:
    """What the child of a fork can do."""
    try:
        kept.recall("one")
    except StoreError as error:
        say("child, the parent's directory", type(error).__name__)
    with pagefault.open(":memory:", embedder=None) as memory:
        new = memory.space(thread="t")
        add(new, "new one")
        say("child, a new memory", contents(new))
    found = thrown.recall("what is the cat called")
    say("child, a recall in the parent's throw-away memory", [p.page.text for p in found.pages][:1])
    add(thrown, "old three")
    say("child, the parent's throw-away memory", contents(thrown))


def main(directory: str) -> None:
    """Fork in the middle of writing."""
    kept = pagefault.open(directory, embedder=None).space(thread="t")
    thrown = pagefault.open(":memory:", embedder=None).space(thread="t")
    add(kept, "one", "two")
    add(thrown, "the cat is called Turing", "old two")
    contents(kept)
    contents(thrown)
    warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on Python warns of any fork beside threads
    pid = os.fork()
    if not pid:
        child(kept, thrown)
        sys.exit(0)  # not os._exit: the child's own exit handlers must harm nobody
    _, status = os.waitpid(pid, 0)
    say("child ends", status)
    add(kept, "three")
    say("parent", contents(kept))
    say("parent, throw-away", contents(thrown))


if __name__ == "__main__":
    main(sys.argv[1])
