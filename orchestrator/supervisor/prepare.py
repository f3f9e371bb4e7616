"""What must be done before the parts start: a migrated database, a first admin key, the local gateway's row.

A program of its own, so that the supervisor stays small and forks without an engine or a thread.
"""

import os
import sys
from pathlib import Path

from models import schema
from orchestrator.services import deps as parts
from orchestrator.services import gateways, keys, workspaces
from orchestrator.settings import Settings, load

GATEWAY = "--gateway"


def prepare(settings: Settings, *, gateway: bool = False) -> None:
    """Apply migrations and keep a live admin key in `DATA_DIR/admin.key`, mode 0600.

    gateway: the workspace `default` gets its gateway of kind `local`, where it has none.
    """
    schema.upgrade(settings.database)
    deps = parts.build(settings, pool_size=1)
    try:
        file = settings.data_dir / "admin.key"
        known = file.read_text().strip() if file.exists() else None
        key = keys.bootstrap(deps, known)
        if gateway:
            with deps.db.transaction() as session:
                gateways.ensure_local(session, workspaces.ensure_default(session).id)
    finally:
        deps.close()
    if key != known:
        write_secret(file, key)


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{text}\n")
    part.replace(file)


if __name__ == "__main__":
    prepare(load(), gateway=GATEWAY in sys.argv[1:])
