"""`python -m benchmarks.counted <name> …`: `celery …`, with what it asks of the database and tells the broker counted
in the directory `<name>` of the one that the environment names."""

import os
import sys

from celery.__main__ import main

from benchmarks import counting

COUNTS_DIR = "BENCH_COUNTS"

if __name__ == "__main__":
    counting.begin(os.path.join(os.environ[COUNTS_DIR], sys.argv.pop(1)))
    sys.exit(main())
