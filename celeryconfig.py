"""Celery's settings: each follows from a failure that was measured (docs/operations.md, Celery)."""

from kombu import Exchange, Queue

from beat_schedule import schedule
from models.errors import SettingsError
from orchestrator.settings import load

try:
    _settings = load()
except SettingsError as error:
    raise SystemExit(str(error)) from None  # the start of a worker stops with one sentence, no traceback

broker_url = _settings.broker
result_backend = _settings.results
include = ["tasks.steps", "tasks.sweeps", "tasks.stops", "tasks.answers", "tasks.relays", "tasks.webhooks"]

task_serializer = "json"
accept_content = ["json"]
result_accept_content = ["json"]
task_ignore_result = True  # outputs do not travel; only chord members count
task_acks_late = False  # leases and sweeps recover steps; late acks bring copies
task_acks_on_timeout = True
task_publish_retry = False  # the sweep retries, not the caller
task_default_queue = "control"
task_queues = [
    Queue(name, Exchange(name), routing_key=name) for name in ("control", "steps", "webhooks", "sweeps")
]
task_queue_max_priority = None

worker_prefetch_multiplier = 1
worker_cancel_long_running_tasks_on_connection_loss = False
worker_soft_shutdown_timeout = 10
worker_send_task_events = _settings.celery_events
task_send_sent_event = False
worker_enable_remote_control = _settings.celery_events  # Flower needs it; closed otherwise
worker_hijack_root_logger = False
worker_max_memory_per_child = 512_000  # KiB; prefork only
broker_connection_max_retries = None
broker_connection_retry_on_startup = True
broker_transport_options = (
    {
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "health_check_interval": 10,
    }
    | ({} if "+socket" in _settings.broker else {"socket_keepalive": True})
    if _settings.broker.startswith("redis")
    else {}
)
redis_socket_timeout = 3.0
redis_socket_connect_timeout = 2.0
result_backend_transport_options = {"retry_policy": {"timeout": 3.0}}
result_backend_always_retry = True
result_backend_max_retries = 20
result_expires = 7 * 86400  # must outlive the longest wave

beat_scheduler = "tasks.beat:Scheduler"
beat_schedule = schedule(_settings.sweep_seconds)
beat_max_loop_interval = max(0.2, min(1.0, _settings.sweep_seconds))
timezone = "UTC"
