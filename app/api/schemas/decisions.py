"""What a gateway asks and is told about calls: verify, settle, release, extend."""

from typing import Any

from marshmallow import Schema
from marshmallow import fields as f

from app.api.fields import Anything, Flag, Instant, Money, Name, Number, Text, TextList, Whole, refuse
from app.api.schemas.key_answers import Answer
from app.api.schemas.keys import Request
from app.api.schemas.teams import at_most

MOST_CHARGES = 1_000
MOST_NAMES = 1_000
# A call of more tokens than this is a mistake of its gateway.
MOST_TOKENS = 1_000_000_000


class Names(Anything):
    """Names as a list, or as an object of which only the names count."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        found = super()._deserialize(value, attr, data, **kwargs)
        names = list(found) if isinstance(found, dict | list) else None
        if names is None or not all(isinstance(name, str) for name in names):
            raise refuse("list_type", "Input should be a list of names, or an object")
        return tuple(names[:MOST_NAMES])


class EstimateSchema(Request):
    """What the call may cost at most: dollars, or tokens that are priced."""

    cost = Money()
    input_tokens = Whole(high=MOST_TOKENS)
    output_tokens = Whole(high=MOST_TOKENS)


class UsageSchema(Request):
    input_tokens = Whole(high=MOST_TOKENS)
    output_tokens = Whole(high=MOST_TOKENS)


class VerifyRequestSchema(Request):
    key = Text(required=True, nullable=False, metadata={"description": "The key of the call, as it was presented"})
    model = Name()
    fallbacks = TextList(longest=MOST_NAMES)
    route = Text(max_length=512)
    params = Names(metadata={"description": "Names in the call's body; a.b for b inside a"})
    cache = Names(metadata={"description": "Cache controls of the call's body"})
    guardrails = Names()
    tools = Names()
    vector_stores = Names()
    mcp_servers = Names()
    tags = TextList(longest=MOST_NAMES)
    user = Name()
    estimate = f.Nested(EstimateSchema(), allow_none=True)
    request_id = Name()
    lease_seconds = Number()
    require_estimate = Flag()


class ExplainRequestSchema(VerifyRequestSchema):
    at = Instant()


class SubjectSchema(Request):
    """A call: by its reservation, or by its request id and its key."""

    reservation_id = Text(max_length=65_536)
    request_id = Name()
    key = Text(max_length=512)


class ChargeSchema(SubjectSchema):
    cost = Money()
    usage = f.Nested(UsageSchema(), allow_none=True)
    model = Name()
    user = Name()
    tags = TextList(longest=MOST_NAMES)
    occurred_at = Instant()


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
    lease_seconds = Number()


# --- answers ---------------------------------------------------------------------------------------------------


class LimitSchema(Answer):
    """A budget, in dollars, or a rate or parallel requests; `held` is what calls under way may take yet."""

    scope = f.String(required=True)
    id = f.String(required=True)
    sub = f.String(required=True, allow_none=True, metadata={"description": "The model, or the window's length"})
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
    code = f.String(required=True, metadata={"description": "allowed, or the stable code of the refusal"})
    message = f.String(required=True)
    status = f.Integer(required=True)
    type = f.String(required=True, allow_none=True)
    param = f.String(required=True, allow_none=True)
    key = f.Nested(VerifiedKeySchema, required=True, allow_none=True)
    model = f.String(required=True, allow_none=True)
    limits = f.List(f.Nested(LimitSchema), required=True)
    retry_after = f.Float(required=True, allow_none=True)


class VerdictSchema(DecisionSchema):
    request_id = f.String(required=True)
    reservation_id = f.String(required=True, allow_none=True)
    lease_ends_at = f.String(required=True, allow_none=True)
    replayed = f.Boolean(required=True)


class ExplanationSchema(DecisionSchema):
    """What verify would answer for a new call, and every rule behind it, in the order in which they decide."""

    at = f.String(required=True)
    rules = f.List(f.Nested(RuleSchema), required=True)


class SettledSchema(Answer):
    """A charge as the ledger has it; `overrun` is what it is above what was held."""

    key_id = f.String()
    request_id = f.String()
    model = f.String(allow_none=True)
    cost = f.Float()
    estimate = f.Float(allow_none=True)
    overrun = f.Float()
    duplicate = f.Boolean()
    error = f.Dict(metadata={"description": "In the place of all else, where this one was not charged"})
    results = f.List(f.Nested("SettledSchema"), metadata={"description": "One for each of `charges`"})


class ReleasedSchema(Answer):
    key_id = f.String(required=True)
    request_id = f.String(required=True)
    state = f.String(required=True, metadata={"enum": ["released", "charged", "absent"]})


class ExtendedSchema(Answer):
    key_id = f.String(required=True)
    request_id = f.String(required=True)
    extended = f.Boolean(required=True)
    state = f.String(required=True, metadata={"enum": ["open", "released", "charged", "absent"]})
    lease_ends_at = f.String(required=True, allow_none=True)
