"""`/metrics`: what this service counts of itself and how it stands, for Prometheus.

Whoever sees everything else may read it. A scraper brings a token of its own instead, which needs no store: an
outage is when its numbers are wanted.
"""

import hmac
import time

from flask import Flask, Response, current_app, g, request

from app import metrics as counted
from app.api import auth
from app.api.blueprint import Blueprint, documented
from app.api.responses.metrics import Standing
from app.container import Services
from app.domain import access
from app.services.access.refusals import enforce

metrics = Blueprint("metrics", deferred=True)

_TEXT = {"type": "string"}
# What nobody documents and anybody can send is counted as one.
_UNKNOWN_ROUTE = "unknown"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


@metrics.operation("/metrics", "GET", "metrics_metrics_get", _TEXT, kind="text/plain", summary="Metrics")
def read() -> Response:
    """What this service counts of itself, in Prometheus's text form: for admins, viewers and the metrics token."""
    token = auth.services().settings.metrics_token
    if token is None or not hmac.compare_digest(token.reveal().encode(), g.credential.encode()):
        caller = auth.authenticate(request).caller
        auth.gate(caller, request.path, request.method)
        enforce(access.may_read_operations(caller))
    exposition = counted.exposition(current_app.extensions["keyledger_metrics"])
    return Response(exposition, content_type=counted.CONTENT_TYPE)


def route() -> str:
    """The request's route as it is documented, without what stands in its path."""
    return _UNKNOWN_ROUTE if request.url_rule is None else documented(request.url_rule.rule)


def _begin() -> None:
    g.began = time.perf_counter()


def _count(response: Response) -> Response:
    method = request.method if request.method in _METHODS else "OTHER"
    counted.REQUESTS.labels(method, route(), response.status_code).inc()
    counted.REQUEST_SECONDS.labels(route()).observe(time.perf_counter() - g.began)
    return response


def register(app: Flask) -> None:
    """Count the application's requests."""
    app.before_request(_begin)
    app.after_request(_count)


def bind(app: Flask, services: Services) -> None:
    """Put the route's numbers on the application: what was counted, and how these services stand."""
    app.extensions["keyledger_metrics"] = counted.registry(
        services.settings.metrics_dir, Standing(services.gauges)
    )
