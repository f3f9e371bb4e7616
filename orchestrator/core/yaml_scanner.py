"""A YAML scanner that takes chains within a flow sequence, and looks at each token once.

`edges: [a >> b, a >> [d, e] >> f]` (spec "definition", Edges) is no YAML as it stands: within brackets a
plain scalar ends at `[`. Here a chain there is one scalar.
"""

import re
from typing import Any

from ruamel.yaml.scanner import Scanner
from ruamel.yaml.tokens import ScalarToken

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_GROUP = rf"(?:{_NAME}|\[ *{_NAME}(?: *, *{_NAME})* *\])"
_CHAIN = re.compile(rf"{_GROUP}(?: *>> *{_GROUP})+(?= *[,\]\r\n])")
_PLAIN = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_IN_FLOW = re.compile(rf"{_PLAIN}(?= *[,\]}}]|: )")
_IN_BLOCK = re.compile(rf"{_PLAIN}(?=:[ \n]|\n( *)[^ #\r\n])")


class ChainScanner(Scanner):
    """ruamel's scanner of YAML 1.2, with chains, and a short way for single words.

    Its own asks again and again whether the first token is complete, which is half of its time.
    """

    _complete = False

    def check_token(self, *choices: Any) -> bool:
        self._complete_first()
        return bool(self.tokens) and (not choices or isinstance(self.tokens[0], choices))

    def peek_token(self) -> Any:
        self._complete_first()
        return self.tokens[0] if self.tokens else None

    def get_token(self) -> Any:
        self._complete_first()
        if not self.tokens:
            return None
        self._complete = False
        self.tokens_taken += 1
        return self.tokens.pop(0)

    def _complete_first(self) -> None:
        if not self._complete:
            while self.need_more_tokens():
                self.fetch_more_tokens()
            self._complete = True

    def fetch_flow_sequence_start(self) -> None:
        if self._match(_CHAIN) is not None:
            self.fetch_plain()
        else:
            super().fetch_flow_sequence_start()

    def scan_plain(self) -> Any:
        found = self._match(_CHAIN) if self.flow_level or self.reader.peek() == "[" else None
        if found is None:
            found = self._match(_IN_FLOW) if self.flow_level else self._block_word()
        return super().scan_plain() if found is None else self._scalar(found.group())

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.match(self.reader.buffer, self.reader.pointer)

    def _block_word(self) -> re.Match[str] | None:
        """A word that the next line does not carry on: that line is indented no deeper than this block."""
        found = self._match(_IN_BLOCK)
        if found is not None and found.group(1) is not None and len(found.group(1)) > self.indent:
            return None
        return found

    def _scalar(self, text: str) -> ScalarToken:
        start = self.reader.get_mark()
        self.reader.forward(len(text))
        self.allow_simple_key = False
        return ScalarToken(text, True, start, self.reader.get_mark())
