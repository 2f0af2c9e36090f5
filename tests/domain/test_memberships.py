"""The one name of a membership says whose it is."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.teams import member_id, membership

names = st.text(alphabet="ab:1", min_size=1)


@given(names, names)
def test_a_membership_is_known_by_its_name(team_id: str, user_id: str):
    assert membership(member_id(team_id, user_id)) == (team_id, user_id)
