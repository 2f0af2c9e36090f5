"""The `/budget/*` endpoints: from HTTP to one use case each, and back."""

from typing import Any

from flask import Response

from app.api.auth import act, services
from app.api.blueprint import Blueprint, answer
from app.api.schemas.budgets import (
    BudgetNewRequestSchema,
    BudgetRequestSchema,
    BudgetUpdateRequestSchema,
    LiteLLM_BudgetTableSchema,
)
from app.domain.budgets import UNENFORCED_FIELDS
from app.errors import InvalidRequest, NotFound

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
