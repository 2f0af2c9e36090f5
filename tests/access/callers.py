"""Who calls, in the words of the matrix, and the sets of callers that its tables speak of.

Nothing here knows the application: these are the words of an oracle that judges it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ACME = "acme"
OTHER = "other"
CREW = "crew"
GUILD = "guild"
ELSEWHERE = "elsewhere"
MATE = "mate"
STRANGER = "stranger"
# A member of every team and organization, and one of none.
REGULAR = "regular"
NEWCOMER = "newcomer"

# What the team `guild` grants its plain members.
GRANTS = ("/key/generate", "/key/update", "/key/regenerate", "/key/service-account/generate", "/key/list")


@dataclass(frozen=True, slots=True)
class Caller:
    """`role` is that of the key's owner, who is called as the caller is; None for a key without one.

    `home` is the team that the caller's cells call its own. `key` holds the fields of the calling key.
    """

    role: str | None = "internal_user"
    home: str = CREW
    key: Mapping[str, Any] = field(default_factory=dict)


MASTER = "master"
VIEWER = "viewer"
RESTRICTED = "restricted key"
OPENED = "opened key"

CALLERS: Mapping[str, Caller] = {
    MASTER: Caller(None),
    "proxy admin": Caller("proxy_admin"),
    VIEWER: Caller("proxy_admin_viewer"),
    "org admin": Caller("org_admin"),
    "other org admin": Caller("org_admin"),
    "org member": Caller(),
    "team admin": Caller(),
    "other team admin": Caller(),
    "member": Caller(),
    "granted member": Caller(home=GUILD),
    "internal user": Caller(),
    "internal viewer": Caller("internal_user_viewer"),
    "role team": Caller("team"),
    "role customer": Caller("customer"),
    "ownerless key": Caller(None),
    "team key": Caller(None, key={"team_id": CREW}),
    "service account": Caller(None, key={"team_id": CREW, "metadata": {"service_account_id": "robot"}}),
    "gateway": Caller(None, key={"permissions": {"gateway": True}}),
    "gateway of crew": Caller(None, key={"permissions": {"gateway": True, "gateway_teams": [CREW]}}),
    "blocked key": Caller("proxy_admin", key={"blocked": True}),
    "expired key": Caller("proxy_admin"),
    # An administrator's: the list of its routes binds even this one.
    RESTRICTED: Caller("proxy_admin", key={"allowed_routes": ["/key/info"]}),
    # Of somebody in no team; an administrator has opened every route to it.
    OPENED: Caller(key={"allowed_routes": ["/*"]}),
    "no key": Caller(None),
    "wrong key": Caller(None),
}

NOBODY: frozenset[str] = frozenset()
ADMINS = frozenset({MASTER, "proxy admin"})
SEE_ALL = ADMINS | {VIEWER, RESTRICTED}
# Those whom no key lets in at all.
SHUT = frozenset({"blocked key", "expired key", "no key", "wrong key"})
EVERYBODY = frozenset(CALLERS) - SHUT - {RESTRICTED}
ORG_ADMINS = frozenset({"org admin", "other org admin"})
GATEWAYS = frozenset({"gateway", "gateway of crew"})
# The owner's role is internal_user.
INTERNAL = frozenset(
    {"org member", "team admin", "other team admin", "member", "granted member", "internal user", OPENED}
)
OWNERS = frozenset(name for name, caller in CALLERS.items() if caller.role is not None)

# What each of them is to the team that it calls its own, and to the one elsewhere.
MANAGERS = frozenset({"team admin", "org admin"})
MANAGERS_ELSEWHERE = frozenset({"other team admin", "other org admin"})
PLAIN_MEMBERS = frozenset({"member", "granted member"})
