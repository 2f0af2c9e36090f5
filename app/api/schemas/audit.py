"""What the audit endpoints take and answer."""

from typing import Any

from marshmallow import fields as f
from marshmallow import post_load

from app.api.fields import Choice, Name, Whole
from app.api.instant_fields import Instant, LastInstant
from app.api.schemas.key_answers import Answer
from app.api.schemas.pages import PageQuerySchema


class AuditQuerySchema(PageQuerySchema):
    """Filters under our names; LiteLLM's `table_name`, `object_id` and `changed_by_api_key` mean the same."""

    page_size = Whole(low=1, high=100, nullable=False, load_default=10)
    entity = Name(
        metadata={"description": "key, team, user, organization, budget, or LiteLLM's name of its table"}
    )
    entity_id = Name()
    actor_user_id = Name()
    actor_key_id = Name(metadata={"description": "The id of the calling key, never its secret"})
    action = Name(metadata={"description": "generate, update, delete, member_add …: the verb of the endpoint"})
    request_id = Name()
    start_date = Instant(metadata={"description": "The first instant, included"})
    end_date = LastInstant(metadata={"description": "The last instant, included; a date is its whole day"})
    changed_by = Name(metadata={"description": "The claim of `litellm-changed-by`, else the caller's user"})
    changed_by_api_key = Name()
    table_name = Name()
    object_id = Name()
    sort_order = Choice("asc", "desc", nullable=False, load_default="desc")

    @post_load
    def _one_name(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """LiteLLM's names stand in where ours are not sent."""
        for ours, theirs in (
            ("entity", "table_name"),
            ("entity_id", "object_id"),
            ("actor_key_id", "changed_by_api_key"),
        ):
            named = data.pop(theirs, None)
            data[ours] = data.get(ours) or named
        return data


class AuditLogResponseSchema(Answer):
    """One change of one entity: the fields that changed, before and after, secrets masked."""

    id = f.String(required=True)
    updated_at = f.String(required=True)
    changed_by = f.String(required=True)
    changed_by_api_key = f.String(required=True)
    action = f.String(required=True)
    table_name = f.String(required=True)
    object_id = f.String(required=True)
    before_value = f.Dict(required=True, allow_none=True)
    updated_values = f.Dict(required=True, allow_none=True)
    actor_key_id = f.String(required=True, allow_none=True)
    actor_user_id = f.String(required=True, allow_none=True)
    actor_role = f.String(required=True)
    litellm_changed_by = f.String(required=True, allow_none=True)
    request_id = f.String(required=True, allow_none=True)
    address = f.String(required=True, allow_none=True)
    entity = f.String(required=True)
    entity_id = f.String(required=True)


class PaginatedAuditLogResponseSchema(Answer):
    audit_logs = f.List(f.Nested(AuditLogResponseSchema()), required=True)
    total = f.Integer(required=True)
    page = f.Integer(required=True)
    page_size = f.Integer(required=True)
    total_pages = f.Integer(required=True)
