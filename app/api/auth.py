"""From a request's headers to the caller and the act that a use case records."""

import re
import uuid
from urllib.parse import unquote

from flask import Request, current_app, g

from app.container import Services
from app.domain import access
from app.domain.access import Caller
from app.domain.masking import KEY_SHAPED
from app.errors import InvalidRequest, Unauthenticated
from app.services.access.refusals import enforce
from app.services.audit.audit import Act

_PREFIX = re.compile(r"(?:Bearer|bearer|Basic) +(\S.*)")
# An AWS client signs with the key in the place of its access key id.
_SIGNED = re.compile(r"AWS4-HMAC-SHA256 .*\bCredential=(?:Bearer +)?([^/,\s]+).*")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGEST_CLAIM = 512
# Read in this order; the first that is not empty decides, and a wrong one does not fall back to the next.
_BARE_HEADERS = ("API-Key", "x-api-key", "x-goog-api-key", "Ocp-Apim-Subscription-Key")


def services() -> Services:
    """The services of the running application."""
    found: Services = current_app.extensions["keyledger"]
    return found


def act() -> Act:
    """Who calls, and everything that is recorded about it."""
    found: Act = g.act
    return found


def name_request(request: Request) -> None:
    """Take over the caller's request id where it is a plain one, else make one."""
    sent = request.headers.get("x-request-id", "")
    # What looks like a key is one that somebody put into the wrong header.
    usable = _REQUEST_ID.fullmatch(sent) and not KEY_SHAPED.search(sent)
    g.request_id = sent if usable else str(uuid.uuid4())


def authenticate(request: Request) -> Act:
    """Raise Unauthenticated and its kin unless the request carries a key that opens something now.

    Raises InvalidRequest for a claim that cannot be read.
    """
    now = services().clock.now()
    caller = services().callers.authenticate(credential(request), now)
    return Act(caller, now, g.request_id, request.remote_addr, _claim(request))


def gate(caller: Caller, route: str, method: str) -> None:
    enforce(access.gate(caller, route, method))


def _claim(request: Request) -> str | None:
    """On whose behalf the caller says it acts: its text, without what no store can or may keep.

    Raises InvalidRequest where the server hands on an empty header: so it does with one that holds bytes beyond
    ASCII, and a claim must not be lost.
    """
    sent = request.headers.get("litellm-changed-by")
    if sent is None or request.method in {"GET", "HEAD"}:
        return None
    if not sent:
        raise InvalidRequest(
            "litellm-changed-by is empty, or holds more than ASCII: send that percent-encoded, as UTF-8.",
            "litellm-changed-by",
        )
    text = unquote(sent.encode("latin-1", "replace").decode("utf-8", "replace"))
    return KEY_SHAPED.sub("sk-****", _UNPRINTABLE.sub("", text))[:_LONGEST_CLAIM] or None


def credential(request: Request) -> str:
    """What the caller says that it is known by; raises Unauthenticated where it says nothing."""
    header = request.headers.get("x-litellm-api-key", "").strip()
    if header:
        prefixed = _PREFIX.fullmatch(header)
        return prefixed[1] if prefixed else header
    header = request.headers.get("Authorization", "").strip()
    if header:
        return _from_authorization(header)
    for name in _BARE_HEADERS:
        if header := request.headers.get(name, "").strip():
            return header
    raise Unauthenticated("Authentication Error, No api key passed in.")


def _from_authorization(header: str) -> str:
    if header in {"Bearer", "bearer", "Basic"}:
        raise Unauthenticated("Authentication Error, No api key passed in.")
    prefixed = _PREFIX.fullmatch(header) or _SIGNED.fullmatch(header)
    if prefixed is None:
        raise Unauthenticated(
            "Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix."
        )
    return prefixed[1]
