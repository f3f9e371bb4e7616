"""Documents from outside: what is read, with which lines, and what is refused before it can do harm."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scanner import Scanner

from models.errors import InvalidError, Problem
from orchestrator.core.document import Document, Limits, from_data, parse
from orchestrator.core.yaml_scanner import ChainScanner

LIMITS = Limits()
EXAMPLE = Path(__file__).parents[2] / "examples" / "lead-qualification.yaml"


def read(source: str | bytes, media: str = "yaml") -> Document:
    return parse(source, media=media, limits=LIMITS)


def refused(source: str | bytes, media: str = "yaml") -> tuple[str, list[Problem]]:
    with pytest.raises(InvalidError) as caught:
        read(source, media)
    return caught.value.code, list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [x, {c: null}]", {"a": 1, "b": ["x", {"c": None}]}),
        ("on: yes\nno: off", {"on": "yes", "no": "off"}),
        ("a: 2026-11-21\nb: 12:30", {"a": "2026-11-21", "b": "12:30"}),
        ("[1, -2, +3, 0x1F, 0o17, 1_000]", [1, -2, 3, 31, 15, "1_000"]),
        ("[1.5, .5, 1e3, -2.E-1, 1.]", [1.5, 0.5, 1000.0, -0.2, 1.0]),
        ("[~, null, True, FALSE, '', '1', \"true\"]", [None, None, True, False, "", "1", "true"]),
        ("a: foo\n  bar\nb: baz", {"a": "foo bar", "b": "baz"}),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y", {"a": "x\ny\n", "b": "x y"}),
        (
            "a: &x {k: [1]}\nb: *x\nc: [*x, &y 2, *y]",
            {"a": {"k": [1]}, "b": {"k": [1]}, "c": [{"k": [1]}, 2, 2]},
        ),
        ("# nothing\n", None),
        ("﻿a: 1", {"a": 1}),
    ],
)
def test_yaml_is_read_by_the_core_schema(text: str, data: Any) -> None:
    assert read(text.encode()).data == data


@pytest.mark.parametrize(
    ("text", "chains"),
    [
        ("edges: [a >> b >> c, a >> [d, e] >> f]", ["a >> b >> c", "a >> [d, e] >> f"]),
        ("edges:\n  - a >> [d, e] >> f\n  - [a, b] >> c\n", ["a >> [d, e] >> f", "[a, b] >> c"]),
        (
            "edges: [[a, b] >> c, {from: a, to: b}, [x, y]]",
            ["[a, b] >> c", {"from": "a", "to": "b"}, ["x", "y"]],
        ),
    ],
)
def test_chains_may_stand_in_a_flow_sequence(text: str, chains: Any) -> None:
    assert read(text).data == {"edges": chains}


def test_each_value_has_its_line() -> None:
    document = read("a: 1\nb:\n  - x\n  - {c/d: 2,\n     e: 3}\n")
    assert document.lines == {"": 1, "/a": 1, "/b": 2, "/b/0": 3, "/b/1": 4, "/b/1/c~1d": 4, "/b/1/e": 5}


@pytest.mark.parametrize("media", ["yaml", "json"])
def test_a_key_that_is_there_twice_is_refused(media: str) -> None:
    code, problems = refused('{"a": {"b": 1,\n "b": 2},\n "a": 3}', media)
    assert code == "INVALID"
    assert sorted((problem.pointer, problem.code) for problem in problems)[0] == ("/a", "INVALID_VALUE")
    assert {problem.line for problem in problems} <= {None} if media == "json" else {2, 3}


@pytest.mark.parametrize(
    ("source", "media"),
    [
        ("a: 'x", "yaml"),
        ("a: [1, 2", "yaml"),
        ("a: 1\n---\nb: 2", "yaml"),
        ("a: !!python/object/apply:os.system [ls]", "yaml"),
        ("a: !secret x", "yaml"),
        ("a: *missing", "yaml"),
        ("a: &a [*a]", "yaml"),
        ("? [a]\n: 1", "yaml"),
        ("1: x", "yaml"),
        ("a: \x07", "yaml"),
        ("%YAML x\n---\na: 1", "yaml"),
        (b"\xff\xfea\x00", "yaml"),
        ('{"a": 1', "json"),
        ("{'a': 1}", "json"),
        ("", "json"),
        ('"\x01"', "json"),
        ('{"a": 1}'.encode("utf-16"), "json"),
    ],
)
def test_what_cannot_be_read_is_malformed(source: str | bytes, media: str) -> None:
    code, problems = refused(source, media)
    assert code == "MALFORMED"
    assert [problem.code for problem in problems] == ["MALFORMED"]


@pytest.mark.parametrize("media", ["yaml", "json"])
@pytest.mark.parametrize("levels", [65, 200, 100_000])
def test_deep_nesting_is_refused_not_a_crash(media: str, levels: int) -> None:
    code, problems = refused("[" * levels + "]" * levels, media)
    assert (code, problems[0].code) == ("TOO_DEEP", "TOO_DEEP")


def test_brackets_in_text_are_no_nesting() -> None:
    text = "[" * 500 + '"\\' + "{" * 500
    assert read(json.dumps({text: text}), "json").data == {text: text}
    assert read(json.dumps({text: text}), "yaml").data == {text: text}


def test_sixty_four_levels_are_read() -> None:
    assert read("[" * 64 + "]" * 64).data == read("[" * 64 + "]" * 64, "json").data


def test_an_alias_bomb_is_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    assert refused(bomb)[0] == "TOO_LARGE"


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(InvalidError) as caught:
        parse(b"x" * 101, media="yaml", limits=Limits(max_body_bytes=100))
    assert caught.value.code == "TOO_LARGE"


@pytest.mark.parametrize(
    ("source", "media"),
    [
        ('{"a": NaN}', "json"),
        ('{"a": -Infinity}', "json"),
        ('{"a": 1e999}', "json"),
        ('{"a": 9223372036854775808}', "json"),
        ('{"a": ' + "9" * 5_000 + "}", "json"),
        ('{"a": "\\u0000"}', "json"),
        ('{"a": "\\ud800"}', "json"),
        ("a: .nan", "yaml"),
        ("a: -.INF", "yaml"),
        ("a: " + "9" * 5_000, "yaml"),
        ("a: 0x" + "f" * 5_000, "yaml"),
        ('a: "\\0"', "yaml"),
        ('a: "\\ud800"', "yaml"),
    ],
)
def test_what_json_or_the_database_cannot_hold_is_refused(source: str, media: str) -> None:
    code, problems = refused(source, media)
    assert (code, problems[-1].pointer, problems[-1].code) == ("INVALID", "/a", "INVALID_VALUE")


def test_data_is_checked_like_text() -> None:
    assert from_data({"a": [1]}, LIMITS).data == {"a": [1]}
    with pytest.raises(InvalidError):
        from_data({"a": float("nan")}, LIMITS)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~é ", max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_json_text_means_the_same_to_both_readers(data: Any) -> None:
    text = json.dumps(data, ensure_ascii=False)
    assert read(text, "json").data == data
    assert read(text, "yaml").data == data


@given(
    st.text("ab:-[]{}>&*!|%@,\"'#? \n\t0.~", max_size=40) | st.text(max_size=20),
    st.sampled_from(["yaml", "json"]),
)
@example("a >> [b", "yaml")
@example("[a >> [b, c] >>", "yaml")
@example("- a\n-b: *", "yaml")
def test_no_text_does_more_than_be_refused(text: str, media: str) -> None:
    try:
        read(text, media)
    except InvalidError as error:
        found = error.problems
    else:
        return
    assert found


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '"\\' * 100_000, "&a " * 50_000, "[" + "a >> " * 50_000, "[a, " * 50_000]
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    began = time.process_time()
    for media in ("yaml", "json"):
        assert refused(text, media)[1]
    assert time.process_time() - began < 5


@given(st.data())
def test_the_scanner_reads_what_ruamels_own_reads(data: st.DataObject) -> None:
    lines = EXAMPLE.read_text().split("\n")
    start = data.draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[start : start + 20])
    place = data.draw(st.integers(0, len(text)))
    text = (
        text[:place]
        + data.draw(st.sampled_from(["", "\n", "  ", ": ", "#", "- ", "[", ",", "'", "x", "0"]))
        + text[place:]
    )
    try:
        expected = _events(text, Scanner)
    except YAMLError:
        return
    assert _events(text, ChainScanner) == expected


def _events(text: str, scanner: type[Scanner]) -> list[tuple[Any, ...]]:
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = scanner
    return [
        (type(event), getattr(event, "value", None), event.start_mark.line, event.start_mark.column)
        for event in yaml.parse(text)
    ]
