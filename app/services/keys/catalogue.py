"""The models that there are, as far as this service knows: those that keys and teams name."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Select, Table, select, true, union

from app.db import Database
from app.domain import access
from app.domain.access import Caller
from app.domain.budgets import ALL_MODELS
from app.errors import NotFound
from app.models import keys, teams
from app.services.access.standings import keys_seen, teams_seen
from app.services.rows.rows import unfolded

# Beyond any client's page; a model further on is found by its name.
MOST_MODELS = 1_000
# What stands in a list of models for others, or for none.
_NO_MODELS = frozenset({*ALL_MODELS, access.OF_TEAM, "no-default-models"})


class Catalogue:
    def __init__(self, database: Database) -> None:
        self._database = database

    def models(self, caller: Caller, model: str | None = None) -> Sequence[str]:
        """The names in the keys and teams that the caller may see, each once and sorted, or the one asked for.

        Raises NotFound where none of them has that name. One statement; of very many, the first by name.
        """
        with self._database.read() as connection:
            found = connection.execute(_named(connection, caller, model)).scalars().all()
        if model and not found:
            raise NotFound(f"Model id = {model} not found.", "litellm_model_id")
        return found


def _named(connection: Connection, caller: Caller, model: str | None) -> Select[str]:
    named = union(
        _models_of(connection, keys, keys_seen(caller)), _models_of(connection, teams, teams_seen(caller))
    ).subquery()
    statement = select(named.c.model).where(named.c.model.not_in(_NO_MODELS))
    if model:
        statement = statement.where(named.c.model == model)
    return statement.order_by(named.c.model).limit(MOST_MODELS)


def _models_of(connection: Connection, table: Table, seen: ColumnElement[bool]) -> Select[str]:
    """Every entry of these rows' lists of models."""
    entries = unfolded(connection, table.c.models)
    return select(entries.c.value.label("model")).select_from(table).join(entries, true()).where(seen)
