"""Real servers for every test: found on the machine, or started from their wheels."""

pytest_plugins = [
    "tests.support.databases",
    "tests.support.brokers",
    "tests.support.processes",
    "tests.support.gateways",
    "tests.support.openclaw",
    "tests.support.either",
]
