"""The bodies of the user endpoints."""

from typing import Any

from app.api.responses.keys import generated
from app.domain.access import Role
from app.services.users.user_filters import UserQuery
from app.services.users.user_reads import UserInfo, UserPage
from app.services.users.users import NewUser

# The answer without a first key has no key's fields but these.
_NO_KEY: dict[str, Any] = {"key": "", "key_name": None, "key_alias": None, "expires": None}


def new(made: NewUser) -> dict[str, Any]:
    """The user's fields over those of its first key, whose hash LiteLLM does not tell here."""
    key = _NO_KEY if made.key is None else generated(made.key)
    return {**key, **made.view.fields(), "token": None, "token_id": None}


def info(found: UserInfo) -> dict[str, Any]:
    return {
        "user_id": found.user_id,
        "user_info": None if found.view is None else found.view.fields(),
        "keys": [view.fields() for view in found.keys],
        "teams": [team.fields() for team in found.teams],
    }


def page(found: UserPage, asked: UserQuery) -> dict[str, Any]:
    total = found.page.total
    return {
        "users": [{**view.fields(), "key_count": found.key_counts.get(view.user_id, 0)} for view in found.views],
        "total": total,
        "page": asked.page,
        "page_size": asked.size,
        "total_pages": asked.pages_of(total),
    }


def roles() -> dict[str, dict[str, str]]:
    """What can be chosen for a user, with a label and a sentence for people."""
    return {
        role.value: {"description": description, "ui_label": label}
        for role, (label, description) in _ROLES.items()
    }


# The roles that LiteLLM offers; one in an organization or a team is given there.
_ROLES = {
    Role.PROXY_ADMIN: ("Admin", "Manages everything: keys, users, teams, organizations and budgets"),
    Role.PROXY_ADMIN_VIEWER: ("Admin (view only)", "Sees everything and everybody's spend, and changes nothing"),
    Role.INTERNAL_USER: ("Internal user", "Makes and manages keys of its own, and sees what they spend"),
    Role.INTERNAL_USER_VIEWER: ("Internal user (view only)", "Sees its own keys and what they spend"),
}
