"""The `/organization/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.schemas.organizations import (
    LiteLLM_OrganizationTableUpdateSchema,
    LiteLLM_OrganizationTableWithMembersSchema,
    NewOrganizationRequestSchema,
    NewOrganizationResponseSchema,
    OrganizationInfoQuerySchema,
)
from app.domain.organizations import UNENFORCED_FIELDS
from app.errors import Conflict, InvalidRequest, NotFound
from app.services.organizations import OrganizationInfo

organizations = Blueprint("organizations", unenforced=UNENFORCED_FIELDS)


@organizations.operation(
    "/organization/new",
    "POST",
    "new_organization_organization_new_post",
    NewOrganizationResponseSchema(),
    summary="New Organization",
    raises=(InvalidRequest, Conflict),
    changes=True,
)
@organizations.takes(NewOrganizationRequestSchema())
def new(sent: dict[str, Any]) -> Response:
    return answer(services().organizations.new(act(), sent).fields())


@organizations.operation(
    "/organization/update",
    "PATCH",
    "update_organization_organization_update_patch",
    LiteLLM_OrganizationTableWithMembersSchema(),
    summary="Update Organization",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@organizations.takes(LiteLLM_OrganizationTableUpdateSchema())
def update(sent: dict[str, Any]) -> Response:
    services().organization_changes.update(act(), sent)
    return _shown(services().organizations.info(act(), sent["organization_id"]))


@organizations.operation(
    "/organization/info",
    "GET",
    "info_organization_organization_info_get",
    LiteLLM_OrganizationTableWithMembersSchema(),
    summary="Info Organization",
    raises=(NotFound,),
)
@organizations.takes(OrganizationInfoQuerySchema(), "query")
def info(query: dict[str, Any]) -> Response:
    return _shown(services().organizations.info(act(), query["organization_id"]))


def _shown(found: OrganizationInfo) -> Response:
    return answer(
        {
            **found.organization.fields(),
            "members": found.members,
            "teams": [team.fields() for team in found.teams],
        }
    )
