"""The rules of paths, which compile no builder before one is asked for, build the same URLs."""

import pytest
from werkzeug.routing import Map, Rule

from api.rules import MatchedRule
from tests.api.conftest import Api


@pytest.mark.parametrize("values", [{"x": "ö /", "y": 3}, {"x": "a", "y": 4, "q": "1"}])
def test_a_url_is_built_as_by_werkzeug(values: dict[str, str | int]) -> None:
    first, second = (Map([rule("/a/<x>/b/<int:y>", endpoint="e")]).bind("h") for rule in (MatchedRule, Rule))
    assert first.build("e", values) == second.build("e", values) == first.build("e", values)


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_all_paths_are_of_such_rules(api: Api) -> None:
    assert {type(rule) for rule in api.app.url_map.iter_rules()} == {MatchedRule}
