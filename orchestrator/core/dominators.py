"""The dominator tree of a graph without cycles, built in topological order.

What dominates a vertex lies on every way to it; its parent in the tree is the nearest such, the nearest common
ancestor of all that lead to it. Ancestors are found in O(log V) by jump pointers (E. Myers, "An applicative
random-access stack", 1983), so that deep graphs stay quick.
"""

from collections.abc import Sequence


class Dominators:
    """Vertex 0 is the root. `parent` of each vertex added."""

    def __init__(self) -> None:
        self.parent: dict[int, int] = {0: 0}
        self._depth: dict[int, int] = {0: 0}
        self._jump: dict[int, int] = {0: 0}

    def add(self, vertex: int, before: Sequence[int]) -> None:
        """Add a vertex; all that lead to it, one at least, were added before."""
        parent = before[0]
        for other in before[1:]:
            parent = self._common(parent, other)
        jump = self._jump[parent]
        evenly = self._depth[parent] - self._depth[jump] == self._depth[jump] - self._depth[self._jump[jump]]
        self.parent[vertex] = parent
        self._depth[vertex] = self._depth[parent] + 1
        self._jump[vertex] = self._jump[jump] if evenly else parent

    def _common(self, one: int, other: int) -> int:
        """The nearest common ancestor of two vertices, each its own ancestor."""
        if self._depth[one] < self._depth[other]:
            one, other = other, one
        while self._depth[one] > self._depth[other]:
            far = self._jump[one]
            one = far if self._depth[far] >= self._depth[other] else self.parent[one]
        while one != other:
            apart = self._jump[one] != self._jump[other]
            one = self._jump[one] if apart else self.parent[one]
            other = self._jump[other] if apart else self.parent[other]
        return one
