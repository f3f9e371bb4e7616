"""Histories: made of a run, replayed against a definition that may be another version."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.core import history as histories
from orchestrator.services import run_views, versions
from orchestrator.services.actors import Actor
from orchestrator.services.deps import Deps
from orchestrator.testing.differences import Difference, between
from orchestrator.testing.env import Env
from orchestrator.testing.prompter import Prompter
from orchestrator.testing.run import Run, pages
from orchestrator.testing.score import read
from orchestrator.testing.sources import Source

History = Mapping[str, Any] | str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of a replay. `same`: the definition does with this history what was done then."""

    differences: tuple[Difference, ...]
    status: str
    outputs: Any

    @property
    def same(self) -> bool:
        return not self.differences

    def check(self) -> None:
        """Raises AssertionError that names every difference."""
        if self.differences:
            lines = "\n".join(f"  {found}" for found in self.differences)
            raise AssertionError(f"the recorded run would go otherwise with this definition:\n{lines}")


def record(run: Run) -> dict[str, Any]:
    """The history of a run of an `Env`, as `orchestrator history` makes it of a run of a deployment."""
    return of_run(run.env.deps, run.env.actor(), run.id)


def of_run(deps: Deps, actor: Actor, run_id: str) -> dict[str, Any]:
    """The history of a run, where its database is at hand. Raises NotFoundError."""
    view = run_views.run(deps, actor, run_id)
    version = versions.get(deps, actor, view["workflow"], view["version"])
    read = partial(run_views.events, deps, actor, run_id, after=0)
    return histories.build(
        view,
        pages(partial(run_views.steps, deps, actor, run_id)),
        lambda path: run_views.step(deps, actor, run_id, path)["attempt_log"],
        pages(lambda request: read(request=request)),
        version["digest"],
    )


def replay(
    history: History, definition: Source, *, environ: Mapping[str, str] | None = None, **settings: Any
) -> Replayed:
    """Run a definition with the outcomes that a history recorded, and compare. Nothing outside is reached.

    history: what `record` or `orchestrator history` made, or its file. definition: as `Env.run` takes it. Raises
    InvalidError for what is no history, and for a definition or inputs that are refused.
    """
    if isinstance(history, str | os.PathLike):
        history = json.loads(Path(history).read_text())
    sound = histories.check(history)
    with Env(start=sound["run"]["created_at"], auto_skip=False, environ=environ, **settings) as env:
        return replay_in(env, sound, definition)


def replay_in(env: Env, history: Mapping[str, Any], definition: Source) -> Replayed:
    """The same in an Env that is open and has not been used, and whose time stands at the recorded run's start."""
    score = read(history)
    prompter = Prompter(hand=env.hand, score=score)
    env.deps.cast.play = prompter.say
    recorded = history["run"]
    trigger = {
        "variables": history.get("variables") or {},
        "overrides": history.get("overrides"),
        "labels": recorded.get("labels") or {},
    }
    run = prompter.play(lambda: env.run(definition, recorded["inputs"], **trigger))
    found = between(score, run, prompter.unknown, prompter.refused)
    return Replayed(differences=tuple(found), status=run.status, outputs=run.outputs)
