"""Making keys."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from app.db import Database
from app.domain import access
from app.domain.access import SERVICE_ACCOUNT, Caller
from app.domain.callbacks import Vault
from app.domain.keys import ROUTES_OF_KEY_TYPE, columns_of
from app.domain.minting import Secret
from app.domain.windows import Calendar
from app.errors import InvalidRequest, StoreUnavailable
from app.services.access.refusals import enforce, rules
from app.services.access.standings import hold_teams, of_teams
from app.services.audit.audit import Act
from app.services.keys.key_maker import KeyMaker
from app.services.keys.key_secrets import KeySecrets
from app.services.keys.key_views import KeyView
from app.services.rows import claims
from app.store import policies
from app.store.policies import Policies


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A new key with the one copy of its plaintext."""

    secret: Secret
    view: KeyView


class Keys:
    def __init__(
        self,
        database: Database,
        policy_store: Policies,
        secrets: KeySecrets,
        calendar: Calendar,
        maker: KeyMaker,
        vault: Vault,
    ) -> None:
        self._database = database
        self._policies = policy_store
        self._secrets = secrets
        self._calendar = calendar
        self._maker = maker
        self._vault = vault

    def generate(self, act: Act, sent: Mapping[str, Any], route: str) -> GeneratedKey:
        """Make a key from the sent wire fields.

        Raises InvalidRequest, BadAlias, Conflict (the custom key exists), Forbidden and its kin, and
        StoreUnavailable. A failed call leaves nothing behind. Sent again without a custom key or an alias, it
        makes another key.
        """
        return self._generate(act, sent, route, owned=True)

    def _generate(self, act: Act, sent: Mapping[str, Any], route: str, *, owned: bool) -> GeneratedKey:
        request = self._completed(act.caller, sent, owned=owned)
        with rules(request.get("key_alias")):
            columns = self._columns(act, request)
            secret = self._secrets.choose(request.get("key"))
            with self._database.transaction() as transaction:
                view = self._create(transaction, act, request, columns, secret, route, owned=owned)
        if request.get("key") is not None:
            self._forget_absence(view.token)
        return GeneratedKey(secret, view)

    def generate_service_account(self, act: Act, sent: Mapping[str, Any], route: str) -> GeneratedKey:
        """Make a key that belongs to a team and to nobody in it; raises what `generate` raises.

        Unlike there, even an administrator must name a team that exists.
        """
        metadata = dict(sent.get("metadata") or {})
        account = metadata.get(SERVICE_ACCOUNT) or sent.get("key_alias") or str(uuid.uuid4())
        metadata[SERVICE_ACCOUNT] = account
        return self._generate(act, {**sent, "metadata": metadata, "user_id": None}, route, owned=False)

    def _completed(self, caller: Caller, sent: Mapping[str, Any], *, owned: bool) -> dict[str, Any]:
        """The request with whom a caller that is no administrator makes a key for by default: itself.

        A service account is nobody: what it makes belongs to its team.
        """
        request = {name: value for name, value in sent.items() if value is not None}
        if not caller.is_admin:
            if caller.is_service_account and not request.get("team_id"):
                request["team_id"] = caller.team_id
            if owned and not request.get("user_id") and caller.user_id is not None:
                request["user_id"] = caller.user_id
        return request

    def _columns(self, act: Act, request: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the new key, within what the calling key may give."""
        caller, key_type = act.caller, request.get("key_type")
        enforce(access.may_set(caller, request, personal=not request.get("team_id")))
        columns = access.lasting(
            caller, access.bounded(caller, columns_of(request, None, self._calendar, act.at, self._vault))
        )
        enforce(access.within_own_caps(caller, {**request, **columns}, columns.get("max_budget_nanos")))
        if key_type in ROUTES_OF_KEY_TYPE:
            columns["allowed_routes"] = ROUTES_OF_KEY_TYPE[key_type]
            enforce(access.may_keep_to(caller, columns["allowed_routes"]))
        else:
            columns.setdefault("allowed_routes", access.routes_of_new(caller))
        return {**columns, "key_type": key_type}

    def _create(
        self,
        transaction: Connection,
        act: Act,
        request: Mapping[str, Any],
        columns: dict[str, Any],
        secret: Secret,
        route: str,
        *,
        owned: bool,
    ) -> KeyView:
        team_id = columns.get("team_id")
        hold_teams(transaction, [team_id])
        facts = of_teams(transaction, act.caller, [team_id])
        team = facts.get(team_id) if team_id is not None else None
        enforce(
            access.may_generate(
                act.caller,
                user_id=columns.get("user_id"),
                team_id=team_id,
                team=None if team is None else team.standing,
                service_account=SERVICE_ACCOUNT in columns.get("metadata", {}),
                route=route,
            )
        )
        if not act.caller.is_admin and act.caller.has_owner:
            claims.hold_owner(transaction, act.caller.user_id)
        if team is None and not owned:
            raise InvalidRequest(f"Team not found, passed team_id={team_id}", "team_id")
        if team is not None and team.row["organization_id"] is not None:
            columns["organization_id"] = team.row["organization_id"]
        return self._maker.make(transaction, act, request, columns, secret)

    def _forget_absence(self, token: str) -> None:
        """A chosen key may have been asked for before it existed. With Redis away no absence is remembered."""
        try:
            self._policies.publish([policies.digest(token)])
        except StoreUnavailable:
            return
