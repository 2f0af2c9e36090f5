"""The `/audit` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.schemas.audit import AuditLogResponseSchema, AuditQuerySchema, PaginatedAuditLogResponseSchema
from app.errors import InvalidRequest, NotFound
from app.services.audit.audit_reads import AuditQuery

audit = Blueprint("audit")


@audit.operation(
    "/audit",
    "GET",
    "get_audit_logs_audit_get",
    PaginatedAuditLogResponseSchema(),
    summary="Get Audit Logs",
    raises=(InvalidRequest,),
)
@audit.takes(AuditQuerySchema(), "query")
def list_entries(query: dict[str, Any]) -> Response:
    asked = AuditQuery(
        size=query.pop("page_size"),
        start=query.pop("start_date", None),
        end=query.pop("end_date", None),
        descending=query.pop("sort_order") == "desc",
        **query,
    )
    found = services().audit_reads.list(act(), asked)
    return answer_page(
        {
            "audit_logs": [entry.fields() for entry in found.entries],
            "total": found.page.total,
            "page": asked.page,
            "page_size": asked.size,
            "total_pages": asked.pages_of(found.page.total),
        },
        found.page,
    )


@audit.operation(
    "/audit/{id}",
    "GET",
    "get_audit_log_by_id_audit__id__get",
    AuditLogResponseSchema(),
    summary="Get Audit Log By Id",
    raises=(NotFound,),
)
def entry(id: str) -> Response:  # noqa: A002 - the wire's name of the parameter
    return answer(services().audit_reads.entry(act(), id).fields())
