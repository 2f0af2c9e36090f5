"""What a gateway asks and is told about calls: verify, settle, release, extend."""

from typing import Any

from marshmallow import Schema
from marshmallow import fields as f

from app.api.fields import Anything, Flag, Money, Name, Number, Text, TextList, Whole, refuse
from app.api.instant_fields import CalendarInstant, Instant
from app.api.schemas.finished_calls import MOST_NAMES, MOST_TOKENS, FinishedCallSchema, UsageSchema
from app.api.schemas.key_answers import Answer
from app.api.schemas.requests import Request, about
from app.api.schemas.teams import at_most

MOST_CHARGES = 1_000


class Names(Anything):
    """Names as a list, or as an object of which only the names count; none may pass by unjudged.

    So a call with more than MOST_NAMES is refused, and not judged by some of them.
    """

    def __init__(self, **kwargs: Any) -> None:
        most = {"maxItems": MOST_NAMES, "maxProperties": MOST_NAMES}
        super().__init__(**{**kwargs, "metadata": {**kwargs["metadata"], **most}})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        found = super()._deserialize(value, attr, data, **kwargs)
        names = list(found) if isinstance(found, dict | list) else None
        if names is None or not all(isinstance(name, str) for name in names):
            raise refuse("list_type", "Input should be a list of names, or an object")
        if len(names) > MOST_NAMES:
            raise refuse("too_long", f"Input should hold at most {MOST_NAMES} names")
        return tuple(names)


class EstimateSchema(Request):
    """What the call may cost at most: dollars, or tokens that are priced."""

    cost = Money()
    input_tokens = Whole(high=MOST_TOKENS)
    output_tokens = Whole(high=MOST_TOKENS)


class VerifyRequestSchema(Request):
    key = Text(required=True, nullable=False, metadata=about("The key of the call, as it was presented"))
    model = Name(
        metadata=about(
            "As the caller names it: aliases are resolved here; without one nothing is judged by models"
        )
    )
    fallbacks = TextList(
        longest=MOST_NAMES,
        metadata=about("Models that the caller wants to be tried after it: each must be allowed"),
    )
    route = Text(max_length=512, metadata=about("The route of the call; a chat completion where it is left out"))
    params = Names(metadata=about("Names in the call's body; a.b for b inside a"))
    cache = Names(metadata=about("Cache controls of the call's body"))
    guardrails = Names(metadata=about("Those that the call names; an empty list switches them off"))
    tools = Names(metadata=about("Names of the tools of the call"))
    vector_stores = Names(metadata=about("Ids of the vector stores that the call reads"))
    mcp_servers = Names(metadata=about("Names of the MCP servers that the call reaches"))
    tags = TextList(longest=MOST_NAMES, metadata=about("Labels of the call, beside those of its key"))
    user = Name(metadata=about("The end user, as the call's body names it"))
    estimate = f.Nested(
        EstimateSchema(),
        allow_none=True,
        metadata=about("What the call may cost at most; a default stands in for what is left out"),
    )
    request_id = Name(
        metadata=about("Names the call: sent again, an allowed call holds nothing more. Else one is made")
    )
    lease_seconds = Number(metadata=about("For how long what the call may cost is held"))
    require_estimate = Flag(
        metadata=about("Refuse a call of which nothing says what it may cost; else a default is held")
    )


class ExplainRequestSchema(VerifyRequestSchema):
    at = CalendarInstant(metadata=about("Decide as if it were then, by the settings of now"))


class SubjectSchema(Request):
    """A call: by its reservation, or by its request id and its key."""

    reservation_id = Text(
        max_length=65_536, metadata=about("As verify has given it; needs nothing else to name the call")
    )
    request_id = Name(metadata=about("The call's name, with its key, where there is no reservation"))
    key = Text(max_length=512, metadata=about("The key of the call, as a plaintext or a hash"))


class ChargeSchema(SubjectSchema):
    cost = Money(metadata=about("Dollars; without them the tokens are priced"))
    usage = f.Nested(UsageSchema(), allow_none=True, metadata=about("Tokens that were used"))
    model = Name(metadata=about("The model that answered, where it is not the one that was asked for"))
    user = Name()
    tags = TextList(longest=MOST_NAMES, metadata=about("Further labels of the charge"))
    occurred_at = Instant(metadata=about("When a call happened that was never held: up to 31 days ago"))
    log = f.Nested(
        FinishedCallSchema(),
        allow_none=True,
        metadata=about("The call, for the logging callbacks of its key, else of its team: kept with the charge"),
    )


class SettleRequestSchema(ChargeSchema):
    charges = f.List(
        f.Nested(ChargeSchema()),
        allow_none=True,
        validate=at_most(MOST_CHARGES),
        metadata={
            "maxItems": MOST_CHARGES,
            "description": "Many calls in the place of one, each answered on its own",
        },
    )


class ExtendRequestSchema(SubjectSchema):
    lease_seconds = Number(metadata=about("For how long from now; a hold never becomes shorter"))


# --- answers ---------------------------------------------------------------------------------------------------


class LimitSchema(Answer):
    """A budget, in dollars, or a rate or parallel requests; `held` is what calls under way may take yet."""

    scope = f.String(required=True)
    id = f.String(required=True)
    sub = f.String(required=True, allow_none=True, metadata=about("The model, or the window's length"))
    kind = f.String(required=True, metadata={"enum": ["budget", "requests", "tokens", "parallel_requests"]})
    limit = f.Float(required=True)
    used = f.Float(required=True)
    held = f.Float(required=True)
    remaining = f.Float(required=True)
    resets_at = f.String(required=True, allow_none=True)


class VerifiedKeySchema(Schema):
    """The key, as far as a gateway needs it."""

    key_id = f.String(required=True)
    key_alias = f.String(required=True, allow_none=True)
    user_id = f.String(required=True, allow_none=True)
    team_id = f.String(required=True, allow_none=True)
    organization_id = f.String(required=True, allow_none=True)
    metadata = f.Dict(required=True)
    tags = f.List(f.String(), required=True)
    permissions = f.Dict(required=True)
    config = f.Dict(required=True)
    aliases = f.Dict(required=True)
    guardrails = f.List(f.Raw(), required=True)
    object_permission = f.Dict(required=True, allow_none=True)
    allowed_cache_controls = f.List(f.String(), required=True)


class RuleSchema(Answer):
    """One check: what it looked at, and what came of it."""

    rule = f.String(required=True)
    inputs = f.Dict(required=True)
    outcome = f.String(required=True, metadata={"enum": ["passed", "refused"]})
    code = f.String(required=True, allow_none=True)
    message = f.String(required=True, allow_none=True)


class DecisionSchema(Answer):
    """May this key make this call? `status` and `type` are what LiteLLM would have answered for a refusal."""

    allowed = f.Boolean(required=True)
    code = f.String(required=True, metadata=about("allowed, or the stable code of the refusal"))
    message = f.String(required=True)
    status = f.Integer(required=True)
    type = f.String(required=True, allow_none=True)
    param = f.String(
        required=True, allow_none=True, metadata=about("The field of the call's own body that is to blame")
    )
    key = f.Nested(
        VerifiedKeySchema,
        required=True,
        allow_none=True,
        metadata=about("None where the gateway may know of no such key"),
    )
    model = f.String(
        required=True, allow_none=True, metadata=about("The model that is called in truth, behind every alias")
    )
    limits = f.List(
        f.Nested(LimitSchema),
        required=True,
        metadata=about("Whatever the call was held against, as it is after the decision"),
    )
    retry_after = f.Float(
        required=True,
        allow_none=True,
        metadata=about("Seconds until the call might be allowed, where that is known"),
    )


class VerdictSchema(DecisionSchema):
    request_id = f.String(required=True, metadata=about("The call's name, made where none was sent"))
    reservation_id = f.String(
        required=True,
        allow_none=True,
        metadata=about("What settle, release and extend know the call by; none where it is refused"),
    )
    lease_ends_at = f.String(
        required=True,
        allow_none=True,
        metadata=about("Until when what the call may cost is held for it"),
    )
    replayed = f.Boolean(required=True, metadata=about("The request id was allowed before: nothing more is held"))


class ExplanationSchema(DecisionSchema):
    """What verify would answer for a new call, and every rule behind it, in the order in which they decide."""

    at = f.String(required=True, metadata=about("For when it was decided"))
    rules = f.List(f.Nested(RuleSchema), required=True, metadata=about("In the order in which they decide"))


class SettledSchema(Answer):
    """A charge as the ledger has it; `overrun` is what it is above what was held."""

    key_id = f.String()
    request_id = f.String(metadata=about("The call's name"))
    model = f.String(allow_none=True, metadata=about("The model that is charged"))
    cost = f.Float(metadata=about("Dollars, as the ledger has them"))
    estimate = f.Float(allow_none=True, metadata=about("Dollars that were held; none where nothing was"))
    overrun = f.Float(metadata=about("Dollars above what was held"))
    duplicate = f.Boolean(
        metadata=about("It was charged before: nothing changed, and all else is what was charged then")
    )
    log = f.Dict(
        metadata=about(
            "What has become of the `log`: to how many `callbacks` it goes, and whether it is a `duplicate`"
        )
    )
    error = f.Dict(metadata=about("In the place of all else, where this one was not charged"))
    results = f.List(f.Nested("SettledSchema"), metadata=about("One for each of `charges`"))


class ReleasedSchema(Answer):
    key_id = f.String(required=True)
    request_id = f.String(required=True, metadata=about("The call's name"))
    state = f.String(required=True, metadata={"enum": ["released", "charged", "absent"]})


class ExtendedSchema(Answer):
    key_id = f.String(required=True)
    request_id = f.String(required=True, metadata=about("The call's name"))
    extended = f.Boolean(required=True)
    state = f.String(required=True, metadata={"enum": ["open", "released", "charged", "absent"]})
    lease_ends_at = f.String(
        required=True, allow_none=True, metadata=about("Until when it is held now; none where it is not")
    )
