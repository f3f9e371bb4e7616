# syntax=docker/dockerfile:1
FROM python:3.11-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY models models
COPY orchestrator orchestrator
COPY tasks tasks
COPY api api
COPY celeryconfig.py beat_schedule.py ./
RUN pip install .

FROM python:3.11-slim

# tini is Docker's own (init: true in docker-compose.yml, --init on the command line)
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/orchestrator --shell /usr/sbin/nologin orchestrator
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORCHESTRATOR_DATA_DIR=/var/lib/orchestrator
WORKDIR /var/lib/orchestrator
USER orchestrator
VOLUME /var/lib/orchestrator
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
CMD ["orchestrator", "api", "--host", "0.0.0.0", "--port", "8080"]
