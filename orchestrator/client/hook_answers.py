"""What the API answers of hooks, as typed dictionaries."""

from typing import Any, Literal, NotRequired, TypedDict

HookScheme = Literal["none", "standard-webhooks", "github"]


class HookSignal(TypedDict):
    name: str
    run: NotRequired[str]
    key: NotRequired[str]


class Hook(TypedDict):
    """`url` is None for keys without the scope admin."""

    id: str
    name: str
    workflow: str | None
    signal: HookSignal | None
    scheme: HookScheme
    has_secret: bool
    mapping: dict[str, Any] | None
    dedup: str | None
    url: str | None
    created_at: str
    updated_at: str


class WrittenHook(Hook):
    """`secret` where one was made, this once."""

    secret: str | None
