"""A policy file says one thing or is refused, with the place and the reason."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.policy import json_schema
from fwd2bot_core.retention.policy_file import MOST_BYTES, read
from tests.core.retention.policies import TEXT, policy


def changed(old: str, new: str) -> bytes:
    assert old in TEXT
    return TEXT.replace(old, new).encode()


def test_the_plain_file_is_read_and_its_bytes_are_hashed() -> None:
    document = read(TEXT.encode(), "line-1.yaml")
    assert document.policy == policy()
    assert document.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert document.reference() == {
        "id": "line-1-originals",
        "version": 1,
        "sha256": document.sha256,
        "meaning_sha256": hashlib.sha256(document.policy.meaning()).hexdigest(),
    }


def test_comments_and_order_change_the_file_and_not_the_meaning() -> None:
    lines = TEXT.splitlines()
    other = "\n".join(["# agreed on 24 November", lines[1], lines[0], *lines[2:]]).replace("0.5 %", "0.005")
    one, two = read(TEXT.encode()), read(other.encode())
    assert one.sha256 != two.sha256
    assert one.policy.meaning_sha256 == two.policy.meaning_sha256


def test_the_meaning_is_canonical_and_holds_the_defaults_too() -> None:
    said = parse(read(TEXT.encode()).policy.meaning())
    assert said["earliest"] == "2001-01-01"
    assert said["exempt"] == {"sample": "0.005", "tags": ["customer-claim"]}
    assert said["limits"] == {"objects": 20000, "percent": "0.02", "bytes": 500 * 10**9}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("retain: P7Y", "retain:", "rules.0.retain: '' is no period"),
        ("retain: P7Y", "retain: ~", "rules.0.retain: '~' is no period"),
        ("retain: P7Y", "retain: P0D", "rules.0.retain: 'P0D' is no time at all"),
        ("retain: P7Y", "retain: {years: 7}", "rules.0.retain"),
        ("    retain: P7Y\n", "", "rules.0.retain: is missing"),
        ("zone: Asia/Tokyo", "zone: JST9", "zone: 'JST9' is no IANA time zone"),
        ("zone: Asia/Tokyo", "zone: ../../etc/passwd", "is no IANA time zone"),
        ('keys: "*.jpg"', "keys: ''", "rules.0.select.keys: String should have at least 1 character"),
        ('keys: "*.jpg"', f"keys: '{'*a' * 9}'", "has more than 8 *"),
        ('keys: "*.jpg"', "keys: *.jpg", "put a pattern that begins with * into quotes"),
        ("collections: [line-1]", "collections: []", "rules.0.select.collections"),
        ("trigger: captured", "trigger: modified", "rules.0.trigger"),
        ("trigger: captured", "trigger: 'event:'", "rules.0.trigger"),
        ("rounding: calendar_year", "rounding: year", "rules.0.rounding: 'year' is no rounding"),
        ("effective_from: 2027-04-01", "effective_from: 1.4.2027", "effective_from: '1.4.2027' is no date"),
        ("effective_from: 2027-04-01", "effective_from: 2027-02-30", "effective_from: day is out of range"),
        ("read_back: true", "read_back: false", "tokens that were not read again prove nothing"),
        ("read_back: true", "read_back: yes", "is neither true nor false"),
        ("fidelity: 0.95", "fidelity: 0", "must be more than nothing"),
        ("fidelity: 0.95", "fidelity: .inf", "is no share"),
        ("fidelity: 0.95", "fidelity: 1.01", "is more than the whole"),
        ("fidelity: 0.95", "fidelity: -0.5", "is no share"),
        ("questions: 500", "questions: 0", "verification.labels.questions: must be 1 or more"),
        ("questions: 500", "questions: 1e3", "is no whole number"),
        ("approvals: 2", "approvals: 0", "disposition.approvals: must be 1 or more"),
        ("mode: reviewed", "mode: automatic", "disposition.approvals: no such name"),
        ("percent: 2 %", "percent: 0 %", "must be more than nothing"),
        ("bytes: 500 GB", "bytes: 500 GiB", "is no size"),
        ("bytes: 500 GB", "bytes: 0 GB", "is no size"),
        ("bytes: 500 GB", "bytes: 10 PB", "at most 9 PB"),
        ('keys: "*.jpg"', 'keys: "*\\ud800"', "a character that does not show"),
        ('keys: "*.jpg"', 'keys: "gpj.\\u202e*"', "a character that does not show"),
        ("stage: enforce", "stage: pilot", "rollout.share: is missing"),
        ("stage: enforce", "stage: pilot, share: 0", "rollout.share: '0': must be more than nothing"),
        ("stage: enforce", "stage: enforce, share: 5 %", "rollout.share: no such name"),
        ("stage: enforce", "stage: delete", "rollout: Input tag 'delete'"),
        ("id: line-1-originals", "id: Line 1", "id: String should match pattern"),
        ("id: line-1-originals", "ident: line-1", "ident: no such name"),
        ("version: 1", "version: 1\nversion: 2", "line 3: 'version' stands here twice"),
        ("id: line-1-originals", "id: &a line-1", "line 1: anchors (&name) are not allowed"),
        ("version: 1", "version: !!int 1", "line 2: tags (tag:yaml.org,2002:int) are not allowed"),
        ("version: 1", "version: 1\n<<: {version: 2}", "<<: no such name"),
        ("[customer-claim]", "[" * 20 + "]" * 20, "nested deeper than 12"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(changed(old, new), "line-1.yaml")
    assert str(caught.value).startswith("line-1.yaml")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b"# nothing but a comment", "the file is empty"),
        (b"a", "as a whole"),
        (b"- a", "as a whole"),
        (b"[", "line 1"),
        (b"\xff\xfe", "no UTF-8 text"),
        (b"a: \x00", "no YAML"),
        (b"a: 1\n---\nb: 2", "a second document"),
        (b"? [a]\n: b", "a name must be a plain word"),
        (b"a" * (MOST_BYTES + 1), "a policy has at most 65,536"),
        (b"a: &x [y]\nb: [*x, *x]", "not allowed"),
    ],
)
def test_what_is_no_policy_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(UsageError, match=r"^policy") as caught:
        read(data)
    assert told in str(caught.value)


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: TEXT.encode() + text.encode("utf-8", "ignore"))
)
def test_any_bytes_are_a_policy_or_one_sentence(data: bytes) -> None:
    try:
        document = read(data)
    except UsageError:
        return
    assert document.data == data
    assert document.policy.meaning()


def test_two_rules_need_two_names() -> None:
    start = TEXT.index("  - name")
    rule = TEXT[start : TEXT.index("exempt:")]
    with pytest.raises(UsageError, match="two rules are called 'trays'"):
        read(TEXT.replace(rule, rule * 2).encode())


def test_ten_problems_are_named_and_the_rest_is_counted() -> None:
    with pytest.raises(UsageError, match=r"and 8 more$"):
        read(b"a: 1\nb: 2\nc: 3\nd: 4\ne: 5\nf: 6\ng: 7\nh: 8\n")


def test_the_schema_says_what_an_editor_needs() -> None:
    schema = json_schema()
    rule, labels = schema["$defs"]["Rule"], schema["$defs"]["Labels"]
    assert rule["properties"]["retain"]["pattern"].startswith("^P")
    assert rule["additionalProperties"] is False
    assert labels["properties"]["questions"]["minimum"] == 1
    assert set(schema["required"]) >= {"id", "version", "zone", "rules", "limits", "rollout"}
    assert json.loads(json.dumps(schema)) == schema
