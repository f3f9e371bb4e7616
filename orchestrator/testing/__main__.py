"""`python -m orchestrator.testing TEMPLATE`: one test, asked on standard input, answered on standard output.

A process of its own, so that what a definition makes of itself can be bounded and ended from outside.
"""

import json
import os
import resource
import sys
from pathlib import Path

MEMORY = 2 << 30
CPU_SECONDS = 15


def main() -> None:
    """Answer, and end."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anybody prints is no answer
    from orchestrator.testing.bench import carry_out

    json.dump(carry_out(json.load(sys.stdin), Path(sys.argv[1])), answer)
    answer.close()


if __name__ == "__main__":
    main()
