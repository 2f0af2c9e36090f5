"""The Celery application: how tasks travel, and what a worker process holds.

Importing this module connects nowhere and needs no settings; they are read when Celery first asks for its
configuration. A task that is lost with its worker comes back, so every task may run twice.
"""

import gc
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, task_failure, worker_init, worker_process_init, worker_process_shutdown
from kombu.entity import Exchange, Queue

from app import logs
from app.broker import PREFIX, broker_tls, broker_url
from app.config import Settings
from app.dispatch import QUEUE_OF, QueueName
from app.errors import StoreUnavailable, reason_of, root_of
from app.processes import die_with_parent
from workers import schedule
from workers.heartbeat import WorkerHeartbeat
from workers.resources import release, settings

_log = structlog.get_logger(__name__)

# A job is done in batches and stops by itself when the soft limit nears; the hard one is for a job that hangs.
SOFT_LIMIT_SECONDS = 60
HARD_LIMIT_SECONDS = 90
# When a task counts as lost with its worker: later than the hard limit, or it would run twice at once.
VISIBILITY_SECONDS = 300
# A broker that does not answer must not hang a process; longer than the one second of a blocking read.
BROKER_SECONDS = 5.0


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's configuration for these settings."""
    return {
        "broker_url": broker_url(settings.redis_url),
        "broker_use_ssl": broker_tls(settings.redis_url),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "global_keyprefix": PREFIX,
            "visibility_timeout": VISIBILITY_SECONDS,
            "socket_timeout": BROKER_SECONDS,
            "socket_connect_timeout": BROKER_SECONDS,
        },
        "result_backend": None,
        # Nothing is kept, so nothing has to be cleared away by a periodic task of Celery's own.
        "result_expires": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "timezone": "UTC",
        "enable_utc": True,
        "task_queues": [_queue(name) for name in QueueName],
        "task_default_queue": QueueName.JOBS.value,
        "task_create_missing_queues": False,
        "task_routes": {task.value: {"queue": queue.value} for task, queue in QUEUE_OF.items()},
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": SOFT_LIMIT_SECONDS,
        "task_time_limit": HARD_LIMIT_SECONDS,
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": 2,
        # Importing everything on a busy machine takes a process longer than the default of four seconds.
        "worker_proc_alive_timeout": 30.0,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        # Otherwise whoever reaches Redis could command the workers.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "beat_schedule": schedule.entries(settings),
        "beat_max_loop_interval": 1.0,
        "redbeat_redis_url": settings.redis_url,
        "redbeat_redis_options": {
            "socket_timeout": BROKER_SECONDS,
            "socket_connect_timeout": BROKER_SECONDS,
        },
        "redbeat_key_prefix": "keyledger:beat:",
        # How long a second beat waits after the first has died; the first renews it in every loop.
        "redbeat_lock_timeout": 5,
    }


def _queue(name: QueueName) -> Queue:
    # Each with a routing key of its own: by default all would get what is sent to the first.
    exchange = Exchange("keyledger", type="direct")  # type: ignore[no-untyped-call]
    return Queue(name.value, exchange, routing_key=name.value)  # type: ignore[no-untyped-call]


celery = Celery("keyledger", include=["workers.jobs", "workers.deliveries", "workers.counting"])
celery.add_defaults(lambda: configuration(settings()))
celery.steps["consumer"].add(WorkerHeartbeat)


def _log_as_json(**_: Any) -> None:
    logs.configure(settings().log_level)


def _share_memory(**_: Any) -> None:
    """What was imported stays shared with the pool's processes when their garbage collectors leave it alone."""
    gc.collect()
    gc.freeze()


def _log_outage(sender: Any, exception: BaseException, **_: Any) -> None:
    """A task names the outage in one line and leaves the rest to its next run; Celery tells of all else."""
    if isinstance(exception, StoreUnavailable):
        _log.warning(
            "task_found_the_store_away",
            task=sender.name,
            store=exception.store,
            error=type(root_of(exception)).__name__,
            reason=reason_of(exception),
        )


def _end_with_the_worker(**_: Any) -> None:
    die_with_parent()


def _close(**_: Any) -> None:
    release()


task_failure.connect(_log_outage)
worker_init.connect(_share_memory)
setup_logging.connect(_log_as_json)
worker_process_init.connect(_end_with_the_worker)
worker_process_shutdown.connect(_close)
