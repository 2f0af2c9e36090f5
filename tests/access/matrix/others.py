"""The rows of tiers, the audit, reports, catalogues, and of what is open to everybody."""

from tests.access.callers import ADMINS, EVERYBODY, OPENED, VIEWER
from tests.access.oracle import Noun, Row, opened
from tests.access.world import ENTRY, HAPPENED, TIER

ADMIN_VIEW = ADMINS | {VIEWER}

# --- tiers ---------------------------------------------------------------------------------------------------

BUDGET = Noun("budget", {TIER: ADMIN_VIEW})
BUDGETS = (
    Row(
        method="POST",
        route="/budget/new",
        sends=lambda _: {"json": {"budget_id": "new", "max_budget": 1}},
        reaches=ADMINS,
        may={"none": ADMINS},
        odd=opened(200),
    ),
    Row(
        method="POST",
        route="/budget/update",
        noun=BUDGET,
        sends=lambda budget: {"json": {"budget_id": budget, "max_budget": 1}},
        reaches=ADMINS,
        may={TIER: ADMINS},
        odd=opened(403, TIER, "unknown"),
    ),
    Row(
        method="POST",
        route="/budget/info",
        noun=BUDGET,
        sends=lambda budget: {"json": {"budgets": [budget]}},
        reaches=ADMINS,
        seen_by={TIER: ADMIN_VIEW | {OPENED}},
        may={TIER: ADMINS | {OPENED}},
        hidden=200,  # what is unknown is left out
    ),
    Row(
        method="GET",
        route="/budget/list",
        noun=BUDGET,
        reaches=ADMIN_VIEW,
        seen_by={TIER: ADMIN_VIEW, "unknown": ADMIN_VIEW},
        may={TIER: ADMIN_VIEW, "unknown": ADMIN_VIEW},
        shows={TIER: ADMIN_VIEW},
        odd=opened(403, TIER, "unknown"),
    ),
    Row(
        method="GET",
        route="/budget/settings",
        noun=BUDGET,
        sends=lambda budget: {"query": {"budget_id": budget}},
        reaches=ADMIN_VIEW,
        may={TIER: ADMIN_VIEW},
        odd=opened(403, TIER, "unknown"),
    ),
    Row(
        method="GET",
        route="/budget/calendar",
        does="of a tier",
        noun=BUDGET,
        sends=lambda budget: {"query": {"budget_id": budget}},
        may={TIER: ADMIN_VIEW},
        # No tier is for them, whether there is one or not.
        odd={(caller, tier): 403 for caller in EVERYBODY - ADMIN_VIEW for tier in (TIER, "unknown")},
    ),
    Row(
        method="GET",
        route="/budget/calendar",
        does="of a spelling",
        sends=lambda _: {"query": {"budget_duration": "7d"}},
        may={"none": EVERYBODY},
    ),
    Row(
        method="POST",
        route="/budget/delete",
        noun=BUDGET,
        sends=lambda budget: {"json": {"id": budget}},
        reaches=ADMINS,
        may={TIER: ADMINS},
        odd=opened(403, TIER, "unknown"),
    ),
)

# --- what is for those who see everything --------------------------------------------------------------------

AUDIT = (
    Row(method="GET", route="/audit", reaches=ADMIN_VIEW, may={"none": ADMIN_VIEW}, odd=opened(401)),
    Row(
        method="GET",
        route="/audit/{id}",
        noun=Noun("audit", {ENTRY: ADMIN_VIEW}),
        sends=lambda entry: {"path": {"id": entry}},
        reaches=ADMIN_VIEW,
        may={ENTRY: ADMIN_VIEW},
        odd=opened(401, ENTRY, "unknown"),
    ),
)
HAPPENED_TO = Noun("event", {HAPPENED: ADMIN_VIEW})
EVENTS = (
    *(
        Row(method="GET", route=route, reaches=ADMIN_VIEW, may={"none": ADMIN_VIEW}, odd=opened(401))
        for route in ("/events", "/events/targets")
    ),
    Row(
        method="GET",
        route="/events/{id}",
        noun=HAPPENED_TO,
        sends=lambda event: {"path": {"id": event}},
        reaches=ADMIN_VIEW,
        may={HAPPENED: ADMIN_VIEW},
        odd=opened(401, HAPPENED, "unknown"),
    ),
    Row(
        method="POST",
        route="/events/{id}/replay",
        noun=HAPPENED_TO,
        sends=lambda event: {"path": {"id": event}},
        reaches=ADMINS,
        may={HAPPENED: ADMINS},
        odd=opened(401, HAPPENED, "unknown"),
    ),
)
OF_ALL = tuple(
    Row(method="GET", route=route, reaches=ADMIN_VIEW, may={"none": ADMIN_VIEW}, odd=opened(status))
    for route, status in (("/global/spend/keys", 200), ("/jobs", 401), ("/metrics", 401))
)

# --- what everybody reaches ----------------------------------------------------------------------------------

DAYS = {"start_date": "2026-11-01", "end_date": "2026-11-30"}
REPORTS = tuple(
    Row(method="GET", route=route, sends=lambda _: {"query": DAYS}, may={"none": EVERYBODY})
    for route in (
        "/spend/keys",
        "/spend/tags",
        "/spend/end_users",
        "/spend/logs",
        "/user/daily/activity",
        "/team/daily/activity",
    )
)
CATALOGUES = (
    "/models",
    "/v1/models",
    "/model/info",
    "/v1/model/info",
    "/credentials",
    "/v2/guardrails/list",
    "/policies/list",
    "/v1/unified_access_group",
    "/access_group/list",
)
CATALOGUE = tuple(Row(method="GET", route=route, may={"none": EVERYBODY}) for route in CATALOGUES)

# --- what asks for no key ------------------------------------------------------------------------------------

PUBLIC = (
    *(
        Row(method="GET", route=route, public=True, may={})
        for route in ("/health/liveliness", "/health/liveness", "/openapi.json", "/docs")
    ),
    Row(method="GET", route="/health/readiness", public=True, may={}, done=503),  # nobody works here
    Row(
        method="GET",
        route="/docs/assets/{name}",
        sends=lambda _: {"path": {"name": "swagger-ui.css"}},
        public=True,
        may={},
    ),
    # Nothing is written there, whoever asks.
    *(
        Row(method=method, route=route, public=True, may={}, done=404)
        for route in CATALOGUES
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ),
)

ROWS = (*BUDGETS, *AUDIT, *EVENTS, *OF_ALL, *REPORTS, *CATALOGUE, *PUBLIC)
