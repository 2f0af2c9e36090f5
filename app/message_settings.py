"""Settings of what leaves the service as a message: Slack, Teams, apprise, webhooks and mail.

Every URL here may hold a secret: none is part of a printed form or of what is said of a wrong one.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app import setting_parsers as parsers
from app.domain.event_kinds import ALERT_KINDS, KINDS, MAIL_KINDS, WEBHOOK_KINDS
from app.domain.letters import Letterhead
from app.domain.mail_address import is_mail_address
from app.domain.minting import Secret

_IMPLICIT_TLS_PORT = 465
# What Standard Webhooks allow for a secret, in bytes.
_SECRET_BYTES = range(24, 65)


@dataclass(frozen=True)
class MessageSettings:
    """Which channels there are, and which kinds of events each of them tells."""

    slack_urls: tuple[str, ...] = field(default=(), repr=False)
    ms_teams_urls: tuple[str, ...] = field(default=(), repr=False)
    apprise_urls: tuple[str, ...] = field(default=(), repr=False)
    alert_events: frozenset[str] = ALERT_KINDS
    webhook_urls: tuple[str, ...] = field(default=(), repr=False)
    webhook_events: frozenset[str] = WEBHOOK_KINDS
    webhook_secret: Secret | None = None
    # The secret before this one, which goes on signing until every receiver knows the new one.
    webhook_previous_secret: Secret | None = None
    mail_events: frozenset[str] = MAIL_KINDS
    # Whether a mail may hold the key itself: an invitation, or the new secret of a scheduled rotation.
    mail_keys: bool = False
    smtp_host: str | None = None
    smtp_port: int = 587
    smtp_username: str | None = None
    smtp_password: Secret | None = None
    smtp_sender: str | None = None
    smtp_starttls: bool = True
    smtp_implicit_tls: bool = False
    smtp_seconds: float = 30.0
    mail_logo_url: str | None = None
    mail_contact: str | None = None
    base_url: str | None = None
    test_address: str | None = None

    @property
    def webhook_secrets(self) -> tuple[Secret, ...]:
        """What signs a webhook, the present secret first."""
        return tuple(
            secret for secret in (self.webhook_secret, self.webhook_previous_secret) if secret is not None
        )

    @property
    def letterhead(self) -> Letterhead:
        """What stands in every mail."""
        return Letterhead(self.base_url, self.mail_logo_url, self.mail_contact)

    @property
    def tls_from_the_start(self) -> bool:
        """Whether the mail server speaks TLS from the first byte on, as it does on port 465."""
        return self.smtp_implicit_tls or self.smtp_port == _IMPLICIT_TLS_PORT


def faults(values: Mapping[str, object]) -> list[str]:
    """What is wrong with message settings together, each of which may be well."""
    found = []
    if "smtp_host" in values and "smtp_sender" not in values:
        found.append("SMTP_SENDER_EMAIL is missing: SMTP_HOST needs it.")
    if "webhook_previous_secret" in values and "webhook_secret" not in values:
        found.append("KEYLEDGER_WEBHOOK_PREVIOUS_SECRET needs KEYLEDGER_WEBHOOK_SECRET.")
    if values.get("mail_keys") and "smtp_host" not in values:
        found.append("KEYLEDGER_MAIL_KEYS needs SMTP_HOST.")
    return found


def _kinds(raw: str) -> frozenset[str]:
    """`all`, `none` or a list of kinds."""
    if raw in {"all", "none"}:
        return frozenset(KINDS) if raw == "all" else frozenset()
    named = parsers.names(raw)
    unknown = [name for name in named if name not in KINDS]
    if unknown:
        raise ValueError(f"there is no kind of event '{unknown[0]}'")
    return frozenset(named)


def _urls(raw: str) -> tuple[str, ...]:
    return tuple(parsers.http_url(url) for url in raw.replace(",", " ").split())


def _apprise_urls(raw: str) -> tuple[str, ...]:
    urls = tuple(raw.split())
    if not all("://" in url for url in urls):
        raise ValueError("URLs separated by spaces are needed")
    return urls


def _webhook_secret(raw: str) -> Secret:
    prefix, _, encoded = raw.rpartition("whsec_")
    try:
        size = len(b64decode(encoded, validate=True))
    except NotBase64:
        size = 0
    if prefix or encoded == raw or size not in _SECRET_BYTES:
        raise ValueError("'whsec_' and 24 to 64 bytes in base64 are needed") from None
    return Secret(raw)


def _mail_address(raw: str) -> str:
    if not raw.isascii() or not is_mail_address(raw):
        raise ValueError("a mail address is needed, such as keys@example.com")
    return raw


def _starttls(raw: str) -> bool:
    """As LiteLLM reads it: only this very text switches it off."""
    return raw != "False"


# The variable, the setting, how it is read. Of two variables for one setting the later one wins.
OPTIONAL: tuple[tuple[str, str, Callable[[str], object]], ...] = (
    ("ALERTING_WEBHOOK_URL", "slack_urls", _urls),
    ("SLACK_WEBHOOK_URL", "slack_urls", _urls),
    ("MS_TEAMS_WEBHOOK_URL", "ms_teams_urls", _urls),
    ("KEYLEDGER_APPRISE_URLS", "apprise_urls", _apprise_urls),
    ("KEYLEDGER_ALERT_EVENTS", "alert_events", _kinds),
    ("WEBHOOK_URL", "webhook_urls", _urls),
    ("KEYLEDGER_WEBHOOK_EVENTS", "webhook_events", _kinds),
    ("KEYLEDGER_WEBHOOK_SECRET", "webhook_secret", _webhook_secret),
    ("KEYLEDGER_WEBHOOK_PREVIOUS_SECRET", "webhook_previous_secret", _webhook_secret),
    ("KEYLEDGER_MAIL_EVENTS", "mail_events", _kinds),
    ("KEYLEDGER_MAIL_KEYS", "mail_keys", parsers.flag),
    ("SMTP_HOST", "smtp_host", str),
    ("SMTP_PORT", "smtp_port", parsers.integer(1, 65535)),
    ("SMTP_USERNAME", "smtp_username", str),
    ("SMTP_PASSWORD", "smtp_password", Secret),
    ("SMTP_SENDER_EMAIL", "smtp_sender", _mail_address),
    ("SMTP_TLS", "smtp_starttls", _starttls),
    ("SMTP_USE_SSL", "smtp_implicit_tls", parsers.flag),
    ("SMTP_TIMEOUT", "smtp_seconds", parsers.seconds(1, 300)),
    ("SMTP_SENDER_LOGO", "mail_logo_url", parsers.http_url),
    ("EMAIL_LOGO_URL", "mail_logo_url", parsers.http_url),
    ("EMAIL_SUPPORT_CONTACT", "mail_contact", str),
    ("PROXY_BASE_URL", "base_url", parsers.http_url),
    ("TEST_EMAIL_ADDRESS", "test_address", _mail_address),
)
