"""Real servers for every test: found on the machine, or started from their wheels."""

import structlog

pytest_plugins = [
    "tests.support.databases",
    "tests.support.brokers",
    "tests.support.processes",
    "tests.support.gateways",
    "tests.support.openclaw",
    "tests.support.either",
]

# The default one draws every local variable of every frame, which takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)
