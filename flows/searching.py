"""The verbs that search: by a text or by examples, and the index that large collections are searched by.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, terminal
from flows.times import DAY, NOTHING, moment
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from infra.search_hits import Found
    from infra.search_scope import Filters
    from tasks.search_index import IndexState

search_index_app = App(name="search-index", help="The index that large collections are searched by.")
app.command(search_index_app)


@Parameter(name="*")
@dataclass(frozen=True)
class Narrowed:
    """Which images count; all that is given must hold."""

    since: Annotated[
        str | None, Parameter(help="Taken on that day or later; a capture date where known, else as stored.")
    ] = None
    until: Annotated[str | None, Parameter(help="A day, which is included, or a time, which is not.")] = None
    run: Annotated[str | None, Parameter(help="Compressed by that run, as `fwd2bot status` shows it.")] = None
    tag: Annotated[
        tuple[str, ...], Parameter(help="With that tag; several must all be there.", negative="")
    ] = ()
    originals: Annotated[
        bool, Parameter(help="Only images whose original was not destroyed.", negative="")
    ] = False

    @property
    def narrows(self) -> bool:
        return bool(self.since or self.until or self.run or self.tag or self.originals)

    def filters(self) -> Filters:
        """Raises ``UsageError`` for what is no time."""
        from infra.search_scope import Filters

        return Filters(
            since=moment("--since", self.since, NOTHING),
            until=moment("--until", self.until, DAY),
            run=self.run,
            tags=self.tag,
            original=self.originals,
        )


ANY = Narrowed()


@app.command
def search(
    text: str | None = None,
    *,
    collection: str | None = None,
    like: Annotated[
        list[str] | None,
        Parameter(
            help="Like these images: keys, sha256, or files. Several are averaged.",
            consume_multiple=True,
            negative="",
        ),
    ] = None,
    which: Narrowed = ANY,
    limit: Annotated[int, Parameter(help="How many results.", validator=Number(gte=1, lte=1000))] = 10,
    exact: Annotated[bool, Parameter(help="Compare every vector, without the index.", negative="")] = False,
    rerank: Annotated[
        int | None,
        Parameter(
            help="Finds of a text that are compared token by token [default: search.rerank]; 0 = none.",
            validator=Number(gte=0, lte=1000),
        ),
    ] = None,
    html: Annotated[Path | None, Parameter(help="Write a page with thumbnails.")] = None,
    person: Annotated[
        str | None, Parameter("--as", help="You, for thumbnails where people are registered.")
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """Find images by a text, or by examples, among the stored vectors; best first.

    Example: fwd2bot search "a2 red bag" --since 2026-11-01 --limit 5

    Example: fwd2bot search --like defect-1.jpg defect-2.jpg --html like-these.html
    """
    from infra.archive import Archive
    from infra.finding import Query

    query = Query(
        text=text,
        like=tuple(like or ()),
        collection=collection,
        filters=which.filters(),
        k=limit,
        exact=exact,
        rerank=rerank,
    )
    with Archive.open(common.settings()) as archive:
        found = archive.find(query)
        if html is not None:
            _page(archive, found, text or "Like the examples", html, person)
    if common.json:
        print(json.dumps(found.as_json(), sort_keys=True))
    else:
        _show(terminal(), found)
        if html is not None:
            terminal().print(f"page: {html.resolve().as_uri()}", highlight=False, soft_wrap=True)
    return ExitCode.OK


def _page(archive: object, found: Found, asked: str, file: Path, person: str | None) -> None:
    from fwd2bot_core.retention.roles import Act
    from infra.archive import Archive
    from tasks.exporting import allowed
    from tasks.search import write_page

    assert isinstance(archive, Archive)
    allowed(archive.house, person, Act.SEE_ORIGINAL, f"search page: {asked}", images=len(found.hits))
    write_page(archive.house, found, asked, file)


def _show(console: Console, found: Found) -> None:
    from flows.render import table

    if not found.hits:
        console.print("nothing is like that, or the filters leave nothing")
    else:
        rows = [
            (
                number,
                f"{hit.score:.3f}",
                hit.key,
                hit.collection,
                f"{hit.taken:%Y-%m-%d %H:%M}",
                f"destroyed {hit.destroyed_at:%Y-%m-%d}"
                if hit.destroyed_at
                else "gone"
                if hit.destroyed
                else "",
            )
            for number, hit in enumerate(found.hits, 1)
        ]
        columns = ("", "score", "image", "collection", "taken (UTC)", "original")
        console.print(table("found, best first", columns, rows))
    looked = [f"{found.scanned:,} compared"] + ([f"{found.indexed:,} by the index"] if found.indexed else [])
    console.print(f"{', '.join(looked)} in {found.seconds:.2f} s", style="dim", highlight=False)
    for name, images in found.left_out.items():
        console.print(
            f"[yellow]left out:[/] {images:,} images of {name}; compress them again to find them",
            highlight=False,
        )


@search_index_app.command
def build(
    collection: str | None = None,
    *,
    anew: Annotated[bool, Parameter(help="Not what is new alone, but everything.", negative="")] = False,
    common: Common = DEFAULTS,
) -> int:
    """Make a collection's index from its committed vectors, or add what is new. Nights do so by themselves for
    collections above search.index_above images.

    Example: fwd2bot search-index build line-1
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks.search_index import build as make

    settings = common.settings()
    name, _ = settings.collection(collection)
    with opened(settings) as house, counting(terminal(), "indexing", common.json) as progress:
        made = make(house, name, anew=anew, progress=progress)
    _show_index(made, common.json)
    return ExitCode.OK


@search_index_app.command(name="show")
def show_index(collection: str | None = None, *, common: Common = DEFAULTS) -> int:
    """What a collection's index is, and how much of the collection it covers.

    Example: fwd2bot search-index show line-1
    """
    from infra.installation import opened
    from tasks.search_index import state

    settings = common.settings()
    name, _ = settings.collection(collection)
    with opened(settings) as house:
        found = state(house, name)
    _show_index(found, common.json)
    return ExitCode.OK


def _show_index(found: IndexState, as_json: bool) -> None:
    from flows.render import table
    from tasks.units import size

    if as_json:
        print(json.dumps(found.as_json(), sort_keys=True))
        return
    rows = [
        ("collection", found.collection),
        ("compressor", found.compressor[:12]),
        ("images", found.committed),
        ("of these in the index", found.indexed),
        ("state", found.why),
    ]
    if found.meta is not None:
        rows += [("cells", found.meta.cells), ("size", size(found.meta.bytes)), ("path", found.meta.path)]
    terminal().print(table("index", ("", ""), rows))
