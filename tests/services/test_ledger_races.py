"""Batches of charges that come at once."""

from datetime import time
from threading import Barrier, Thread
from zoneinfo import ZoneInfo

from app.db import Database
from app.domain.limits import Account
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Calendar
from app.services.audit.audit import SYSTEM, Act
from app.services.ledger import ledger
from app.services.ledger.ledger import Entry
from tests.clocks import START

ROUNDS = 4
CHARGES = 1_000
CALENDAR = Calendar(ZoneInfo("UTC"), time(0))
ACCOUNT = Account(Scope(ScopeKind.KEY, "k"))


def test_batches_that_share_charges_in_any_order_do_not_wait_for_each_other(database: Database):
    written: list[bool] = []

    def append(entries: list[Entry], barrier: Barrier) -> None:
        barrier.wait(60)
        with database.transaction() as transaction:
            written.extend(ledger.append(transaction, entries, Act(SYSTEM, START), CALENDAR))

    for number in range(ROUNDS):
        barrier = Barrier(2)
        entries = [
            Entry("charge", f"{number}-{place}", 1, START, (ACCOUNT,), {"key_id": "k"}) for place in range(CHARGES)
        ]
        threads = [Thread(target=append, args=(order, barrier), daemon=True) for order in (entries, entries[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert (written.count(True), written.count(False)) == (ROUNDS * CHARGES, ROUNDS * CHARGES)
