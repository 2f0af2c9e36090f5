"""The rows of making keys: for whom, in which team, and with what rights of their own."""

from tests.access.callers import (
    ADMINS,
    CREW,
    ELSEWHERE,
    EVERYBODY,
    INTERNAL,
    MANAGERS,
    MANAGERS_ELSEWHERE,
    ORG_ADMINS,
    OWNERS,
    SEE_ALL,
    VIEWER,
)
from tests.access.matrix.keys import KEEPERS, MEMBERS, SERVICE
from tests.access.oracle import Noun, Row

# Of teams: making a key there, which is refused alike wherever the caller is no member.
HOME = Noun("team", {CREW: EVERYBODY, ELSEWHERE: ADMINS | {VIEWER} | MANAGERS_ELSEWHERE})
USER = Noun("user", {"oneself": OWNERS, "mate": SEE_ALL, "stranger": SEE_ALL}, held_by={"oneself": OWNERS})
# An administrator may name a team or a user that has no row yet.
NAMES_ANYTHING = dict.fromkeys(((admin, "unknown") for admin in ADMINS), 200)
NOT_A_MEMBER = dict.fromkeys(
    ((caller, CREW) for caller in (INTERNAL | ORG_ADMINS) - MEMBERS - MANAGERS),
    400,
)

ROWS = (
    Row(
        method="POST",
        route="/key/generate",
        sends=lambda _: {"json": {}},
        reaches=KEEPERS | SERVICE,
        may={"none": KEEPERS | SERVICE},
    ),
    Row(
        method="POST",
        route="/key/generate",
        does="with routes",
        sends=lambda _: {"json": {"allowed_routes": ["/key/info"]}},
        reaches=KEEPERS | SERVICE,
        may={"none": ADMINS},
    ),
    Row(
        method="POST",
        route="/key/generate",
        does="a gateway",
        sends=lambda _: {"json": {"permissions": {"gateway": True}}},
        reaches=KEEPERS | SERVICE,
        may={"none": ADMINS},
    ),
    Row(
        method="POST",
        route="/key/generate",
        does="in a team",
        noun=HOME,
        sends=lambda team: {"json": {"team_id": team}},
        reaches=KEEPERS | SERVICE,
        may={CREW: ADMINS | MANAGERS | SERVICE | {"granted member"}, ELSEWHERE: ADMINS | MANAGERS_ELSEWHERE},
        hidden=400,
        odd={**NAMES_ANYTHING, **NOT_A_MEMBER, ("member", CREW): 401},
    ),
    Row(
        method="POST",
        route="/key/generate",
        does="for a user",
        noun=USER,
        sends=lambda user: {"json": {"user_id": user}},
        reaches=KEEPERS | SERVICE,
        may={"oneself": KEEPERS, "mate": ADMINS, "stranger": ADMINS},
        hidden=403,
        odd=NAMES_ANYTHING,
    ),
    Row(
        method="POST",
        route="/key/service-account/generate",
        noun=HOME,
        sends=lambda team: {"json": {"team_id": team, "metadata": {"service_account_id": "new"}}},
        reaches=KEEPERS,
        may={CREW: ADMINS | MANAGERS | {"granted member"}, ELSEWHERE: ADMINS | MANAGERS_ELSEWHERE},
        hidden=400,  # the team must exist, whoever asks
        odd={**NOT_A_MEMBER, ("member", CREW): 401},
    ),
)
