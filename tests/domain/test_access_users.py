"""Which users a caller may list and delete: the pure rules, by table and by property."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import access
from app.domain.access import Caller, Kind, Role, UserTarget
from tests.domain.test_access import ADMIN, ORG_ADMIN, OWNERLESS, USER, VIEWER, callers, kind

BOTH = replace(ORG_ADMIN, organization_admin_of=frozenset({"org", "other"}))


def target(*organizations: str | None, user_id: str = "bob", role: str | None = None) -> UserTarget:
    return UserTarget(user_id, role, frozenset(organizations))


# --- lists -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "asked", "expected"),
    [
        (ADMIN, (), None),
        (VIEWER, ("anything",), None),
        (ORG_ADMIN, (), None),
        (ORG_ADMIN, ("org", "other"), None),
        (ORG_ADMIN, ("other",), Kind.FORBIDDEN),
        (USER, (), Kind.FORBIDDEN),
        (OWNERLESS, (), Kind.FORBIDDEN),
        (replace(USER, allowed_routes=("/user/list",)), (), Kind.FORBIDDEN),
    ],
)
def test_users_are_listed_by_those_who_administer_some(
    caller: Caller, asked: tuple[str, ...], expected: Kind | None
):
    assert kind(access.may_list_users(caller, asked)) == expected


@given(callers, st.sets(st.sampled_from(["org", "other", "third"])))
def test_whoever_does_not_see_all_lists_members_of_the_own_organizations_alone(caller: Caller, asked: set[str]):
    listed = access.organizations_listed(caller, asked)

    if caller.sees_all:
        assert listed == (asked or None)
    elif access.may_list_users(caller, asked) is None:
        assert listed
        assert listed <= caller.organization_admin_of
        assert not asked or listed <= asked


@pytest.mark.parametrize(
    ("caller", "expected"), [(ADMIN, None), (VIEWER, None), (ORG_ADMIN, Kind.FORBIDDEN), (USER, Kind.FORBIDDEN)]
)
def test_tiers_are_listed_by_those_who_see_all(caller: Caller, expected: Kind | None):
    assert kind(access.may_see_budgets(caller)) == expected


# --- deletion ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "deleted", "expected"),
    [
        (ADMIN, target(), None),
        (ADMIN, target("any", None, role="proxy_admin"), None),
        (VIEWER, target(), Kind.FORBIDDEN),
        (ORG_ADMIN, target("org"), None),
        (ORG_ADMIN, target("org", "other"), Kind.FORBIDDEN),
        (ORG_ADMIN, target("org", None), Kind.FORBIDDEN),
        (ORG_ADMIN, target("other"), Kind.HIDDEN),
        (ORG_ADMIN, target(), Kind.HIDDEN),
        (ORG_ADMIN, target("org", role="proxy_admin"), Kind.FORBIDDEN),
        (ORG_ADMIN, target("org", role="proxy_admin_viewer"), Kind.FORBIDDEN),
        (ORG_ADMIN, target("org", role="org_admin"), None),
        (BOTH, target("org", "other"), None),
        (USER, target(), Kind.HIDDEN),
        (USER, target("org"), Kind.HIDDEN),
        (USER, target(user_id="ann"), Kind.FORBIDDEN),
        (OWNERLESS, target(user_id="ann"), Kind.HIDDEN),
    ],
)
def test_a_user_is_deleted_by_those_above_everything_that_it_belongs_to(
    caller: Caller, deleted: UserTarget, expected: Kind | None
):
    assert kind(access.may_delete_user(caller, deleted)) == expected


@given(callers, st.sets(st.sampled_from(["org", "other", None])), st.sampled_from([None, *Role]))
def test_nobody_but_a_proxy_admin_deletes_beyond_the_own_organizations(
    caller: Caller, organizations: set[str | None], role: Role | None
):
    refusal = access.may_delete_user(caller, UserTarget("bob", role, frozenset(organizations)))

    if refusal is None and not caller.is_admin:
        assert organizations
        assert organizations <= caller.organization_admin_of
        assert role not in {Role.PROXY_ADMIN, Role.PROXY_ADMIN_VIEWER}
