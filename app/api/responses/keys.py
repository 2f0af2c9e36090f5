"""The bodies of the key endpoints, all cut from one set of fields.

The shapes are LiteLLM's; dates, spend and names are written by `KeyView.fields` alone.
"""

from collections.abc import Sequence
from typing import Any

from app.domain import spellings
from app.domain.keys import FOLDED_FIELDS
from app.services.keys.key_bulk import BulkItem
from app.services.keys.key_filters import AliasQuery, KeyQuery
from app.services.keys.key_reads import KeyPage
from app.services.keys.key_views import KeyView
from app.services.keys.keys import GeneratedKey
from app.services.rows.pages import Page

_GENERATED = (
    "key_name",
    "key_type",
    "key_alias",
    "models",
    "spend",
    "max_budget",
    "user_id",
    "team_id",
    "agent_id",
    "organization_id",
    "project_id",
    "max_parallel_requests",
    "metadata",
    "tpm_limit",
    "rpm_limit",
    "tpd_limit",
    *spellings.FIELDS,
    "budget_limits",
    "allowed_cache_controls",
    "config",
    "permissions",
    "model_max_budget",
    "budget_fallbacks",
    "blocked",
    "aliases",
    "budget_id",
    "allowed_routes",
    "router_settings",
    "access_group_ids",
    "litellm_budget_table",
    "expires",
    "created_at",
    "updated_at",
    "created_by",
    "updated_by",
    "key_id",
)
# Folded fields are read from `metadata`; the fields of their own name are null in LiteLLM's answer too.
_ALWAYS_NULL = dict.fromkeys(("duration", "object_permission", *sorted(FOLDED_FIELDS)))

# What LiteLLM's list adds for its own gateway; no join fills them there either.
_CONTEXT: dict[str, Any] = {
    **dict.fromkeys(
        (
            "team_spend",
            "team_alias",
            "team_tpm_limit",
            "team_rpm_limit",
            "team_tpd_limit",
            "team_max_budget",
            "team_soft_budget",
            "team_model_max_budget",
            "team_model_aliases",
            "team_member",
            "team_metadata",
            "team_object_permission_id",
            "team_member_spend",
            "team_member_tpm_limit",
            "team_member_rpm_limit",
            "end_user_id",
            "end_user_tpm_limit",
            "end_user_rpm_limit",
            "end_user_tpd_limit",
            "end_user_max_budget",
            "end_user_model_max_budget",
            "organization_alias",
            "organization_max_budget",
            "organization_tpm_limit",
            "organization_rpm_limit",
            "organization_metadata",
            "project_alias",
            "project_metadata",
            "last_refreshed_at",
            "api_key",
            "user_role",
            "allowed_model_region",
            "parent_otel_span",
            "rpm_limit_per_model",
            "tpm_limit_per_model",
            "user_tpm_limit",
            "user_rpm_limit",
            "user_email",
            "user_spend",
            "user_max_budget",
            "user_model_max_budget",
            "request_route",
            "user",
            "created_by_user",
            "end_user_object_permission",
            "team_object_permission",
            "jwt_claims",
        )
    ),
    "team_models": [],
    "team_blocked": False,
    "is_session_token": False,
}


def generated(key: GeneratedKey) -> dict[str, Any]:
    """The one answer that shows a plaintext."""
    fields = key.view.fields()
    return {
        "key": key.secret.reveal(),
        "token": key.view.token,
        "token_id": key.view.token,
        **{name: fields[name] for name in _GENERATED},
        **_ALWAYS_NULL,
    }


def row(view: KeyView) -> dict[str, Any]:
    return view.fields()


def updated(view: KeyView, reference: str | None) -> dict[str, Any]:
    """The row, led by the key as the request named it; by its hash where it was named by alias."""
    return {"key": reference or view.token, **view.fields()}


def info(view: KeyView, reference: str | None) -> dict[str, Any]:
    return {"key": reference or view.token, "info": _without_token(view)}


def page(found: KeyPage, asked: KeyQuery) -> dict[str, Any]:
    keys: list[Any] = [_listed(view, found) for view in found.views] if found.views else list(found.tokens)
    return {
        "keys": keys,
        "total_count": found.page.total,
        "current_page": asked.page,
        "total_pages": asked.pages_of(found.page.total),
    }


def infos(views: Sequence[KeyView], references: Sequence[str] | None) -> dict[str, Any]:
    """LiteLLM's rows carry no hash here; ours do not either, but `key_id` tells them apart."""
    return {"key": references, "info": [_without_token(view) for view in views]}


def aliases(page: Page, asked: AliasQuery) -> dict[str, Any]:
    return {
        "aliases": page.values,
        "total_count": page.total,
        "current_page": asked.page,
        "total_pages": asked.pages_of(page.total),
        "size": asked.size,
    }


def bulk(items: Sequence[BulkItem]) -> dict[str, Any]:
    done = [item for item in items if item.failed_reason is None]
    failed = [item for item in items if item.failed_reason is not None]
    return {
        "total_requested": len(items),
        "successful_updates": [{"key": item.reference, "key_info": _without_token(item.view)} for item in done],
        "failed_updates": [
            {
                "key": item.reference,
                "key_info": _without_token(item.view),
                "failed_reason": item.failed_reason,
            }
            for item in failed
        ],
    }


def spend_reset(before: KeyView, after: KeyView) -> dict[str, Any]:
    fields = after.fields()
    return {
        "key_hash": after.token,
        "spend": fields["spend"],
        "previous_spend": before.fields()["spend"],
        "max_budget": fields["max_budget"],
        "budget_reset_at": fields["budget_reset_at"],
    }


def _without_token(view: KeyView | None) -> dict[str, Any] | None:
    return None if view is None else {name: value for name, value in view.fields().items() if name != "token"}


def _listed(view: KeyView, found: KeyPage) -> dict[str, Any]:
    fields = {**view.fields(), **_CONTEXT}
    owner = found.owners.get(view.columns["user_id"])
    creator = found.owners.get(view.columns["created_by"])
    if owner is not None:
        fields["user"] = owner
    if creator is not None:
        fields["created_by_user"] = {name: creator[name] for name in ("user_id", "user_email", "user_alias")}
    return fields
