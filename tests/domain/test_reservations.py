"""What a verify promises travels out and back unchanged, and nobody else can have promised it."""

import string
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.limits import Account
from app.domain.minting import Secret
from app.domain.money import MAXIMUM_NANOS
from app.domain.reservations import Reservation, unpacked
from app.domain.scopes import Scope, ScopeKind
from app.domain.windows import Window
from app.errors import InvalidRequest
from app.services.decisions.reservations import Reservations

NAMES = st.text(max_size=20)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.builds(EPOCH.__add__, st.timedeltas(timedelta(0), timedelta(365 * 7_000)))
SCOPES = st.builds(Scope, st.sampled_from(ScopeKind), NAMES, NAMES)
WINDOWS = st.builds(
    lambda start, length: Window(start, start + length), INSTANTS, st.timedeltas(timedelta(1), timedelta(999))
)
ACCOUNTS = st.builds(Account, SCOPES) | st.builds(Account, SCOPES, WINDOWS, INSTANTS)
RESERVATIONS = st.builds(
    Reservation,
    key_id=NAMES,
    request_id=NAMES,
    held_at=INSTANTS,
    amount_nanos=st.integers(0, MAXIMUM_NANOS),
    tokens=st.integers(0, 2**31),
    model=st.none() | NAMES,
    team_id=st.none() | NAMES,
    user_id=st.none() | NAMES,
    organization_id=st.none() | NAMES,
    end_user=st.none() | NAMES,
    tags=st.lists(NAMES, max_size=3).map(tuple),
    accounts=st.lists(ACCOUNTS, max_size=4).map(tuple),
)
SALT, FORMER = Secret("salt-of-the-tests-0123456789"), Secret("salt-of-yesterday-0123456789")
HERE = Reservations(SALT, None)
PLAIN = Reservation(
    key_id="k",
    request_id="r",
    held_at=datetime(2026, 11, 18, 13, 47, 33, 123456, UTC),
    amount_nanos=1,
    tokens=2,
    model="m",
    team_id=None,
    user_id=None,
    organization_id=None,
    end_user=None,
    tags=(),
    accounts=(),
)


@given(RESERVATIONS)
def test_a_reservation_comes_back_as_it_went_to_the_nano_dollar_and_the_microsecond(reservation: Reservation):
    assert unpacked(reservation.packed()) == reservation
    assert HERE.read(HERE.sign(reservation)) == reservation


@given(st.data())
def test_one_changed_character_is_refused(data: st.DataObject):
    signed = HERE.sign(PLAIN)
    place = data.draw(st.integers(0, len(signed) - 1))
    other = data.draw(
        st.sampled_from(string.ascii_letters + string.digits + "-_.").filter(lambda c: c != signed[place])
    )
    changed = signed[:place] + other + signed[place + 1 :]

    # The last character of a base64 text has bits that say nothing.
    with suppress(InvalidRequest):
        assert HERE.read(changed) == PLAIN


@pytest.mark.parametrize(
    "forged",
    ["", ".", "a", "sk-a-key", "é", "null.x", "A" * 65_536, Reservations(FORMER, None).sign(PLAIN)],
)
def test_what_this_service_has_not_signed_is_refused(forged: str):
    with pytest.raises(InvalidRequest) as refused:
        HERE.read(forged)

    assert refused.value.param == "reservation_id"


@pytest.mark.parametrize(
    "packed", [{}, [], 1, {"k": "k"}, {**PLAIN.packed(), "i": [1]}, {**PLAIN.packed(), "s": [["no kind", "", ""]]}]
)
def test_what_is_signed_and_no_reservation_is_refused(packed: Any):
    signed = HERE._serializer.dumps(packed)

    with pytest.raises(InvalidRequest):
        HERE.read(signed)


def test_while_the_salt_key_changes_the_reservations_of_before_are_read():
    before = Reservations(FORMER, None).sign(PLAIN)
    during = Reservations(SALT, FORMER)

    assert during.read(before) == PLAIN
    assert HERE.read(during.sign(PLAIN)) == PLAIN
