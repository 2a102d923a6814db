from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fwd2bot_core.compressor.training import dataset
from fwd2bot_core.errors import UsageError
from tests.core.compressor.training import worlds


@pytest.fixture
def folder(tmp_path):
    worlds.write(tmp_path, 3)
    return tmp_path


def read(folder, *rows, **options):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return dataset.read([str(folder / "rows.jsonl")], **options)


def test_rows_of_one_image_belong_together(folder):
    items = dataset.read([str(folder / "data.jsonl")])
    assert [item.path for item in items] == [folder / "images" / f"{i}.png" for i in range(3)]
    first = items[0]
    assert [(q.text, q.answer, q.kind, q.row) for q in first.questions] == [
        ("how many items ?", "zero", "count", "data.jsonl, row 1"),
        ("what is in the top left ?", "bag", "cell", "data.jsonl, row 2"),
    ]
    assert (first.captions, first.negatives, first.group) == (["top left bag"], [], "images/0.png")


def test_parquet_says_the_same_as_jsonl(folder):
    columns = ("image", "question", "answer", "kind", "caption")
    table = pa.Table.from_pylist(worlds.rows(3), pa.schema([(name, pa.string()) for name in columns]))
    pq.write_table(table, folder / "data.parquet", row_group_size=2)
    plain, other = (dataset.read([str(folder / name)]) for name in ("data.jsonl", "data.parquet"))
    assert [(i.path, i.captions, [(q.text, q.answer) for q in i.questions]) for i in plain] == [
        (i.path, i.captions, [(q.text, q.answer) for q in i.questions]) for i in other
    ]
    assert other[2].questions[1].row == "data.parquet, row 8"


def test_captions_and_false_ones_may_be_lists_and_a_group_comes_in_any_row(folder):
    (item,) = read(
        folder,
        {"image": "images/0.png", "caption": ["a", "b"], "negatives": ["c"]},
        {"image": "images/0.png", "caption": "d", "negatives": "e", "group": "part 7", "question": None},
    )
    assert (item.captions, item.negatives, item.group) == (["a", "b", "d"], ["c", "e"], "part 7")


IMAGE = {"image": "images/0.png"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "a", "answer": "b"}, "row 2: image is missing"),
        (IMAGE, "row 2: there is neither a question nor a caption"),
        (IMAGE | {"question": "a"}, "row 2: a question and its answer come together"),
        (IMAGE | {"answer": "a", "caption": "b"}, "row 2: a question and its answer come together"),
        (
            IMAGE | {"caption": "a", "anwser": "b"},
            r"row 2: there is no column 'anwser' .*; list it in data\.ignore",
        ),
        (IMAGE | {"question": 7, "answer": "b"}, "row 2: question is 7, which is no text"),
        (IMAGE | {"question": ["a"], "answer": "b"}, r"row 2: question is \['a'\], which is no text"),
        (IMAGE | {"caption": ["a", 1]}, r"row 2: caption is \['a', 1\], which is no text"),
        (
            IMAGE | {"caption": "a", "group": "h"},
            "row 2: group is 'h', and 'g' in an earlier row of this image",
        ),
    ],
)
def test_a_wrong_row_is_named(folder, row, says):
    with pytest.raises(UsageError, match=f"rows.jsonl, {says}"):
        read(folder, IMAGE | {"caption": "fine", "group": "g"}, row)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "rows.jsonl, row 1: no JSON"),
        ("\n[1]", "rows.jsonl, row 2: a row is an object"),
        ("\n\n", "there is no row"),
    ],
)
def test_what_is_no_row_is_named(folder, text, says):
    (folder / "rows.jsonl").write_text(text)
    with pytest.raises(UsageError, match=says):
        dataset.read([str(folder / "rows.jsonl")])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('{"image": "a", "caption": "groß"}'.encode("latin-1"), "row 1: no JSON in UTF-8"),
        (b"\n" + b"[" * 100_000, "row 2: no JSON in UTF-8"),
        (b'{"image": "a", "caption": "' + b"x" * 2**20 + b'"}', "row 1: longer than 1,048,576 bytes"),
        (b'{"image": "a\\u0000", "caption": "b"}', "row 1: image is .*, which is no text"),
        (b'{"image": "a", "caption": "\\ud800"}', "row 1: caption is .*, which is no text"),
        (
            b'{"image": "a", "caption": ' + b"[" * 500 + b"]" * 500 + b"}",
            "row 1: caption is .*, which is no text",
        ),
        (b'{"image": "a", "caption": ' + b"9" * 5000 + b"}", "row 1: no JSON"),
    ],
)
def test_hostile_rows_are_named(folder, data, says):
    (folder / "rows.jsonl").write_bytes(data)
    with pytest.raises(UsageError, match=f"rows.jsonl, {says}"):
        dataset.read([str(folder / "rows.jsonl")])


def test_a_byte_order_mark_is_no_part_of_the_first_row(folder):
    (folder / "rows.jsonl").write_bytes(
        b"\xef\xbb\xbf" + json.dumps(IMAGE | {"caption": "a"}).encode() + b"\r\n"
    )
    (item,) = dataset.read([str(folder / "rows.jsonl")])
    assert item.captions == ["a"]


def test_a_parquet_file_with_half_a_character_is_named(folder):
    bad = pa.array([b"images/0.png", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"image": bad, "caption": ["a", "b"]}), folder / "bad.parquet")
    with pytest.raises(UsageError, match=r"bad\.parquet cannot be read as Parquet"):
        dataset.read([str(folder / "bad.parquet")])


def test_files_that_are_none_are_named(folder):
    with pytest.raises(UsageError, match=r"none\.jsonl does not exist"):
        dataset.read([str(folder / "none.jsonl")])
    (folder / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UsageError, match=r"bad\.parquet cannot be read as Parquet"):
        dataset.read([str(folder / "bad.parquet")])
    with pytest.raises(UsageError, match="aaa do not exist"):
        read(folder, {"image": "a" * 5000, "caption": "a"})
    rows = [{"image": f"images/{name}.png", "caption": "a"} for name in ("0", "x", "y")]
    with pytest.raises(UsageError, match=r"x\.png and 1 more do not exist"):
        read(folder, *rows)


def test_columns_can_be_ignored(folder):
    (item,) = read(folder, IMAGE | {"caption": "a", "id": 7}, ignore=["id"])
    assert item.captions == ["a"]


def test_held_out_images_depend_on_names_and_seed_and_groups_stay_together(tmp_path):
    made = [dataset.Item(tmp_path / str(i), str(i), f"part {i // 2}") for i in range(400)]
    kept, held = dataset.split(made, 0.25, seed=1)
    assert 70 <= len(held) <= 130
    assert not {item.group for item in kept} & {item.group for item in held}
    again = dataset.split(made[::-1], 0.25, seed=1)[1]
    assert {item.name for item in again} == {item.name for item in held}
    assert {item.name for item in dataset.split(made, 0.25, seed=2)[1]} != {item.name for item in held}
    assert dataset.split(made, 0.0, seed=1) == (made, [])
    with pytest.raises(UsageError, match="none of the images is held out"):
        dataset.split(made[:1], 1e-9, seed=1)
