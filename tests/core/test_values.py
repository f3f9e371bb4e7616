"""Values: types kept, nothing evaluated twice, errors that name the reference, no slow text."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.conditions import ConditionError
from orchestrator.core.templates import Expression, Path, parse
from orchestrator.core.values import UnresolvedReferenceError, references, resolve

NAMES: dict[str, Any] = {
    "inputs": {"a": 1, "s": "x", "l": [{"v": 5}], "d": {"k": None, "x-y": 2}, "t": True},
    "draft": {"terms": {"z": [1, 2]}},
    "failed": {"error": {"code": "TIMEOUT", "message": "slow", "details": None}},
}
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
BRACES = st.text("{}'\"\\ab.?[]0 \n", max_size=60)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{inputs.a}}", 1),
        ("{{ inputs.l }}", [{"v": 5}]),
        ("{{inputs.l[0].v}}", 5),
        ("{{inputs.d['x-y']}}", 2),
        ('{{inputs.d["x-y"]}}', 2),
        ("{{draft}}", {"terms": {"z": [1, 2]}}),
        ("{{inputs.d.k}}", None),
        ("{{inputs.nope?}}", None),
        ("{{inputs.nope.more[3]? }}", None),
        ("{{gone?}}", None),
        ("{{gone.x?}}", None),
        ("{{failed.error.code}}", "TIMEOUT"),
        ("{{size(inputs.l) > 0}}", True),
        ("{{true}}", True),
        ("{{ {'a': {'b': inputs.a}} }}", {"a": {"b": 1}}),
        ("{{{'a': 1}}}", {"a": 1}),
        ("{{inputs.t ? 'y' : 'n'}}", "y"),
        ("{{'}}'}}", "}}"),
        ("{{'{{'}}", "{{"),
        ("a {{inputs.s}} b {{inputs.a}}", "a x b 1"),
        (" {{inputs.a}}", " 1"),
        ("{{inputs.l}}{{inputs.d.k}}{{inputs.t}}", '[{"v":5}]nulltrue'),
        ("é {{inputs.nope?}}", "é null"),
        ("{{", "{{"),
        ("}}{{inputs.a", "}}{{inputs.a"),
        ("{{ {{inputs.a}}", "{{ 1"),
        ("{{ don't {{inputs.a}}", "{{ don't 1"),
        ("don't {{inputs.s}} don't", "don't x don't"),
        ("{ {inputs.a} }", "{ {inputs.a} }"),
    ],
)
def test_strings(template: str, value: Any) -> None:
    found = resolve(template, NAMES)
    assert found == value
    assert type(found) is type(value)


def test_structures_are_copied_and_keys_left() -> None:
    value = {"{{inputs.a}}": ["{{inputs.a}}", {"n": 3, "o": None}], "x": {"y": "{{inputs.s}}!"}}
    before = json.dumps(value)
    assert resolve(value, NAMES) == {"{{inputs.a}}": [1, {"n": 3, "o": None}], "x": {"y": "x!"}}
    assert json.dumps(value) == before


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{gone.x}}", "{{gone.x}}: 'gone' has no value here"),
        ("{{gone}}", "there are draft, failed, inputs"),
        ("{{inputs.zz}}", "{{inputs.zz}}: inputs has no 'zz'; it has a, d, l, s, t"),
        ("x {{inputs.l[3]}}", "inputs.l is a list of 1 items"),
        ("{{inputs.l.v}}", "inputs.l is a list"),
        ("{{inputs.s.x}}", "inputs.s is no object or list but str"),
        ("{{inputs.d.k.x}}", "inputs.d.k is no object or list but null"),
        ("{{inputs.zz + 1}}", "{{inputs.zz + 1}}"),
    ],
)
def test_what_does_not_exist_is_named(template: str, says: str) -> None:
    with pytest.raises(UnresolvedReferenceError) as caught:
        resolve(template, NAMES)
    assert says in str(caught.value)
    assert caught.value.code == "UNRESOLVED_REFERENCE"


@pytest.mark.parametrize("template", ["{{}}", "{{ }}", "{{1 +}}", "{{inputs.a / 0}}"])
def test_an_expression_that_fails_is_told(template: str) -> None:
    with pytest.raises(ConditionError):
        resolve(template, NAMES)


def test_a_secret_that_is_asked_for_wrongly_is_not_shown() -> None:
    with pytest.raises(UnresolvedReferenceError) as caught:
        resolve("{{env.TOKEN.x}}", {"env": {"TOKEN": "canary"}})
    assert "canary" not in str(caught.value)


@given(JSON)
def test_a_single_reference_keeps_the_json_value(value: Any) -> None:
    assert resolve("{{inputs.v}}", {"inputs": {"v": value}}) is value


@given(BRACES | TEXT)
def test_nothing_is_evaluated_twice(text: str) -> None:
    names = {"inputs": {"v": text}, "a": "changed"}
    assert resolve({"x": ["{{inputs.v}}"]}, names) == {"x": [text]}
    assert resolve("<{{inputs.v}}|{{inputs.v}}>", names) == f"<{text}|{text}>"


@given(st.lists(TEXT.filter(lambda text: "{{" not in text and not text.endswith("{")), max_size=5))
def test_text_round_the_references_stays(texts: list[str]) -> None:
    assert resolve("{{inputs.s}}".join(texts), NAMES) == "x".join(texts)


@given(BRACES)
def test_parts_put_together_are_the_text(text: str) -> None:
    rest = text
    for part in parse(text):
        if isinstance(part, str):
            assert rest.startswith(part)
            rest = rest[len(part) :]
        else:
            end = rest.index(part.text, 2) + len(part.text) if part.text else 2
            assert rest.startswith("{{")
            rest = rest[rest.index("}}", end) + 2 :]
    assert rest == ""


HOSTILE = [
    "{{" * 20_000,
    "{{'" * 13_000,
    "{{ '\n" * 8_000,
    "{{ '\\" * 8_000,
    "{{a" + '\\"' * 20_000,
    "{" * 40_000,
    "{{" + "}" + "{" * 40_000,
    "{{" + "a." * 20_000 + "}}",
    "{{a" + "[0]" * 13_000 + "x}}",
    "{{a" + '["' * 13_000 + "}}",
    "{{a}}" * 8_000,
    "{{a?" + "?" * 40_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:8].encode("unicode_escape").decode())
def test_hostile_text_is_read_at_once(text: str) -> None:
    started = time.process_time()
    parse(text)
    assert time.process_time() - started < 1


def test_paths_and_expressions_are_told_apart() -> None:
    assert parse("{{a.b[0]['c']?}}") == (
        Path(text="a.b[0]['c']?", root="a", steps=("b", 0, "c"), optional=True),
    )
    for text in ("a-b", "a ? 1 : 2", "null", "a.b()", "a[-1]", "a[b]", "1", "a.", ".a", "a b"):
        assert parse("{{" + text + "}}") == (Expression(text=text),)


def test_references_tell_where_they_stand() -> None:
    value = {"a": ["x{{b}}", {"c/~": "{{d.e?}} {{1+f}}"}], "n": 1, "z": "{{y}}"}
    found = references(value, "/nodes/0")
    assert [(r.pointer, r.text, r.root, r.path, r.optional, r.is_path) for r in found] == [
        ("/nodes/0/a/0", "b", "b", (), False, True),
        ("/nodes/0/a/1/c~1~0", "d.e?", "d", ("e",), True, True),
        ("/nodes/0/a/1/c~1~0", "1+f", "", (), False, False),
        ("/nodes/0/z", "y", "y", (), False, True),
    ]


def test_deep_values_do_not_recurse() -> None:
    value: Any = "{{inputs.a}}"
    for _ in range(5_000):
        value = [value]
    assert len(references(value)) == 1
    found = resolve(value, NAMES)
    while isinstance(found, list):
        found = found[0]
    assert found == 1
