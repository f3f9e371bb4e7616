"""What type checkers refuse: each line with `refused` is one mistake, and mypy's code for it."""

import orchestrator
from orchestrator import Workflow

orchestrator.Wrokflow("typed")  # refused: attr-defined
workflow = Workflow("typed", duration="fortnight")  # refused: arg-type
Workflow("typed", lables={"team": "sales"})  # refused: call-arg
Workflow("typed", budget={"on_exceeded": "abort"})  # refused: typeddict-item
a = workflow.noop("a", timeout=None)  # refused: arg-type
b = workflow.http("b")  # refused: call-arg
workflow.agent("b", agent="x", task={"titel": "y"})  # refused: typeddict-unknown-key
workflow.http("c", url=1)  # refused: arg-type
workflow.http("c", url="x", method="get")  # refused: arg-type
workflow.router("d", cases=[{"route": "hot"}])  # refused: typeddict-item
workflow.noop("e", retry={"max_attempts": "3"})  # refused: typeddict-item
workflow.noop("f", join="some")  # refused: arg-type
workflow.noop("g", agnet="x")  # refused: call-arg
workflow.loop("h", mode="until")  # refused: arg-type
workflow.celery("i", task="x", args={"a": 1})  # refused: arg-type
a >> "b"  # refused: operator
a >> b.on_error  # refused: operator
c = [a] >> [b]  # refused: operator
a.route("hot") >> b  # refused: attr-defined
a.when(3) >> b  # refused: arg-type
