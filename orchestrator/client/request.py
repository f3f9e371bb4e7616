"""A call as data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`body` goes as JSON, `source` as YAML (which JSON is too); `hold`: seconds that the API may take more."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    source: bytes | None = None
    idempotency_key: str | None = None
    hold: float = 0.0

    def headers(self) -> dict[str, str]:
        found = {}
        if self.source is not None:
            found["Content-Type"] = "application/yaml"
        elif self.body is not None:
            found["Content-Type"] = "application/json"
        if self.idempotency_key is not None:
            found["Idempotency-Key"] = self.idempotency_key
        return found

    def content(self) -> bytes | None:
        if self.source is not None:
            return self.source
        return None if self.body is None else json.dumps(self.body).encode()
