"""What worker and beat count of their tasks, told on a port of their own where the settings name one."""

import time
from typing import Any

import structlog
from celery.signals import after_task_publish, beat_init, task_postrun, task_prerun, worker_init

from app import metrics
from app.dispatch import TaskName
from workers.resources import settings

_log = structlog.get_logger(__name__)
_NAMES = frozenset(task.value for task in TaskName)
_OTHER = "other"


def _begin(task: Any, **_: Any) -> None:
    task.request.began = time.perf_counter()


def _end(task: Any, state: str | None, **_: Any) -> None:
    name = task.name if task.name in _NAMES else _OTHER
    metrics.TASKS.labels(name, (state or "unknown").lower()).inc()
    began = getattr(task.request, "began", None)
    if began is not None:
        metrics.TASK_SECONDS.labels(name).observe(time.perf_counter() - began)


def _sent(sender: str, **_: Any) -> None:
    metrics.SENT.labels(sender if sender in _NAMES else _OTHER).inc()


def _serve(port: int | None) -> None:
    if port is None:
        return
    host, directory = settings().metrics_host, settings().metrics_dir
    try:
        metrics.serve(host, port, directory)
    except OSError as error:  # work goes on unwatched
        _log.error("metrics_not_served", host=host, port=port, reason=error.strerror)


def _serve_worker(**_: Any) -> None:
    _serve(settings().worker_metrics_port)


def _serve_beat(**_: Any) -> None:
    _serve(settings().beat_metrics_port)


task_prerun.connect(_begin)
task_postrun.connect(_end)
after_task_publish.connect(_sent)
worker_init.connect(_serve_worker)
beat_init.connect(_serve_beat)
