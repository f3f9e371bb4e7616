"""The names in a CEL expression, found from its tokens, and the text that is given to the compiler.

CEL reserves words that this project uses as names (`loop`, `var`), and does not tell which names an
expression needs. Reading its tokens gives both: the roots with the fields taken from them, and a text in
which a reserved root stands under another name of the same length, so that positions in messages stay right.

Source: spec "dependencies", Decisions first; CEL language definition, Syntax and Macros.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

_RENAMED = frozenset({"loop", "var"})
_LITERALS = frozenset({"true", "false", "null", "in"})
_TYPES = frozenset(
    {"bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint"}
)
_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<text>
          [bB]?[rR][bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        | [bB]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
        | `[^`\n]*`)
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One place where a root is named: `at` is its 0-based offset, `path` the plain fields taken from it,
    `whole` when it stands alone or a method of its own is called."""

    root: str
    at: int
    path: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the tokens of an expression tell.

    text: the expression for the compiler. aliases: each root's name in it.
    fields: for each root a tree of the fields taken from it; None = all of it.
    whole: roots that are also used otherwise than by a field or an index of theirs.
    macros, pluses: how many comprehensions and `+` it holds; collects: whether one is a `map` or `filter`.
    """

    text: str
    uses: tuple[Use, ...]
    aliases: Mapping[str, str]
    fields: Mapping[str, dict[str, Any] | None]
    whole: frozenset[str]
    macros: int
    pluses: int
    collects: bool


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


_END = _Token("end", "", 0)


@dataclass(slots=True)
class _Reader:
    tokens: list[_Token]
    # An item for each open bracket: the variable that a macro binds inside it.
    open: list[str | None] = field(default_factory=list)

    def at(self, index: int) -> _Token:
        return self.tokens[index] if 0 <= index < len(self.tokens) else _END

    def uses(self) -> Iterator[Use]:
        for index, token in enumerate(self.tokens):
            if token.kind == "mark":
                self._bracket(index, token.text)
            elif token.kind == "name" and self._is_root(index, token.text):
                yield self._use(index, token)

    def macro(self, index: int) -> bool:
        return (
            self.at(index).text in _MACROS
            and self.at(index - 1).text == "."
            and self.at(index + 1).text == "("
        )

    def _bracket(self, index: int, text: str) -> None:
        if text in "([{":
            binds = text == "(" and self.macro(index - 1) and self.at(index + 2).text == ","
            self.open.append(self.at(index + 1).text if binds else None)
        elif text in ")]}" and self.open:
            self.open.pop()

    def _is_root(self, index: int, text: str) -> bool:
        following = self.at(index + 1).text
        if text in _LITERALS or following == "(" or text in self.open or self._is_field(index):
            return False
        return text not in _TYPES or following in (".", "[")

    def _is_field(self, index: int) -> bool:
        before = self.at(index - 2)
        operand = before.kind in ("name", "text", "number") or before.text in (")", "]", "}")
        return self.at(index - 1).text == "." and operand

    def _use(self, index: int, token: _Token) -> Use:
        path: list[str] = []
        while self._selects(index + 1):
            index += 2
            path.append(self.at(index).text.strip("`"))
        return Use(
            root=token.text,
            at=token.at,
            path=tuple(path),
            whole=not path and self.at(index + 1).text != "[",
        )

    def _selects(self, index: int) -> bool:
        name = self.at(index + 1)
        plain = name.kind == "name" or name.text.startswith("`")
        return self.at(index).text == "." and plain and self.at(index + 2).text != "("


def read(expression: str) -> Names:
    """Read an expression's tokens. Never fails: what is no CEL is left for the compiler to report."""
    tokens = [
        _Token(found.lastgroup or "mark", found.group(), found.start())
        for found in _TOKEN.finditer(expression)
        if found.lastgroup != "space"
    ]
    reader = _Reader(tokens)
    uses = tuple(reader.uses())
    aliases = _aliases(uses, {token.text for token in tokens})
    macros = [token.text for index, token in enumerate(tokens) if reader.macro(index)]
    return Names(
        text=_rewrite(expression, uses, aliases),
        uses=uses,
        aliases=aliases,
        fields=_fields(uses),
        whole=frozenset(use.root for use in uses if use.whole),
        macros=len(macros),
        pluses=sum(token.text == "+" for token in tokens),
        collects="map" in macros or "filter" in macros,
    )


def _aliases(uses: tuple[Use, ...], taken: set[str]) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for use in uses:
        if use.root in aliases:
            continue
        clashes = use.root in _RENAMED or use.root in _TYPES
        aliases[use.root] = _unused(len(use.root), taken) if clashes else use.root
    return aliases


def _unused(length: int, taken: set[str]) -> str:
    name = next(name for n in count() if (name := f"v{n:0{length - 1}d}") not in taken)
    taken.add(name)
    return name


def _rewrite(expression: str, uses: tuple[Use, ...], aliases: Mapping[str, str]) -> str:
    parts: list[str] = []
    end = 0
    for use in uses:
        parts += (expression[end : use.at], aliases[use.root])
        end = use.at + len(use.root)
    return "".join((*parts, expression[end:]))


def _fields(uses: tuple[Use, ...]) -> dict[str, dict[str, Any] | None]:
    trees: dict[str, dict[str, Any] | None] = {}
    for use in uses:
        tree, key = trees, use.root
        for name in use.path:
            below = tree.setdefault(key, {})
            if below is None:
                break
            tree, key = below, name
        else:
            tree[key] = None
    return trees
