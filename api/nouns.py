"""How a view is declared: its scopes, what it takes, what it answers. Calls pass through here in one order.

key (401) → rate (429) → scope (403) → query (422) → Idempotency-Key (422) → body (413, 415, 400, 422) → view
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import wraps
from typing import Any

from apiflask import APIBlueprint, Schema
from flask import Response, json, request

from api import bodies, runtime
from api.runtime import Runtime
from api.schemas import loading
from models.errors import InvalidError, Problem
from orchestrator.core.document import Document
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.services.idempotency import Once
from orchestrator.services.paging import LIMIT, PageRequest

SECURITY = "key"
KEYLESS = "x-keyless"  # marks a call whose path holds a secret of its own
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
View = Callable[..., Any]


class Takes(Enum):
    """A body that no schema of the API describes."""

    DEFINITION = "definition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, checked: who makes it and what it says. `body` is a Document where a definition is taken."""

    runtime: Runtime
    actor: Actor
    body: Any
    query: dict[str, Any]
    once: Once

    @property
    def deps(self) -> Deps:
        return self.runtime.deps

    @property
    def document(self) -> Document:
        assert isinstance(self.body, Document)
        return self.body

    def page(self, limit: int = LIMIT) -> PageRequest:
        """The page asked for, of `limit` items where the caller did not say."""
        return PageRequest(limit=self.query.get("limit", limit), cursor=self.query.get("cursor"))


class Nouns(APIBlueprint):
    """The views of one noun."""

    def view(
        self,
        *scopes: str,
        body: type[Schema] | Takes | None = None,
        query: type[Schema] | None = None,
        returns: type[Schema] | None = None,
        status: int = 200,
        media: str = "application/json",
        also: Mapping[int, Any] | None = None,
    ) -> Callable[[View], View]:
        """Guard a view and describe it in the OpenAPI document.

        The key needs one of `scopes`. The view gets a Call and the path's parameters, and returns what is
        answered with `status`: data for JSON, or a Response. `also`: further answers, for the document.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(**path: Any) -> Response:
                call = _call(scopes, body, query, status)
                answered = view(call, **path)
                response = answered if isinstance(answered, Response) else answer(answered, status)
                if call.once.replayed:
                    response.headers["Idempotent-Replayed"] = "true"
                return response

            answers = {status: described(returns or {}, media), **(also or {})}
            return self._described(guarded, body, query, answers)

        return decorate

    def open_view(
        self, *, returns: type[Schema], body: type[Schema] | None = None
    ) -> Callable[[View], View]:
        """Describe a view that needs no key, since its path holds a token that the view checks.

        Calls are counted by address. It has no actor, no query and no Idempotency-Key.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(**path: Any) -> Response:
                return answer(view(_open_call(body), **path))

            return self._described(guarded, body, None, {200: described(returns)}, keyless=True)

        return decorate

    def _described(
        self,
        view: View,
        body: type[Schema] | Takes | None,
        query: type[Schema] | None,
        answers: dict[int, Any],
        *,
        keyless: bool = False,
    ) -> View:
        # APIFlask's decorators note what they know in `_spec`; their wrappers, which would parse and dump in
        # their own lenient way, are left aside.
        noted: Any = self.doc(
            security=None if keyless else SECURITY,
            operation_id=view.__name__,
            tags=[self.name if self.tag is None else str(self.tag)],
            responses=answers,
            extensions={"x-definition": body is Takes.DEFINITION, KEYLESS: keyless},
        )(view)
        if query is not None:
            noted = self.input(query, location="query")(noted)
        if body is not None and not isinstance(body, Takes):
            noted = self.input(body)(noted)
        view._spec = noted._spec  # type: ignore[attr-defined]
        return view


def described(schema: Any, media: str = "application/json", description: str = "Done") -> Any:
    """A response for the OpenAPI document."""
    return {"description": description, "content": {media: {"schema": schema}}}


def answer(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=False)
    return Response(text, status=status, headers=headers, content_type="application/json")


def _call(
    scopes: tuple[str, ...], body: type[Schema] | Takes | None, query: type[Schema] | None, status: int
) -> Call:
    current = runtime.current()
    actor = current.keys.actor(request.headers.get("Authorization"))
    current.rate.take(actor.key_id)
    actor.require(*scopes)
    return Call(
        runtime=current,
        actor=replace(actor, source=request.remote_addr),
        query=loading.query(query(), request.args) if query is not None else {},
        once=_once(actor, status),
        body=_body(body, current.deps),
    )


_NOBODY = Actor(workspace_id="", key_id="", scopes=frozenset(), name="")


def _open_call(body: type[Schema] | None) -> Call:
    current = runtime.current()
    current.rate.take(f"address {request.remote_addr}")
    return Call(
        runtime=current,
        actor=replace(_NOBODY, source=request.remote_addr),
        query={},
        once=Once(),
        body=_body(body, current.deps),
    )


def _body(body: type[Schema] | Takes | None, deps: Deps) -> Any:
    if body is None:
        return None
    if body is Takes.DEFINITION:
        return bodies.document(request, deps.limits())
    assert not isinstance(body, Takes)
    return loading.body(body(), bodies.data(request, deps.limits()))


def _once(actor: Actor, status: int) -> Once:
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method in ("GET", "HEAD"):
        return Once()
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        message = "An Idempotency-Key has 1 to 255 printable ASCII characters"
        raise InvalidError(message, [Problem(pointer="", code="INVALID_VALUE", message=message)])
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode() + request.get_data())
    return Once(workspace_id=actor.workspace_id, key=key, digest=digest.hexdigest(), status=status)
