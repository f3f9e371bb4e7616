"""What the durable examples are tested with: everything outside of them, on loopback."""

from collections.abc import Iterator

import pytest

from examples.outside import Outside


@pytest.fixture
def outside() -> Iterator[Outside]:
    served = Outside().start()
    yield served
    served.stop()
