"""The `/team/key/*` endpoint: from HTTP to its use case, and back."""

from typing import Any

from flask import Response, g

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.errors import Detail
from app.api.responses.keys import bulk
from app.api.schemas.key_answers import BulkUpdateKeyResponseSchema
from app.api.schemas.team_keys import BulkUpdateTeamKeysRequestSchema
from app.domain.keys import UNENFORCED_FIELDS
from app.errors import InvalidRequest, NotFound

team_keys = Blueprint("team_keys", unenforced=UNENFORCED_FIELDS)


@team_keys.operation(
    "/team/key/bulk_update",
    "POST",
    "bulk_update_team_keys_team_key_bulk_update_post",
    BulkUpdateKeyResponseSchema(),
    summary="Bulk Update Team Keys",
    raises=(InvalidRequest, NotFound),
    changes=True,
    detail=Detail.OBJECT,
)
@team_keys.takes(BulkUpdateTeamKeysRequestSchema())
def bulk_update(sent: dict[str, Any]) -> Response:
    g.sent_fields = frozenset(sent["update_fields"])  # what of them is not acted upon is told as of one key
    references = None if sent["all_keys_in_team"] else sent["key_ids"]
    items = services().team_keys.bulk_update(act(), sent["team_id"], references, sent["update_fields"])
    return answer(bulk(items))
