"""Request fields that hold an instant or a day."""

import re
from contextlib import suppress
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from typing import Any

from marshmallow import fields

from app.api.fields import refuse
from app.domain.windows import LONGEST_YEARS

_FIRST_YEAR, _LAST_YEAR = MINYEAR + LONGEST_YEARS, MAXYEAR - LONGEST_YEARS - 1
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Instant(fields.DateTime):
    """A date or a date-time; without a zone it is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (TypeError, ValueError, OverflowError) as error:
            raise refuse("datetime_parsing", "Input should be a valid datetime") from error


class CalendarInstant(Instant):
    """An instant at which every budget window can be computed: the longest ones reach a thousand years further."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(value, *args, **kwargs)
        if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
            raise refuse("datetime_range", f"Input should be in the years {_FIRST_YEAR} to {_LAST_YEAR}")
        return moment


class LastInstant(Instant):
    """The end of a range: a date alone is the last instant of its day."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(value, *args, **kwargs)
        whole_day = timedelta(days=1, microseconds=-1) if _DAY.fullmatch(value) else timedelta()
        return min(moment, datetime.max.replace(tzinfo=UTC) - whole_day) + whole_day


class Day(fields.Date):
    """A UTC day, written YYYY-MM-DD."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> date:
        # The standard library reads other ways of ISO 8601 too.
        if isinstance(value, str) and _DAY.fullmatch(value):
            with suppress(ValueError):
                return date.fromisoformat(value)
        raise refuse("date_from_datetime_parsing", "Input should be a valid date in the form YYYY-MM-DD")
