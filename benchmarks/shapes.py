"""The graphs that are measured: how many runs of which one, and what carries the same work in bare Celery."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`edges` are pairs of node numbers; `canvas` names the one of `bare.CANVASES` with the same shape."""

    name: str
    title: str
    nodes: int
    edges: Sequence[tuple[int, int]]
    canvas: str
    sizes: tuple[int, int]
    runs: int = 1

    @property
    def steps(self) -> int:
        return self.nodes * self.runs

    def definition(self) -> dict[str, Any]:
        """The workflow: every node of the type that does nothing, dispatched."""
        return {
            "name": self.name,
            "nodes": [{"id": f"n{no}", "type": "tick"} for no in range(self.nodes)],
            "edges": [{"from": f"n{source}", "to": f"n{target}"} for source, target in self.edges],
        }

    def sources(self) -> dict[int, list[int]]:
        """The predecessors of each node that has some."""
        found: dict[int, list[int]] = {}
        for source, target in self.edges:
            found.setdefault(target, []).append(source)
        return found


def chain(name: str, title: str, length: int, runs: int = 1) -> Shape:
    edges = [(no, no + 1) for no in range(length - 1)]
    canvas = "chain" if runs == 1 else "chains"
    sizes = (length, runs)
    return Shape(name=name, title=title, nodes=length, edges=edges, canvas=canvas, sizes=sizes, runs=runs)


def fan(name: str, title: str, width: int) -> Shape:
    edges = [(0, no) for no in range(1, width + 1)] + [(no, width + 1) for no in range(1, width + 1)]
    return Shape(name=name, title=title, nodes=width + 2, edges=edges, canvas="fan", sizes=(width, 1))


def lattice(name: str, title: str, layers: int, width: int) -> Shape:
    """Layers of `width` nodes, each after three of the layer before."""
    edges = [
        ((layer - 1) * width + (place + offset) % width, layer * width + place)
        for layer in range(1, layers)
        for place in range(width)
        for offset in range(3)
    ]
    return Shape(
        name=name, title=title, nodes=layers * width, edges=edges, canvas="layers", sizes=(layers, width)
    )


SHAPES = (
    chain("w1", "chain of 100", 100),
    fan("w2", "1 → 1,000 → 1", 1_000),
    lattice("w3", "lattice 10 × 20", 10, 20),
    chain("w4", "200 runs of 5", 5, runs=200),
)
LARGE = lattice("w6", "lattice 50 × 100", 50, 100)
WARM_UP = (chain("warm-chain", "", 5), fan("warm-fan", "", 50))
