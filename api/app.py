"""The Flask application: `gunicorn 'api.app:create_app()'`."""

from collections.abc import Callable, Sequence

from apiflask import APIFlask
from flask import Flask, request
from werkzeug.exceptions import NotFound

from api import (
    agents,
    approvals,
    audit,
    callbacks,
    checkpoints,
    control,
    costs,
    errors,
    events,
    gateways,
    hooks,
    keys,
    openapi,
    pools,
    prices,
    rules,
    runs,
    runtime,
    schedules,
    signals,
    system,
    triggers,
    webhooks,
    work,
    workflows,
    workspaces,
)
from orchestrator import logs
from orchestrator.core.effects import Effect
from orchestrator.services import deps as services
from orchestrator.services.deps import Deps
from orchestrator.settings import load
from tasks import broker, canvas

BLUEPRINTS = (
    workflows.bp,
    triggers.bp,
    control.bp,
    checkpoints.bp,
    runs.bp,
    events.bp,
    approvals.bp,
    signals.bp,
    agents.bp,
    work.bp,
    gateways.bp,
    webhooks.bp,
    schedules.bp,
    keys.bp,
    workspaces.bp,
    pools.bp,
    costs.bp,
    prices.bp,
    audit.bp,
    hooks.bp,
    callbacks.bp,
    system.bp,
)


def create_app(
    deps: Deps | None = None,
    *,
    send: Callable[[Sequence[Effect]], None] | None = None,
    broker_answers: Callable[[], bool] | None = None,
) -> Flask:
    """The API over a process's parts, by default those of the environment's settings. Call it after a fork.

    `send` publishes effects, by default in the background to Celery. Raises SettingsError.
    """
    if deps is None:
        settings = load()
        logs.set_up(settings)
        deps = services.build(settings)
    app = APIFlask(
        __name__,
        title="Celery Orchestrator",
        version="0.1.0",
        spec_path=None,
        docs_path=None,
        json_errors=False,
        static_folder=None,  # type: ignore[arg-type]
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_rule_class = rules.MatchedRule
    app.url_map.strict_slashes = True
    app.config["MAX_CONTENT_LENGTH"] = deps.settings.max_body_bytes
    openapi.configure(app)
    errors.register(app)
    app.extensions[runtime.EXTENSION] = built = runtime.build(
        deps,
        send=send or canvas.Background(send=canvas.sender(deps)),
        broker_answers=broker_answers or broker.Probe(),
    )
    built.metrics.watch(app)  # first: what is refused later is measured too
    app.before_request(_refuse_nul)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


def _refuse_nul() -> None:
    if "\0" in request.path:
        raise NotFound("No name or id holds a NUL character")
