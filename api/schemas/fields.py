"""Strict fields: a value of the wrong type is refused, never converted; texts of a query are read exactly."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from apiflask import Schema
from marshmallow import RAISE, ValidationError, fields
from marshmallow.validate import Length, Range

from orchestrator.core import conditions, durations

BIGGEST = 2**31 - 1  # of an integer column
_VARIABLE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_LABEL_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_MOST_FILES = 100
_NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Body(Schema):
    """An object that is sent: unknown fields are refused."""

    class Meta:
        unknown = RAISE


class Integer(fields.Integer):
    """A JSON integer; `low` to `high`."""

    def __init__(self, *, low: int = 0, high: int = BIGGEST, **options: Any) -> None:
        super().__init__(strict=True, validate=Range(low, high), **options)

    def _validated(self, value: Any) -> int:
        if type(value) is not int:
            raise self.make_error("invalid", input=value)
        return value


class QueryInteger(Integer):
    """An integer in a query: digits alone."""

    def _validated(self, value: Any) -> int:
        if not isinstance(value, str) or not _NUMBER.fullmatch(value):
            raise self.make_error("invalid", input=value)
        return int(value)


class Number(fields.Float):
    """A JSON number; `low` to `high`."""

    def __init__(self, *, low: float, high: float, **options: Any) -> None:
        super().__init__(validate=Range(low, high), **options)

    def _validated(self, value: Any) -> float:
        if type(value) not in (int, float):
            raise self.make_error("invalid", input=value)
        return float(value)


class Boolean(fields.Boolean):
    """true or false."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryBoolean(fields.Boolean):
    """`true` or `false` in a query."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:  # noqa: ARG002
        if value not in ("true", "false"):
            raise self.make_error("invalid", input=value)
        return bool(value == "true")


class Text(fields.String):
    """A string of `least` to `most` characters."""

    def __init__(self, *, least: int = 0, most: int = 1_000, **options: Any) -> None:
        super().__init__(validate=[Length(least, most), *options.pop("validate", ())], **options)


class Object(fields.Raw):
    """Any JSON object."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:  # noqa: ARG002
        if not isinstance(value, dict):
            raise ValidationError("Not a valid object.")
        return value


class Each(Object):
    """An object whose values are all of one schema."""

    def __init__(self, schema: type[Schema], **options: Any) -> None:
        super().__init__(**options)
        self.each = schema

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        found, wrong, loaded = super()._deserialize(value, attr, data, **options), {}, {}
        for key, inner in found.items():
            try:
                loaded[key] = self.each().load(inner)
            except ValidationError as error:
                wrong[key] = error.messages
        if wrong:
            raise ValidationError(wrong)
        return loaded


class Variables(Object):
    """An object whose keys are names of variables."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        found = super()._deserialize(value, attr, data, **options)
        _check_keys(found, _VARIABLE_KEY, "letters, digits and _, not beginning with a digit")
        return found


class Labels(Object):
    """An object of label to string."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        found = super()._deserialize(value, attr, data, **options)
        _check_keys(found, _LABEL_KEY, "letters, digits, _ . and -, beginning with a letter or _")
        wrong = {
            key: ["Not a valid label: write a string of at most 255 characters."]
            for key, text in found.items()
            if not isinstance(text, str) or len(text) > 255
        }
        if wrong:
            raise ValidationError(wrong)
        return found


class Files(Object):
    """An object of file name to text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        found = super()._deserialize(value, attr, data, **options)
        if len(found) > _MOST_FILES:
            raise ValidationError(f"At most {_MOST_FILES} files.")
        allowed = "letters, digits, _ . and -, beginning with a letter, digit or _"
        wrong = {key: [f"A name has 1 to 128 {allowed}."] for key in found if not _FILE_NAME.fullmatch(key)}
        wrong |= {key: ["Not a valid text."] for key, text in found.items() if not isinstance(text, str)}
        if wrong:
            raise ValidationError(wrong)
        return found


def _check_keys(found: Mapping[str, Any], pattern: re.Pattern[str], allowed: str) -> None:
    wrong = {key: [f"A key has 1 to 64 {allowed}."] for key in found if not pattern.fullmatch(key)}
    if wrong:
        raise ValidationError(wrong)


class Duration(fields.Raw):
    """A duration, in seconds once loaded: `250ms`, `30s`, `5m`, `2h`, `7d` or a number of seconds."""

    def __init__(self, *, zero: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self._zero = zero

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float:  # noqa: ARG002
        found = durations.seconds(value)
        if found is None:
            raise ValidationError("A duration is 250ms, 30s, 5m, 2h, 7d or a number of seconds.")
        if found == 0 and not self._zero:
            raise ValidationError("No time at all is none to work in; write a duration above 0.")
        return found


class Condition(Text):
    """CEL over `error`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **options))
        wrong = conditions.check(text, ["error"])
        if wrong:
            raise ValidationError([f"No CEL over error: {message}" for message in wrong])
        return text


class QueryMoment(fields.DateTime):
    """An RFC 3339 time with its offset."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> datetime:  # noqa: ARG002
        text = value.upper() if isinstance(value, str) and _MOMENT.fullmatch(value) else ""
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValidationError(
                "Not a valid time: write RFC 3339, such as 2026-01-31T12:00:00Z."
            ) from error


class QueryLabel(fields.String):
    """`key:value` in a query; a pair once loaded."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> tuple[str, str]:  # type: ignore[override]  # noqa: ARG002
        key, colon, text = value.partition(":")
        if not colon or not _LABEL_KEY.fullmatch(key):
            raise ValidationError("Not a valid label: write key:value.")
        return key, text
