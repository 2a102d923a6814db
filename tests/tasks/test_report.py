"""The page that managers and auditors open: true, complete, harmless, readable by machines and people."""

from __future__ import annotations

import html.parser
import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from PIL import Image

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.errors import SettingsError, UsageError
from infra.history import Night, Rejects, read_history
from infra.installation import Installation, opened
from infra.settings import Settings, load_settings
from infra.tables import audit_events, failures
from tasks import plots, report
from tasks.summary import NamedFailure, NightSummary
from tasks.units import duration, size, visible

HOSTILE = "<script>alert(1)</script>.jpg"
REORDERED = "photo\u202egpj.exe"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(html.parser.HTMLParser):
    """What a browser would see: balanced elements, ids, links, text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._words: list[str] = []
        self.feed(source)
        self.close()
        self.text = re.sub(r"\s+", " ", "".join(self._words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.targets += [value for name, value in attrs if name == "href" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self._words.append(data + " ")


def _photo(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24 + shade % 5, 18), (shade, 255 - shade, shade // 2)).save(path, "JPEG")


def _settings(root: Path) -> Settings:
    root.mkdir(parents=True, exist_ok=True)
    file = root / "fwd2bot.toml"
    file.write_text(
        '[collections.line-1]\noriginals = "photos"\n[collections.paint-shop]\noriginals = "paint"\n'
        '[compressor]\nbundle = "fake"\n[execution]\nexecutor = "inline"\n[night]\nzone = "Asia/Tokyo"\n'
    )
    return load_settings(file)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, NightSummary]:
    """Two nights of one collection; the second met two hostile files. One night of another collection."""
    root = tmp_path_factory.mktemp("it's a house")
    settings = _settings(root)
    for shade in range(0, 200, 40):
        _photo(root / "photos" / f"{shade}.jpg", shade)
    (root / "photos" / "empty.jpg").write_bytes(b"")
    run_night(settings, "line-1", SilentScreen())
    for shade in (33, 77):
        _photo(root / "photos" / f"{shade}.jpg", shade)
    for name in (HOSTILE, REORDERED):
        (root / "photos" / name).parent.mkdir(exist_ok=True)
        (root / "photos" / name).write_text(f"text that calls itself {name}")
    _photo(root / "paint" / "door.jpg", 90)
    run_night(settings, "paint-shop", SilentScreen())
    return settings, run_night(settings, "line-1", SilentScreen())


@pytest.fixture
def house(nights: tuple[Settings, NightSummary]) -> Iterator[Installation]:
    with opened(nights[0]) as installation:
        yield installation


@pytest.fixture
def page(house: Installation, tmp_path: Path) -> Page:
    written = report.write_report(house, tmp_path / "out" / "report.html")
    assert written == tmp_path / "out" / "report.html"
    assert [file.name for file in written.parent.iterdir()] == ["report.html"]
    return Page(written.read_text(encoding="utf-8"))


def _figures(page: Page) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page.source, re.DOTALL)]


def test_the_headline_tells_the_last_night(page: Page, nights: tuple[Settings, NightSummary]) -> None:
    last = nights[1]
    assert (last.compressed, last.failed, int(last.exit_code)) == (2, 2, 3)
    head = page.text[
        page.text.index(f"Night of {date.fromisoformat(last.night).day} ") : page.text.index("Night by night")
    ]
    assert f"Partly failed : {last.message}" in head
    for fact in (last.run_id, last.compressor, "fwd2bot 0.", f"{last.to_dict()['ratio']:.2f}", "Asia/Tokyo"):
        assert fact in head
    for label, value in (
        ("images compressed", 2),
        ("failed", 2),
        ("left for the next night", 0),
        ("exit code", 3),
    ):
        assert re.search(rf"{label} +{value} ", head), label
    assert f"{last.images_per_second:.1f}" in head
    assert duration(last.wall_seconds) in head


def test_failures_are_named_with_reason_detail_and_what_retries_them(page: Page) -> None:
    named = page.text[page.text.index("could not compress") : page.text.index("Still open")]
    assert re.search(re.escape(HOSTILE) + r" +not_an_image +\S", named)
    assert "photo\\u202egpj.exe" in named
    assert "empty.jpg" not in named  # that was the first night's
    still_open = page.text[page.text.index("Still open") : page.text.index("Recent runs")]
    assert re.search(r"line-1 +empty +1 +fwd2bot retry line-1 --only failed", still_open)
    assert re.search(r"line-1 +not_an_image +2 +fwd2bot retry line-1 --only failed", still_open)


def test_hostile_names_stay_text(page: Page) -> None:
    assert "script" not in page.tags
    assert "<script" not in page.source.lower()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.jpg" in page.source
    assert "\u202e" not in page.source


def test_the_page_needs_nothing_beside_itself(page: Page) -> None:
    without_names = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[\w/]+"', "", page.source)
    assert not re.search(r"(https?:)?//(?!/)[\w.]+\.\w+", without_names.replace("file:///", ""))
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not {"src", "srcset", "onload", "onclick"} & {name for name, _ in page.attributes}
    assert "@import" not in page.source
    assert all(value.startswith("#") for value in page.targets)
    assert {target[1:] for target in page.targets} <= set(page.ids)


def test_the_page_is_well_formed_and_accessible(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    headings = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(deeper - level <= 1 for level, deeper in itertools.pairwise(headings))
    assert page.tags.count("caption") == page.tags.count("table") > 4
    assert page.tags.count("main") == 1
    assert ("lang", "en") in page.attributes


def test_each_figure_is_well_formed_named_and_coloured_by_the_page(page: Page) -> None:
    figures = _figures(page)
    assert [figure.get("aria-labelledby", "").split("-")[0] for figure in figures] == [
        "images", "bytes", "ratio", "rejects", "stages",
    ]  # fmt: skip
    for figure in figures:
        assert figure.get("role") == "img"
        title, description = list(figure)[:2]
        assert figure.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        assert title.text
        assert description.text
        styles = " ".join(element.get("style", "") for element in figure.iter())
        assert "var(--" in styles
        assert "#" not in re.sub(r"url\(#[\w-]+\)", "", styles)
        referred = {v[1:] for e in figure.iter() for k, v in e.attrib.items() if k.endswith("href")}
        assert referred <= {element.get("id") for element in figure.iter()}
    assert "8 images compressed and 3 failures in 1 nights" in page.text
    assert "not_an_image 2 (0 resolved), empty 1 (0 resolved)" in page.text


def test_time_is_explained(page: Page, nights: tuple[Settings, NightSummary]) -> None:
    assert "may exceed the workers' wall time" in page.text
    assert re.search(r"1 worker had \S+ s of wall time: \d+ % was the forward pass, \d+ % waiting", page.text)
    table = page.text[
        page.text.index("Seconds per stage") : page.text.index(
            "Failures", page.text.index("Seconds per stage")
        )
    ]
    row = re.findall(rf"{nights[1].run_id} +1 +([\d. ]+)", table)[0].split()
    assert row[1:8] == [f"{nights[1].stage_seconds[stage]:.2f}" for stage in plots.STAGES]
    assert 98 <= sum(int(share) for share in row[8:12]) <= 102


def test_every_run_and_total_is_listed(page: Page, house: Installation) -> None:
    runs = page.text[page.text.index("Recent runs") : page.text.index("The archive")]
    history = read_history(house.ledger, limit=9, named=9)
    for run in history.recent:
        assert re.search(rf"{run.id} +{run.state.replace('_', ' ').capitalize()} ", runs)
    assert [run.collection for run in history.recent] == ["line-1", "paint-shop", "line-1"]
    totals = page.text[page.text.index("Committed images") : page.text.index("Reading the tokens")]
    assert re.search(rf"line-1 +fake +{house.spec('line-1').short} +7 +2 ", totals)
    assert re.search(rf"paint-shop +fake +{house.spec('paint-shop').short} +1 +1 ", totals)


def test_the_reading_statement_reads_the_tokens(page: Page) -> None:
    statement = re.findall(r"SET VARIABLE.*?;\s*SELECT.*?;", page.text)[0]
    setting, selecting = statement.split(";")[:2]
    with duckdb.connect() as engine:
        engine.execute(setting)
        assert len(engine.execute(selecting).fetchall()) == 7


def test_the_end_of_the_audit_log_is_quoted(page: Page, house: Installation) -> None:
    with house.ledger.read() as connection:
        size, last = connection.execute(sa.select(sa.func.count(), sa.func.max(audit_events.c.seq))).one()
        leaf = connection.execute(
            sa.select(audit_events.c.leaf).where(audit_events.c.seq == last)
        ).scalar_one()
    log = page.text[page.text.index("The audit log") :]
    assert re.search(rf"Events, of the whole installation +{size} ", log)
    assert f"number {last}, run.ended" in log
    assert leaf.hex() in log


def test_equal_ledgers_give_equal_pages(house: Installation) -> None:
    at = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    pages = {report.render(house, collection=None, runs=30, at=at) for _ in range(2)}
    assert len(pages) == 1
    assert (
        'generated at <time datetime="2026-11-24T15:30:00+00:00">2026-11-25 00:30:00</time> Asia/Tokyo'
        in pages.pop()
    )


def test_one_collection_alone(house: Installation, tmp_path: Path) -> None:
    page = Page(report.write_report(house, tmp_path / "r.html", collection="paint-shop", runs=1).read_text())
    assert "Night by night" in page.text
    assert "line-1" not in page.text
    assert "not_an_image" not in page.text
    assert "The last run had no failures" in page.text


def test_more_failures_than_fit_are_counted(
    house: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "NAMED", 1)
    page = Page(report.write_report(house, tmp_path / "r.html").read_text())
    assert "And 1 more of this run, 2 in all" in page.text


def test_what_a_later_run_compressed_is_no_open_reject(house: Installation) -> None:
    _resolve(house, "empty", datetime.now(UTC))
    found = read_history(house.ledger, limit=9, named=9).rejects
    _resolve(house, "empty", None)
    assert found == [Rejects("not_an_image", 2, 0), Rejects("empty", 1, 1)]
    assert "compressed by a later run" in plots.rejects_by_reason(found)
    assert "compressed by a later run" not in plots.rejects_by_reason(found[:1])


def _resolve(house: Installation, reason: str, at: datetime | None) -> None:
    with house.ledger.write() as connection:
        connection.execute(failures.update().where(failures.c.reason == reason).values(resolved_at=at))


def test_an_installation_without_runs(tmp_path: Path) -> None:
    with opened(_settings(tmp_path)) as house:
        page = Page(report.write_report(house, tmp_path / "r.html").read_text())
        alone = Page(report.write_report(house, tmp_path / "s.html", collection="paint-shop").read_text())
    assert page.open == []
    assert "No night has run yet" in page.text
    assert "2 collections are configured: line-1 , paint-shop" in page.text
    assert "fwd2bot night paint-shop" in alone.text
    assert "No image has been committed yet" in page.text
    assert "The log begins with the first run" in page.text
    assert {target[1:] for target in page.targets} <= set(page.ids)
    assert "svg" not in page.tags


def test_a_night_that_broke_off_shows_its_error(tmp_path: Path) -> None:
    settings = _settings(tmp_path)  # the folder of photos is missing
    with pytest.raises(Exception, match="photos"):
        run_night(settings, "line-1", SilentScreen())
    with opened(settings) as house:
        page = Page(report.write_report(house, tmp_path / "r.html").read_text())
    assert re.search(r"Failed : \w+: .*photos", page.text)
    assert "fwd2bot doctor" in page.text
    assert "nothing to time" in page.text
    assert page.open == []


def test_wrong_names_are_refused_and_nothing_is_left(house: Installation, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no collection 'line-9'"):
        report.write_report(house, tmp_path / "r.html", collection="line-9")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot write the report"):
        report.write_report(house, tmp_path / "file" / "r.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot write the report"):
        report.write_report(house, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_missed_night_is_a_gap_and_long_spans_are_not_drawn_by_the_calendar() -> None:
    close = [Night(date(2026, 11, day), 1, 10, 0, 900, 100) for day in (1, 2, 4)]
    far = [Night(date(2020 + n, 1, 1), 1, 10, 0, 900, 100) for n in range(3)]
    first, second, third = _bars(plots.images_per_night(close))
    assert third - second == pytest.approx(2 * (second - first), rel=1e-3)
    first, second, third = _bars(plots.images_per_night(far))
    assert third - second == pytest.approx(second - first, rel=1e-3)


def _bars(svg: str) -> list[float]:
    """Left edges of the bars; the legend's patch is last."""
    drawn = re.findall(r'<path d="M ([\d.]+) [^"]*"[^>]*style="fill: var\(--stored\)"', svg)
    return [float(x) for x in drawn][:3]


def test_nights_without_news_can_be_drawn() -> None:
    quiet = [Night(date(2026, 11, 1), 1, 0, 0, 0, 0)]
    assert "nothing was compressed" in plots.ratio_per_night(quiet)
    for svg in (plots.images_per_night(quiet), plots.bytes_per_night(quiet)):
        assert ET.fromstring(svg).tag.endswith("svg")


def test_the_module_does_not_import_matplotlib() -> None:
    code = "import sys, tasks.report; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0 B"), (999, "999 B"), (1250, "1.25 kB"), (999_600, "1 MB"), (3.5e10, "35 GB"), (4e18, "4000 PB")],
)
def test_sizes(value: float, said: str) -> None:
    assert size(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.416, "0.42 s"), (12.34, "12.3 s"), (59.97, "1 min 00 s"), (245, "4 min 05 s"), (7384, "2 h 03 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_what_does_not_show_is_spelled_out() -> None:
    assert visible("検査 photo 1.jpg") == "検査 photo 1.jpg"
    assert visible("a\nb\x1b[2J\u202ec\udcff") == "a\\nb\\x1b[2J\\u202ec\\udcff"


# --- Markdown


def test_a_hostile_file_name_stays_one_cell_of_code_in_prefects_page() -> None:
    key = "a`b|c\n# owned\x1b[2J\u202egpj.<img src=x>[x](http://x)\\"
    detail = "| `no\r\nimage` |"
    shown = report.markdown(
        NightSummary(
            run_id="night-1",
            collection="line-1",
            kind="night",
            night="2026-11-23",
            compressor="fake",
            failed=1,
            failures=[NamedFailure(key=key, reason="not_an_image", detail=detail)],
        )
    )
    row = shown.splitlines()[-1]
    assert row.isprintable()
    cells = row.split("|")
    assert [cell.strip() for cell in cells] == [
        "",
        r"`a\x60b\x7cc\n# owned\x1b[2J\u202egpj.<img src=x>[x](http://x)\`",
        "not_an_image",
        r"`\x7c \x60no\r\nimage\x60 \x7c`",
        "",
    ]
