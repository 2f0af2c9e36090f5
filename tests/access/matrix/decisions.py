"""The rows of gateways: a key that a gateway is not for is no key to it."""

from collections.abc import Mapping
from typing import Any

from tests.access.callers import ADMINS, GATEWAYS
from tests.access.oracle import Noun, Row

DECIDERS = ADMINS | GATEWAYS
KNOWN_TO: Mapping[str, frozenset[str]] = {
    "mate's": ADMINS | GATEWAYS,
    "team's": ADMINS | GATEWAYS,
    "elsewhere": ADMINS | {"gateway"},
}
CALLED = Noun("key", KNOWN_TO)


def _decision(route: str, hidden: int = 404, **fields: Any) -> Row:
    return Row(
        method="POST",
        route=route,
        noun=CALLED,
        sends=lambda key: {"json": {"key": key, **fields}},
        reaches=DECIDERS,
        may=KNOWN_TO,
        hidden=hidden,
    )


ROWS = (
    _decision("/key/verify", hidden=200, model="m", request_id="matrix"),
    _decision("/key/explain", hidden=200, model="m", request_id="matrix"),
    _decision("/key/settle", cost=1, request_id="matrix"),
    _decision("/key/log", status="success", request_id="matrix"),
    _decision("/key/release", request_id="nothing is held"),
    _decision("/key/extend", request_id="nothing is held"),
)
