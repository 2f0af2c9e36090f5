"""From the text of a setting to its value; each raises ValueError or OSError, whose text says what is needed.

No text repeats a value that may hold a secret.
"""

import re
from collections.abc import Callable
from datetime import time
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from app.db import normalise_url
from app.domain import durations, money, outbound, prices, spellings
from app.domain.durations import Duration, InvalidDuration
from app.domain.minting import PREFIX, Secret
from app.domain.outbound import UnusableUrl
from app.domain.values import InvalidValue

SHORTEST_TOKEN = 16
LONGEST_GRACE_YEARS = 10


def database_url(raw: str) -> str:
    return normalise_url(raw).render_as_string(hide_password=False)


def redis_url(raw: str) -> str:
    try:
        parts = urlsplit(raw)
        _ = parts.port  # what it says of a bad one would repeat a password that stands in its place
    except ValueError:
        raise ValueError("not a URL with a host and a port") from None
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("a redis://, rediss:// or unix:// URL is needed")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("the URL names no socket")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("the URL names no host")
    return raw


def master_key(raw: str) -> Secret:
    if not raw.startswith(PREFIX):
        raise ValueError(f"it must start with '{PREFIX}'")
    return Secret(raw)


def salt_key(raw: str) -> Secret:
    return Secret(raw)


def token(raw: str) -> Secret:
    if len(raw) < SHORTEST_TOKEN:
        raise ValueError(f"at least {SHORTEST_TOKEN} characters are needed")
    return Secret(raw)


def http_url(raw: str) -> str:
    try:
        outbound.parse(raw)
    except UnusableUrl as error:
        raise ValueError(str(error)) from None
    return raw


def price_file(raw: str) -> Path:
    try:
        prices.parse(Path(raw).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("a price file must be UTF-8 text") from error
    return Path(raw)


def integer(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", raw) or not low <= int(raw) <= high:
            raise ValueError(f"a whole number from {low} to {high} is needed")
        return int(raw)

    return parse


def integers(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    """Whole numbers separated by commas, each once, in their order."""
    of_one = integer(low, high)

    def parse(raw: str) -> tuple[int, ...]:
        return tuple(sorted({of_one(part.strip()) for part in raw.split(",")}))

    return parse


def seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number of seconds from {low:g} to {high:g} is needed")
        return value

    return parse


def grace(raw: str) -> Duration:
    """A length that ends inside the calendar, whenever it begins."""
    length = durations.parse(raw)
    if length.exceeds(years=LONGEST_GRACE_YEARS):
        raise ValueError(f"a length of {LONGEST_GRACE_YEARS} years at the most is needed")
    return length


def flag(raw: str) -> bool:
    if raw.lower() in {"true", "1", "yes", "on"}:
        return True
    if raw.lower() in {"false", "0", "no", "off"}:
        return False
    raise ValueError("true or false is needed")


def names(raw: str) -> tuple[str, ...]:
    """Names separated by commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in raw.split(",") if name.strip()))


def zone(raw: str) -> ZoneInfo:
    try:
        return spellings.zone_of(raw)
    except InvalidDuration:
        raise ValueError("an IANA time zone is needed, such as Europe/Paris") from None


def time_of_day(raw: str) -> time:
    try:
        return spellings.start_of(raw)
    except InvalidDuration:
        raise ValueError("a time of day is needed, such as 06:30") from None


def budget_status(raw: str) -> int:
    if raw not in {"422", "429", "400"}:
        raise ValueError("422 (LiteLLM's), 429 or 400 is needed")
    return int(raw)


def dollars(raw: str) -> int:
    try:
        return money.nanos(money.decimal(raw, "it"), "it")
    except InvalidValue as error:
        raise ValueError("an amount in US dollars is needed, such as 0.01") from error


def choice(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    def parse(raw: str) -> StrEnum:
        try:
            return kind(raw)
        except ValueError:
            raise ValueError(f"one of {', '.join(kind)} is needed") from None

    return parse


def log_level(raw: str) -> str:
    if raw.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError("DEBUG, INFO, WARNING or ERROR is needed")
    return raw.upper()


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
