"""What a run comes to after an operator has had a hand in it: the reference, with outcomes that were given by hand."""

from typing import Any

from tests.support.reference import Reference


class Operated(Reference):
    """A run in which some steps ended as an operator said. `forced`: success or skipped, by step."""

    def __init__(self, definition: dict[str, Any], forced: dict[str, str]) -> None:
        self._forced = forced
        super().__init__(definition)
        self.complete_all()

    def _settle(self) -> None:
        self.statuses |= self._forced
        super()._settle()

    def _route(self, node: dict[str, Any]) -> str | None:
        return None if node["id"] in self._forced else super()._route(node)

    def _ends_branch(self, name: str) -> bool:
        return name not in self._forced and super()._ends_branch(name)
