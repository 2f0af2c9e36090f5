"""What a process counts of its own work, in Prometheus's form. Labels are bounded, and none of them names a key.

The processes of one program count together, each into a file of its own in one directory, so that whichever of
them is asked tells the sums of all, of those that have ended too. prometheus-client reads the directory's name in
the environment when it is imported: whoever starts the processes sets it first.
"""

from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST

REQUESTS = Counter(
    "keyledger_http_requests", "Requests answered, by route as it is documented.", ["method", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "keyledger_http_request_seconds",
    "How long requests took.",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
DECISIONS = Counter(
    "keyledger_decisions", "Verdicts of /key/verify: `allowed`, or the code of a refusal.", ["code"]
)
TASKS = Counter("keyledger_tasks", "Tasks that a worker has ended, by Celery's name for how.", ["task", "state"])
TASK_SECONDS = Histogram(
    "keyledger_task_seconds",
    "How long tasks took.",
    ["task"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
JOB_ROWS = Counter("keyledger_job_rows", "Rows that the jobs of this worker have dealt with.", ["job"])
SENT = Counter("keyledger_tasks_sent", "Tasks that beat has sent.", ["task"])


def registry(directory: Path | None, *beside: Collector) -> CollectorRegistry:
    """Everything that was counted, in `directory` where processes count together, and what is looked up beside."""
    together = CollectorRegistry(auto_describe=False)
    if directory is None:
        together.register(REGISTRY)
    else:
        MultiProcessCollector(together, str(directory))  # type: ignore[no-untyped-call]
    for collector in beside:
        together.register(collector)
    return together


def exposition(registry: CollectorRegistry) -> bytes:
    """The text that Prometheus reads; what is looked up beside is looked up now."""
    return generate_latest(registry)


def serve(host: str, port: int, directory: Path | None) -> None:
    """Tell what was counted on a port of its own, from a thread that ends with the process; raises OSError."""
    start_http_server(port, host, registry(directory))
