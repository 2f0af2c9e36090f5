"""What the operational endpoints answer."""

from marshmallow import Schema, fields


class DrainingSchema(Schema):
    status = fields.String(required=True, metadata={"description": "shutting_down"})


class PartSchema(Schema):
    state = fields.String(required=True)
    last_seen_at = fields.String(allow_none=True)
    off_by_seconds = fields.Float(allow_none=True)


class JobHealthSchema(Schema):
    name = fields.String(required=True)
    state = fields.String(
        required=True,
        metadata={
            "description": "alive, failing (its last run failed), silent (no success for three of its intervals "
            "and three heartbeats) or unknown (it has not run yet, or SQL is away)"
        },
    )
    last_finished_at = fields.String(
        required=True, allow_none=True, metadata={"description": "The last success; null before the first"}
    )
    failures = fields.Integer(
        required=True, allow_none=True, metadata={"description": "In a row, since the last success"}
    )


class ReadinessSchema(Schema):
    status = fields.String(required=True, metadata={"description": "healthy, degraded or shutting_down"})
    db = fields.String(required=True, metadata={"description": "connected, disconnected or unmigrated"})
    redis = fields.Nested(PartSchema(), required=True)
    worker = fields.Nested(PartSchema(), required=True)
    beat = fields.Nested(PartSchema(), required=True)
    clock = fields.Nested(PartSchema(), required=True)
    jobs = fields.List(
        fields.Nested(JobHealthSchema()),
        required=True,
        metadata={"description": "The last runs; GET /jobs says more"},
    )
    litellm_version = fields.String(required=True, metadata={"description": "The reference that is spoken"})
    keyledger_version = fields.String(required=True)


class ModelSchema(Schema):
    id = fields.String(required=True)
    object = fields.String(required=True)
    created = fields.Integer(required=True)
    owned_by = fields.String(required=True)


class ModelListSchema(Schema):
    object = fields.String(required=True)
    data = fields.List(fields.Nested(ModelSchema()), required=True)


class ParkedRowSchema(Schema):
    scope = fields.String(required=True, metadata={"description": "key, team, member …"})
    scope_id = fields.String(required=True)
    sub = fields.String(required=True, metadata={"description": "The model, or the further window, of a key"})
    reason = fields.String(required=True, allow_none=True)
    parked_at = fields.String(required=True)


class JobSchema(Schema):
    name = fields.String(required=True)
    interval_seconds = fields.Float(required=True, metadata={"description": "How often it is sent"})
    last_started_at = fields.String(
        required=True, allow_none=True, metadata={"description": "By its schedule; a run by hand does not count"}
    )
    last_finished_at = fields.String(required=True, allow_none=True, metadata={"description": "The last success"})
    next_due_at = fields.String(
        required=True, allow_none=True, metadata={"description": "An interval after the last start; null: at once"}
    )
    last_rows = fields.Integer(required=True)
    last_parked_rows = fields.Integer(required=True, metadata={"description": "Set aside by the last run"})
    parked_rows = fields.Integer(required=True, metadata={"description": "Set aside in all, and still so"})
    parked = fields.List(
        fields.Nested(ParkedRowSchema()),
        required=True,
        metadata={"description": "The first few of them; a valid budget has one looked at again"},
    )
    failures = fields.Integer(required=True, metadata={"description": "Since the last success"})
    last_error = fields.String(required=True, allow_none=True)


class JobListSchema(Schema):
    jobs = fields.List(fields.Nested(JobSchema()), required=True)
