"""Headers of the owner's choice, written as `name=value,name=value`."""

import re

from app.integrations.outbound import OUR_HEADERS

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e\xa1-\xff]*")


def header_list(text: str) -> dict[str, str] | None:
    """The headers of a list, None where one of them cannot be one or is not the owner's to choose."""
    headers = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = entry.partition("=")
        name, value = name.strip(), value.strip()
        if not separator or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            return None
        if name.lower() in OUR_HEADERS:
            return None
        headers["Content-Type" if name.lower() == "content-type" else name] = value
    return headers
