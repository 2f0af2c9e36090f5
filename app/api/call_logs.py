"""Handing over finished calls: from HTTP to the one use case, and back."""

from dataclasses import asdict
from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.errors import error_body
from app.api.finished_calls import batch_of, finished_call, subject
from app.api.schemas.call_logs import LoggedSchema, LogRequestSchema
from app.domain.finished_calls import FinishedCall
from app.errors import InvalidRequest, KeyNotFound, ServiceError
from app.services.decisions.reservations import Subject

call_logs = Blueprint("call_logs")


@call_logs.operation(
    "/key/log",
    "POST",
    "log_key_log_post",
    LoggedSchema(),
    summary="Log",
    raises=(InvalidRequest, KeyNotFound),
)
@call_logs.takes(LogRequestSchema())
def log(sent: dict[str, Any]) -> Response:
    """Hand over a finished call.

    Hand over one finished call, or each of `logs`, answered on its own. The worker sends it to those logging
    callbacks of its key, else of its team, that hear of such calls: in batches, until they have taken it. A call
    is told of once by its key and request id. The bodies of its messages are dropped unless `log_messages` in the
    metadata of the key, else of the team, allows them.
    """
    batch = batch_of(sent, "logs")
    if batch is None:
        (kept,) = services().call_logs.hand_over(act(), [(subject(sent), finished_call(sent))])
        if isinstance(kept, ServiceError):
            raise kept
        return answer(asdict(kept))
    read = [_read(entry) for entry in batch]
    told = [entry for entry in read if not isinstance(entry, ServiceError)]
    results = iter(services().call_logs.hand_over(act(), told))
    answers = [entry if isinstance(entry, ServiceError) else next(results) for entry in read]
    return answer({"results": [_result(found) for found in answers]})


def _read(sent: dict[str, Any]) -> tuple[Subject, FinishedCall] | ServiceError:
    """A call among others, or what is wrong with it: the others are kept all the same."""
    try:
        return subject(sent), finished_call(sent)
    except ServiceError as error:
        return error


def _result(found: Any) -> dict[str, Any]:
    return {"error": error_body(found)} if isinstance(found, ServiceError) else asdict(found)
