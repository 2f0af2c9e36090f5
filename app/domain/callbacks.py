"""Logging callbacks: what may stand in `metadata.logging`, and what of it is sealed before it is stored.

Keys and teams have them; a team's may also stand in `metadata.callback_settings`, LiteLLM's older form.

A callback's secrets enter once. They are shown masked, so a client that sends back what it was shown keeps the
stored ones; but only for the place that they were given for, or whoever may change a key without knowing its
secrets could have them sent to a host of his own.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from app.domain.masking import MASK, is_secret_name
from app.domain.values import InvalidValue

PARAM = "metadata"
LOGGING = "logging"
SETTINGS = "callback_settings"
MOST_CALLBACKS = 20
# What an entry without a `callback_type` is.
BOTH = "success_and_failure"
TYPES = ("success", "failure", BOTH)
# How a sealed value begins; no value from outside may.
SEALED_PREFIX = "sealed:"
# LiteLLM's way to name a variable of the server's own environment.
_ENVIRONMENT = "os.environ/"

NAMES = frozenset(
    {
        *("agentops", "argilla", "arize", "arize_phoenix", "aws_sqs", "azure_sentinel", "azure_storage"),
        *("braintrust", "clickhouse", "cloudzero", "datadog", "datadog_cost_management"),
        *("datadog_llm_observability", "datadog_metrics", "deepeval", "galileo", "gcs_bucket", "gcs_pubsub"),
        *("generic_api", "humanloop", "lago", "langfuse", "langfuse_otel", "langsmith", "langtrace", "levo"),
        *("literalai", "logfire", "mlflow", "newrelic", "openmeter", "opik", "otel", "pagerduty", "pointfive"),
        *("posthog", "prometheus", "s3", "s3_v2", "signoz", "sqs", "vantage", "weave_otel", "zerobus"),
    }
)
# Variables that say where to, parts of a host's name among them: a secret is kept only while these stay.
ADDRESSES = frozenset(
    {
        *("arize_otlp_protocol", "dd_agent_host", "dd_agent_port", "dd_site", "generic_api_endpoint"),
        *("langfuse_host", "langsmith_base_url", "newrelic_region", "otel_endpoint", "posthog_api_url"),
        *("s3_bucket_name", "s3_endpoint_url", "s3_region", "signoz_ingestion_endpoint"),
    }
)
VARIABLES = ADDRESSES | {
    *("langfuse_public_key", "langfuse_secret", "langfuse_secret_key", "langfuse_environment"),
    *("langfuse_span_scope", "langfuse_prompt_version", "gcs_bucket_name", "gcs_path_service_account"),
    *("langsmith_api_key", "langsmith_project", "langsmith_sampling_rate", "langsmith_tenant_id"),
    *("humanloop_api_key", "arize_api_key", "arize_space_key", "arize_space_id"),
    *("arize_success_sampling_rate", "arize_error_sampling_rate", "posthog_api_key", "wandb_api_key"),
    *("weave_project_id", "dd_api_key", "newrelic_api_key", "signoz_ingestion_key"),
    *("turn_off_message_logging", "litellm_disabled_callbacks", "capture_message_content", "excluded_services"),
    *("generic_api_headers", "otel_headers", "s3_access_key_id", "s3_secret_access_key"),
}
_FIELDS = frozenset({"callback_name", "callback_type", "callback_vars"})
# The lists of names in the older form, by the calls that they are for.
SETTINGS_OF = {"success": "success_callback", "failure": "failure_callback", "success_and_failure": "callbacks"}
_SETTINGS_FIELDS = frozenset({*SETTINGS_OF.values(), "callback_vars"})
_TRUE = frozenset({"true", "1", "yes", "on"})
_USER_IN_URL = re.compile(r"(?:[a-z]+://)?[^/?#]*@.*", re.IGNORECASE | re.DOTALL)


class Vault(Protocol):
    """Where secrets are locked away."""

    def seal(self, name: str, plaintext: str) -> str:
        """The text to store for the secret of this name."""

    def holds(self, name: str, sealed: str, plaintext: str) -> bool:
        """Whether the stored text is this very secret."""


def stored_form(sent: Any, stored: Any, vault: Vault) -> list[dict[str, Any]]:
    """What to store for the callbacks of a request; `stored` is what is there so far. Raises InvalidValue."""
    if not isinstance(sent, list):
        raise _invalid("metadata.logging must be a list")
    if len(sent) > MOST_CALLBACKS:
        raise _invalid(f"metadata.logging may hold {MOST_CALLBACKS} callbacks at most")
    known = entries_of(stored)
    # A place in the list tells entries apart only while none was added or taken away.
    is_same_list = len(sent) == len(known)
    try:
        return [_entry(entry, index if is_same_list else None, known, vault) for index, entry in enumerate(sent)]
    except InvalidValue as fault:
        raise _invalid(str(fault)) from fault


def new_entry(sent: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    """What to store for one more callback; raises InvalidValue naming its field."""
    return _entry(sent, None, (), vault)


def sealed_metadata(metadata: Mapping[str, Any], stored: Mapping[str, Any], vault: Vault) -> dict[str, Any]:
    """A team's metadata as it is to be stored, its callbacks' secrets sealed; raises InvalidValue.

    `stored` is its metadata so far. A null takes the callbacks off.
    """
    forms = {LOGGING: stored_form, SETTINGS: _stored_settings}
    sealed = {
        name: form(metadata[name], stored.get(name), vault)
        for name, form in forms.items()
        if metadata.get(name) is not None
    }
    return {**{name: value for name, value in metadata.items() if name not in forms}, **sealed}


def resealed_metadata(
    metadata: Mapping[str, Any], names: Iterable[str], reseal: Callable[[str, str], str]
) -> dict[str, Any] | None:
    """The metadata with every secret under these names put through `reseal`; None where that changes nothing."""
    forms = {LOGGING: resealed, SETTINGS: _resealed_settings}
    after = {name: forms[name](metadata.get(name), reseal) for name in names}
    changed = {name: value for name, value in after.items() if value is not None}
    return {**metadata, **changed} if changed else None


def entries_of(stored: Any) -> Sequence[Mapping[str, Any]]:
    """The stored entries that have the form of one; a row written elsewhere may hold anything."""
    return [entry if isinstance(entry, Mapping) else {} for entry in stored] if isinstance(stored, list) else []


def name_of(entry: Mapping[str, Any]) -> str:
    """The callback's name; empty in a row that was written elsewhere without one."""
    name = entry.get("callback_name")
    return name if isinstance(name, str) else ""


def type_of(entry: Mapping[str, Any]) -> str:
    """Which calls the callback hears of: where it does not say, all."""
    kind = entry.get("callback_type")
    return kind if isinstance(kind, str) else BOTH


def variables_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variables of a stored entry."""
    found = entry.get("callback_vars")
    return found if isinstance(found, Mapping) else {}


def hears_bodies(variables: Mapping[str, str]) -> bool:
    """Whether a callback wants to hear of messages at all, by either of LiteLLM's variables for that."""
    silent = variables.get("turn_off_message_logging", "").strip().lower() in _TRUE
    return not silent and variables.get("capture_message_content") != "no_content"


def resealed(logging: Any, reseal: Callable[[str, str], str]) -> list[Any] | None:
    """The stored callbacks with every secret put through `reseal`; None where that changes nothing."""
    if not isinstance(logging, list):
        return None
    after = [_resealed_entry(entry, reseal) if isinstance(entry, Mapping) else entry for entry in logging]
    return None if after == logging else after


def _resealed_settings(settings: Any, reseal: Callable[[str, str], str]) -> dict[str, Any] | None:
    after = _resealed_entry(settings, reseal) if isinstance(settings, Mapping) else None
    return None if after == settings else after


def _resealed_entry(entry: Mapping[str, Any], reseal: Callable[[str, str], str]) -> dict[str, Any]:
    """An entry, or the older form as a whole: both keep their variables under one name."""
    variables = variables_of(entry)
    if not variables:
        return dict(entry)
    return {**entry, "callback_vars": {name: _through(reseal, name, value) for name, value in variables.items()}}


def _through(reseal: Callable[[str, str], str], name: str, value: Any) -> Any:
    return reseal(name, value) if is_secret_name(name) and isinstance(value, str) and value else value


def _entry(entry: Any, index: int | None, known: Sequence[Mapping[str, Any]], vault: Vault) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise _invalid("each entry of metadata.logging must be an object")
    if unknown := sorted(set(entry) - _FIELDS):
        raise _invalid(f"Invalid field of a callback: {unknown[0][:64]}. Must be one of {sorted(_FIELDS)}")
    name = entry.get("callback_name")
    if name is None:
        raise _invalid("callback_name is required in metadata.logging", "callback_name")
    _check_name(name, "callback_name")
    kind = entry.get("callback_type")
    if kind is not None and kind not in TYPES:
        raise _invalid(f"Invalid callback_type: {str(kind)[:64]}. Must be one of {list(TYPES)}", "callback_type")
    if entry.get("callback_vars") is None:
        return dict(entry)
    return {**entry, "callback_vars": _variables(entry["callback_vars"], name, index, known, vault)}


def _stored_settings(sent: Any, stored: Any, vault: Vault) -> dict[str, Any]:
    """As `stored_form`, of the older form: names in lists, and one set of variables for all of them."""
    if not isinstance(sent, Mapping):
        raise _invalid(f"metadata.{SETTINGS} must be an object")
    if unknown := sorted(set(sent) - _SETTINGS_FIELDS):
        raise _invalid(
            f"Invalid field of {SETTINGS}: {unknown[0][:64]}. Must be one of {sorted(_SETTINGS_FIELDS)}"
        )
    for field in SETTINGS_OF.values():
        names = sent.get(field)
        if names is not None and (not isinstance(names, list) or len(names) > MOST_CALLBACKS):
            raise _invalid(f"{field} must be a list of {MOST_CALLBACKS} names at most")
        for name in names or ():
            _check_name(name, PARAM)
    if sent.get("callback_vars") is None:
        return dict(sent)
    known = [stored] if isinstance(stored, Mapping) else []
    try:
        return {**sent, "callback_vars": _variables(sent["callback_vars"], None, None, known, vault)}
    except InvalidValue as fault:
        raise _invalid(str(fault)) from fault


def _check_name(name: Any, param: str) -> None:
    if not isinstance(name, str) or name not in NAMES:
        raise _invalid(f"Invalid callback_name: {str(name)[:64]}. Must be one of {sorted(NAMES)}", param)


def _variables(
    sent: Any, name: str | None, index: int | None, known: Sequence[Mapping[str, Any]], vault: Vault
) -> dict[str, str]:
    """The variables of one callback, or of all those of the older form, which has no name of its own."""
    if not isinstance(sent, Mapping):
        raise _invalid("callback_vars must be an object", "callback_vars")
    variables = {key: _value(key, value) for key, value in sent.items() if value is not None}
    candidates = [position for position, other in enumerate(known) if _is_same_place(other, name, variables)]
    for key, value in variables.items():
        if value and is_secret_name(key):
            variables[key] = _sealed(key, value, _kept(key, variables, index, candidates, known), vault)
    return variables


def _value(name: str, value: Any) -> str:
    """A variable's value as text, as LiteLLM keeps it."""
    if name not in VARIABLES:
        raise _invalid(
            f"Invalid callback variable: {name[:64]}. Must be one of {sorted(VARIABLES)}", "callback_vars"
        )
    if isinstance(value, list) or (isinstance(value, Mapping) and name != "gcs_path_service_account"):
        raise _invalid(f"{name} must be text", "callback_vars")
    text = value if isinstance(value, str) else json.dumps(value)
    if _ENVIRONMENT in text.lower():
        raise _invalid(f"{name} must not refer to the server's environment ({_ENVIRONMENT}...)", "callback_vars")
    if name in ADDRESSES and _USER_IN_URL.fullmatch(text):
        raise _invalid(f"{name} must not hold a user or a password", "callback_vars")
    return text


def _is_same_place(stored: Mapping[str, Any], name: str | None, variables: Mapping[str, str]) -> bool:
    if stored.get("callback_name") != name:
        return False
    before = variables_of(stored)
    return all(before.get(address) == variables.get(address) for address in ADDRESSES)


def _kept(
    name: str,
    variables: Mapping[str, str],
    index: int | None,
    candidates: Sequence[int],
    known: Sequence[Mapping[str, Any]],
) -> str | None:
    """The stored text of this secret; None where there is none, or it cannot be told which one is meant."""
    having = [position for position in candidates if variables_of(known[position]).get(name)]
    if len(having) > 1:
        alike = [position for position in having if _clear(variables_of(known[position])) == _clear(variables)]
        having = [index] if index is not None and index in alike else alike
    if len(having) != 1:
        return None
    text = variables_of(known[having[0]])[name]
    return text if isinstance(text, str) else None


def _clear(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if not is_secret_name(name)}


def _sealed(name: str, value: str, kept: str | None, vault: Vault) -> str:
    if value == MASK or value.startswith(SEALED_PREFIX):
        if kept is None or value not in {MASK, kept}:
            raise _invalid(
                f"{name} is not known for this callback and its address: send the value itself, not its mask",
                "callback_vars",
            )
        value = kept
    if value.startswith(SEALED_PREFIX):
        return value
    if kept is not None and vault.holds(name, kept, value):
        return kept
    return vault.seal(name, value)


def _invalid(message: str, param: str = PARAM) -> InvalidValue:
    return InvalidValue(message, param)
