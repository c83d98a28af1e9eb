"""The commands and their options."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from pagefault.commands.output import (
    DAMAGED,
    Commands,
    console,
    counted,
    emit,
    errors_told,
    plain,
    progress_shown,
    size,
    table,
    when,
)
from pagefault.commands.places import damage_told, directory_of, embedder_named, opened, own_directory
from pagefault.commands.spaces import holds, what_is_in
from pagefault.core import DEFAULT_TENANT
from pagefault.errors import StoreLocked
from pagefault.page import SpaceId
from pagefault.stores import header as headers
from pagefault.stores.edge_rebuild import rebuild
from pagefault.upkeep import disk_use, survey
from pagefault.upkeep import reindex as new_vectors
from pagefault.upkeep import verify as look_closely

app: Final = typer.Typer(
    help="Look at a pagefault memory, verify it, rebuild it.",
    cls=Commands,
    epilog="Exit codes: 0 done, 1 damage, 2 wrong usage, 3 the place cannot be used, "
    "4 another process has it open, 5 the embedder fails, 130 interrupted, 141 nobody reads the output.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Place = Annotated[str, typer.Argument(help="A data directory, or the URL of a Qdrant server (qdrant://host:6333).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
KINDS: Final = ("page", "item", "head")
UNCHECKED: Final = ("vectors", "words")
"""What a verification does not look at."""


@app.callback(invoke_without_command=True)
def start(*, show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Look at a pagefault memory, verify it, rebuild it."""
    if show_version:
        typer.echo(version("pagefault"))
        raise typer.Exit


@app.command()
def stat(
    place: Place,
    *,
    spaces: Annotated[bool, typer.Option("--spaces", help="List every space by name, and every shelf.")] = False,
    as_json: AsJson = False,
) -> None:
    """What there is: embedder, tenants, spaces, shelves of items, records, bytes on disk."""
    with errors_told(as_json=as_json):
        found = asyncio.run(_facts(place, names=spaces))
        if as_json:
            emit(found)
        else:
            console().print(_overview(found))
            if spaces and "spaces" in found:
                console().print(_space_table([*found["spaces"], *found["shelves"]]))


@app.command()
def top(
    place: Place,
    *,
    every: Annotated[float, typer.Option(min=0.2, max=86_400.0, help="Seconds between two looks.")] = 2.0,
    count: Annotated[int, typer.Option(min=0, help="Looks, 0 for no end.")] = 0,
    as_json: AsJson = False,
) -> None:
    """The same again and again. What an agent still has in its queue only its own process knows."""
    with errors_told(as_json=as_json):
        if as_json:
            for _ in _looks(count, every):
                typer.echo(_line(asyncio.run(_facts(place, names=True, wait=0.0))))
            return
        before: tuple[float, int] | None = None
        with contextlib.suppress(KeyboardInterrupt), _screen() as put:
            for _ in _looks(count, every):
                found = asyncio.run(_facts(place, names=True, wait=0.0))
                # Where another process has the directory open, no record can be counted, which is not a rate of 0.
                now = (time.monotonic(), int(found["records"].get("page", 0))) if "records" in found else None
                rate = f"{(now[1] - before[1]) / (now[0] - before[0]):+,.1f} pages/s" if now and before else ""
                before = now
                spaces = [*found.get("spaces", []), *found.get("shelves", [])][:20]
                put(Group(_overview(found), Text(rate), *([_space_table(spaces)] if spaces else [])))


@app.command()
def show(
    place: Place,
    space: Annotated[str, typer.Argument(help="The key of a space, as `stat --spaces` lists it.")] = "",
    *,
    tenant: Annotated[str, typer.Option(help="Its tenant. A key alone is looked up; else it is `default`.")] = "",
    user: Annotated[str, typer.Option(help="Instead of the key: its user,")] = "",
    thread: Annotated[str, typer.Option(help="its thread,")] = "",
    agent: Annotated[str, typer.Option(help="and its agent.")] = "",
    pages: Annotated[int, typer.Option(min=0, help="The newest so many pages, or items.")] = 20,
    as_json: AsJson = False,
) -> None:
    """One space: how long it is, and the first lines of its newest pages; or what is on a shelf of items."""
    if not space and not thread:
        raise typer.BadParameter("name a space by its key (see `stat --spaces`), or by --thread")
    if space and (user or thread or agent):
        raise typer.BadParameter("a key names a space by itself; give it without --user, --thread and --agent")
    with errors_told(as_json=as_json):
        named = None if space else SpaceId(tenant=tenant or DEFAULT_TENANT, user=user, thread=thread, agent=agent)
        found = asyncio.run(what_is_in(place, named or space, tenant, pages))
        if as_json:
            emit(found)
            return
        name = ", ".join(f"{key} {value!r}" for key, value in found["name"].items() if value)
        console().print(Text(plain(f"{name or found['key']}: {holds(found)}")), soft_wrap=True)
        if found["pages"] or not found["items"]:
            rows = [[p["page"], when(p["created_at"]), p["role"], p["tokens"], p["gist"]] for p in found["pages"]]
            console().print(table(["page", "time", "role", "tokens", "begins"], rows))
        if found["items"]:
            rows = [["/".join([*i["namespace"], i["key"]]), when(i["updated_at"]), i["begins"]] for i in found["items"]]
            console().print(table(["item", "written", "begins"], rows))


@app.command()
def verify(place: Place, *, as_json: AsJson = False) -> None:
    """Hash all bodies and chains anew; vectors and words are not checked. Exit code 1 on damage."""
    with errors_told(as_json=as_json):
        with progress_shown("verifying", as_json=as_json) as progress:

            async def run() -> Any:
                async with opened(place) as (store, _):
                    return await look_closely(store, progress)

            found = asyncio.run(run())
        findings = [
            {"tenant": f.scope.tenant, "space": f.scope.space, "kind": f.kind, "seq": f.seq, "what": f.what}
            for f in found.findings
        ]
        if as_json:
            sums = {"spaces": found.spaces, "shelves": found.shelves, "checked": dict(found.checked)}
            emit({**sums, "unchecked": list(UNCHECKED), "findings": findings})
        else:
            there = [counted(found.checked[kind], kind) for kind in KINDS if kind in found.checked]
            counts = ", ".join(there) or "nothing"
            where = f"{counted(found.spaces, 'space')} and {counted(found.shelves, 'shelf', 'shelves')}"
            console().print(Text(f"{counts} in {where}: {len(findings) or 'nothing'} damaged"))
            way_out = "" if directory_of(place) is None else "; `pagefault reindex` makes them anew"
            console().print(
                Text(f"not checked: {' and '.join(UNCHECKED)}, by which searches find{way_out}"), soft_wrap=True
            )
            for f in findings:
                where = f"{f['kind']} {f['seq']} of space {f['space']} (tenant {f['tenant']})"
                typer.echo(plain(f"{where}: {f['what']}"), err=True)
    if findings:
        raise typer.Exit(DAMAGED)


@app.command()
def reindex(
    place: Place,
    *,
    embedder: Annotated[
        str, typer.Option(help="default, none, fastembed:MODEL or package.module:attribute.")
    ] = "default",
    as_json: AsJson = False,
) -> None:
    """Make vectors and words anew from the bodies, also for another embedder. Old or new at any moment, never a mix."""
    with errors_told(as_json=as_json):
        directory = own_directory(place, "reindex")
        with damage_told(directory), progress_shown("indexing", as_json=as_json) as progress:
            done = new_vectors(directory, embedder_named(embedder), progress=progress)
        if as_json:
            emit(
                {
                    "embedder": asdict(done.header),
                    "vectors": done.vectors,
                    "without": [str(each) for each in done.without],
                    "bytes": done.rebuilt.bytes_after,
                }
            )
        else:
            none = counted(len(done.without), "record")
            left = f"; {none} without one, found by full text" if done.without else ""
            made = f"vectors by {done.header.embedder} for {counted(done.vectors, 'record')}{left}"
            console().print(Text(made if done.header.embedder else "no vectors any more; full text finds everything"))


@app.command()
def vacuum(place: Place, *, as_json: AsJson = False) -> None:
    """Copy what lives to fresh files and delete the old ones, with what was removed before."""
    with errors_told(as_json=as_json):
        directory = own_directory(place, "vacuum")
        with damage_told(directory), progress_shown("copying", as_json=as_json) as progress:
            done = rebuild(directory, progress=progress)
        if as_json:
            emit(
                {
                    "records": done.records,
                    "dropped_chunks": done.dropped,
                    "bytes_before": done.bytes_before,
                    "bytes_after": done.bytes_after,
                }
            )
        else:
            kept = counted(done.records, "record")
            console().print(Text(f"{kept} kept; {size(done.bytes_before)} before, {size(done.bytes_after)} now"))


@contextlib.contextmanager
def _screen() -> Iterator[Callable[[RenderableType], None]]:
    """A place to show the same again and again: one picture on a terminal, elsewhere one after the other."""
    out = console()
    if not out.is_terminal:
        yield out.print
        return
    with Live(console=out, auto_refresh=False) as live:
        yield lambda picture: live.update(picture, refresh=True)


# -- what commands look up -----------------------------------------------------------------


async def _facts(place: str, *, names: bool, wait: float = 2.0) -> dict[str, Any]:
    """All that can be said of a place; of a directory that is in use, what its files tell."""
    directory = directory_of(place)
    facts: dict[str, Any] = {"place": place, "kind": "server" if directory is None else "directory"}
    try:
        async with opened(place, wait=wait) as (store, header):
            found = await survey(store, header, names=names)
    except StoreLocked:
        if directory is None:
            raise
        stored = headers.read(directory)
        facts |= {"embedder": asdict(stored) if stored else {}, "disk": asdict(disk_use(directory, is_in_use=True))}
        return facts
    facts |= {"embedder": asdict(found.header), "tenants": found.tenants, "records": dict(found.records)}
    facts["spaces"] = [
        {"tenant": each.scope.tenant, "key": each.scope.space, **each.name, "records": dict(each.records)}
        for each in found.spaces
    ]
    facts["shelves"] = [
        {"tenant": each.scope.tenant, "key": each.scope.space, **each.name, "records": dict(each.records)}
        for each in found.shelves
    ]
    if directory is not None:
        facts["disk"] = asdict(disk_use(directory, is_in_use=False))
    return facts


def _overview(found: dict[str, Any]) -> Any:
    header = found["embedder"]
    name = header.get("embedder") or "none (full-text search alone)"
    rows: list[Sequence[object]] = [["place", found["place"]], ["embedder", name]]
    if "records" in found:
        rows += [["tenants", found["tenants"]], ["spaces", len(found["spaces"])], ["shelves", len(found["shelves"])]]
        rows += [[f"{kind}s", found["records"].get(kind, 0)] for kind in KINDS]
    if "disk" in found:
        disk = found["disk"]
        rows += [["on disk", size(disk["bytes"])], ["of it log", size(disk["log_bytes"])]]
        rows += [["last write", when(disk["written_at"])]]
        if disk["is_in_use"]:
            rows += [["in use", "by another process; its records can be counted when it has closed the memory"]]
    return table(["", ""], rows)


def _space_table(spaces: list[dict[str, Any]]) -> Any:
    columns = ["tenant", "user", "thread", "agent", "key", "pages", "items"]
    rows = [
        [
            *(each.get(column, "") for column in columns[:5]),
            each["records"].get("page", 0),
            each["records"].get("item", 0),
        ]
        for each in spaces
    ]
    return table(columns, rows)


def _looks(count: int, every: float) -> Any:
    done = 0
    while True:
        yield done
        done += 1
        if count and done >= count:
            return
        time.sleep(every)


def _line(found: dict[str, Any]) -> str:
    return json.dumps({"at": time.time(), **found})
