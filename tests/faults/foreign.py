"""An application of somebody else, which shares broker and result backend and imports nothing of ours."""

import json
import os
import urllib.request
from typing import Any
from urllib.parse import quote

from celery import Celery

app = Celery("elsewhere", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.task_default_queue = "elsewhere"
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_connection_max_retries = None
app.conf.worker_cancel_long_running_tasks_on_connection_loss = False


@app.task(bind=True, name="elsewhere.double")
def double(self: Any, number: int) -> dict[str, int]:
    """Has an effect under the step's key."""
    told = self.request.headers
    place = quote(f"{told['run_id']}/{told['step']}")
    request = urllib.request.Request(
        f"{os.environ['EFFECTS_URL']}/{place}",
        json.dumps({"value": number}).encode(),
        {"Idempotency-Key": told["idempotency_key"]},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return {"doubled": 2 * json.loads(answer.read())["value"]}


@app.task(name="elsewhere.refuse")
def refuse() -> None:
    raise LookupError("nobody is called that")
