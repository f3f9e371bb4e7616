"""gunicorn's configuration. A stream holds a thread for as long as its client listens, so there are more
threads than streams are let in (spec "running", SSE_MAX): other requests always find one.
"""

from orchestrator.settings import load

_settings = load()

worker_class = "gthread"
workers = 1  # one process: streams share its hub; scale by more API processes
threads = _settings.sse_max + 100
worker_connections = threads + 100  # kept-alive connections beside those in work
backlog = 2048
keepalive = 5
timeout = 60
graceful_timeout = 4  # streams are cut then and resume by Last-Event-ID; other requests are long done
limit_request_line = 8190
loglevel = _settings.log_level
proc_name = "orchestrator-api"
control_socket_disable = True
