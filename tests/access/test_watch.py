"""What the matrix relies on: a write by anybody is noticed, and undone to the last row."""

import pytest

from app.container import Services
from tests.access.world import Watch
from tests.factories import everything
from tests.stores import note


@pytest.mark.usefixtures("world")
def test_a_write_by_anybody_is_noticed_once_and_undone(shared_services: Services, watch: Watch):
    database = shared_services.database
    before = everything(database)
    assert not watch.changed()

    with database.transaction() as transaction:
        note(transaction, shared_services.clock.now())

    assert watch.changed()
    assert not watch.changed()
    assert everything(database) != before
    watch.restore()
    assert everything(database) == before
    assert not watch.changed()


@pytest.mark.usefixtures("world")
def test_a_transaction_that_writes_nothing_is_no_change(shared_services: Services, watch: Watch):
    with shared_services.database.transaction():
        pass

    assert not watch.changed()
