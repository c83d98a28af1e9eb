"""Exceptions from outside, as a signal handler raises them, at any line of a piece of work."""

from __future__ import annotations

import contextvars
import linecache
import sys
from pathlib import Path

import pagefault

OURS = str(Path(pagefault.__file__).parent)


class FromOutsideError(BaseException):
    """What a signal handler raises."""


def cut_short(work, step):
    """Raise at the ``step``-th line of ours that ``work`` comes to; whether it came so far.

    Not at a ``with`` or ``try``: the interpreter looks for signals neither there nor between a block and the giving
    back of its lock.
    """
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(OURS) or frame.f_code.co_name == "<genexpr>":
            return None  # a generator that is thrown away swallows what is raised in it
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        lines += event in {"call", "line"} and not text.startswith(("with ", "try:"))
        if lines >= step:
            raise FromOutsideError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        contextvars.Context().run(work)
    except FromOutsideError:
        return True
    finally:
        sys.settrace(before)
    return False
