"""For tests of what plugs into pagefault: contract suites and stand-ins."""

from __future__ import annotations

from pagefault.testing.runner import ThreadRunner

__all__ = ["ThreadRunner"]
