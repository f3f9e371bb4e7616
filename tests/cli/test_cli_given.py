"""What people type after -i."""

import json
from pathlib import Path

import click
import pytest

from orchestrator.cli import given


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1.5", 1.5),
        ("a=true", True),
        ("a=null", None),
        ('a={"b": [1]}', {"b": [1]}),
        ('a="1"', "1"),
        ("a=text", "text"),
        ("a=x=y", "x=y"),
        ("a=", ""),
    ],
)
def test_a_value_is_json_where_it_is_json(text: str, value: object) -> None:
    assert given.pairs([text], "--input") == {"a": value}


def test_a_file_is_a_whole_object_and_later_ones_win(tmp_path: Path) -> None:
    file = tmp_path / "lead.json"
    file.write_text(json.dumps({"a": 1, "b": 2}))
    assert given.pairs(["a=0", f"@{file}", "b=3"], "--input") == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "why"), [("a", "key=value"), ("=1", "key=value"), ("@/no/such.json", "such.json")]
)
def test_other_forms_are_refused_with_the_text(text: str, why: str) -> None:
    with pytest.raises(click.BadParameter, match=why):
        given.pairs([text], "--input")


def test_a_file_without_an_object_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text("[1]")
    with pytest.raises(click.BadParameter, match="no JSON object"):
        given.pairs([f"@{file}"], "--input")


def test_labels_stay_text() -> None:
    assert given.texts(["team=1"], "--label") == {"team": "1"}
