"""`python -m tests.faults --seconds 600 --runs 300 --seed N`: a fault schedule, its figures, 0 if it passed."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

MEAN_GAP = 6.0  # seconds between faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, help="decides faults and inputs; by default another one each time")
    parser.add_argument("--gap", type=float, default=MEAN_GAP, help="seconds between faults")
    given = parser.parse_args()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    sys.path.insert(0, str(Path(__file__).parents[1] / "plugin"))
    from tests.faults import plan, schedule

    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    print(f"seed {seed}; logs in {directory}", flush=True)
    report = schedule.conduct(plan.draw(seed, given.seconds, given.runs, given.gap), directory)
    print(report)
    if report.findings:
        print(f"logs and evidence: {directory}; the same faults: --seed {seed}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
