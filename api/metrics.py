"""Metrics for Prometheus: what this process served, and what is open in the database, counted when asked."""

import time
from collections.abc import Callable, Iterator

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from models.database import OUTAGES
from orchestrator.services.health import Gauges


class _Open(Collector):
    """Gauges from the database; none while it does not answer."""

    def __init__(self, measure: Callable[[], Gauges], streams: Callable[[], int]) -> None:
        self._measure = measure
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        streams = GaugeMetricFamily("orchestrator_streams", "Clients that stream from this process")
        streams.add_metric([], self._streams())
        yield streams
        try:
            measured = self._measure()
        except OUTAGES:
            return
        runs = GaugeMetricFamily("orchestrator_open_runs", "Runs that have not ended", labels=["status"])
        for status, count in measured.runs.items():
            runs.add_metric([status], count)
        yield runs
        queued = GaugeMetricFamily(
            "orchestrator_queued_steps", "Steps that wait for a worker", labels=["queue"]
        )
        for name, count in measured.queued.items():
            queued.add_metric([name], count)
        yield queued


class Metrics:
    """One process's registry; its own, so that two apps in one process do not mix."""

    def __init__(self, measure: Callable[[], Gauges], streams: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Open(measure, streams))
        self._seconds = Histogram(
            "orchestrator_http_request_seconds",
            "Time to answer a call; of a stream, until it begins",
            ["method", "route", "status"],
            registry=self.registry,
        )

    def watch(self, app: Flask) -> None:
        """Measure every request of the app."""
        app.before_request(_begin)
        app.after_request(self._end)

    def _end(self, response: Response) -> Response:
        known = request.url_rule is not None  # what a client made up is no label
        method, route = (request.method, str(request.url_rule)) if known else ("other", "unknown")
        labels = (method, route, str(response.status_code))
        self._seconds.labels(*labels).observe(time.perf_counter() - g.began)
        return response


def _begin() -> None:
    g.began = time.perf_counter()
