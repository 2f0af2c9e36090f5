"""A call that is over, by the names of LiteLLM's standard payload where it has one."""

import math
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields as f

from app.api.fields import Anything, Choice, Flag, Money, Name, Object, Text, TextList, Whole, refuse
from app.api.instant_fields import Instant
from app.api.schemas.requests import Request, about

MOST_NAMES = 1_000
# A call of more tokens than this is a mistake of its gateway.
MOST_TOKENS = 1_000_000_000
_LONGEST_ADDRESS = 2_048
_LONGEST_ERROR = 10_000


class Moment(Instant):
    """An instant as a date-time, or in seconds since 1970."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> datetime:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return super()._deserialize(value, *args, **kwargs)
        try:
            return datetime.fromtimestamp(value if math.isfinite(value) else math.inf, UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise refuse("datetime_parsing", "Input should be a valid datetime") from error


class UsageSchema(Request):
    input_tokens = Whole(high=MOST_TOKENS)
    output_tokens = Whole(high=MOST_TOKENS)


class LoggedUsageSchema(UsageSchema):
    """Without a total, it is both together."""

    total_tokens = Whole(high=MOST_TOKENS)


class FinishedCallSchema(Request):
    """A call that is over; what is left out is taken from its reservation or its charge, as far as these know."""

    # Needed, and asked for where a call among many is answered on its own.
    status = Choice("success", "failure", nullable=False)
    start_time = Moment(metadata=about("As a date-time, or in seconds since 1970"))
    end_time = Moment(metadata=about("The same; now, where it is left out"))
    call_type = Name(metadata=about("As LiteLLM names it, such as acompletion or aembedding"))
    route = Text(max_length=512, metadata=about("The route of the call"))
    model = Name(metadata=about("The model that answered"))
    model_group = Name(metadata=about("The model as the caller names it"))
    model_id = Name(metadata=about("The deployment that answered"))
    custom_llm_provider = Name(metadata=about("Who answered, such as openai"))
    api_base = Text(max_length=_LONGEST_ADDRESS, metadata=about("Where that was"))
    usage = f.Nested(LoggedUsageSchema(), allow_none=True, metadata=about("Tokens that were used"))
    response_cost = Money(metadata=about("Dollars"))
    request_tags = TextList(longest=MOST_NAMES, metadata=about("Labels of the call"))
    end_user = Name(metadata=about("Who called, as the call's body names it"))
    session_id = Name(metadata=about("What the call is shown with"))
    trace_id = Name(metadata=about("What it is a part of; itself, where it is left out"))
    cache_hit = Flag(metadata=about("Whether it was answered from a cache"))
    messages = Anything(
        metadata=about("What was asked: dropped unless `log_messages` of the key or its team allows it")
    )
    response = Anything(metadata=about("What was answered: the same"))
    error_str = Text(max_length=_LONGEST_ERROR, metadata=about("Why it failed"))
    error_information = Object(metadata=about("The same in parts, such as error_code and error_class"))
    model_parameters = Object(metadata=about("What the model was called with, such as temperature"))
    metadata = Object(metadata=about("What begins with user_api_key is replaced by what is known of the key here"))
