"""Listing keys over HTTP."""

from typing import Any

from tests.clients import MASTER_KEY, Answer, Api


def listed(api: Api, *, caller: str = MASTER_KEY, **query: Any) -> Answer:
    return api.call("GET", "/key/list", key=caller, query=query)


def aliases(api: Api, *, caller: str = MASTER_KEY, **query: Any) -> list[str]:
    """The aliases of the listed keys, in their order; a caller's own key has none."""
    answer = listed(api, caller=caller, return_full_object="true", size=100, **query)
    assert answer.status == 200, answer
    return [key["key_alias"] for key in answer.body["keys"] if key["key_alias"]]
