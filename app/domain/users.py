"""What a request may set on a user, and what is stored for it."""

from collections.abc import Mapping
from typing import Any

from app.domain import budgets
from app.domain.access import Role
from app.domain.organizations import ROLES as ORGANIZATION_ROLES

LIST_FIELDS = frozenset({"models", "policies", "allowed_cache_controls"})
TEXT_FIELDS = frozenset({"user_email", "user_alias", "user_role", "sso_user_id"})

# Stored and echoed, but not acted upon by any check of this service.
UNENFORCED_FIELDS = frozenset({"allowed_cache_controls", "policies", "tpd_limit"})

# What a new user's first key takes from the request; its limits are those of its owner.
FIRST_KEY_FIELDS = frozenset({"key_alias", "duration", "aliases", "config", "permissions", "send_invite_email"})


def columns_of(sent: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Translate the sent fields into the user columns they set; null means a column's default.

    `stored` holds the user's present columns, None while it is being made.

    Memberships, the first key and the object permission are not columns of a user and not dealt with. Raises
    InvalidValue.
    """
    columns = budgets.limits_of(sent, stored or {})
    columns |= {field: sent[field] or [] for field in LIST_FIELDS & sent.keys()}
    columns |= {field: (sent[field] or "").strip() or None for field in TEXT_FIELDS & sent.keys()}
    if "metadata" in sent:
        columns["metadata"] = sent["metadata"] or {}
    if "user_email" in columns:
        columns["email_folded"] = folded(columns["user_email"])
    return columns


def folded(address: str | None) -> str | None:
    """An e-mail address as it is compared: two spellings of one mailbox are one user."""
    return None if address is None else address.strip().casefold() or None


def role_in_organization(role: str | None) -> str:
    """What a user of this role is in an organization that it joins: by default an ordinary member."""
    return role if role in ORGANIZATION_ROLES else Role.INTERNAL_USER.value
