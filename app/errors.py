"""What can go wrong in a use case, said without HTTP.

Each class is one cause that a caller can act on. `app.api.errors` alone gives it a status; a test holds that
table complete. Messages are plain text for the caller: they never hold a secret, a query or a stack trace.
"""

LONGEST_REASON = 200


class ServiceError(Exception):
    """Root of everything a service raises on purpose.

    `param` names the request field at fault, where there is one.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


# --- the request -------------------------------------------------------------------------------------------


class InvalidRequest(ServiceError):
    """A value that can never be right: negative money, an unreadable length, an unknown team."""


class BadAlias(ServiceError):
    """An alias that is malformed or already belongs to another key."""


class MalformedKey(ServiceError):
    """A key to block or unblock that is neither `sk-...` nor a SHA-256 hex."""


class MemberExists(ServiceError):
    """The user already is a member of the team."""


class Conflict(ServiceError):
    """What is to be created exists already; nothing was written."""


class NotFound(ServiceError):
    """The entity does not exist, or the caller may not know that it does."""


class KeyNotFound(NotFound):
    """No key answers to this secret, hash or alias."""

    def __init__(self, message: str = "Key not found in database", param: str | None = "key") -> None:
        super().__init__(message, param)


class NothingFound(NotFound):
    """None of several named entities exists."""


# --- the caller --------------------------------------------------------------------------------------------


class Unauthenticated(ServiceError):
    """No usable credential, or one that is blocked."""


class UnknownKey(Unauthenticated):
    """A well-formed credential that opens nothing."""

    def __init__(self) -> None:
        super().__init__("Authentication Error, Invalid API key provided.", "key")


class ExpiredKey(Unauthenticated):
    """The caller's own key has expired."""


class RoleRefused(ServiceError):
    """The caller's role does not reach this route at all."""


class MemberPermissionMissing(ServiceError):
    """A team member lacks the grant for this route."""


class RouteNotAllowed(ServiceError):
    """The key's `allowed_routes` leave this route out."""


class Forbidden(ServiceError):
    """The caller may see the target but not do this to it."""


class ManagersOnly(Forbidden):
    """Only those who manage the key (proxy, team and organization admins) may do this to it."""


class ListRefused(ServiceError):
    """A list filter reaches beyond what the caller may see."""


# --- the service itself ------------------------------------------------------------------------------------


class Overloaded(ServiceError):
    """More is under way already than this process, or the queue, takes; nothing was begun."""


class NoWorker(ServiceError):
    """No worker has answered in time; what it was asked for is not known to have happened."""


# --- the stores --------------------------------------------------------------------------------------------


class StoreUnavailable(ServiceError):
    """SQL or Redis cannot be reached or is too busy; nothing was decided and nothing written."""

    store = "unknown"

    def __init__(self, message: str) -> None:
        super().__init__(message)


class SqlUnavailable(StoreUnavailable):
    store = "SQL"

    def __init__(self, message: str = "The SQL store is away or too busy at the moment. Try again.") -> None:
        super().__init__(message)


class RedisUnavailable(StoreUnavailable):
    store = "Redis"

    def __init__(self, message: str = "Redis is away or too busy at the moment. Try again.") -> None:
        super().__init__(message)


class WriteStands(RedisUnavailable):
    """The change is committed, but could not be announced: until it is, old decisions may linger for a while."""

    def __init__(self) -> None:
        super().__init__(
            "The change is stored, but could not be announced to every process. "
            "Send it again until it is confirmed."
        )


# --- what lies behind an error -----------------------------------------------------------------------------


def root_of(error: BaseException) -> BaseException:
    """The error that caused an error, such as that of a driver; itself where nothing did."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason_of(error: BaseException) -> str:
    """The first line of what the root of an error says, without its full stop; its class where it says nothing."""
    root = root_of(error)
    text = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return (text.strip().splitlines() or [type(root).__name__])[0].rstrip(".")[:LONGEST_REASON]
