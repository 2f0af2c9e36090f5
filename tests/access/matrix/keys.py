"""The rows of keys: who sees a key, and who does what to it.

Written from the contract's table of who may call, as changed by the decisions on it: a key out of sight is a 404.
"""

import hashlib
from typing import Any

from tests.access.callers import (
    ADMINS,
    CALLERS,
    EVERYBODY,
    INTERNAL,
    MANAGERS,
    MANAGERS_ELSEWHERE,
    MASTER,
    ORG_ADMINS,
    OWNERS,
    PLAIN_MEMBERS,
    SEE_ALL,
    VIEWER,
)
from tests.access.oracle import Noun, Row, joined, on

MEMBERS = frozenset({"team admin", *PLAIN_MEMBERS})
SERVICE = frozenset({"service account"})
WITH_KEY = frozenset(CALLERS) - {MASTER, "no key", "wrong key"}

# Own ones are the caller's in no team; `given` and mostly `itself` were made by an administrator. `made` was made
# by the caller for somebody else. The key of a team is nobody's.
SEES = {
    "itself": WITH_KEY,
    "own": OWNERS,
    "given": OWNERS,
    "made": SEE_ALL,
    "own in team": MEMBERS,
    "mate's": SEE_ALL | MANAGERS | PLAIN_MEMBERS | SERVICE,
    "team's": SEE_ALL | MANAGERS | PLAIN_MEMBERS | SERVICE,
    "elsewhere": SEE_ALL | MANAGERS_ELSEWHERE,
}
KEY = Noun(
    "key",
    SEES,
    held_by={"itself": WITH_KEY, "own": OWNERS, "given": OWNERS, "made": OWNERS, "own in team": MEMBERS},
)

EVERY_KEY = on(ADMINS, *SEES)
OF_OWN_TEAM = on(MANAGERS, "own in team", "mate's", "team's")
OF_TEAM_ELSEWHERE = on(MANAGERS_ELSEWHERE, "elsewhere")
MANAGING = joined(EVERY_KEY, OF_OWN_TEAM, OF_TEAM_ELSEWHERE)

# Whom the role lets manage keys at all: administrators, and organization admins beside internal users.
KEEPERS = ADMINS | INTERNAL | ORG_ADMINS

# A plain member needs its team's grant for some things; the lack of one is a 401 of its own.
UNGRANTED = {("member", "own in team"): 401}


def _named(**fields: Any) -> Any:
    return lambda key: {"json": {"key": key, **fields}}


OF_ONE_KEY = (
    Row(
        method="GET",
        route="/key/info",
        noun=KEY,
        sends=lambda key: {"query": {"key": key}},
        may=SEES,
    ),
    Row(
        method="GET",
        route="/budget/calendar",
        does="of a key",
        noun=KEY,
        sends=lambda key: {"query": {"key": key}},
        may=SEES,
    ),
    Row(
        method="POST",
        route="/v2/key/info",
        noun=KEY,
        sends=lambda key: {"json": {"keys": [key]}},
        may=SEES,
        hidden=200,  # keys out of sight are left out
    ),
    Row(
        method="POST",
        route="/key/update",
        noun=KEY,
        sends=_named(tags=["x"]),
        reaches=KEEPERS | SERVICE,
        may=joined(
            EVERY_KEY,
            on(INTERNAL | ORG_ADMINS, "own"),  # both made and owned
            on(frozenset({"team admin", "granted member"}), "own in team"),
            on(MANAGERS | SERVICE, "team's"),
            on(SERVICE, "itself"),
            OF_TEAM_ELSEWHERE,
        ),
        odd=UNGRANTED,
    ),
    Row(
        method="POST",
        route="/key/update",
        does="a budget",
        noun=KEY,
        sends=_named(max_budget=1),
        reaches=KEEPERS | SERVICE,
        may=joined(
            EVERY_KEY, on(frozenset({"team admin"}), "own in team"), on(MANAGERS, "team's"), OF_TEAM_ELSEWHERE
        ),
        odd=UNGRANTED,
    ),
    Row(
        method="POST",
        route="/key/update",
        does="the owner",
        noun=KEY,
        sends=_named(user_id="somebody else"),
        reaches=KEEPERS | SERVICE,
        may=EVERY_KEY,
    ),
    Row(
        method="POST",
        route="/key/update",
        does="the routes",
        noun=KEY,
        sends=_named(allowed_routes=["/key/info"]),
        reaches=KEEPERS | SERVICE,
        may=EVERY_KEY,
        odd=UNGRANTED,
    ),
    Row(
        method="POST",
        route="/key/delete",
        noun=KEY,
        sends=lambda key: {"json": {"keys": [key]}},
        reaches=KEEPERS,
        may=joined(MANAGING, on(INTERNAL | ORG_ADMINS, "itself", "own", "given", "own in team")),
    ),
    *(
        Row(method="POST", route=route, noun=KEY, sends=_named(), reaches=KEEPERS, may=MANAGING)
        for route in ("/key/block", "/key/unblock")
    ),
    *(
        Row(
            method="POST",
            route=route,
            noun=KEY,
            sends=sends,
            reaches=KEEPERS,
            may=joined(
                MANAGING,
                on(INTERNAL | ORG_ADMINS, "itself", "own", "given"),
                on(frozenset({"granted member"}), "own in team"),
            ),
            odd=UNGRANTED,
        )
        for route, sends in (
            ("/key/regenerate", lambda key: {"query": {"key": key}}),
            ("/key/{key}/regenerate", lambda key: {"path": {"key": key}}),
        )
    ),
    Row(
        method="POST",
        route="/key/{key}/reset_spend",
        noun=KEY,
        sends=lambda key: {"path": {"key": key}, "json": {"reset_to": 0}},
        reaches=KEEPERS,
        may=MANAGING,
    ),
    Row(
        method="POST",
        route="/key/bulk_update",
        noun=KEY,
        sends=lambda key: {"json": {"keys": [{"key": key, "tags": ["x"]}]}},
        reaches=KEEPERS,
        may=EVERY_KEY,
        hidden=403,
        odd=dict.fromkeys(((admin, "unknown") for admin in ADMINS), 200),  # told of each key by itself
    ),
)

# --- lists ---------------------------------------------------------------------------------------------------

OWNED = on(OWNERS - {"blocked key", "expired key"}, "itself", "own", "given", "own in team")
LISTED_OF_ALL = on(ADMINS | {VIEWER}, *SEES)
# A list reaches into the teams that one is in; those of an organization that one administers are not among them.
LISTABLE = {**SEES, **{team_key: SEES[team_key] - ORG_ADMINS for team_key in ("mate's", "team's", "elsewhere")}}
# A key without an owner has no list, but for the master key.
LISTERS = OWNERS - {"blocked key", "expired key"} | ADMINS

LISTS = (
    Row(
        method="GET",
        route="/key/list",
        noun=KEY,
        sends=lambda _: {"query": {"size": 100}},
        seen_by=on(EVERYBODY, *SEES, "unknown"),
        may=on(LISTERS, *SEES, "unknown"),
        shows=joined(LISTED_OF_ALL, OWNED),
    ),
    Row(
        method="GET",
        route="/key/list",
        does="with the teams' keys",
        noun=KEY,
        sends=lambda _: {"query": {"size": 100, "include_team_keys": True, "include_created_by_keys": True}},
        seen_by=on(EVERYBODY, *SEES, "unknown"),
        may=on(LISTERS, *SEES, "unknown"),
        shows=joined(
            LISTED_OF_ALL,
            OWNED,
            on(OWNERS, "made"),
            on(frozenset({"team admin", "granted member"}), "mate's"),
            on(MEMBERS, "team's"),
            on(frozenset({"other team admin"}), "elsewhere"),
        ),
    ),
    Row(
        method="GET",
        route="/key/list",
        does="by a hash",
        noun=KEY,
        sends=lambda key: {"query": {"key_hash": hashlib.sha256(key.encode()).hexdigest()}},
        seen_by=LISTABLE,
        may=on(LISTERS, *SEES),
        hidden=403,
        odd=dict.fromkeys(((caller, "unknown") for caller in ADMINS | {VIEWER}), 200),
    ),
    Row(
        method="GET",
        route="/key/aliases",
        sends=lambda _: {},
        reaches=KEEPERS | {VIEWER},
        may={"none": KEEPERS | {VIEWER}},
    ),
)

HEALTH = (Row(method="POST", route="/key/health", may={"none": EVERYBODY}),)

ROWS = (*OF_ONE_KEY, *LISTS, *HEALTH)
