"""What changing many keys of a team takes."""

from typing import Any

from marshmallow import RAISE, ValidationError, fields, validates_schema

from app.api.fields import MAXIMUM_INT32, Choice, Fault, Flag, Money, Name, Object, Rates, Text, TextList, Whole
from app.api.schemas.keys import LIMIT_TYPES, BudgetLimits, LiftedSchema, ModelBudgets, TemporaryIncreaseSchema
from app.api.schemas.requests import Request


class KeyUpdateFieldsSchema(LiftedSchema, TemporaryIncreaseSchema):
    """What may be set on many keys alike; any other field is refused, for it might grant rights."""

    class Meta:
        unknown = RAISE

    max_budget = Money()
    budget_id = Name()
    budget_duration = Text(max_length=64)
    budget_start_time = Text(max_length=8)
    budget_timezone = Text(max_length=64)
    budget_rollover = Flag()
    budget_limits = BudgetLimits()
    model_max_budget = ModelBudgets()
    tpm_limit = Whole()
    rpm_limit = Whole()
    model_tpm_limit = Rates()
    model_rpm_limit = Rates()
    max_parallel_requests = Whole(high=MAXIMUM_INT32)
    rpm_limit_type = Choice(*LIMIT_TYPES)
    tpm_limit_type = Choice(*LIMIT_TYPES)
    duration = Text(max_length=64)
    tags = TextList()
    metadata = Object()

    @validates_schema
    def _changes_something(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError([Fault("value_error", "update_fields must set at least one field")])


class BulkUpdateTeamKeysRequestSchema(Request):
    """Keys by their plaintexts or hashes, or all of the team."""

    team_id = Name(required=True, nullable=False)
    key_ids = TextList()
    all_keys_in_team = Flag(nullable=False, load_default=False)
    update_fields = fields.Nested(KeyUpdateFieldsSchema(), required=True)

    @validates_schema
    def _selects_in_one_way(self, data: dict[str, Any], **_: Any) -> None:
        if bool(data.get("key_ids")) == data["all_keys_in_team"]:
            raise ValidationError([Fault("value_error", "Provide either key_ids or all_keys_in_team")])
