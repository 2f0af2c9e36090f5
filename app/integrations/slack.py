"""Slack, by an incoming webhook: LiteLLM's body, `{"text": …}` alone."""

from typing import Any

from app.domain.alerts import Alert, slack_text


def body(alert: Alert, *, proxy_url: str | None) -> dict[str, Any]:
    """The request's body for an alert."""
    return {"text": slack_text(alert, proxy_url)}
