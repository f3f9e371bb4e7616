"""A stack for one demonstration: embedded, in a directory and on a port of its own, gone afterwards."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import OrchestratorError
from orchestrator.client import Client
from orchestrator.settings import PREFIX
from orchestrator.supervisor import fate

_STOP_SECONDS = 20.0


class DemoError(OrchestratorError):
    """The demonstration's stack did not start, or did not stop as it should."""

    code = "DEMO_FAILED"


@contextmanager
def running() -> Iterator[Client]:
    """A client of a stack that runs while the context is open; settings of the environment are ignored.

    Raises DemoError. The directory stays when anything failed: its logs tell why.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="orchestrator-demo-"))
    said = data_dir / "up.log"
    process = _start(data_dir, said)
    try:
        yield Client(_address(process, said), api_key=(data_dir / "admin.key").read_text())
    finally:
        code = _stop(process)
    if code != 0:
        where = f"its logs are in {data_dir}/logs"
        raise DemoError(f"The stack ended with code {code}; {where}. It said:\n{said.read_text()}")
    shutil.rmtree(data_dir)


def _start(data_dir: Path, said: Path) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "orchestrator.cli", "up", "--port", "0", "--data-dir", str(data_dir)]
    scratch = data_dir / "tmp"  # a child that has to be killed leaves its temporary files where they go with the rest
    scratch.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with said.open("w") as errors:
        return subprocess.Popen(  # noqa: S603 - our own command line
            argv,
            env=kept | {"TMPDIR": str(scratch)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; we stop the stack in order
            preexec_fn=fate.shared_with(os.getpid(), signal.SIGTERM),
        )


def _address(process: "subprocess.Popen[str]", said: Path) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith("READY "):
        raise DemoError(f"The stack did not start. It said:\n{said.read_text()}")
    return line.removeprefix("READY ").strip()


def _stop(process: "subprocess.Popen[str]") -> int:
    assert process.stdout is not None
    process.terminate()
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # the kernel ends its children with it
        return process.wait()
    finally:
        process.stdout.close()
