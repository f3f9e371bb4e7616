"""Durable workflows of agents and services on Celery.

The public face for programs that write workflows or follow their events; what it names is imported when it is first
used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.builder.workflow import Workflow
    from orchestrator.services.subscribing import subscribe
else:
    _PLACES = {"Workflow": "orchestrator.builder.workflow", "subscribe": "orchestrator.services.subscribing"}

    def __getattr__(name):
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = found = getattr(import_module(_PLACES[name]), name)
        return found


__all__ = ["Workflow", "subscribe"]
