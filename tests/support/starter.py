"""Starts runs from a process of its own: `python -m tests.support.starter FILE…`, a JSON definition each.

A file that is named again starts another run.

Prints a line `name run_id` for each; what the environment names is what it publishes to. `STARTER_TRIGGER` is the
members of the runs' trigger, as JSON.
"""

import json
import os
import sys
from pathlib import Path

from models.database import Database
from orchestrator.services import runs
from orchestrator.services.paces import Paces
from orchestrator.services.runs import Trigger
from orchestrator.settings import load
from tasks import app, canvas
from tests.support import engine


def main(files: list[str]) -> None:
    settings = load()
    assert app.app.conf.broker_url == settings.broker
    made = engine.make(Database(settings.database), settings=settings)
    vars(made.deps)["paces"] = Paces()  # as the API's process has them
    given = json.loads(os.environ.get("STARTER_TRIGGER", "{}"))
    send, published = canvas.sender(made.deps), set[str]()
    for file in files:
        definition = json.loads(Path(file).read_text())
        if file not in published:
            made.publish(definition)
            published.add(file)
        created = runs.create(made.deps, made.actor, definition["name"], Trigger(**given))
        send(created.effects)
        print(definition["name"], created.run_id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
