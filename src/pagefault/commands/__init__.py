"""The `pagefault` command: look at a memory, verify it, rebuild it.

Exit codes: 0 done · 1 damage · 2 wrong usage · 3 the place cannot be used · 4 another
process has it open · 5 the embedder fails · 130 interrupted · 141 nobody reads the output.
"""

from __future__ import annotations

import io
import json
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; ends the process."""
    try:
        from pagefault.commands.app import app  # noqa: PLC0415  # an extra
    except ImportError as error:
        if (error.name or "").split(".")[0] not in {"typer", "rich", "click", "shellingham"}:
            raise
        message = "the commands need typer and rich: pip install 'pagefault[cli]'"
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"error": "MissingDependency", "message": message}) + "\n")
        sys.stderr.write(f"pagefault: {message}\n")
        raise SystemExit(2) from error
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name in letters that this terminal has not ends no command
    app()
