"""What can stop the demo before it starts."""

from __future__ import annotations


class CannotRun(Exception):
    """The demo cannot run as asked; the message says what to do."""
