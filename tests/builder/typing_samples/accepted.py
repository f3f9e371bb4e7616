"""What type checkers take: every method, handle and value of the builder. Checked by mypy, and run."""

from typing import assert_type

from orchestrator import Workflow
from orchestrator.builder.nodes import Choice, Condition, Container, Group, Node, Source
from orchestrator.builder.references import Reference

workflow = Workflow(
    "typed",
    description="All methods once.",
    inputs={"type": "object"},
    variables={"hot": 70},
    duration="minutes",
    labels={"team": "sales"},
    budget={"limit_cents": 50},
    timeout=600,
    on_failure="continue",
    concurrency={"key": "{{inputs.account}}", "limit": 1, "on_limit": "queue"},
    retry={"max_attempts": 3, "retry_on": ["TIMEOUT", "NETWORK"]},
)
research = workflow.agent(
    "research",
    agent="researcher",
    task={"title": "Research {{inputs.company}}", "tags": ["lead"]},
    timeout="60s",
    retry={"max_attempts": 2, "backoff": "linear", "jitter": 0.5},
    join={"at_least": 2},
    compensate={"type": "none", "reason": "nothing was promised"},
    side_effects="internal",
    degrade={"use": "last_success", "max_age": "7d"},
)
fetch = workflow.http("fetch", url="https://example.com", json={"a": research["output"]}, expect={"status": [200]})
shape = workflow.transform("shape", expression="$.a")
write = workflow.set("write", values={"owner": research["output"]["owner"].optional})
told = workflow.emit("told", event="lead.seen", data={"owner": write})
large = workflow.condition("large", expression="inputs.employees >= 100")
route = workflow.router("route", cases=[{"route": "hot", "when": "var.hot > 1"}], default="cold", priority=9)
end = workflow.noop("end", when="inputs.all", join="any")
own = workflow.node("slack", "own", channel="#sales")
with workflow.loop("each", mode="for_each", items=fetch, max_iterations=10, collect="{{inner}}") as each:
    inner = workflow.noop("inner")
    with workflow.parallel("both", items=[1, 2], on_error="collect", tolerate_failures="10%") as both:
        workflow.noop("branch")
child = workflow.subworkflow("child", workflow="other", version=2, inputs={"a": 1}, wait=False)
task = workflow.celery("task", task="shop.ship", args=[1], kwargs={"b": 2}, queue="shop")

assert_type(research, Node)
assert_type(large, Condition)
assert_type(route, Choice)
assert_type(own, Choice)
assert_type(each, Container)
assert_type(research["output"], Reference)
assert_type(research.on_error, Source)
assert_type(research >> [fetch, large], Group)
assert_type(research >> fetch >> [shape, write] >> large, Condition)
assert_type([fetch, shape.on_error] >> route, Choice)
assert_type(large.true >> end, Node)
assert_type(route.route("hot") >> [each, child] >> task, Node)
assert_type(route.otherwise >> own, Choice)
inner >> both
workflow.outputs(owner=research["output"]["owner"], size=1)
