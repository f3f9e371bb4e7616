"""Which runs go on: attempts of their steps start, what is due for them is done."""

from models.states import STARTING

_STARTING = ", ".join(f"'{status}'" for status in STARTING)
GOES_ON = f"run.status IN ({_STARTING}) AND run.stopping IS NULL"
