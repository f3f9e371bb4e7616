"""What there is to know of runs that went wrong, a file each."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.client import Client, NotFound
from tests.faults.verdict import Finding
from tests.faults.wounds import Wound

MOST = 20


def write(
    directory: Path, client: Client, findings: Sequence[Finding], wounds: Sequence[Wound]
) -> None:
    """A file for each run that is named: the run with its steps, its definition, its events; one of all wounds."""
    if not findings:
        return
    directory.mkdir(exist_ok=True)
    lines = [f"{_clock(w.at)} {w.seconds:6.1f} s  {w.kind}: {w.target} {sorted(w.pids)}" for w in wounds]
    (directory / "wounds.txt").write_text("\n".join(sorted(lines)))
    runs = list(dict.fromkeys(found.run_id for found in findings if found.run_id is not None))
    for run_id in runs[:MOST]:
        try:
            run = client.runs.get(run_id, steps=True)
        except NotFound:
            continue
        told = {
            "findings": [f"{found.kind}: {found.message}" for found in findings if found.run_id == run_id],
            "run": run,
            "definition": client.workflows.get(run["workflow"])["definition"],
            "events": list(client.runs.log(run_id)),
        }
        (directory / f"{run_id}.json").write_text(json.dumps(told, indent=1))


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="milliseconds")
