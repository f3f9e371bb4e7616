"""Durable workflows of agents and services on Celery.

The public face for programs that write workflows; what it names is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.builder.workflow import Workflow
else:

    def __getattr__(name):
        if name != "Workflow":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from orchestrator.builder.workflow import Workflow

        globals()[name] = Workflow
        return Workflow


__all__ = ["Workflow"]
