"""The endpoints of teams' members: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.responses import team_members as responses
from app.api.schemas.team_members import (
    BulkTeamMemberAddRequestSchema,
    BulkTeamMemberAddResponseSchema,
    TeamAddMemberResponseSchema,
    TeamMemberAddRequestSchema,
    TeamMemberDeleteRequestSchema,
    TeamMemberUpdateRequestSchema,
    TeamMemberUpdateResponseSchema,
)
from app.api.schemas.teams import LiteLLM_TeamTableSchema
from app.domain.teams import MEMBER_UNENFORCED_FIELDS
from app.errors import Conflict, InvalidRequest, MemberExists, NotFound

team_members = Blueprint("team_members", unenforced=MEMBER_UNENFORCED_FIELDS)


@team_members.operation(
    "/team/member_add",
    "POST",
    "team_member_add_team_member_add_post",
    TeamAddMemberResponseSchema(),
    summary="Team Member Add",
    raises=(InvalidRequest, MemberExists, NotFound, Conflict),
    changes=True,
)
@team_members.takes(TeamMemberAddRequestSchema())
def member_add(sent: dict[str, Any]) -> Response:
    added = services().team_members.member_add(act(), sent)
    return answer(
        {
            **added.team.fields(),
            "updated_users": added.users,
            "updated_team_memberships": [member.fields() for member in added.memberships],
        }
    )


@team_members.operation(
    "/team/member_update",
    "POST",
    "team_member_update_team_member_update_post",
    TeamMemberUpdateResponseSchema(),
    summary="Team Member Update",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@team_members.takes(TeamMemberUpdateRequestSchema())
def member_update(sent: dict[str, Any]) -> Response:
    return answer(responses.member_updated(services().member_changes.member_update(act(), sent)))


@team_members.operation(
    "/team/bulk_member_add",
    "POST",
    "bulk_team_member_add_team_bulk_member_add_post",
    BulkTeamMemberAddResponseSchema(),
    summary="Bulk Team Member Add",
    raises=(InvalidRequest, NotFound, Conflict),
    changes=True,
)
@team_members.takes(BulkTeamMemberAddRequestSchema())
def bulk_member_add(sent: dict[str, Any]) -> Response:
    return answer(responses.bulk_added(*services().team_members.bulk_member_add(act(), sent)))


@team_members.operation(
    "/team/member_delete",
    "POST",
    "team_member_delete_team_member_delete_post",
    LiteLLM_TeamTableSchema(),
    summary="Team Member Delete",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@team_members.takes(TeamMemberDeleteRequestSchema())
def member_delete(sent: dict[str, Any]) -> Response:
    return answer(services().member_ends.member_delete(act(), sent).fields())
