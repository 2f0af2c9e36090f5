"""The `/budget/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer, answer_page
from app.api.responses import budgets as responses
from app.api.schemas.budgets import (
    BudgetCalendarQuerySchema,
    BudgetCalendarSchema,
    BudgetDeleteRequestSchema,
    BudgetListQuerySchema,
    BudgetNewRequestSchema,
    BudgetRequestSchema,
    BudgetSettingsQuerySchema,
    BudgetUpdateRequestSchema,
    ConfigListSchema,
    LiteLLM_BudgetTableSchema,
)
from app.domain.budgets import UNENFORCED_FIELDS
from app.errors import InvalidRequest, NotFound
from app.services.rows.pages import Wanted

budgets = Blueprint("budgets", unenforced=UNENFORCED_FIELDS)


@budgets.operation(
    "/budget/new",
    "POST",
    "new_budget_budget_new_post",
    LiteLLM_BudgetTableSchema(),
    summary="New Budget",
    raises=(InvalidRequest,),
    changes=True,
)
@budgets.takes(BudgetNewRequestSchema())
def new(sent: dict[str, Any]) -> Response:
    return answer(services().budgets.new(act(), sent).fields())


@budgets.operation(
    "/budget/update",
    "POST",
    "update_budget_budget_update_post",
    LiteLLM_BudgetTableSchema(),
    summary="Update Budget",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@budgets.takes(BudgetUpdateRequestSchema())
def update(sent: dict[str, Any]) -> Response:
    return answer(services().budget_changes.update(act(), sent).fields())


@budgets.operation(
    "/budget/info",
    "POST",
    "info_budget_budget_info_post",
    LiteLLM_BudgetTableSchema(many=True),
    summary="Info Budget",
    raises=(InvalidRequest,),
)
@budgets.takes(BudgetRequestSchema())
def info(sent: dict[str, Any]) -> Response:
    found = services().budgets.info(act(), sent["budgets"] or ())
    return answer([view.fields() for view in found])


@budgets.operation(
    "/budget/list",
    "GET",
    "list_budget_budget_list_get",
    LiteLLM_BudgetTableSchema(many=True),
    summary="List Budget",
    raises=(InvalidRequest,),
)
@budgets.takes(BudgetListQuerySchema(), "query")
def list_budgets(query: dict[str, Any]) -> Response:
    found = services().budgets.list(act(), Wanted(**query))
    return answer_page([view.fields() for view in found.views], found.page)


@budgets.operation(
    "/budget/settings",
    "GET",
    "budget_settings_budget_settings_get",
    ConfigListSchema(many=True),
    summary="Budget Settings",
    raises=(NotFound,),
)
@budgets.takes(BudgetSettingsQuerySchema(), "query")
def settings(query: dict[str, Any]) -> Response:
    return answer(responses.settings(services().budgets.settings(act(), query["budget_id"])))


@budgets.operation(
    "/budget/calendar",
    "GET",
    "budget_calendar_budget_calendar_get",
    BudgetCalendarSchema(),
    summary="Budget Calendar",
    raises=(InvalidRequest, NotFound),
)
@budgets.takes(BudgetCalendarQuerySchema(), "query")
def calendar(query: dict[str, Any]) -> Response:
    """When a budget resets.

    The window of now and the next resets of a `budget_duration`, with its start of day and zone, as if it was
    armed now or `armed_at`; or of the one key, tier, team, user or organization that is named, or of the member of
    a team that `team_id` and `user_id` name together.
    """
    found = services().calendars.preview(act(), query, query["count"])
    return answer(responses.calendar(found, services().calendars.installation))


@budgets.operation(
    "/budget/delete",
    "POST",
    "delete_budget_budget_delete_post",
    LiteLLM_BudgetTableSchema(),
    summary="Delete Budget",
    raises=(InvalidRequest, NotFound),
    changes=True,
)
@budgets.takes(BudgetDeleteRequestSchema())
def delete(sent: dict[str, Any]) -> Response:
    return answer(services().budget_ends.delete(act(), sent["id"]).fields())
