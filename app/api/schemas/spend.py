"""What the reports take and answer; `app.api.responses.spend` writes the answers."""

from marshmallow import fields as f

from app.api.fields import Choice, Flag, Name, Names, Text, Whole
from app.api.instant_fields import Day
from app.api.schemas.key_answers import Answer
from app.api.schemas.pages import LAST_PAGE, CursorQuerySchema
from app.api.schemas.requests import Request

LARGEST_PAGE = 1_000
MOST_NAMES = 100


class SpendKeysQuerySchema(Request):
    """One page, in the form that `format` says; without it the Accept header does."""

    page = Whole(low=1, high=LAST_PAGE, nullable=False, load_default=1)
    page_size = Whole(low=1, high=LARGEST_PAGE, nullable=False, load_default=100)
    format = Choice("json", "csv", nullable=False)


class ReportQuerySchema(SpendKeysQuerySchema):
    """The same, of some days."""

    start_date = Day(metadata={"description": "The first UTC day, as YYYY-MM-DD"})
    end_date = Day(metadata={"description": "The last UTC day, included"})


class SpendTagsQuerySchema(ReportQuerySchema):
    tags = Names(most=MOST_NAMES, metadata={"description": "Only these tags, separated by commas"})
    api_key = Text(max_length=256)
    model = Name()


class SpendEndUsersQuerySchema(ReportQuerySchema):
    end_user = Name()
    api_key = Text(max_length=256)
    model = Name()


class GlobalSpendKeysQuerySchema(ReportQuerySchema):
    page_size = Whole(low=1, high=LARGEST_PAGE, nullable=False, load_default=100, data_key="limit")


class SpendLogsQuerySchema(ReportQuerySchema, CursorQuerySchema):
    api_key = Text(max_length=256)
    user_id = Name()
    request_id = Name()
    model = Name()
    team_ids = Names(most=MOST_NAMES, metadata={"description": "Separated by commas"})
    tags = Names(most=MOST_NAMES, metadata={"description": "Charges that have all of them, separated by commas"})
    end_user = Name()
    # Of whole days: their sums, or the single charges.
    summarize = Flag(nullable=False, load_default=True)


class DailyActivityQuerySchema(ReportQuerySchema, CursorQuerySchema):
    page_size = Whole(low=1, high=LARGEST_PAGE, nullable=False, load_default=50)
    api_key = Text(max_length=256)
    model = Name()


class UserDailyActivityQuerySchema(DailyActivityQuerySchema):
    user_id = Name()


class TeamDailyActivityQuerySchema(DailyActivityQuerySchema):
    team_ids = Names(most=MOST_NAMES, metadata={"description": "Separated by commas"})
    exclude_team_ids = Names(most=MOST_NAMES, metadata={"description": "Separated by commas"})
    user_id = Name()


# --- answers -------------------------------------------------------------------------------------------------


class SpendTagSchema(Answer):
    individual_request_tag = f.String(required=True)
    log_count = f.Integer(required=True)
    total_spend = f.Float(required=True)


class SpendEndUserSchema(Answer):
    end_user = f.String(required=True)
    total_count = f.Integer(required=True)
    total_spend = f.Float(required=True)


class GlobalSpendKeySchema(Answer):
    api_key = f.String(required=True, metadata={"description": "The hash; the `key_id` of a key that is gone"})
    key_alias = f.String(required=True, allow_none=True)
    key_name = f.String(required=True, allow_none=True)
    total_spend = f.Float(required=True)


class LiteLLM_SpendLogsSchema(Answer):  # noqa: N801 - the wire's component name
    """A charge; in a summary, the sums of a day."""

    startTime = f.String(required=True)  # noqa: N815 - the wire's name
    spend = f.Float(required=True)
    request_id = f.String()
    api_key = f.String()
    model = f.String()
    user = f.String()
    team_id = f.String(allow_none=True)
    total_tokens = f.Integer()
    prompt_tokens = f.Integer()
    completion_tokens = f.Integer()
    request_tags = f.List(f.String())
    end_user = f.String()
    endTime = f.String()  # noqa: N815
    users = f.Dict(values=f.Float())
    models = f.Dict(values=f.Float())


class SpendMetricsSchema(Answer):
    spend = f.Float(required=True)
    prompt_tokens = f.Integer(required=True)
    completion_tokens = f.Integer(required=True)
    cache_read_input_tokens = f.Integer(required=True)
    cache_creation_input_tokens = f.Integer(required=True)
    total_tokens = f.Integer(required=True)
    api_requests = f.Integer(required=True)
    successful_requests = f.Integer(required=True)
    failed_requests = f.Integer(required=True)


class KeyMetadataSchema(Answer):
    key_alias = f.String(required=True, allow_none=True)
    team_id = f.String(required=True, allow_none=True)


class KeyMetricWithMetadataSchema(Answer):
    metrics = f.Nested(SpendMetricsSchema(), required=True)
    metadata = f.Nested(KeyMetadataSchema(), required=True)


class MetricWithMetadataSchema(Answer):
    metrics = f.Nested(SpendMetricsSchema(), required=True)
    metadata = f.Dict(required=True)
    api_key_breakdown = f.Dict(values=f.Nested(KeyMetricWithMetadataSchema()), required=True)


class BreakdownMetricsSchema(Answer):
    models = f.Dict(values=f.Nested(MetricWithMetadataSchema()), required=True)
    providers = f.Dict(values=f.Nested(MetricWithMetadataSchema()), required=True)
    api_keys = f.Dict(values=f.Nested(KeyMetricWithMetadataSchema()), required=True)
    entities = f.Dict(values=f.Nested(MetricWithMetadataSchema()), required=True)
    model_groups = f.Dict(required=True)
    mcp_servers = f.Dict(required=True)
    endpoints = f.Dict(required=True)


class DailySpendDataSchema(Answer):
    date = f.String(required=True)
    metrics = f.Nested(SpendMetricsSchema(), required=True)
    breakdown = f.Nested(BreakdownMetricsSchema(), required=True)


class DailySpendMetadataSchema(Answer):
    """The totals are those of the page: those of all pages add up to the whole."""

    total_spend = f.Float(required=True)
    total_prompt_tokens = f.Integer(required=True)
    total_completion_tokens = f.Integer(required=True)
    total_tokens = f.Integer(required=True)
    total_api_requests = f.Integer(required=True)
    total_successful_requests = f.Integer(required=True)
    total_failed_requests = f.Integer(required=True)
    total_cache_read_input_tokens = f.Integer(required=True)
    total_cache_creation_input_tokens = f.Integer(required=True)
    page = f.Integer(required=True)
    total_pages = f.Integer(required=True)
    has_more = f.Boolean(required=True)


class SpendAnalyticsPaginatedResponseSchema(Answer):
    results = f.List(f.Nested(DailySpendDataSchema()), required=True)
    metadata = f.Nested(DailySpendMetadataSchema(), required=True)
