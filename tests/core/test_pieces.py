"""Text in pieces: whole again in the end, and no secret is ever seen, wherever it is cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import pieces, redact

SECRETS = ("hunter2", "hunting", "s3cr3t-s3cr3t", "tüv x")


def shown(parts: list[str], secrets: tuple[str, ...] = SECRETS) -> str:
    """All that is shown of parts that come one after the other."""
    seen, rest = "", ""
    for part in parts:
        text, rest = pieces.ready(rest + part, secrets)
        seen += text
    text, rest = pieces.ready(rest, secrets, ended=True)
    assert rest == ""
    return seen + text


def split(text: str, cuts: list[int]) -> list[str]:
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 60))


@given(st.text(max_size=60), CUTS)
def test_a_text_without_secrets_comes_out_as_it_was(text: str, cuts: list[int]) -> None:
    assert shown(split(text, cuts), ()) == text.replace("\x00", "\ufffd")


@given(st.lists(st.sampled_from([*SECRETS, "hunt", "s3", "é", " "]), max_size=6).map("".join), CUTS)
def test_no_secret_is_seen_wherever_it_is_cut(text: str, cuts: list[int]) -> None:
    seen = shown(split(text, cuts))
    assert not any(secret in seen for secret in SECRETS)
    assert seen == redact.redact(text, SECRETS)


def test_halves_of_a_character_are_one_again_and_others_replaced() -> None:
    high, low = "\ud83d", "\ude00"
    assert shown(["a" + high, low + "b"]) == "a😀b"
    assert shown([high, "x"]) == "\ufffdx"
    assert shown([low, high]) == "\ufffd\ufffd"


def test_an_end_that_is_no_beginning_is_not_kept_back() -> None:
    assert pieces.ready("the hunt", SECRETS) == ("the ", "hunt")
    assert pieces.ready("the hunt is on", SECRETS) == ("the hunt is on", "")


def test_a_long_text_is_cut_and_an_empty_one_is_one_part() -> None:
    assert list(pieces.cut("abcde", 2)) == ["ab", "cd", "e"]
    assert list(pieces.cut("", 2)) == [""]
