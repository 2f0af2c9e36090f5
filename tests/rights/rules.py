"""Which words of the oracle are for which route."""

from collections.abc import Callable

from tests.rights import oracle_identities as identities
from tests.rights import oracle_keys as keys
from tests.rights.calls import Call
from tests.rights.oracle import Statuses, Who
from tests.rights.world import World

RULES: dict[str, Callable[[World, Who, Call], Statuses]] = {
    "/key/generate": keys.may_generate,
    "/key/service-account/generate": keys.may_generate,
    "/key/update": keys.may_update,
    "/key/regenerate": keys.may_regenerate,
    "/key/delete": keys.may_delete,
    "/key/block": keys.may_block,
    "/key/unblock": keys.may_block,
    "/key/info": keys.may_see,
    "/key/list": keys.may_list,
    "/key/bulk_update": keys.may_update_in_bulk,
    "/key/{key}/reset_spend": keys.may_reset_spend,
    "/team/new": identities.may_make_team,
    "/team/update": identities.may_update_team,
    "/team/block": identities.may_manage_team,
    "/team/unblock": identities.may_manage_team,
    "/team/info": identities.may_see_team,
    "/team/member_add": identities.may_add_member,
    "/team/member_update": identities.may_update_member,
    "/user/new": identities.may_make_user,
    "/user/update": identities.may_update_user,
    "/user/info": identities.may_see_user,
    "/organization/new": identities.may_make_organization,
    "/organization/update": identities.may_update_organization,
    "/organization/info": identities.may_see_organization,
}
EFFECTS: dict[str, Callable[[World, Who, Call], None]] = {
    "/key/generate": keys.generate,
    "/key/service-account/generate": keys.generate,
    "/key/update": keys.update,
    "/key/regenerate": keys.update,
    "/key/delete": keys.delete,
    "/key/block": keys.block,
    "/key/unblock": keys.block,
    "/key/bulk_update": keys.update_in_bulk,
    "/team/new": identities.make_team,
    "/team/update": identities.update_team,
    "/team/block": identities.block_team,
    "/team/unblock": identities.block_team,
    "/team/member_add": identities.add_member,
    "/team/member_update": identities.update_member,
    "/user/new": identities.make_user,
    "/user/update": identities.update_user,
    "/organization/new": identities.make_organization,
    "/organization/update": identities.update_organization,
}
