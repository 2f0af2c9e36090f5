"""By which way the new secrets of keys would leave at present, by the settings and by what is stored."""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sqlalchemy import Connection, select

from app.domain.rotations import Carriers, Way, way_of
from app.models import targets, users


@dataclass(frozen=True, slots=True)
class Ways:
    """What was read for some users."""

    carriers: Carriers
    confirmed: AbstractSet[str]
    addresses: Mapping[str, str]

    def of(self, user_id: str | None) -> Way:
        """The way for the keys of this user, or of nobody; raises InvalidValue, which says what is missing."""
        return way_of(self.carriers, self.confirmed, self.addresses.get(user_id or ""))


class RotationWays:
    def __init__(self, carriers: Carriers) -> None:
        self._carriers = carriers

    def read(self, connection: Connection, user_ids: Collection[str | None]) -> Ways:
        """The ways for the keys of these users; two statements at the most, however many."""
        confirmed: set[str] = set()
        addresses: dict[str, str] = {}
        if self._carriers.targets:
            taken = targets.c.target.in_(self._carriers.targets), targets.c.last_delivered_at.is_not(None)
            confirmed = set(connection.execute(select(targets.c.target).where(*taken)).scalars())
        named = {user_id for user_id in user_ids if user_id}
        if self._carriers.mail and named:
            known = users.c.user_id.in_(named), users.c.user_email.is_not(None)
            found = connection.execute(select(users.c.user_id, users.c.user_email).where(*known))
            addresses = {row.user_id: row.user_email for row in found}
        return Ways(self._carriers, confirmed, addresses)
