"""What every test that runs work ends with: no invariant of any run is broken."""

from orchestrator.services import fsck
from orchestrator.services.deps import Deps


def assert_sound(deps: Deps) -> None:
    """Fails with every broken invariant of the database."""
    found = list(fsck.check_all(deps))
    assert found == [], "\n".join(f"{v.invariant} {v.run_id} {v.step}: {v.message}" for v in found)


def assert_run_sound(deps: Deps, run_id: str) -> None:
    """Fails with every broken invariant of one run."""
    found = fsck.check(deps, run_id)
    assert found == [], "\n".join(f"{v.invariant} {v.run_id} {v.step}: {v.message}" for v in found)
