"""Alerts to the many services that the library `apprise` speaks, an extra that is loaded at the first of them.

It does its own HTTP: what a name resolves to is not judged, and a URL may ask for redirects. That is acceptable
for URLs of the operator, and the reason why a key's owner can never set one. They hold secrets: no reason and no
log line ever holds one of them.
"""

import logging
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from types import ModuleType

from app.domain.alerts import Alert, plain_text, squashed
from app.domain.deliveries import Claimed
from app.domain.event_kinds import Level, kind_of
from app.domain.messages import headline_of
from app.integrations.destinations import DeliveryResult
from app.integrations.outbound import Deadline
from app.integrations.posting import NO_TARGET, without_event

# What these have to say holds the URL.
_TALKATIVE = ("apprise", "urllib3")
_SILENT = logging.CRITICAL + 1


class Apprise:
    """Sends to the services of apprise's URLs; `proxy_url` stands under each text."""

    most = 20

    def __init__(self, urls: Sequence[str], *, seconds: float, proxy_url: str | None) -> None:
        self._urls = {f"apprise:{number}": url for number, url in enumerate(urls)}
        self._seconds = seconds
        self._proxy_url = proxy_url

    def send(self, target: str, claimed: Sequence[Claimed]) -> Mapping[int, DeliveryResult]:
        results = without_event(claimed)
        deadline = Deadline(self._seconds)
        for alert in squashed(claimed):
            if deadline.is_over:
                break
            result = self._notify(target, alert)
            results |= dict.fromkeys(alert.delivery_ids, result)
            if result.retryable:
                break
        return results

    def _notify(self, target: str, alert: Alert) -> DeliveryResult:
        """Hand one alert over, in a thread of its own: what goes on in there knows no whole time limit."""
        url = self._urls.get(target)
        if url is None:
            return NO_TARGET
        deadline = Deadline(self._seconds)
        faults: SimpleQueue[str | None] = SimpleQueue()
        text = plain_text(alert, self._proxy_url)
        Thread(target=lambda: faults.put(self._fault(url, alert, text)), daemon=True, name="apprise").start()
        try:
            fault = faults.get(timeout=self._seconds)
        except Empty:
            fault = f"no answer within {self._seconds:g} s"
        return DeliveryResult(
            ok=fault is None,
            http_status=None,
            milliseconds=deadline.milliseconds,
            reason=fault,
            # The library does not tell why: whatever it was may pass.
            retryable=fault is not None,
        )

    def _fault(self, url: str, alert: Alert, text: str) -> str | None:
        """Why the alert was not taken, None where it was."""
        try:
            apprise = _loaded()
        except ImportError:
            return "the extra 'apprise' is not installed"
        try:
            asset = apprise.AppriseAsset(
                app_id="Keyledger", app_desc="Keyledger", async_mode=False, http_redirects=False
            )
            service = apprise.Apprise.instantiate(url, asset=asset)
            if service is None:
                return "apprise does not know such a URL"
            service.socket_connect_timeout = service.socket_read_timeout = self._seconds
            taken = service.notify(
                body=text,
                title=headline_of(alert.event),
                notify_type=_urgency(apprise, alert),
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception:  # noqa: BLE001 - of dozens of plugins, and what it says may hold the URL
            return "apprise failed"
        return None if taken else "apprise could not deliver it"


def _loaded() -> ModuleType:
    import apprise  # noqa: PLC0415 - an extra

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(_SILENT)
    return apprise


def _urgency(apprise: ModuleType, alert: Alert) -> object:
    high = kind_of(alert.event.kind).level is Level.HIGH
    return apprise.NotifyType.WARNING if high else apprise.NotifyType.INFO
