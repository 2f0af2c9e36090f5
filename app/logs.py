"""Logging: one JSON object per line on stderr, from our own code and from libraries alike.

A constant event name, identifiers as fields. As the last defence of the rule that no log holds a key, whatever
looks like one is masked in the finished line.
"""

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.types import Processor

from app.domain.masking import KEY_SHAPED

LONGEST_TRACE = 20_000
# These tell of every task that comes and goes, and of every header of a call; what was done we log ourselves.
_CHATTY = ("celery.app.trace", "celery.worker.strategy", "celery.beat", "celery.redirected", "httpcore")


def configure(level: str) -> None:
    """Send all logging of this process to stderr at `level` and above; a repeat replaces the former."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _shorten,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    sys.excepthook = _tell_of_the_end
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


def _tell_of_the_end(_kind: type[BaseException], error: BaseException, _trace: Any) -> None:
    """What nobody caught ends the process: told in one line as all else."""
    structlog.get_logger(__name__).critical("ended_by_an_error", error=type(error).__name__, exc_info=error)


def _shorten(_logger: Any, _method: str, event: Any) -> Any:
    """A trace ends with the whole of a statement, which can be as long as what was sent."""
    if len(trace := event.get("exception") or "") > LONGEST_TRACE:
        event["exception"] = f"{trace[:LONGEST_TRACE]} …"
    return event


def _render(_logger: Any, _method: str, event: Any) -> str:
    return KEY_SHAPED.sub("sk-****", orjson.dumps(event, default=repr).decode())
