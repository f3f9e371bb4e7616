"""Every sweep that these tests run is asked for by the probes as well: what it finds, they must have seen."""

import pytest

from orchestrator.services import sweeps, ticks
from orchestrator.services.deps import Deps
from orchestrator.services.sweeps import Length
from orchestrator.services.swept import Swept


@pytest.fixture(autouse=True)
def _probed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = sweeps.run

    def checked(deps: Deps, name: str, length: Length | None = None, *, on_beat: bool = False) -> Swept:
        idle = ticks.nothing_for(deps)
        swept = run(deps, name, length, on_beat=on_beat)
        assert name not in idle or not (swept.found or swept.effects), f"the probe of {name!r} saw nothing"
        return swept

    monkeypatch.setattr(sweeps, "run", checked)
