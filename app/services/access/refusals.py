"""From what the pure rules say to the errors that leave a use case, in one place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from app.db import ConstraintViolated
from app.domain.access import Kind, Refusal
from app.domain.values import InvalidAlias, InvalidValue
from app.errors import (
    BadAlias,
    Conflict,
    Forbidden,
    InvalidRequest,
    ManagersOnly,
    MemberPermissionMissing,
    NotFound,
    RoleRefused,
    RouteNotAllowed,
    ServiceError,
)

_ERRORS: dict[Kind, type[ServiceError]] = {
    Kind.ROLE: RoleRefused,
    Kind.VIEWER: Forbidden,
    Kind.ROUTE: RouteNotAllowed,
    Kind.MEMBER_PERMISSION: MemberPermissionMissing,
    Kind.NOT_IN_TEAM: InvalidRequest,
    Kind.FORBIDDEN: Forbidden,
    Kind.MANAGERS: ManagersOnly,
    Kind.CEILING: InvalidRequest,
}


def enforce(refusal: Refusal | None, hidden: ServiceError | None = None) -> None:
    """Raise the error of a refusal; `hidden` is the error of a target that does not exist."""
    if refusal is None:
        return
    if refusal.kind is Kind.HIDDEN:
        raise hidden or NotFound("Not found")
    raise _ERRORS[refusal.kind](refusal.message, refusal.param)


@contextmanager
def rules(alias: str | None = None, taken: Mapping[str, ServiceError] | None = None) -> Iterator[None]:
    """Turn broken rules and constraints into the caller's errors.

    `alias` is what the request wants to take for a key; `taken` names the errors of the use case's constraints.
    """
    try:
        yield
    except InvalidAlias as error:
        raise BadAlias(str(error), error.param) from error
    except InvalidValue as error:
        raise InvalidRequest(str(error), error.param) from error
    except ConstraintViolated as error:
        if taken is not None and error.name in taken:
            raise taken[error.name] from error
        _refuse_constraint(error, alias)


def _refuse_constraint(error: ConstraintViolated, alias: str | None) -> NoReturn:
    if error.name == "uq_keys_key_alias":
        raise BadAlias(
            f"Key with alias '{alias}' already exists. Unique key aliases across all keys are required.",
            "key_alias",
        ) from error
    if error.name == "pk_key_secrets":
        raise Conflict("This key already exists. Nothing was changed.", "key") from error
    if error.name in _UNKNOWN_REFERENCES:
        raise unknown_reference(_UNKNOWN_REFERENCES[error.name]) from error
    raise error


_UNKNOWN_REFERENCES = {
    "fk_keys_budget_id": "budget_id",
    "fk_keys_organization_id": "organization_id",
}


def unknown_reference(param: str) -> InvalidRequest:
    return InvalidRequest(f"{param} names nothing that exists", param)
