"""What the budget endpoints take and answer, and the limits that others share with a budget."""

from marshmallow import fields as f

from app.api.fields import MAXIMUM_INT32, Flag, Money, Name, Text, TextList, Whole
from app.api.instant_fields import CalendarInstant, Instant
from app.api.schemas.key_answers import Answer
from app.api.schemas.keys import ModelBudgets
from app.api.schemas.pages import PageQuerySchema
from app.api.schemas.requests import Request

# One statement looks them all up.
MOST_BUDGETS = 500
MOST_RESETS = 100


class LimitsSchema(Request):
    """The limits that tiers, teams, users and organizations have in common."""

    max_budget = Money()
    soft_budget = Money()
    budget_duration = Text(max_length=64)
    budget_start_time = Text(max_length=8)
    budget_timezone = Text(max_length=64)
    budget_rollover = Flag()
    model_max_budget = ModelBudgets()
    max_parallel_requests = Whole(high=MAXIMUM_INT32)
    tpm_limit = Whole()
    rpm_limit = Whole()
    tpd_limit = Whole()


class BudgetNewRequestSchema(LimitsSchema):
    budget_id = Name()
    budget_reset_at = Instant()


class BudgetUpdateRequestSchema(BudgetNewRequestSchema):
    """A merge patch: what is not sent stays, null takes a limit off."""


class BudgetRequestSchema(Request):
    budgets = TextList(required=True, longest=MOST_BUDGETS, metadata={"description": "Ids"})


class BudgetListQuerySchema(PageQuerySchema):
    size = Whole(low=1, high=MOST_BUDGETS, nullable=False, load_default=100, data_key="page_size")


class BudgetSettingsQuerySchema(Request):
    budget_id = Name(required=True, nullable=False)


class BudgetCalendarQuerySchema(Request):
    budget_duration = Text(max_length=64)
    budget_start_time = Text(max_length=8)
    budget_timezone = Text(max_length=64)
    budget_rollover = Flag()
    armed_at = CalendarInstant()
    key = Name()
    budget_id = Name()
    team_id = Name()
    user_id = Name()
    organization_id = Name()
    count = Whole(low=1, high=MOST_RESETS, nullable=False, load_default=10)


class WindowSchema(Answer):
    start = f.String(required=True)
    end = f.String(required=True)


class ResetsSchema(Answer):
    budget_duration = f.String(required=True, allow_none=True, metadata={"description": "Null: it never resets"})
    budget_start_time = f.String(required=True)
    budget_timezone = f.String(required=True)
    budget_rollover = f.Boolean(required=True)
    window = f.Nested(WindowSchema(), required=True, allow_none=True)
    resets = f.List(f.String(), required=True)


class BudgetCalendarSchema(ResetsSchema):
    armed_at = f.String(required=True, allow_none=True)
    budget_limits = f.List(
        f.Nested(ResetsSchema()), required=True, metadata={"description": "Of each of several windows"}
    )
    model_max_budget = f.Dict(
        values=f.Nested(ResetsSchema()), required=True, metadata={"description": "Of the budget of each model"}
    )


class BudgetDeleteRequestSchema(Request):
    id = Name(required=True, nullable=False)


class LimitsAnswerSchema(Answer):
    """The limits of a tier, a team or a user, as they are answered."""

    max_budget = f.Float(required=True, allow_none=True)
    soft_budget = f.Float(required=True, allow_none=True)
    budget_duration = f.String(required=True, allow_none=True)
    budget_start_time = f.String(required=True, allow_none=True)
    budget_timezone = f.String(required=True, allow_none=True)
    budget_rollover = f.Boolean(required=True, allow_none=True)
    budget_reset_at = f.String(required=True, allow_none=True)
    model_max_budget = f.Dict(required=True)
    max_parallel_requests = f.Integer(required=True, allow_none=True)
    tpm_limit = f.Integer(required=True, allow_none=True)
    rpm_limit = f.Integer(required=True, allow_none=True)
    tpd_limit = f.Integer(required=True, allow_none=True)
    created_at = f.String(required=True)
    updated_at = f.String(required=True)


class LiteLLM_BudgetTableSchema(LimitsAnswerSchema):  # noqa: N801 - the wire's component name
    """The row of a tier."""

    budget_id = f.String(required=True)
    allowed_models = f.List(f.String(), required=True)
    temp_budget_increase = f.Float(allow_none=True)
    temp_budget_expiry = f.String(allow_none=True)
    created_by = f.String(required=True, allow_none=True)
    updated_by = f.String(required=True, allow_none=True)


class ConfigListSchema(Answer):
    """One setting of a tier, described for a form."""

    field_name = f.String(required=True)
    field_type = f.String(required=True)
    field_description = f.String(required=True)
    field_value = f.Raw(required=True, allow_none=True)
    stored_in_db = f.Boolean(required=True)
    field_default_value = f.Raw(required=True, allow_none=True)
