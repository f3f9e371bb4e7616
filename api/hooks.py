"""`/api/hooks`: addresses at which others start workflows and signal runs."""

from typing import Any

from flask import request

from api import bodies, runtime
from api.nouns import KEYLESS, Call, Nouns, answer, described
from api.schemas import hooks as schemas
from api.schemas.common import PageQuery
from orchestrator.services import hook_calls, hooks
from orchestrator.services.hook_calls import Arrived

bp = Nouns("hooks", __name__, url_prefix="/api/hooks", tag="hooks")
_PRIVATE = ("authorization", "cookie")  # whoever is in between may add them; they are nobody's inputs


@bp.post("")
@bp.view("admin", body=schemas.HookBody, returns=schemas.WrittenHook, status=201)
def create_hook(call: Call) -> Any:
    """Make a hook; a secret that is made for it is shown this once."""
    return hooks.create(call.deps, call.actor, call.body, call.once)


@bp.get("")
@bp.view("read", query=PageQuery, returns=schemas.Hooks)
def list_hooks(call: Call) -> Any:
    """List hooks by name."""
    return hooks.list_(call.deps, call.actor, call.page())


@bp.get("/<hook>")
@bp.view("read", returns=schemas.Hook)
def get_hook(call: Call, hook: str) -> Any:
    """Read a hook, by id or name."""
    return hooks.get(call.deps, call.actor, hook)


@bp.patch("/<hook>")
@bp.view("admin", body=schemas.HookPatch, returns=schemas.WrittenHook)
def update_hook(call: Call, hook: str) -> Any:
    """Change what is given of a hook; its address stays."""
    return hooks.update(call.deps, call.actor, hook, call.body, call.once)


@bp.delete("/<hook>")
@bp.view("admin", returns=schemas.Hook)
def remove_hook(call: Call, hook: str) -> Any:
    """Remove a hook: its address is none any more."""
    return hooks.remove(call.deps, call.actor, hook, call.once)


@bp.post("/<hook>")
@bp.doc(
    operation_id="call_hook",
    tags=["hooks"],
    responses={202: described(schemas.HookTaken)},
    extensions={KEYLESS: True},
)
def call_hook(hook: str) -> Any:
    """Start a hook's workflow or send its signal; here `hook` is the token that its url ends in.

    Takes any JSON, or a form. A number that came before gets the same run.
    """
    current = runtime.current()
    current.rate.take(f"address {request.remote_addr}")
    target = hook_calls.find(current.deps, hook)
    current.rate.take(f"hook {target.hook.id}")
    taken = hook_calls.take(current.deps, target, _arrived())
    current.send(taken.effects)
    location = {} if taken.answer["id"] is None else {"Location": f"/api/runs/{taken.answer['id']}"}
    return answer(taken.answer, 202, location)


def _arrived() -> Arrived:
    raw, is_form = bodies.raw(request)
    return Arrived(
        raw=raw,
        is_form=is_form,
        headers={name.lower(): text for name, text in request.headers if name.lower() not in _PRIVATE},
        query=request.args.to_dict(),
        source=request.remote_addr,
    )
