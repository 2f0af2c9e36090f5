"""Users: people and service identities that own keys and belong to teams and organizations."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, insert

from app.db import Database
from app.domain import access, minting
from app.domain import keys as key_rules
from app.domain.access import Caller
from app.domain.callbacks import Vault
from app.domain.further_budgets import further_accounts
from app.domain.scopes import Scope, ScopeKind
from app.domain.teams import OWN_TIER_FIELDS, member_tier
from app.domain.users import FIRST_KEY_FIELDS, columns_of, role_in_organization
from app.domain.windows import Calendar
from app.errors import Conflict, NotFound, ServiceError
from app.models import organization_members, team_members, users
from app.services.access.refusals import enforce, rules, unknown_reference
from app.services.access.standings import of_organizations, of_teams
from app.services.accounts import accounts
from app.services.audit import audit
from app.services.audit.audit import Act, Changed
from app.services.events import delivery
from app.services.events.delivery import Event
from app.services.keys import key_relations
from app.services.keys.key_maker import KeyMaker
from app.services.keys.keys import GeneratedKey
from app.services.organizations.organization_views import OrganizationMemberView
from app.services.rows import claims
from app.services.teams import memberships, team_rows
from app.services.teams.memberships import Joining
from app.services.thresholds import watched
from app.services.users import user_rows
from app.services.users.user_views import UserView
from app.store import policies
from app.store.policies import Policies


@dataclass(frozen=True, slots=True)
class NewUser:
    """A new user with its first key, None where none was wanted."""

    view: UserView
    key: GeneratedKey | None


@dataclass(frozen=True, slots=True)
class _Draft:
    """A user that a request has described, and the first key that it would get."""

    user_id: str
    request: Mapping[str, Any]
    columns: Mapping[str, Any]
    key: Mapping[str, Any]
    key_columns: Mapping[str, Any]


class Users:
    def __init__(
        self, database: Database, policy_store: Policies, calendar: Calendar, maker: KeyMaker, vault: Vault
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._calendar = calendar
        self._maker = maker
        self._vault = vault

    def new(self, act: Act, sent: Mapping[str, Any]) -> NewUser:
        """Make a user with its memberships and, unless `auto_create_key` is false, a first key.

        Raises Conflict where the id, the e-mail or the single sign-on id is somebody's, InvalidRequest,
        BadAlias, Forbidden and its kin, and StoreUnavailable. A failed call leaves nothing behind.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        self._check(act, request)
        user_id = request.get("user_id") or str(uuid.uuid4())
        names_taken = taken(user_id, request)
        with rules(request.get("key_alias"), names_taken):
            draft = self._draft(act, user_id, request)
            # The user stands in the versions of each of its keys, in whatever team.
            with (
                self._policies.change([policies.user(user_id)]) as before_commit,
                self._database.transaction() as transaction,
            ):
                claims.check_user(transaction, act.caller, user_id, names_taken["pk_users"])
                view = self._create(transaction, act, draft)
                key = None
                if request.get("auto_create_key", True):
                    key = self._first_key(transaction, act, draft)
                elif request.get("send_invite_email"):
                    delivery.enqueue(transaction, [_invitation(view)], act.at)
                before_commit()
        return NewUser(view, key)

    def _check(self, act: Act, request: Mapping[str, Any]) -> None:
        for organization_id in request.get("organizations") or [None]:
            enforce(access.may_create_in_organization(act.caller, organization_id))
        enforce(access.may_assign_role(act.caller, request.get("user_role"), request.get("organizations", ())))
        enforce(access.may_set(act.caller, request, personal=True))

    def _draft(self, act: Act, user_id: str, request: Mapping[str, Any]) -> _Draft:
        columns = access.bounded(act.caller, columns_of(request))
        enforce(access.within_own_caps(act.caller, {**request, **columns}, columns.get("max_budget_nanos")))
        key = {name: request[name] for name in FIRST_KEY_FIELDS & request.keys()} | {"user_id": user_id}
        columns_of_key = key_rules.columns_of(key, None, self._calendar, act.at, self._vault)
        enforce(access.within_own_caps(act.caller, access.lasting(act.caller, columns_of_key), None))
        key_columns = {
            **access.bounded(act.caller, access.lasting(act.caller, columns_of_key)),
            "allowed_routes": access.routes_of_new(act.caller),
        }
        return _Draft(user_id, request, columns, key, key_columns)

    def _first_key(self, transaction: Connection, act: Act, draft: _Draft) -> GeneratedKey:
        secret = minting.mint()
        return GeneratedKey(secret, self._maker.make(transaction, act, draft.key, draft.key_columns, secret))

    def _create(self, transaction: Connection, act: Act, draft: _Draft) -> UserView:
        request, user_id = draft.request, draft.user_id
        organization_ids = _organizations(transaction, act.caller, request)
        joinings = self._joinings(transaction, act, user_id, request)
        permission_id = key_relations.put_permission(transaction, None, request.get("object_permission"))
        row = {"user_id": user_id, **draft.columns, "object_permission_id": permission_id}
        transaction.execute(insert(users).values({**row, "created_at": act.at, "updated_at": act.at}))
        spelling = draft.columns.get("budget_duration")
        account = accounts.open_account(
            transaction, Scope(ScopeKind.USER, user_id), spelling, self._calendar, act.at
        )
        further = further_accounts(account.scope, draft.columns)
        accounts.replace_further(transaction, {}, further, self._calendar, act.at)
        if watched.bears({}, draft.columns):
            watched.watch(transaction, [account.scope])
        role = role_in_organization(request.get("user_role"))
        _join_organizations(transaction, act, user_id, role, organization_ids)
        memberships.join(transaction, act, joinings, self._calendar)
        view = user_rows.load(transaction, users.c.user_id == user_id, self._calendar, act.at)[user_id]
        audit.record(transaction, act, "new", "user", [Changed(user_id, None, view.fields())])
        self._record_joining(transaction, act, joinings)
        return view

    def _record_joining(self, transaction: Connection, act: Act, joinings: Sequence[Joining]) -> None:
        """Each team that the user joins has changed as well."""
        if not joinings:
            return
        team_ids = [joining.team["team_id"] for joining in joinings]
        user_id = joinings[0].user_id
        joined = and_(team_members.c.user_id == user_id, team_members.c.team_id.in_(team_ids))
        members = team_rows.members(transaction, joined, self._calendar, act.at)
        changes = [Changed(member.team_id, {}, {"members_added": [member.fields()]}) for member in members]
        audit.record(transaction, act, "member_add", "team", changes)

    def _joinings(
        self, transaction: Connection, act: Act, user_id: str, request: Mapping[str, Any]
    ) -> list[Joining]:
        """The teams that the user is to join; one out of the caller's sight answers like one that is not there."""
        asked = {entry["team_id"]: entry for entry in request.get("teams", ())}
        facts = of_teams(transaction, act.caller, asked, lock=True)
        joinings = []
        for team_id, entry in asked.items():
            if team_id not in facts:
                raise unknown_reference("teams")
            refusal = access.may_add_member(act.caller, team_id, facts[team_id].standing)
            enforce(refusal, unknown_reference("teams"))
            tier = member_tier(entry, OWN_TIER_FIELDS, self._calendar, act.at)
            email = request.get("user_email")
            joinings.append(Joining(facts[team_id].row, user_id, email, entry["user_role"], tier))
        return joinings


def _invitation(view: UserView) -> Event:
    """An order to write to a user that has no key of which a mail could tell."""
    payload = {"user_id": view.user_id, "user_email": view.columns["user_email"], "about": "user_created"}
    return Event("invite_mail", "user", view.user_id, payload)


def _organizations(transaction: Connection, caller: Caller, request: Mapping[str, Any]) -> list[str]:
    """The organizations that the user is to belong to; one out of sight answers like one that is not there."""
    wanted = list(dict.fromkeys(request.get("organizations", ())))
    facts = of_organizations(transaction, caller, wanted, lock=True)
    for organization_id in wanted:
        if organization_id not in facts or not access.may_see_organization(
            caller, organization_id, is_member=facts[organization_id].is_member
        ):
            raise unknown_reference("organizations")
    return wanted


def _join_organizations(
    transaction: Connection, act: Act, user_id: str, role: str, organization_ids: Sequence[str]
) -> None:
    if not organization_ids:
        return
    membership = {"user_id": user_id, "user_role": role, "created_at": act.at, "updated_at": act.at}
    rows = [{**membership, "organization_id": organization_id} for organization_id in organization_ids]
    transaction.execute(insert(organization_members), rows)
    joined = [OrganizationMemberView({**row, "budget_id": None}, None).fields() for row in rows]
    changes = [Changed(entry["organization_id"], {}, {"members_added": [entry]}) for entry in joined]
    audit.record(transaction, act, "member_add", "organization", changes)


def taken(user_id: str, request: Mapping[str, Any]) -> dict[str, ServiceError]:
    return {
        "pk_users": Conflict(f"User with id {user_id} already exists.", "user_id"),
        "uq_users_email_folded": Conflict(
            f"User with email {request.get('user_email')} already exists.", "user_email"
        ),
        "uq_users_sso_user_id": Conflict("A user with this sso_user_id already exists.", "sso_user_id"),
    }


def user_not_found(value: str | None, field: str = "user_id") -> NotFound:
    return NotFound(f"User not found, passed {field}={value}", field)
