"""Health for load balancers and people, the models of a key, and the document with its pages."""

from dataclasses import asdict
from typing import Any

from flask import Flask, Response, request, send_from_directory
from swagger_ui_bundle import swagger_ui_path

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.schemas.operations import DrainingSchema, JobListSchema, ModelListSchema, ReadinessSchema
from app.clock import iso
from app.domain import access
from app.services.access.refusals import enforce
from app.services.jobs.job_batches import Parked
from app.services.jobs.jobs import JobRecord

KEYLEDGER_VERSION = "0.1.0"
# The release of LiteLLM whose API this service speaks; its clients read it.
REFERENCE_VERSION = "1.109.1"

_TEXT = {"type": "string"}

health = Blueprint("health", public=True)
models = Blueprint("models")
jobs = Blueprint("jobs")


def _liveness() -> Response:
    if services().health.draining:
        return answer({"status": "shutting_down"}, 503)
    return answer("I'm alive!")


@health.operation(
    "/health/liveliness",
    "GET",
    "health_liveliness_health_liveliness_get",
    _TEXT,
    unready=DrainingSchema(),
    summary="Health Liveliness",
)
def liveliness() -> Response:
    return _liveness()


@health.operation(
    "/health/liveness",
    "GET",
    "health_liveliness_health_liveness_get",
    _TEXT,
    unready=DrainingSchema(),
    summary="Health Liveliness",
)
def liveness() -> Response:
    return _liveness()


@health.operation(
    "/health/readiness",
    "GET",
    "health_readiness_health_readiness_get",
    ReadinessSchema(),
    unready=ReadinessSchema(),
    summary="Health Readiness",
)
def readiness() -> Response:
    found = services().health.readiness()
    status = "shutting_down" if found.draining else "degraded" if found.degraded else "healthy"
    body: dict[str, Any] = {
        "status": status,
        "db": found.db,
        **{part: _shown(getattr(found, part)) for part in ("redis", "worker", "beat", "clock")},
        "jobs": [asdict(job) for job in found.jobs],
        "litellm_version": REFERENCE_VERSION,
        "keyledger_version": KEYLEDGER_VERSION,
    }
    return answer(body, 200 if found.ready else 503)


def _shown(part: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(part).items() if value is not None}


def _models() -> Response:
    names = services().key_reads.models(act().caller)
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "keyledger"} for name in names]
    return answer({"object": "list", "data": data})


@models.operation("/models", "GET", "model_list_models_get", ModelListSchema(), summary="Model List")
def list_models() -> Response:
    return _models()


@models.operation("/v1/models", "GET", "model_list_v1_models_get", ModelListSchema(), summary="Model List")
def list_models_v1() -> Response:
    return _models()


@jobs.operation("/jobs", "GET", "jobs_jobs_get", JobListSchema(), summary="Jobs")
def list_jobs() -> Response:
    enforce(access.may_read_operations(act().caller))
    jobs = services().jobs
    parked = jobs.parked()
    return answer({"jobs": [_job(record, parked[record.name]) for record in jobs.records()]})


def _job(record: JobRecord, parked: Parked) -> dict[str, Any]:
    return {
        **asdict(record),
        "last_started_at": iso(record.last_started_at),
        "last_finished_at": iso(record.last_finished_at),
        "next_due_at": iso(record.next_due_at),
        "parked_rows": parked.rows,
        "parked": [{**asdict(row), "parked_at": iso(row.parked_at)} for row in parked.first],
    }


def docs_assets(name: str) -> Response:
    """The assets of the documentation page, from the installed package."""
    return send_from_directory(swagger_ui_path, name)


def allow_documentation_page(response: Response) -> Response:
    """The page runs its own scripts; nothing may frame it all the same."""
    if request.path == "/docs":
        response.headers["Content-Security-Policy"] = (
            "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; frame-ancestors 'none'"
        )
    return response


def register(app: Flask) -> None:
    app.add_url_rule("/docs/assets/<path:name>", view_func=docs_assets)
    app.after_request(allow_documentation_page)
