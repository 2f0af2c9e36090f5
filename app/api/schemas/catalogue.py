"""What the catalogue answers, in LiteLLM's shapes: models by their names, and lists of what is not kept here."""

from marshmallow import fields as f

from app.api.fields import Name
from app.api.schemas.key_answers import Answer
from app.api.schemas.requests import Request


class ModelInfoQuerySchema(Request):
    litellm_model_id = Name()


class ModelParamsSchema(Answer):
    model = f.String(required=True)


class ModelIdentitySchema(Answer):
    id = f.String(required=True, metadata={"description": "The name itself"})
    db_model = f.Boolean(required=True)


class ModelInfoSchema(Answer):
    model_name = f.String(required=True)
    litellm_params = f.Nested(ModelParamsSchema(), required=True)
    model_info = f.Nested(ModelIdentitySchema(), required=True)


class ModelInfoListSchema(Answer):
    data = f.List(f.Nested(ModelInfoSchema()), required=True)


class CredentialListSchema(Answer):
    success = f.Boolean(required=True)
    credentials = f.List(f.Dict(), required=True)


class GuardrailListSchema(Answer):
    guardrails = f.List(f.Dict(), required=True)


class PolicyListSchema(Answer):
    policies = f.List(f.Dict(), required=True)
    total_count = f.Integer(required=True)


class AccessGroupListSchema(Answer):
    access_groups = f.List(f.Dict(), required=True)
