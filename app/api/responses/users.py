"""The bodies of the user endpoints."""

from typing import Any

from app.api.responses.keys import generated
from app.services.users import NewUser, UserInfo

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
