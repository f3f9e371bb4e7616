"""The states of a run, a step and an attempt, and one table of legal moves for each machine.

Source: spec "engine", States. Code, documents and tests share these tables; every other move is refused. Beyond the
specification's: a compensation that failed is tried again (step `failed → compensating`), and an attempt that was given
up is undone where it succeeds late (`failed | skipped | aborted → compensating`, run `compensated → compensating`).
"""

from enum import StrEnum


class RunStatus(StrEnum):
    """A run's states; the comment says who moves it on."""

    PENDING = "pending"  # its trigger starts it, or the end of another run of its concurrency key
    RUNNING = "running"  # the completion of its last step ends it
    PAUSED = "paused"  # a person resumes or aborts it
    SUCCESS = "success"
    FAILED = "failed"
    ABORTED = "aborted"
    COMPENSATING = "compensating"  # the last compensation ends it
    COMPENSATED = "compensated"


class StepStatus(StrEnum):
    """A step's states; the comment says who moves it on."""

    PENDING = "pending"  # the decision of its in-edges
    QUEUED = "queued"  # a worker's claim; the sweep sends it again
    RUNNING = "running"  # its handler's outcome; the lease sweep when the worker is lost
    WAITING = "waiting"  # a person, a signal, a timer, a callback
    RETRYING = "retrying"  # the due sweep
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    ABORTED = "aborted"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"


class AttemptStatus(StrEnum):
    """What became of one attempt; `lost`: its lease expired, `fenced`: its result came after the fence rose."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    WAITING = "waiting"
    LOST = "lost"
    ABORTED = "aborted"
    FENCED = "fenced"


class AgentStatus(StrEnum):
    """What an agent says of itself; `offline`: it said nothing for too long."""

    ONLINE = "online"
    IDLE = "idle"
    BUSY = "busy"
    FAILED = "failed"
    STOPPED = "stopped"
    OFFLINE = "offline"


class GatewayStatus(StrEnum):
    """How a gateway was when it was last asked."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class DeliveryStatus(StrEnum):
    """A webhook delivery's states; the comment says who moves it on."""

    PENDING = "pending"  # the sweep takes it when it is due; its webhook's end stops it
    SENDING = "sending"  # the outcome of its POST; the sweep when the worker is lost
    DELIVERED = "delivered"
    DEAD = "dead"  # a replay
    STOPPED = "stopped"  # a replay


DELIVERY_MOVES: dict[DeliveryStatus, frozenset[DeliveryStatus]] = {
    DeliveryStatus.PENDING: frozenset({DeliveryStatus.SENDING, DeliveryStatus.STOPPED}),
    DeliveryStatus.SENDING: frozenset(
        {DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD, DeliveryStatus.STOPPED}
    ),
    DeliveryStatus.DELIVERED: frozenset({DeliveryStatus.PENDING}),
    DeliveryStatus.DEAD: frozenset({DeliveryStatus.PENDING}),
    DeliveryStatus.STOPPED: frozenset({DeliveryStatus.PENDING}),
}

RUN_MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING, RunStatus.ABORTED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset(
        {RunStatus.PAUSED, RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.ABORTED, RunStatus.COMPENSATING}
    ),
    RunStatus.PAUSED: frozenset(
        {RunStatus.RUNNING, RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.ABORTED, RunStatus.COMPENSATING}
    ),
    RunStatus.SUCCESS: frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING}),
    RunStatus.FAILED: frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING}),
    RunStatus.ABORTED: frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING}),
    RunStatus.COMPENSATING: frozenset({RunStatus.COMPENSATED, RunStatus.FAILED}),
    RunStatus.COMPENSATED: frozenset({RunStatus.RUNNING, RunStatus.COMPENSATING}),
}

STEP_MOVES: dict[StepStatus, frozenset[StepStatus]] = {
    StepStatus.PENDING: frozenset(
        {
            StepStatus.QUEUED,
            StepStatus.RUNNING,
            StepStatus.WAITING,
            StepStatus.SUCCESS,
            StepStatus.FAILED,
            StepStatus.SKIPPED,
        }
    ),
    StepStatus.QUEUED: frozenset(
        {StepStatus.RUNNING, StepStatus.WAITING, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.ABORTED}
    ),
    StepStatus.RUNNING: frozenset(
        {
            StepStatus.SUCCESS,
            StepStatus.FAILED,
            StepStatus.WAITING,
            StepStatus.RETRYING,
            StepStatus.QUEUED,
            StepStatus.ABORTED,
        }
    ),
    StepStatus.WAITING: frozenset(
        {
            StepStatus.RUNNING,
            StepStatus.SUCCESS,
            StepStatus.FAILED,
            StepStatus.RETRYING,
            StepStatus.ABORTED,
            StepStatus.SKIPPED,
        }
    ),
    StepStatus.RETRYING: frozenset(
        {StepStatus.QUEUED, StepStatus.SKIPPED, StepStatus.ABORTED, StepStatus.FAILED}
    ),
    StepStatus.SUCCESS: frozenset({StepStatus.COMPENSATING, StepStatus.PENDING}),
    StepStatus.FAILED: frozenset(
        {
            StepStatus.QUEUED,
            StepStatus.SUCCESS,
            StepStatus.SKIPPED,
            StepStatus.PENDING,
            StepStatus.COMPENSATING,
        }
    ),
    StepStatus.SKIPPED: frozenset({StepStatus.PENDING, StepStatus.COMPENSATING}),
    StepStatus.ABORTED: frozenset({StepStatus.PENDING, StepStatus.COMPENSATING}),
    StepStatus.COMPENSATING: frozenset({StepStatus.COMPENSATED, StepStatus.FAILED}),
    StepStatus.COMPENSATED: frozenset({StepStatus.PENDING}),
}

OPEN = (RunStatus.RUNNING.value, RunStatus.PAUSED.value, RunStatus.COMPENSATING.value)  # steps of such runs move
STARTING = (RunStatus.RUNNING.value, RunStatus.COMPENSATING.value)  # attempts of their steps start
RUN_TERMINAL = frozenset({RunStatus.SUCCESS, RunStatus.FAILED, RunStatus.ABORTED, RunStatus.COMPENSATED})
STEP_TERMINAL = frozenset(
    {
        StepStatus.SUCCESS,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.ABORTED,
        StepStatus.COMPENSATED,
    }
)


def run_sources(target: RunStatus) -> frozenset[RunStatus]:
    """The states from which a run may move to `target`."""
    return frozenset(source for source, targets in RUN_MOVES.items() if target in targets)


def step_sources(target: StepStatus) -> frozenset[StepStatus]:
    """The states from which a step may move to `target`."""
    return frozenset(source for source, targets in STEP_MOVES.items() if target in targets)


def delivery_sources(target: DeliveryStatus) -> frozenset[DeliveryStatus]:
    """The states from which a delivery may move to `target`."""
    return frozenset(source for source, targets in DELIVERY_MOVES.items() if target in targets)
