"""What commands print: tables for people, one JSON document with ``--json``, errors on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from pagefault.errors import (
    CorruptPage,
    EmbedderError,
    MissingDependency,
    PagefaultError,
    PagesLost,
    StoreError,
    StoreLocked,
)

DAMAGED: Final = 1
UNUSABLE: Final = 3
LOCKED: Final = 4
EMBEDDER: Final = 5
INTERRUPTED: Final = 130
UNREAD: Final = 141
"""As of a program that SIGPIPE ends."""
_PIPE_WIDTH: Final = 200
_KEY_WIDTH: Final = 32
_UsageError: Final = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])
"""All that is wrong with a command line: its base, whose module depends on the version of typer."""
_AS_JSON: Final = "pagefault.json"


class StoreDamaged(StoreError):
    """Files of a data directory are gone or cannot be read, so nothing can be said of its records."""


class Commands(TyperGroup):
    """With ``--json`` a wrong command line is a document on stdout as well; typer tells it on stderr."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read what stands before the name of a command."""
        as_json = "--json" in args
        with _usage_told(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_AS_JSON] = as_json
        return context

    def invoke(self, ctx: Any) -> Any:
        """Read what stands after it, and run it."""
        with _usage_told(as_json=ctx.meta[_AS_JSON]):
            return super().invoke(ctx)


@contextmanager
def _usage_told(*, as_json: bool) -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        if as_json:
            _emit_error("WrongUsage", error.format_message())
        raise


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Nobody reads on, as with ``| head``: no damage, which rich's own exit code would say."""
        _let_go_of_output()
        raise SystemExit(UNREAD)


def console(*, stderr: bool = False) -> Console:
    """Where to print: as wide as the terminal, wide enough for a pipe; colours where the reader has them."""
    stream: TextIO | None = sys.stderr if stderr else sys.stdout  # None where the caller has closed it
    width = None if (stream is not None and stream.isatty()) or "COLUMNS" in os.environ else _PIPE_WIDTH
    return _Console(stderr=stderr, width=width, highlight=False)


def emit(data: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(data, indent=2, sort_keys=False))


@contextmanager
def errors_told(*, as_json: bool) -> Iterator[None]:
    """An error of ours becomes one line on stderr and an exit code; with ``--json`` a document on stdout, too."""
    try:
        yield
    except PagefaultError as error:
        _tell(type(error).__name__, str(error), as_json=as_json)
        raise typer.Exit(_code(error)) from error
    except KeyboardInterrupt as error:
        _tell("Interrupted", "interrupted; the memory is whole: as it was, unless all was done", as_json=as_json)
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError as error:
        _let_go_of_output()
        raise typer.Exit(UNREAD) from error
    except OSError as error:
        message = f"reading or writing was refused ({error}); where no file is named, it is the output"
        try:
            _tell(type(error).__name__, message, as_json=as_json)
            print(end="", flush=True)  # noqa: T201  # unlike others it takes an output that is closed
        except OSError:
            _let_go_of_output()
        raise typer.Exit(UNUSABLE) from error


def _let_go_of_output() -> None:
    """What is left in the buffer goes nowhere, rather than to fail once more as the interpreter ends."""
    with suppress(OSError, ValueError, AttributeError):  # closed, or none of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(name: str, message: str, *, as_json: bool) -> None:
    typer.echo(f"pagefault: {plain(message)}", err=True)
    if as_json:
        _emit_error(name, message)


def _emit_error(name: str, message: str) -> None:
    """A document in one line, so that it is one among those of `top` as well."""
    typer.echo(json.dumps({"error": name, "message": message}))


def _code(error: PagefaultError) -> int:
    if isinstance(error, StoreDamaged | CorruptPage | PagesLost):
        return DAMAGED
    if isinstance(error, StoreLocked):
        return LOCKED
    return EMBEDDER if isinstance(error, EmbedderError | MissingDependency) else UNUSABLE


@contextmanager
def progress_shown(what: str, *, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, where somebody looks at it."""
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=as_json or not out.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table that folds what is too wide, rather than cutting it off."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        is_number = bool(rows) and all(isinstance(row[columns.index(name)], int) for row in rows)
        # A key is copied in one piece, so others fold first, unless nothing would be left for them.
        width = _KEY_WIDTH if name == "key" and console().width >= 2 * _KEY_WIDTH else None
        made.add_column(name, justify="right" if is_number else "left", overflow="fold", width=width)
    for row in rows:
        made.add_row(*(Text(f"{each:,}" if isinstance(each, int) else plain(str(each))) for each in row))
    return made


def plain(text: str) -> str:
    """Text from a store without what a terminal would take for commands."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def counted(count: int, thing: str, things: str = "") -> str:
    """A number of things, as one says it.

    Example:
        >>> counted(1, "page"), counted(2_000, "shelf", "shelves")
        ('1 page', '2,000 shelves')
    """
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def when(seconds: float | None) -> str:
    """A time for people, in the machine's own zone."""
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
