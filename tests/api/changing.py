"""Changing a key over HTTP."""

from typing import Any

from tests.clients import Answer, Api


def update(api: Api, key: str, **fields: Any) -> Answer:
    return api.post("/key/update", {"key": key, **fields})


def changed(api: Api, key: str, **fields: Any) -> dict[str, Any]:
    """The key after an update that must succeed."""
    answer = update(api, key, **fields)
    assert answer.status == 200, answer
    return api.info(key)
