"""Where settings come from, which wins, and what a wrong one says."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from fwd2bot_core.compressor.loading import Device
from fwd2bot_core.compressor.view import View
from fwd2bot_core.errors import SettingsError
from infra.database import open_ledger
from infra.settings import ExecutionSettings, Settings, explain_settings, load_settings

WriteToml = Callable[[str], Path]


@pytest.fixture
def toml(tmp_path: Path) -> WriteToml:
    def write(text: str) -> Path:
        file = tmp_path / "fwd2bot.toml"
        file.write_text(text)
        return file

    return write


def source_of(file: Path, name: str) -> tuple[str, str]:
    return next((value, source) for key, value, source in explain_settings(file) if key == name)


def test_without_any_source_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.night.batch_size == 1000
    assert settings.archive.store == (tmp_path / "archive").as_uri()
    assert {source for _, _, source in explain_settings()} == {"default"}


def test_each_source_wins_over_the_weaker_ones(
    toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml("[night]\nbatch_size = 7\nsmallest_batch = 7\norphan_hours = 7\n")
    (tmp_path / ".env").write_text("FWD2BOT_NIGHT__SMALLEST_BATCH=8\nFWD2BOT_NIGHT__ORPHAN_HOURS=8\n")
    monkeypatch.setenv("FWD2BOT_NIGHT__ORPHAN_HOURS", "9")

    found = load_settings(file).night
    assert (found.batch_size, found.smallest_batch, found.orphan_hours) == (7, 8, 9.0)
    assert found.cron == "0 1 * * *"
    assert source_of(file, "night.batch_size") == ("7", str(file))
    assert source_of(file, "night.smallest_batch") == ("8", str(tmp_path / ".env"))
    assert source_of(file, "night.orphan_hours") == ("9.0", "environment")
    assert source_of(file, "night.cron") == ("0 1 * * *", "default")


def test_values_given_in_code_need_no_file_and_ignore_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FWD2BOT_NIGHT__BATCH_SIZE", "9")
    assert Settings(night={"batch_size": 5}).night.batch_size == 5


def test_the_file_can_be_named_by_a_variable(toml: WriteToml, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FWD2BOT_CONFIG", str(toml("[night]\nbatch_size = 3\n")))
    assert load_settings().night.batch_size == 3


def test_plain_paths_count_from_the_settings_file(
    toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml(
        '[archive]\nstore = "../shards"\nledger = "db/l.sqlite"\n'
        '[collections.a]\noriginals = "my photos"\n[collections.b]\noriginals = "s3://bucket/prefix"\n'
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = load_settings(file)
    assert found.archive.store == (tmp_path.parent / "shards").as_uri()
    assert found.archive.ledger == f"sqlite:///{tmp_path}/db/l.sqlite"
    assert found.collections["a"].originals == (tmp_path / "my photos").as_uri()
    assert found.collections["b"].originals == "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[night]\ncorn = 1\n", "night.corn"),
        ("[nigth]\ncron = '0 1 * * *'\n", "nigth"),
        ("[night]\nzone = 'Mars/Olympus'\n", "Mars/Olympus"),
        ("[night]\nbatch_size = 0\n", "night.batch_size"),
        ("[collections.'../up']\noriginals = 'x'\n", "../up"),
        ("[collections.a]\nprefix = 'x'\n", "collections.a.originals"),
        ("[execution]\nexecutor = 'cloud'\n", "execution.executor"),
        ("[archive]\nstore = 'memory://a'\n[execution]\nexecutor = 'local'\n", "memory://"),
        ("[night]\ncron = 'nonsense'\n", "'nonsense' is no cron line (five fields"),
        ("[night]\ncron = '61 1 * * *'\n", "'61 1 * * *' is no cron line (bad minute)"),
        ("[execution]\nmemory_limit = 'lots'\n", "'lots' is no amount of memory"),
        ("[archive]\nledger = 'not a url://x'\n", "archive.ledger: this is no database URL"),
        ("[archive]\nledger = 'postgresql://h:port/db'\n", "this is no database URL"),
        (
            "[archive]\nstore = 's3://id:key@bucket'\n",
            "archive.store: credentials do not belong",
        ),
        ("[night\n", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_what_is_wrong(toml: WriteToml, text: str, says: str) -> None:
    file = toml(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    message = str(caught.value)
    assert says in message
    assert str(file) in message
    assert "\n" not in message.strip()


def test_several_problems_are_all_named(toml: WriteToml) -> None:
    with pytest.raises(
        SettingsError, match=r"night\.corn.*; .*night\.batch_size|night\.batch_size.*; .*night\.corn"
    ):
        load_settings(toml("[night]\ncorn = 1\nbatch_size = 0\n"))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no settings file"):
        load_settings(tmp_path / "nothing.toml")


def test_bytes_that_are_no_text_are_said(tmp_path: Path) -> None:
    file = tmp_path / "fwd2bot.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings(file)


def test_a_misspelt_variable_is_refused_like_a_misspelt_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FWD2BOT_NIGTH__BATCH_SIZE", "5")
    with pytest.raises(SettingsError, match="FWD2BOT_NIGTH__BATCH_SIZE"):
        load_settings()


def test_a_dotenv_file_may_hold_what_is_meant_for_other_programs(toml: WriteToml, tmp_path: Path) -> None:
    file = toml("[night]\nbatch_size = 7\n")
    (tmp_path / ".env").write_text("AWS_REGION=eu-west-1\nFWD2BOT_NIGHT__BATCH_SIZE=8\n")
    assert load_settings(file).night.batch_size == 8


def test_a_misspelt_line_of_a_dotenv_file_is_refused(toml: WriteToml, tmp_path: Path) -> None:
    file = toml("")
    (tmp_path / ".env").write_text("FWD2BOT_NIGTH__BATCH_SIZE=8\n")
    with pytest.raises(SettingsError, match="FWD2BOT_NIGTH__BATCH_SIZE"):
        load_settings(file)


@pytest.mark.parametrize("name", ["FWD2BOT_NIGHT", "FWD2BOT_COLLECTIONS"])
def test_a_variable_for_a_whole_section_that_is_no_json(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "foo")
    with pytest.raises(
        SettingsError, match=f'the environment gives .*"{name[8:].lower()}".*FWD2BOT_NIGHT__CRON'
    ):
        load_settings()


def test_a_dotenv_file_that_is_no_text(toml: WriteToml, tmp_path: Path) -> None:
    file = toml("")
    (tmp_path / ".env").write_bytes(b"\xff\xfe=\x00")
    with pytest.raises(SettingsError, match=r"cannot read .*\.env"):
        load_settings(file)


def test_a_bundle_counts_from_the_settings_file_unless_it_ships(
    toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml('[compressor]\nbundle = "b/mine"\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_settings(file).compressor.bundle == str(tmp_path / "b" / "mine")
    for shipped in ("nano", "fake"):
        assert load_settings(toml(f'[compressor]\nbundle = "{shipped}"\n')).compressor.bundle == shipped


@pytest.mark.parametrize("folder", ["q?x", "100%", "a#b", "ä %3F"])
def test_a_ledger_stays_in_its_folder_whatever_that_is_called(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "fwd2bot.toml").write_text("")
    url = load_settings(tmp_path / folder / "fwd2bot.toml").archive.ledger
    open_ledger(url).close()
    assert [file.name for file in (tmp_path / folder).glob("*.sqlite")] == ["ledger.sqlite"]
    assert [file.name for file in tmp_path.iterdir()] == [folder]


MEMORY = ["8GiB", "8 GB", "1e9", "0.5 TB", "512MiB", "2g", "100", ".5G", "1.GB", "7kib"]
NO_MEMORY = ["lots", "GB", "", "8 GiBs", "8,5 GB", "-", "8 8"]


@pytest.mark.parametrize("text", [*MEMORY, *NO_MEMORY])
def test_memory_is_what_dask_reads(text: str) -> None:
    from dask.utils import parse_bytes

    if text in MEMORY:
        assert Settings(execution={"memory_limit": text}).execution.memory_limit == text
        assert parse_bytes(text) >= 0
    else:
        with pytest.raises(ValidationError, match="no amount of memory"):
            Settings(execution={"memory_limit": text})


@pytest.mark.parametrize(
    "line", ["0 1 * * *", "*/5 8-17 * * 1-5", "30 0 1,15 * *", "0 0 * * sun", "0 0 L * *"]
)
def test_prefect_takes_the_cron_lines_that_we_take(line: str) -> None:
    from prefect.schedules import Cron

    assert Cron(Settings(night={"cron": line}).night.cron, timezone="UTC").cron == line


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://h/db?user=u&password={SECRET}",
        f"postgresql://h/db?sslpassword={SECRET}",
        f"postgresql://u:x@{SECRET}@h/db",
        f"postgresql://u:{SECRET}@h:port/db",
    ],
)
def test_a_password_where_it_would_be_printed_is_refused_unprinted(toml: WriteToml, url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(toml(f'[archive]\nledger = "{url}"\n'))
    assert SECRET not in str(caught.value)


def test_where_a_password_may_stand_is_said(toml: WriteToml) -> None:
    with pytest.raises(SettingsError, match=r"PGPASSWORD.*\.pgpass"):
        load_settings(toml('[archive]\nledger = "postgresql://h/db?password=x"\n'))
    allowed = "postgresql+psycopg://u@h/db?passfile=%2Fhome%2Fu%2F.pgpass&sslmode=verify-full"
    assert load_settings(toml(f'[archive]\nledger = "{allowed}"\n')).archive.ledger == allowed


def test_secrets_never_print(toml: WriteToml, monkeypatch: pytest.MonkeyPatch) -> None:
    file = toml(
        f'[archive]\nledger = "postgresql+psycopg://fwd2bot:{SECRET}@db.example/ledger"\n'
        f'[archive.s3]\naccess_key_id = "{SECRET}"\nsecret_access_key = "{SECRET}"\n'
        f'[execution]\nexecutor = "inline"\n[collections.a]\noriginals = "s3://b"\n'
        f'[collections.a.s3]\naccess_key_id = "{SECRET}"\nsecret_access_key = "{SECRET}"\n'
    )
    monkeypatch.setenv("FWD2BOT_ARCHIVE__S3__SESSION_TOKEN", SECRET)
    settings = load_settings(file)
    assert settings.archive.s3.credentials() == (SECRET, SECRET, SECRET)
    shown = [repr(settings), str(settings), json.dumps(explain_settings(file)), repr(settings.archive.s3)]
    assert not [text for text in shown if SECRET in text]
    assert SECRET.encode() not in pickle.dumps(settings.archive.s3)


def test_a_wrong_secret_does_not_print_either(toml: WriteToml) -> None:
    file = toml(f'[archive.s3]\naccess_key_id = "{SECRET}"\n')
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert SECRET not in str(caught.value)


def test_secrets_that_would_not_reach_the_workers_are_refused(toml: WriteToml) -> None:
    file = toml(f'[archive.s3]\naccess_key_id = "{SECRET}"\nsecret_access_key = "{SECRET}"\n')
    with pytest.raises(SettingsError, match="secrets do not travel to worker processes") as caught:
        load_settings(file)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("executor", "device", "workers"),
    [
        ("local", "auto", "cpu"),
        ("local", "cuda", "cuda"),
        ("local-cuda", "auto", "auto"),
        ("inline", "auto", "auto"),
        ("inline", "cpu", "cpu"),
    ],
)
def test_workers_of_one_machine_share_its_gpu_only_where_that_is_said(
    executor: str, device: Device, workers: Device
) -> None:
    assert ExecutionSettings(executor=executor, device=device).worker_device == workers


def test_settings_are_frozen() -> None:
    settings = Settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.night.batch_size = 5  # type: ignore[misc]


def test_a_collection_is_found_by_name_or_by_being_the_only_one() -> None:
    one = Settings(collections={"a": {"originals": "s3://b"}})
    assert one.collection(None)[0] == one.collection("a")[0] == "a"
    two = Settings(collections={"a": {"originals": "s3://b"}, "b": {"originals": "s3://c"}})
    with pytest.raises(SettingsError, match="name a collection; known: a, b"):
        two.collection(None)
    with pytest.raises(SettingsError, match="no collection 'c'"):
        two.collection("c")
    with pytest.raises(SettingsError, match="known: none"):
        Settings().collection(None)


LINES = """
[compressor.view]
tiles = [2, 2]
overlap = 0.1
[collections.line-1]
originals = "a"
[collections.line-1.view]
tiles = [3, 3]
k = 2
regions = { weld = [0.5, 0.5, 0.25, 0.25], seam = [0.0, 0.0, 1.0, 0.1] }
[collections.line-2]
originals = "b"
"""


def test_a_collection_has_the_view_of_the_compressor_but_for_what_it_says_itself(toml: WriteToml) -> None:
    settings = load_settings(toml(LINES))
    first, second = settings.view("line-1"), settings.view("line-2")
    assert (first.k, first.tiles, first.overlap) == (2, (3, 3), 0.1)
    assert [(r.name, r.left, r.height) for r in first.regions] == [("weld", 0.5, 0.25), ("seam", 0.0, 0.1)]
    assert second == View(tiles=(2, 2), overlap=0.1)
    assert settings.view("only-in-the-ledger") == second
    assert load_settings(toml("[collections.a]\noriginals = 'x'\n")).view("a") == View()


def test_the_views_in_force_are_shown_with_their_source(
    toml: WriteToml, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = toml(LINES)
    monkeypatch.setenv("FWD2BOT_COLLECTIONS__line-2__VIEW__SIZE", "[96, 64]")
    assert source_of(file, "compressor.view.tiles") == ("[2, 2]", str(file))
    assert source_of(file, "collections.line-1.view.tiles") == ("[3, 3]", str(file))
    assert source_of(file, "collections.line-1.view.regions.weld") == ("[0.5, 0.5, 0.25, 0.25]", str(file))
    assert source_of(file, "collections.line-2.view.tiles") == ("[2, 2]", "compressor.view")
    assert source_of(file, "collections.line-2.view.size") == ("[96, 64]", "environment")
    assert source_of(file, "collections.line-2.view.k") == ("", "default")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tiles = [9, 9]", "collections.a.view (with compressor.view): 82 crops a photo"),
        ("thumbnail = false", "collections.a.view (with compressor.view): nothing of a photo would be seen"),
        ("regions = { weld = [0.5, 0.5, 0.6, 0.1] }", "region weld: it reaches outside the photo"),
        ("regions = { weld = [0.5, 0.5, 0.6] }", "collections.a.view.regions.weld"),
        ("tiles = [3]", "collections.a.view.tiles"),
        ("k = 0", "collections.a.view.k"),
        ("tiels = [3, 3]", "collections.a.view.tiels"),
    ],
)
def test_a_view_that_cannot_be_names_its_collection(toml: WriteToml, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(toml(f"[collections.a]\noriginals = 'x'\n[collections.a.view]\n{text}\n"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
