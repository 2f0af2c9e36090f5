"""What resetting a member's spend and budget in a team answers."""

from marshmallow import fields as f

from app.api.schemas.key_answers import Answer


class MemberSpendResetResponseSchema(Answer):
    team_id = f.String(required=True)
    user_id = f.String(required=True)
    spend = f.Float(required=True)
    previous_spend = f.Float(required=True)
    max_budget = f.Float(required=True, allow_none=True)
    budget_reset_at = f.String(required=True, allow_none=True)
