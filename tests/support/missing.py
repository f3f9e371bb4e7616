"""What becomes of a test whose server is not there: skipped with a remedy, an error in CI."""

import os
from typing import NoReturn

import pytest


def missing(server: str, remedy: str, *, needed_in_ci: bool = True) -> NoReturn:
    """Skip the test, saying how to get the server; fail where CI=true says that it has to be there."""
    message = f"no {server}: {remedy}"
    if needed_in_ci and os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
