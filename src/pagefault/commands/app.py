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

from pagefault.chain import head_id
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
from pagefault.errors import StoreLocked, StoreMissing
from pagefault.memory import DEFAULT_TENANT
from pagefault.page import SpaceId
from pagefault.ports import PageStore, Scope, Where
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
    pages: Annotated[int, typer.Option(min=0, help="The newest so many pages.")] = 20,
    as_json: AsJson = False,
) -> None:
    """One space: how long it is, and the first lines of its newest pages."""
    if not space and not thread:
        raise typer.BadParameter("name a space by its key (see `stat --spaces`), or by --thread")
    if space and (user or thread or agent):
        raise typer.BadParameter("a key names a space by itself; give it without --user, --thread and --agent")
    with errors_told(as_json=as_json):
        named = None if space else SpaceId(tenant=tenant or DEFAULT_TENANT, user=user, thread=thread, agent=agent)
        found = asyncio.run(_space(place, named or space, tenant, pages))
        if as_json:
            emit(found)
            return
        name = ", ".join(f"{key} {value!r}" for key, value in found["name"].items() if value)
        title = f"{name or found['key']}: {_holds(found)}"
        rows = [[p["page"], when(p["created_at"]), p["role"], p["tokens"], p["gist"]] for p in found["pages"]]
        console().print(table(title, ["page", "first seen", "role", "tokens", "begins"], rows))


@app.command()
def verify(place: Place, *, as_json: AsJson = False) -> None:
    """Hash all bodies and chains anew; vectors and lists of words are not checked. Exit code 1 on damage."""
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
            emit({**sums, "findings": findings})
        else:
            there = [counted(found.checked[kind], kind) for kind in KINDS if kind in found.checked]
            counts = ", ".join(there) or "nothing"
            where = f"{counted(found.spaces, 'space')} and {counted(found.shelves, 'shelf', 'shelves')}"
            console().print(Text(f"{counts} in {where}: {len(findings) or 'nothing'} damaged"))
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
    """Make all vectors anew from the bodies, for another embedder. Old or new at any moment, never a mix."""
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
        {"tenant": each.scope.tenant, "key": each.scope.space, "records": dict(each.records)} for each in found.shelves
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
    return table("", ["", ""], rows)


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
    return table("", columns, rows)


def _holds(found: dict[str, Any]) -> str:
    """What there is of a space; pages also lie on paths that were left, as by a reset."""
    records, length = found["records"], found["length"]
    stored = records.get("page", 0)
    if not stored:
        return "no pages, only items" if "item" in records else "no pages"
    if "head" not in records:  # nobody has said yet how long the path is
        return f"{counted(stored, 'page')}, newest first"
    others = f", {stored:,} stored" if stored != length else ""
    return f"{counted(length, 'page')} on its path{others}, newest first"


async def _space(place: str, wanted: SpaceId | str, tenant: str, pages: int) -> dict[str, Any]:
    """What is in a space, told by its key or by all that makes one."""
    async with opened(place) as (store, _):
        scope = await _scope(store, wanted, tenant)
        if scope is None:
            what = _told(wanted) if isinstance(wanted, SpaceId) else repr(wanted)
            whose = f" of tenant {tenant!r}" if tenant and isinstance(wanted, str) else ""
            raise StoreMissing(f"there is no space {what}{whose} at {place}; `pagefault stat --spaces` lists all")
        id_ = head_id(scope.space)
        head = (await store.get(scope, [id_], bodies=False)).get(id_)
        newest = await store.scan(scope, Where(kind="page", newest=True), limit=pages)
        name = {} if head is None else {key: str(head.fields.get(key, "")) for key in ("user", "thread", "agent")}
        return {
            "tenant": scope.tenant,
            "key": scope.space,
            "name": name,
            "length": 0 if head is None else head.seq,
            "records": {each.kind: each.count for each in await store.census() if each.scope == scope},
            "pages": [
                {"page": r.seq, **{key: r.fields.get(key) for key in ("created_at", "role", "type", "tokens", "gist")}}
                for r in newest
            ],
        }


def _told(wanted: SpaceId) -> str:
    """A space as it was asked for."""
    asked = (("tenant", wanted.tenant), ("user", wanted.user), ("thread", wanted.thread), ("agent", wanted.agent))
    return "of " + ", ".join(f"{name} {value!r}" for name, value in asked if value)


async def _scope(store: PageStore, wanted: SpaceId | str, tenant: str) -> Scope | None:
    """Where a space is; a key alone says it, since it is made of the tenant as well."""
    key, owner = (wanted, tenant) if isinstance(wanted, str) else (wanted.key, wanted.tenant)
    there = (tally.scope for tally in await store.census() if tally.scope.space == key)
    return next((scope for scope in there if owner in {"", scope.tenant}), None)


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
