"""`orchestrator demo`: the main job, on a stack of its own, whatever the environment says."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.up import ROOT, environ_of


def test_the_demo_ends_with_0_and_leaves_nothing(tmp_path: Path) -> None:
    hostile = {
        "ORCHESTRATOR_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "ORCHESTRATOR_URL": "http://127.0.0.1:9",
        "ORCHESTRATOR_NO_SUCH": "setting",
        "TMPDIR": str(tmp_path),
    }
    argv = [sys.executable, "-m", "orchestrator.cli", "demo"]
    done = subprocess.run(
        argv, env=os.environ | hostile, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^5 of 5 runs succeeded; [0-9.]+ s in all$", done.stdout, re.MULTILINE)
    assert re.search(r"^cost of all runs: \$0\.0*[1-9]", done.stdout, re.MULTILINE)
    assert "make up" in done.stdout
    assert "/api/docs" in done.stdout
    assert list(tmp_path.iterdir()) == []
    left = [pid for pid in filter(str.isdigit, os.listdir("/proc")) if str(tmp_path) in environ_of(int(pid))]
    assert left == []
