"""Calls as a gateway tells of them: asked for, charged, given back."""

from typing import Any

from tests.clients import MASTER_KEY, Answer, Api

MODEL = "gpt-4o"


def verify(api: Api, key: str, cost: float | None = 1, *, caller: str = MASTER_KEY, **more: Any) -> dict[str, Any]:
    """The verdict on a call of MODEL."""
    sent: dict[str, Any] = {"key": key, "model": MODEL, **more}
    if cost is not None:
        sent["estimate"] = {"cost": cost, **sent.get("estimate", {})}
    answer = api.post("/key/verify", sent, key=caller)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body
    return found


def allowed(api: Api, key: str, cost: float | None = 1, **more: Any) -> dict[str, Any]:
    """The verdict on a call that must be allowed."""
    found = verify(api, key, cost, **more)
    assert (found["allowed"], found["code"], found["status"], found["type"]) == (True, "allowed", 200, None), found
    return found


def refused(api: Api, key: str, cost: float | None = 1, **more: Any) -> dict[str, Any]:
    """The verdict on a call that must be refused; nothing is held by it."""
    found = verify(api, key, cost, **more)
    assert not found["allowed"], found
    assert (found["reservation_id"], found["lease_ends_at"], found["replayed"]) == (None, None, False)
    return found


def limit(verdict: dict[str, Any], scope: str, kind: str = "budget") -> dict[str, Any]:
    """The one limit of a verdict with this scope and kind."""
    (found,) = (entry for entry in verdict["limits"] if (entry["scope"], entry["kind"]) == (scope, kind))
    return found


def settle(api: Api, verdict: dict[str, Any], cost: float | None = None, **more: Any) -> dict[str, Any]:
    """The charge of a call that was allowed; it must be taken."""
    sent = {"reservation_id": verdict["reservation_id"], **more}
    answer = post_settle(api, **sent if cost is None else {**sent, "cost": cost})
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.body
    return found


def post_settle(api: Api, *, caller: str = MASTER_KEY, **sent: Any) -> Answer:
    return api.post("/key/settle", sent, key=caller)


def spent(api: Api, key: str, cost: float) -> None:
    """Let a key have spent so much: a call that was never held."""
    answer = post_settle(api, key=key, request_id=f"spent {cost}", cost=cost, model=MODEL)
    assert answer.status == 200, answer
