"""What the key endpoints answer; these schemas document, `app.api.responses.keys` writes."""

from typing import Any

from marshmallow import INCLUDE, Schema
from marshmallow import fields as f


class Answer(Schema):
    """An answer may grow fields that are not documented one by one."""

    class Meta:
        unknown = INCLUDE


def _text() -> f.String:
    return f.String(allow_none=True)


def _whole() -> f.Integer:
    return f.Integer(allow_none=True)


def _number() -> f.Float:
    return f.Float(allow_none=True)


def _object() -> f.Dict:
    return f.Dict(allow_none=True)


def _texts() -> f.List[Any]:
    return f.List(f.String(), allow_none=True)


def _flag() -> f.Boolean:
    return f.Boolean(allow_none=True)


class KeyFields(Answer):
    """What every answer about a key holds."""

    token = f.String()
    key_name = _text()
    key_alias = _text()
    spend = f.Float()
    expires = _text()
    models = _texts()
    aliases = _object()
    config = _object()
    user_id = _text()
    team_id = _text()
    permissions = _object()
    max_parallel_requests = _whole()
    metadata = _object()
    blocked = _flag()
    tpm_limit = _whole()
    rpm_limit = _whole()
    tpd_limit = _whole()
    max_budget = _number()
    budget_duration = _text()
    budget_start_time = _text()
    budget_timezone = _text()
    budget_rollover = _flag()
    budget_id = _text()
    allowed_cache_controls = _texts()
    allowed_routes = _texts()
    model_max_budget = _object()
    organization_id = _text()
    litellm_budget_table = _object()
    object_permission = _object()
    created_at = _text()
    created_by = _text()
    updated_at = _text()
    updated_by = _text()


class LiteLLM_VerificationTokenSchema(KeyFields):  # noqa: N801 - the wire's component name
    """The row of a key; never its plaintext."""

    key_id = f.String(required=True)
    token = f.String(required=True)
    status = f.String(required=True)
    total_spend = f.Float(required=True)
    soft_budget = _number()
    budget_reset_at = _text()
    org_id = _text()
    budget_limits = f.List(f.Dict(), allow_none=True)


class UserAPIKeyAuthSchema(LiteLLM_VerificationTokenSchema):
    """A key in a list, with the context fields of LiteLLM's object."""

    user = _object()
    created_by_user = _object()


class GenerateKeyResponseSchema(KeyFields):
    key = f.String(required=True, metadata={"description": "The plaintext: this answer alone shows it"})
    token_id = f.String(required=True)


class UpdatedKeySchema(LiteLLM_VerificationTokenSchema):
    key = f.String(required=True, metadata={"description": "As it was sent"})


class UsageFields(Answer):
    """What is used of further budgets; each is there only where such budgets are."""

    model_max_budget_usage = f.Dict(
        metadata={"description": "By model: current_spend, budget_limit, time_period, budget_reset_at"}
    )
    budget_limits_usage = f.Dict(metadata={"description": "By window, as it is spelled: current_spend"})


class KeyInfoRowSchema(KeyFields, UsageFields):
    """What info tells of a key."""


class KeyInfoSchema(Answer):
    key = f.String(required=True, metadata={"description": "As it was sent, else the hash"})
    info = f.Nested(KeyInfoRowSchema(), required=True)


class KeyListResponseObjectSchema(Answer):
    keys = f.List(f.Raw(metadata={"description": "A hash, or an object (UserAPIKeyAuth)"}), required=True)
    total_count = f.Integer(required=True)
    current_page = f.Integer(required=True)
    total_pages = f.Integer(required=True)


class CallbackResultSchema(Answer):
    callback_name = f.String(required=True)
    status = f.String(required=True, metadata={"description": "healthy or unhealthy"})
    http_status = f.Integer(required=True, allow_none=True, metadata={"description": "The destination's answer"})
    milliseconds = f.Integer(required=True, allow_none=True)
    reason = f.String(required=True, allow_none=True)


class LoggingCallbackStatusSchema(Answer):
    callbacks = f.List(f.String(), required=True)
    status = f.String(required=True, metadata={"description": "healthy or unhealthy"})
    details = f.String(required=True)
    results = f.List(f.Nested(CallbackResultSchema()), required=True)


class KeyHealthResponseSchema(Answer):
    key = f.String(required=True, metadata={"enum": ["healthy", "unhealthy"]})
    logging_callbacks = f.Nested(LoggingCallbackStatusSchema(), required=True, allow_none=True)


class DeletedKeysSchema(Answer):
    deleted_keys = f.List(f.String(), required=True, metadata={"description": "Those removed, as sent"})


class BulkUpdateKeyResponseSchema(Answer):
    total_requested = f.Integer(required=True)
    successful_updates = f.List(f.Dict(), required=True)
    failed_updates = f.List(f.Dict(), required=True)


class ResetSpendResponseSchema(Answer):
    key_hash = f.String(required=True)
    spend = f.Float(required=True)
    previous_spend = f.Float(required=True)
    max_budget = _number()
    budget_reset_at = _text()


class KeyAliasesSchema(Answer):
    aliases = f.List(f.String(), required=True)
    total_count = f.Integer(required=True)
    current_page = f.Integer(required=True)
    total_pages = f.Integer(required=True)
    size = f.Integer(required=True)


class KeyInfosSchema(Answer):
    key = f.List(f.String(), allow_none=True, metadata={"description": "As they were sent"})
    info = f.List(f.Dict(), required=True)
