"""The `/organization/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.schemas.organizations import (
    ROSTER,
    DeleteOrganizationRequestSchema,
    LiteLLM_OrganizationMembershipTableSchema,
    LiteLLM_OrganizationTableUpdateSchema,
    LiteLLM_OrganizationTableWithMembersSchema,
    NewOrganizationRequestSchema,
    NewOrganizationResponseSchema,
    OrganizationAddMemberResponseSchema,
    OrganizationInfoQuerySchema,
    OrganizationListItemSchema,
    OrganizationMemberAddRequestSchema,
    OrganizationMemberDeleteRequestSchema,
    OrganizationMemberUpdateRequestSchema,
    OrganizationQuerySchema,
)
from app.domain.organizations import UNENFORCED_FIELDS
from app.errors import Conflict, InvalidRequest, NotFound
from app.services.organizations.organization_lists import ListedOrganization, OrganizationQuery
from app.services.organizations.organizations import OrganizationInfo
from app.services.teams.team_views import TeamView

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


@organizations.operation(
    "/organization/list",
    "GET",
    "list_organization_organization_list_get",
    OrganizationListItemSchema(many=True),
    summary="List Organization",
    raises=(InvalidRequest,),
)
@organizations.takes(OrganizationQuerySchema(), "query")
def list_organizations(query: dict[str, Any]) -> Response:
    asked = OrganizationQuery(size=query.pop("page_size"), **query)
    found = services().organization_lists.list(act(), asked)
    return answer_page([_listed(listed) for listed in found.organizations], found.page)


@organizations.operation(
    "/organization/delete",
    "DELETE",
    "delete_organization_organization_delete_delete",
    NewOrganizationResponseSchema(many=True),
    summary="Delete Organization",
    raises=(InvalidRequest, NotFound, Conflict),
    changes=True,
)
@organizations.takes(DeleteOrganizationRequestSchema())
def delete(sent: dict[str, Any]) -> Response:
    removed = services().organization_ends.delete(act(), sent["organization_ids"])
    return answer([view.fields() for view in removed])


@organizations.operation(
    "/organization/member_add",
    "POST",
    "organization_member_add_organization_member_add_post",
    OrganizationAddMemberResponseSchema(),
    summary="Organization Member Add",
    raises=(InvalidRequest, NotFound, Conflict),
    changes=True,
)
@organizations.takes(OrganizationMemberAddRequestSchema())
def member_add(sent: dict[str, Any]) -> Response:
    added = services().organization_members.member_add(act(), sent)
    return answer(
        {
            "organization_id": added.organization_id,
            "updated_users": added.users,
            "updated_organization_memberships": [member.shown_to(act().caller) for member in added.memberships],
        }
    )


@organizations.operation(
    "/organization/member_update",
    "PATCH",
    "organization_member_update_organization_member_update_patch",
    LiteLLM_OrganizationMembershipTableSchema(),
    summary="Organization Member Update",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@organizations.takes(OrganizationMemberUpdateRequestSchema())
def member_update(sent: dict[str, Any]) -> Response:
    return answer(services().organization_members.member_update(act(), sent).shown_to(act().caller))


@organizations.operation(
    "/organization/member_delete",
    "DELETE",
    "organization_member_delete_organization_member_delete_delete",
    LiteLLM_OrganizationMembershipTableSchema(),
    summary="Organization Member Delete",
    raises=(NotFound,),
    changes=True,
)
@organizations.takes(OrganizationMemberDeleteRequestSchema())
def member_delete(sent: dict[str, Any]) -> Response:
    return answer(services().organization_members.member_delete(act(), sent).shown_to(act().caller))


def _listed(found: ListedOrganization) -> dict[str, Any]:
    return {
        **found.organization.fields(),
        "members": found.members,
        "teams": [_brief(team) for team in found.teams],
        "more_members": found.more_members,
        "more_teams": found.more_teams,
    }


def _brief(team: TeamView) -> dict[str, Any]:
    """A team without those who belong to it, of whom there may be very many."""
    return {name: value for name, value in team.fields().items() if name not in ROSTER}


def _shown(found: OrganizationInfo) -> Response:
    return answer(
        {
            **found.organization.fields(),
            "members": found.members,
            "teams": [team.fields() for team in found.teams],
        }
    )
