"""The reports: from HTTP to one use case each, and back, as JSON or as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flask import Response, request

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, ends
from app.api.responses import spend as responses
from app.api.responses import tabular
from app.api.schemas.key_answers import LiteLLM_VerificationTokenSchema
from app.api.schemas.spend import (
    GlobalSpendKeySchema,
    GlobalSpendKeysQuerySchema,
    LiteLLM_SpendLogsSchema,
    SpendAnalyticsPaginatedResponseSchema,
    SpendEndUserSchema,
    SpendEndUsersQuerySchema,
    SpendKeysQuerySchema,
    SpendLogsQuerySchema,
    SpendTagSchema,
    SpendTagsQuerySchema,
    TeamDailyActivityQuerySchema,
    UserDailyActivityQuerySchema,
)
from app.errors import InvalidRequest
from app.services.reports.report_filters import ReportQuery
from app.services.reports.reports import ActivityPage

spend = Blueprint("spend")


@spend.operation(
    "/spend/keys",
    "GET",
    "spend_key_fn_spend_keys_get",
    LiteLLM_VerificationTokenSchema(many=True),
    summary="Spend Key Fn",
    also_csv=True,
)
@spend.takes(SpendKeysQuerySchema(), "query")
def keys(query: dict[str, Any]) -> Response:
    as_csv = _wants_csv(query)
    rows = [view.fields() for view in services().reports.keys(act(), ReportQuery(**query))]
    return _told(rows, responses.KEY_COLUMNS, as_csv=as_csv)


@spend.operation(
    "/spend/tags",
    "GET",
    "view_spend_tags_spend_tags_get",
    SpendTagSchema(many=True),
    summary="View Spend Tags",
    raises=(InvalidRequest,),
    also_csv=True,
)
@spend.takes(SpendTagsQuerySchema(), "query")
def tags(query: dict[str, Any]) -> Response:
    as_csv = _wants_csv(query)
    asked = ReportQuery(**query)
    found = services().reports.labels(act(), "tag", asked.tags, asked)
    return _told(responses.tags(found), responses.TAG_COLUMNS, as_csv=as_csv)


@spend.operation(
    "/spend/end_users",
    "GET",
    "view_spend_end_users_spend_end_users_get",
    SpendEndUserSchema(many=True),
    summary="View Spend End Users",
    raises=(InvalidRequest,),
    also_csv=True,
)
@spend.takes(SpendEndUsersQuerySchema(), "query")
def end_users(query: dict[str, Any]) -> Response:
    as_csv = _wants_csv(query)
    asked = ReportQuery(**query)
    names = (asked.end_user,) if asked.end_user else ()
    found = services().reports.labels(act(), "end_user", names, asked)
    return _told(responses.end_users(found), responses.END_USER_COLUMNS, as_csv=as_csv)


@spend.operation(
    "/global/spend/keys",
    "GET",
    "global_spend_keys_global_spend_keys_get",
    GlobalSpendKeySchema(many=True),
    summary="Global Spend Keys",
    raises=(InvalidRequest,),
    also_csv=True,
)
@spend.takes(GlobalSpendKeysQuerySchema(), "query")
def global_keys(query: dict[str, Any]) -> Response:
    as_csv = _wants_csv(query)
    found = services().reports.top_keys(act(), ReportQuery(**query))
    return _told(responses.top_keys(found), responses.TOP_KEY_COLUMNS, as_csv=as_csv)


@spend.operation(
    "/spend/logs",
    "GET",
    "view_spend_logs_spend_logs_get",
    LiteLLM_SpendLogsSchema(many=True),
    summary="View Spend Logs",
    raises=(InvalidRequest,),
    also_csv=True,
)
@spend.takes(SpendLogsQuerySchema(), "query")
def logs(query: dict[str, Any]) -> Response:
    as_csv = _wants_csv(query)
    summarized = query.pop("summarize")
    asked = ReportQuery(**query)
    # The sums of days know neither requests nor labels.
    single = asked.request_id or asked.tags or asked.end_user or asked.cursor
    if summarized and asked.start_date and asked.end_date and not single:
        rows, named = services().reports.summary(act(), asked)
        if as_csv:
            return _told(responses.lines(rows, named), responses.SUMMARY_COLUMNS, as_csv=True)
        return answer(responses.summary(rows, named))
    page = services().reports.charges(act(), asked)
    return _told(responses.charges(page), responses.CHARGE_COLUMNS, as_csv=as_csv, cursor=page.next_cursor)


@spend.operation(
    "/user/daily/activity",
    "GET",
    "get_user_daily_activity_user_daily_activity_get",
    SpendAnalyticsPaginatedResponseSchema(),
    summary="Get User Daily Activity",
    raises=(InvalidRequest,),
    also_csv=True,
)
@spend.takes(UserDailyActivityQuerySchema(), "query")
def user_activity(query: dict[str, Any]) -> Response:
    as_csv = _wants_csv(query)
    asked = ReportQuery(**query)
    return _activity(services().reports.user_activity(act(), asked), asked, as_csv=as_csv)


@spend.operation(
    "/team/daily/activity",
    "GET",
    "get_team_daily_activity_team_daily_activity_get",
    SpendAnalyticsPaginatedResponseSchema(),
    summary="Get Team Daily Activity",
    raises=(InvalidRequest,),
    also_csv=True,
)
@spend.takes(TeamDailyActivityQuerySchema(), "query")
def team_activity(query: dict[str, Any]) -> Response:
    as_csv = _wants_csv(query)
    asked = ReportQuery(**query)
    return _activity(services().reports.team_activity(act(), asked), asked, as_csv=as_csv)


def _activity(found: ActivityPage, asked: ReportQuery, *, as_csv: bool) -> Response:
    if as_csv:
        rows = responses.lines(found.rows, found.keys)
        return _told(rows, responses.ACTIVITY_COLUMNS, as_csv=True, cursor=found.next_cursor)
    return ends(answer(responses.activity(found, asked.page, asked.page_size)), found.next_cursor)


def _wants_csv(query: dict[str, Any]) -> bool:
    """What `format` says, taken out of the query; without it, what the Accept header prefers."""
    asked = query.pop("format", None)
    if asked is not None:
        return bool(asked == "csv")
    return request.accept_mimetypes.best_match(["application/json", tabular.CSV]) == tabular.CSV


def _told(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_csv: bool, cursor: str | None = None
) -> Response:
    if not as_csv:
        return ends(answer(rows), cursor)
    return ends(Response(tabular.table(columns, rows), mimetype=tabular.CSV), cursor)
