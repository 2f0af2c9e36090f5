"""Faults planted in the protocol, each with the shortest order of events that shows it.

Each is one rule left out or done the obvious wrong way.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.model import balance_faults as balances
from tests.model import ledger_faults as ledger
from tests.model import policy_faults as policies
from tests.model import request_faults as requests
from tests.model import rollover_faults as rollover
from tests.model.machine import Balances, Books, Calls, Machine, Policies
from tests.model.redis import Redis
from tests.model.requests import Requests
from tests.model.sql import Sql
from tests.model.world import World


class Fault(NamedTuple):
    """The faulty part, an order of events, and the machine that comes to such orders soonest, where one does in seconds."""

    part: type[Redis | Sql | Requests]
    order: Callable[[World], None]
    machine: type[Machine] | None
    rolls: bool = False

    @property
    def parts(self) -> dict[str, Any]:
        kinds = {"redis_kind": Redis, "sql_kind": Sql, "requests_kind": Requests}
        faulty = {name: self.part for name, kind in kinds.items() if issubclass(self.part, kind)}
        return {"rolls": self.rolls, **faulty}


# The first twelve are what a reader of the protocol thinks of; the others became known while it was modelled.
FAULTS: dict[str, Fault] = {
    "no mark": Fault(policies.NoMark, policies.a_publication_is_lost, Policies),
    "seeded from the state alone": Fault(ledger.SeededFromTheState, ledger.redis_is_lost_before_a_fold, Balances),
    "folded by watermark": Fault(ledger.FoldedByWatermark, ledger.a_lower_number_is_committed_later, Books),
    "freed by time": Fault(balances.FreedByTime, balances.a_lease_ends_before_a_charge_is_applied, Balances),
    "applied twice": Fault(balances.AppliedTwice, ledger.a_settle_is_repeated, Balances),
    "zeroed, then folded": Fault(ledger.ZeroedThenFolded, ledger.a_window_moves_before_a_fold, Balances),
    "torn snapshot": Fault(policies.TornSnapshot, policies.a_change_between_two_statements, Policies),
    "no unique key": Fault(ledger.NoUniqueKey, ledger.a_settle_is_repeated, Balances),
    "apply creates a counter": Fault(
        balances.ApplyCreates, balances.redis_is_lost_between_commit_and_apply, Balances
    ),
    "version carried by the process": Fault(
        policies.VersionCarriedByTheProcess, policies.redis_is_lost_after_a_change, Policies
    ),
    "tokens of Lua's own": Fault(policies.TokensOfLua, policies.redis_starts_anew_after_a_change, Policies),
    "older set overwrites": Fault(
        balances.OlderSetOverwrites, balances.an_old_read_is_set_after_a_correction, Books
    ),
    "key read with the ids": Fault(
        policies.KeyReadWithTheIds, policies.a_change_between_ids_and_versions, Policies
    ),
    "refused unchecked": Fault(policies.RefusedUnchecked, policies.a_key_is_unblocked, Policies),
    "stored window whatever": Fault(ledger.StoredWindowWhatever, ledger.a_verify_outlasts_its_window, Books),
    "gone windows decide": Fault(balances.GoneWindowsDecide, balances.a_window_moves_during_a_correction, None),
    "nonce ignored": Fault(balances.NonceIgnored, balances.redis_is_lost_between_note_and_set, Books),
    "what was applied is forgotten": Fault(
        balances.ForgetsWhatWasApplied, balances.a_charge_is_applied_after_a_read, Balances
    ),
    "never confirmed": Fault(balances.NeverConfirmed, balances.a_charge_is_applied_after_its_fold, None),
    "confirmed as of the set": Fault(
        balances.ConfirmedAsOfTheSet, balances.a_charge_is_applied_after_its_fold, Balances
    ),
    "tombstone of a duplicate": Fault(
        balances.TombstoneOfADuplicate, balances.a_repeated_settle_overtakes_the_first, None
    ),
    "charged where held": Fault(
        balances.ChargedWhereHeld, balances.a_call_is_settled_where_it_was_held_first, None
    ),
    "released unasked": Fault(requests.ReleasedUnasked, requests.a_charged_hold_is_released, Calls),
    "reaped unasked": Fault(requests.ReapedUnasked, requests.a_charged_hold_is_reaped, Balances),
    "corrected by apply": Fault(
        requests.CorrectedByApply, requests.a_correction_is_read_before_it_is_applied, Balances
    ),
    "folded, then re-based": Fault(requests.FoldedThenRebased, requests.a_correction_and_its_fold_die, Books),
    "opened at zero": Fault(rollover.OpenedAtZero, rollover.a_window_passes_overspent, Balances, rolls=True),
    "folded where it happened": Fault(
        rollover.FoldedWhereItHappened, rollover.a_call_is_settled_after_its_window, Balances, rolls=True
    ),
    "folded by what is stored": Fault(
        rollover.FoldedByWhatIsStored, rollover.a_late_charge_is_not_applied, None, rolls=True
    ),
}
