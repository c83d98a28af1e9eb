"""``python -m examples.demo``; see ``--help``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

NEEDED = {"rich": "demo", "langchain": "langgraph", "langgraph": "langgraph", "pagefault": "langgraph"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every check passed, 1 when one failed, 2 when it could not run."""
    options = _parser().parse_args(arguments)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"the demo needs {', '.join(missing)}: pip install '.[langgraph,demo]' in a clone, or run `make demo`",
            file=sys.stderr,
        )
        return 2
    from rich.console import Console  # noqa: PLC0415  # as above

    from examples.demo.program import run  # noqa: PLC0415  # as above
    from examples.demo.trouble import CannotRun  # noqa: PLC0415  # as above
    from pagefault import PagefaultError  # noqa: PLC0415  # imported once it is known to be there

    try:
        return 0 if run(options, Console(highlight=False)) else 1
    except (CannotRun, PagefaultError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description="An agent reads Python's reference documentation through a window of 8,000 tokens, then answers "
        "questions about pages that left the window long ago. Needs no key and no network.",
    )
    parser.add_argument(
        "--model", metavar="PROVIDER:NAME", help="a real model, such as openai:gpt-5-mini; by default a stand-in"
    )
    parser.add_argument("--topics", type=_positive, metavar="N", help="read only the first N of the topics")
    parser.add_argument("--data", type=Path, metavar="DIR", help="keep pages and conversation here; go on with them")
    parser.add_argument("--plain", action="store_true", help="no live display; so too where the output is no terminal")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
