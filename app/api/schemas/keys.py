"""What the key endpoints take, field by field; the names are the wire's."""

from typing import Any

from marshmallow import ValidationError, fields, pre_load, validates_schema

from app.api.fields import (
    MAXIMUM_INT32,
    Amount,
    Anything,
    Choice,
    Fault,
    Flag,
    Money,
    Name,
    Number,
    Object,
    Rates,
    Text,
    TextList,
    Whole,
)
from app.api.instant_fields import Instant
from app.api.schemas.pages import PageQuerySchema
from app.api.schemas.requests import Request
from app.domain.access import ADMIN_ONLY_FIELDS
from app.domain.budgets import MOST_MODELS, MOST_WINDOWS
from app.domain.increases import TEMPORARY_FIELDS

# Metadata entries that raise a budget or are an administrator's to set.
LIFTED_FIELDS = ADMIN_ONLY_FIELDS | TEMPORARY_FIELDS
# One statement holds them all, and a store takes so many parameters in one at the most.
MOST_NAMED = 1_000
LIMIT_TYPES = ("guaranteed_throughput", "best_effort_throughput", "dynamic")


def _need_one_of(data: dict[str, Any], one: str, other: str) -> None:
    if not data.get(one) and not data.get(other):
        raise ValidationError([Fault("value_error", f"At least one of '{one}' or '{other}' must be provided")])


class BudgetConfigSchema(Request):
    """Documents the values of `model_max_budget`, which are kept as they were sent; either name of two will do."""

    budget_limit = fields.Float(allow_none=True)
    max_budget = fields.Float(allow_none=True)
    time_period = fields.String(allow_none=True)
    budget_duration = fields.String(allow_none=True)
    tpm_limit = fields.Integer(allow_none=True)
    rpm_limit = fields.Integer(allow_none=True)


class ModelBudgets(Object):
    """Model name to its own budget."""

    def __init__(self) -> None:
        super().__init__(values=fields.Nested(BudgetConfigSchema()), metadata={"maxProperties": MOST_MODELS})


class BudgetLimitSchema(Request):
    budget_duration = Text(required=True)
    budget_start_time = Text(max_length=8)
    budget_timezone = Text(max_length=64)
    max_budget = Money(required=True)


class BudgetLimits(fields.List[Any]):
    """Several windows on one key."""

    def __init__(self) -> None:
        super().__init__(fields.Nested(BudgetLimitSchema()), allow_none=True, metadata={"maxItems": MOST_WINDOWS})


class LiteLLM_ObjectPermissionBaseSchema(Request):  # noqa: N801 - the wire's component name
    """What a key may reach beside models; null and {} mean none."""

    mcp_servers = TextList()
    mcp_access_groups = TextList()
    mcp_toolsets = TextList()
    mcp_tool_permissions = Object()
    mcp_tool_search_enabled = Flag()
    vector_stores = TextList()
    agents = TextList()
    agent_access_groups = TextList()
    models = TextList()
    blocked_tools = TextList()
    search_tools = TextList()
    skills = TextList()


class LiftedSchema(Request):
    """Settings of a key, with metadata among them."""

    @pre_load
    def _lift(self, data: Any, **_: Any) -> Any:
        """Read what carries rights as a field of its own wherever it stands, so that the same checks meet it."""
        metadata = data.get("metadata") if isinstance(data, dict) else None
        if not isinstance(metadata, dict) or not LIFTED_FIELDS & metadata.keys():
            return data
        lifted = {name: metadata[name] for name in LIFTED_FIELDS & metadata.keys()}
        kept = {name: value for name, value in metadata.items() if name not in lifted}
        return {**lifted, **data, "metadata": kept}


class KeySettingsSchema(LiftedSchema):
    """The settings that creating, updating and regenerating a key have in common."""

    key_alias = Name()
    duration = Text(max_length=64)
    user_id = Name()
    team_id = Name()
    budget_id = Name()
    organization_id = Name()
    project_id = Name()
    agent_id = Name()
    models = TextList()
    aliases = Object()
    config = Object()
    permissions = Object()
    metadata = Object()
    spend = Money()
    max_budget = Money()
    soft_budget = Money()
    budget_duration = Text(max_length=64)
    budget_start_time = Text(max_length=8)
    budget_timezone = Text(max_length=64)
    budget_rollover = Flag()
    budget_limits = BudgetLimits()
    model_max_budget = ModelBudgets()
    budget_fallbacks = Object()
    max_parallel_requests = Whole(high=MAXIMUM_INT32)
    tpm_limit = Whole()
    rpm_limit = Whole()
    tpd_limit = Whole()
    model_rpm_limit = Rates()
    model_tpm_limit = Rates()
    mcp_rpm_limit = Rates()
    tag_rpm_limit = Rates()
    rpm_limit_type = Choice(*LIMIT_TYPES)
    tpm_limit_type = Choice(*LIMIT_TYPES)
    allowed_cache_controls = TextList()
    allowed_routes = TextList()
    allowed_passthrough_routes = TextList()
    denied_passthrough_routes = TextList()
    blocked = Flag()
    tags = TextList()
    guardrails = TextList()
    disable_global_guardrails = Flag()
    enforced_params = TextList()
    policies = TextList()
    prompts = TextList()
    access_group_ids = TextList()
    object_permission = fields.Nested(LiteLLM_ObjectPermissionBaseSchema(), allow_none=True)
    default_estimated_output_tokens = Whole(low=1)
    default_estimated_output_tokens_per_model = Rates()
    throttle_on_budget_exceeded = Flag()
    enable_prompt_caching = Flag()
    end_user_budget_id = Name()
    allowed_vector_store_indexes = fields.List(Object(), allow_none=True)
    router_settings = Object()
    auto_rotate = Flag()
    rotation_interval = Text(max_length=64)
    send_invite_email = Flag()


class GenerateKeyRequestSchema(KeySettingsSchema):
    key = Text(max_length=256)
    key_type = Choice("default", "llm_api", "management", "read_only")


class TemporaryIncreaseSchema(Request):
    """A budget that is higher until a moment."""

    temp_budget_increase = Number()
    temp_budget_expiry = Instant()

    @validates_schema
    def _increases_until(self, data: dict[str, Any], **_: Any) -> None:
        if (data.get("temp_budget_increase") is None) != (data.get("temp_budget_expiry") is None):
            raise ValidationError(
                [Fault("value_error", "temp_budget_increase and temp_budget_expiry must be set together")]
            )


class UpdateKeyRequestSchema(KeySettingsSchema, TemporaryIncreaseSchema):
    """A merge patch: what is not sent stays. `key_alias` finds the key where `key` is not sent."""

    key = Text(max_length=256)
    key_type = Anything()
    carry_spend = Flag(
        metadata={"description": "Begin the window that the key gets now with what it has spent so far"}
    )

    @validates_schema
    def _names_a_key(self, data: dict[str, Any], **_: Any) -> None:
        _need_one_of(data, "key", "key_alias")


class RegenerateKeyRequestSchema(KeySettingsSchema):
    """Settings to change with the secret; those not sent stay."""

    key = Text(max_length=256)
    new_key = Text(max_length=256)
    grace_period = Text(max_length=64, metadata={"description": "How long the old secret lives on, such as 24h"})
    key_type = Anything()


class BulkUpdateItemSchema(Request):
    key = Text(max_length=256, required=True, nullable=False)
    budget_id = Name()
    max_budget = Money()
    team_id = Name()
    tags = TextList()
    object_permission = fields.Nested(LiteLLM_ObjectPermissionBaseSchema(), allow_none=True)


class BulkUpdateKeyRequestSchema(Request):
    keys = fields.List(fields.Nested(BulkUpdateItemSchema()), required=True)


class ResetSpendRequestSchema(Request):
    reset_to = Amount(required=True)


class KeyInfosRequestSchema(Request):
    keys = TextList(longest=MOST_NAMED)
    key_aliases = TextList(longest=MOST_NAMED)

    @validates_schema
    def _names_keys(self, data: dict[str, Any], **_: Any) -> None:
        _need_one_of(data, "keys", "key_aliases")


class KeyAliasesQuerySchema(PageQuerySchema):
    size = Whole(low=1, high=100, nullable=False, load_default=50)
    search = Text()
    team_id = Text()


class KeyRequestSchema(Request):
    """The keys to delete, by plaintext or hash, and by alias."""

    keys = TextList(longest=MOST_NAMED)
    key_aliases = TextList(longest=MOST_NAMED)

    @validates_schema
    def _names_keys(self, data: dict[str, Any], **_: Any) -> None:
        _need_one_of(data, "keys", "key_aliases")


class BlockKeyRequestSchema(Request):
    key = Text(max_length=256, required=True)

    @validates_schema
    def _names_a_key(self, data: dict[str, Any], **_: Any) -> None:
        if data.get("key") is None:
            raise ValidationError({"key": [Fault("string_type", "Input should be a valid string")]})


class KeyInfoQuerySchema(Request):
    key = Text(metadata={"description": "The key (sk-...) or its hash; the caller's own key when left out"})


class KeyListQuerySchema(PageQuerySchema):
    size = Whole(low=1, high=100, nullable=False, load_default=10)
    user_id = Name()
    team_id = Name()
    organization_id = Name()
    key_hash = Name()
    key_alias = Name()
    return_full_object = Flag(nullable=False, load_default=False)
    include_team_keys = Flag(nullable=False, load_default=False)
    include_created_by_keys = Flag(nullable=False, load_default=False)
    sort_by = Text(metadata={"description": "Column to sort by; newest first when left out"})
    sort_order = Text(load_default="desc", metadata={"description": "'asc' or 'desc'"})
    expand = fields.List(Text(), metadata={"description": "`user` adds the owner and the creator"})
    status = Text(metadata={"description": "active, expired, revoked or deleted"})
    expires = Text(metadata={"description": "active or expired"})
    search = Name(metadata={"description": "A key hash, or part of an alias"})
    project_id = Name()
    access_group_id = Name()
    agent_id = Name()
    substring_matching = Flag(nullable=False, load_default=False)
