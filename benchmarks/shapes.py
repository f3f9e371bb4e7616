"""The graphs that are measured: how many runs of which one, of what work, and what carries the same in bare Celery."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Our node types for a work, with what the tables call them (benchmarks/plugin has the types).
KINDS: dict[str, dict[str, str]] = {
    "nothing": {"tick": "cheap", "call": "agent-like"},
    "second": {"second": ""},
    "light": {"light": ""},
    "heavy": {"heavy": ""},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`edges` are pairs of node numbers; `canvas` names the one of `bare.CANVASES` with the same shape, `work` what
    each step does. `most`: how often it is run at most. `waits`: its steps wait, so that both sides get a thread each.
    """

    name: str
    title: str
    nodes: int
    edges: Sequence[tuple[int, int]]
    canvas: str
    sizes: tuple[int, int]
    runs: int = 1
    work: str = "nothing"
    most: int | None = None
    waits: bool = False

    @property
    def steps(self) -> int:
        return self.nodes * self.runs

    @property
    def kinds(self) -> dict[str, str]:
        """Our node types that it is run with, by type, and what they are called."""
        return KINDS[self.work]

    def titled(self, kind: str) -> str:
        """Its title with one of its kinds."""
        return ", ".join(part for part in (self.title, self.kinds[kind]) if part)

    def repeats(self, asked: int) -> int:
        """How often it is run where this is asked for."""
        return asked if self.most is None else min(asked, self.most)

    def definition(self, kind: str) -> dict[str, Any]:
        """The workflow `<name>-<kind>`: every node of that type, dispatched."""
        return {
            "name": f"{self.name}-{kind}",
            "nodes": [{"id": f"n{no}", "type": kind} for no in range(self.nodes)],
            "edges": [{"from": f"n{source}", "to": f"n{target}"} for source, target in self.edges],
        }

    def sources(self) -> dict[int, list[int]]:
        """The predecessors of each node that has some."""
        found: dict[int, list[int]] = {}
        for source, target in self.edges:
            found.setdefault(target, []).append(source)
        return found


def chain(name: str, title: str, length: int, runs: int = 1, work: str = "nothing", most: int | None = None) -> Shape:
    return Shape(
        name=name,
        title=title,
        nodes=length,
        edges=[(no, no + 1) for no in range(length - 1)],
        canvas="chain" if runs == 1 else "chains",
        sizes=(length, runs),
        runs=runs,
        work=work,
        most=most,
    )


def fan(name: str, title: str, width: int) -> Shape:
    edges = [(0, no) for no in range(1, width + 1)] + [(no, width + 1) for no in range(1, width + 1)]
    return Shape(name=name, title=title, nodes=width + 2, edges=edges, canvas="fan", sizes=(width, 1))


def lattice(name: str, title: str, layers: int, width: int, most: int | None = None) -> Shape:
    """Layers of `width` nodes, each after three of the layer before."""
    edges = [
        ((layer - 1) * width + (place + offset) % width, layer * width + place)
        for layer in range(1, layers)
        for place in range(width)
        for offset in range(3)
    ]
    sizes = (layers, width)
    return Shape(
        name=name, title=title, nodes=layers * width, edges=edges, canvas="layers", sizes=sizes, most=most
    )


def crowd(name: str, title: str, width: int) -> Shape:
    """Steps of one second, all at once."""
    sizes = (width, 1)
    return Shape(
        name=name, title=title, nodes=width, edges=(), canvas="group", sizes=sizes, work="second", waits=True
    )


SHAPES = (
    chain("w1", "chain of 100", 100),
    fan("w2", "1 → 1,000 → 1", 1_000),
    lattice("w3", "lattice 10 × 20", 10, 20),
    lattice("w3-1000", "lattice 20 × 50", 20, 50),
    lattice("w6", "lattice 50 × 100", 50, 100, most=2),
    chain("w4", "200 runs of 5", 5, runs=200),
    crowd("w5", "200 steps of 1 s at once", 200),
    chain("w7-light", "40 light tasks in a row", 40, work="light"),
    chain("w7-heavy", "10 heavy tasks in a row", 10, work="heavy", most=2),
)
# What else is measured by: W1 to W4.
MAIN = tuple(shape for shape in SHAPES if shape.name in ("w1", "w2", "w3", "w4"))
WARM_UP = (chain("warm-chain", "warm", 5), fan("warm-fan", "warm", 50))


def chosen(names: str, among: Sequence[Shape]) -> list[Shape]:
    """Those of these names, separated by commas; all where there are none. Raises SystemExit for an unknown one."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {shape.name for shape in among}
    if unknown := sorted(set(wanted) - known):
        raise SystemExit(f"there is no shape {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [shape for shape in among if not wanted or shape.name in wanted]
