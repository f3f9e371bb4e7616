"""The commands against a stack that runs: what people see, what programs read, how commands end."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.polling import poll
from tests.support.receiver import Receiver
from tests.support.up import Up

GREET = """\
name: greet
inputs: {type: object, required: [who], properties: {who: {type: string}}}
outputs: {said: "{{two.text}}"}
nodes:
  - {id: one, type: transform, expression: '{"text": "hello " & who}'}
  - {id: two, type: transform, expression: '{"text": $uppercase(text)}'}
edges: [one >> two]
"""
# The last character is none that YAML would take as it is.
HAIL = r"""
from orchestrator import Workflow

flow = Workflow("saying")
one = flow.transform("one", expression='{"text": "hail " & who & "\x85"}')
two = flow.transform("two", expression='{"text": $uppercase(text)}')
one >> two
flow.outputs(said=two["text"])
"""
FAILS = """\
name: fails
nodes: [{id: only, type: transform, expression: '$error("it cannot be done")'}]
"""
WAITS = """\
name: waits
nodes:
  - id: asks
    type: http
    url: http://127.0.0.1:9/
    retry: {max_attempts: 50, initial: 10m, max: 10m}
"""
ASKS = """\
name: asks
nodes:
  - {id: pay, type: approval, title: "Pay it?", assignees: [ada], form: {type: object, required: [cents]}}
  - {id: sign, type: signal, signal: signed}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    place = tmp_path_factory.mktemp("live")
    for name, text in (("greet", GREET), ("fails", FAILS), ("waits", WAITS), ("asks", ASKS)):
        (place / f"{name}.yaml").write_text(text)
    up = Up(place / "data", ORCHESTRATOR_HTTP_ALLOW="127.0.0.1")
    try:
        up.ready()
        yield up
    finally:
        up.end()


def ran(stack: Up, *args: str, code: int = 0) -> str:
    done = stack.command(*args)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def told(stack: Up, *args: str, code: int = 0) -> Any:
    return json.loads(ran(stack, *args, "--json", code=code))


def file(stack: Up, name: str) -> str:
    return str(stack.data_dir.parent / f"{name}.yaml")


def test_a_run_shows_its_steps_as_lines_and_its_outputs(stack: Up) -> None:
    lines = ran(stack, "run", file(stack, "greet"), "-i", "who=ada").splitlines()
    steps = [line.split()[1:] for line in lines if re.match(r"\d\d:\d\d:\d\d  ", line)]
    assert ["one", "running"] in steps
    assert ["two", "success"] in steps
    assert steps[-1] == ["run", "success"]
    assert '  "said": "HELLO ADA"' in lines
    assert lines[-1].startswith("cost $0.0000")


def test_the_same_file_makes_no_version_and_a_changed_one_the_next(stack: Up, tmp_path: Path) -> None:
    first = told(stack, "run", file(stack, "greet"), "-i", "who=a")
    again = told(stack, "run", file(stack, "greet"), "-i", "who=a")
    assert again["version"] == first["version"]
    changed = tmp_path / "greet.yaml"
    changed.write_text(GREET.replace("hello", "good day"))
    assert told(stack, "run", str(changed), "-i", "who=a")["version"] == first["version"] + 1
    diff = told(stack, "workflows", "diff", "greet", str(first["version"]), str(first["version"] + 1))
    assert [change["pointer"] for change in diff["changed"]] == ["/nodes/0/expression"]
    assert "good day" in ran(stack, "workflows", "diff", "greet", "1", "2")
    ran(stack, "workflows", "rollback", "greet", "1")
    assert {version["version"] for version in told(stack, "workflows", "versions", "greet")} == {1, 2, 3}


def test_a_python_file_is_sent_as_what_it_makes(stack: Up, tmp_path: Path) -> None:
    python = tmp_path / "hail.py"
    python.write_text(HAIL)
    first = told(stack, "run", str(python), "-i", "who=ada")
    assert (first["version"], first["outputs"]) == (1, {"said": "HAIL ADA\x85"})
    python.write_text(HAIL.replace("hail", "ave"))
    assert told(stack, "run", f"{python}:flow", "-i", "who=ada")["outputs"] == {"said": "AVE ADA\x85"}
    diff = told(stack, "workflows", "diff", "saying", "1", "2")
    assert [change["pointer"] for change in diff["changed"]] == ["/nodes/0/expression"]


def test_a_run_that_fails_ends_with_1_and_says_where(stack: Up) -> None:
    shown = ran(stack, "run", file(stack, "fails"), code=1)
    assert "✗ fails failed" in shown
    assert "at step only" in shown
    run = told(stack, "runs", "--workflow", "fails", "--status", "failed")[0]
    assert ran(stack, "watch", run["id"], code=1).count("only") >= 2
    step = told(stack, "show", run["id"], "only")
    assert step["status"] == "failed"
    assert "attempt" in ran(stack, "show", run["id"], "only")


def test_show_lists_steps_inputs_and_cost(stack: Up) -> None:
    run = told(stack, "run", file(stack, "greet"), "-i", "who=eve", "--label", "team=x")
    assert [step["path"] for step in told(stack, "show", run["id"])["steps"]] == ["one", "two"]
    shown = ran(stack, "show", run["id"])
    assert "✓ two" in shown
    assert '"who": "eve"' in shown
    assert [found["id"] for found in told(stack, "runs", "--label", "team=x")] == [run["id"]]
    assert "one" in ran(stack, "mermaid", run["id"])


def test_a_detached_run_is_paused_resumed_and_aborted(stack: Up) -> None:
    run_id = ran(stack, "run", file(stack, "waits"), "--detach").strip()
    poll(lambda: told(stack, "show", run_id)["steps"][0]["status"] == "retrying", 20, "a retry")
    assert "is paused" in ran(stack, "pause", run_id, "--reason", "a look first")
    assert told(stack, "show", run_id)["status"] == "paused"
    assert "is running" in ran(stack, "resume", run_id)
    assert "is aborted" in ran(stack, "abort", run_id, "--reason", "no need")
    assert "■ waits aborted" in ran(stack, "watch", run_id, code=1)


def test_people_approve_reject_and_signal(stack: Up) -> None:
    run_ids = [ran(stack, "run", file(stack, "asks"), "--detach").strip() for _ in range(2)]
    asked = [poll(lambda run=run: told(stack, "approvals", "--run", run), 20, "an approval") for run in run_ids]
    assert "Pay it?" in ran(stack, "approvals", "--assignee", "ada")
    assert asked[0][0]["id"] in ran(stack, "show", run_ids[0])
    ran(stack, "approve", asked[0][0]["id"], code=1)
    assert "Pay it?: approved" in ran(stack, "approve", asked[0][0]["id"], "-d", "cents=7", "--comment", "fine")
    ran(stack, "signal", run_ids[0], "signed", "-d", "by=ada", "--id", "n-1")
    ran(stack, "watch", run_ids[0])
    outputs = told(stack, "show", run_ids[0])["outputs"]
    assert (outputs["pay"]["data"], outputs["sign"]) == ({"cents": 7}, {"by": "ada"})
    assert "Pay it?: rejected" in ran(stack, "reject", asked[1][0]["id"])
    assert "rejected" in ran(stack, "watch", run_ids[1], code=1)
    assert told(stack, "approvals") == []
    assert len(told(stack, "approvals", "--status", "all")) == 2
    assert told(stack, "fsck") == {"ok": True, "violations": []}


def test_an_operator_retries_skips_completes_and_reruns_steps(stack: Up) -> None:
    failed = told(stack, "run", file(stack, "fails"), code=1)["id"]
    assert "is running" in ran(stack, "retry", failed, "only", "--reason", "once more")
    poll(lambda: told(stack, "show", failed)["status"] == "failed", 20, "the second failure")
    completed = told(stack, "complete", failed, "only", "-o", "n=1", "--reason", "known")
    assert (completed["status"], completed["outputs"]) == ("success", {"only": {"n": 1}})
    refused = stack.command("skip", failed, "only")
    assert (refused.returncode, "only is success" in refused.stderr) == (1, True)
    both = stack.command("complete", failed, "only", "-o", "n=1", "--output-json", "2")
    assert (both.returncode, "not both" in both.stderr) == (2, True)
    run = told(stack, "run", file(stack, "greet"), "-i", "who=ann")["id"]
    ran(stack, "rerun", run, "two")
    poll(lambda: told(stack, "show", run)["status"] == "success", 20, "the rerun")
    assert [step["attempts"] for step in told(stack, "show", run)["steps"]] == [1, 2]


def test_a_run_is_forked_gone_back_with_and_rebuilt(stack: Up) -> None:
    run_id = told(stack, "run", file(stack, "greet"), "-i", "who=eve")["id"]
    assert "mine" in ran(stack, "checkpoints", run_id, "--create", "mine", "--reason", "to be safe")
    assert [each["name"] for each in told(stack, "checkpoints", run_id)] == ["after:one", "after:two", "mine"]
    forked = told(stack, "fork", run_id, "--from-step", "one", "-i", "who=bob")
    assert forked["forked_from"]["run_id"] == run_id
    assert told(stack, "watch", forked["id"])["outputs"] == {"said": "HELLO BOB"}
    assert run_id in ran(stack, "restore", run_id, "after:one", "--reason", "again")
    assert told(stack, "watch", run_id)["outputs"] == {"said": "HELLO EVE"}
    assert told(stack, "rebuild", run_id, "--dry-run") == {"dry_run": True, "changes": []}
    assert "Every row is as the events tell." in ran(stack, "rebuild", run_id)


def test_a_key_is_made_works_and_is_revoked(stack: Up) -> None:
    made = told(stack, "keys", "create", "--name", "reader", "--scopes", "read")
    stack.environ["ORCHESTRATOR_API_KEY"] = made["key"]
    try:
        ran(stack, "runs")
        denied = stack.command("run", file(stack, "greet"), "-i", "who=x")
        assert denied.returncode == 1
        assert "scope" in denied.stderr
    finally:
        del stack.environ["ORCHESTRATOR_API_KEY"]
    assert "reader" in ran(stack, "keys", "list")
    ran(stack, "keys", "revoke", made["id"])


def test_the_database_is_current_and_unknown_things_are_told(stack: Up) -> None:
    assert told(stack, "db", "current")["revision"] == told(stack, "db", "current")["newest"]
    missing = stack.command("show", "01980000-0000-7000-8000-000000000000")
    assert missing.returncode == 1
    assert missing.stderr.startswith("Error: ")
    assert len(missing.stderr.splitlines()) == 1


def test_webhooks_are_made_tried_and_replayed(stack: Up, receiver: Receiver) -> None:
    assert "No webhooks" in ran(stack, "webhooks", "list")
    made = told(stack, "webhooks", "create", receiver.url(), "--events", "run.completed,deal.*")
    assert told(stack, "webhooks", "show", made["id"])["events"] == ["run.completed", "deal.*"]
    sent = told(stack, "webhooks", "test", made["id"])
    run = told(stack, "run", file(stack, "greet"), "-i", "who=ada")
    got = {each.id: each.verified(made["secret"]) for each in receiver.came(2)}
    assert got[sent["id"]]["type"] == "webhook.test"
    assert [body["data"]["run_id"] for body in got.values() if body["type"] == "run.completed"] == [run["id"]]
    poll(lambda: len(told(stack, "webhooks", "deliveries", made["id"], "--status", "delivered")) == 2, 20)
    told(stack, "webhooks", "replay", made["id"], sent["id"])
    assert receiver.came(3)[2].id == sent["id"]
    rotated = ran(stack, "webhooks", "rotate", made["id"], "--grace", "1h").strip()
    assert rotated.startswith("whsec_")
    assert rotated != made["secret"]
    assert "disabled" in ran(stack, "webhooks", "disable", made["id"])
    assert "enabled" in ran(stack, "webhooks", "enable", made["id"])
    assert told(stack, "webhooks", "replay-missing", made["id"], "--since", "1h")["complete"]
    assert "No dead letters" in ran(stack, "webhooks", "dead-letters")
    assert "removed" in ran(stack, "webhooks", "delete", made["id"])
