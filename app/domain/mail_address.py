"""What may stand where a mail address is needed."""

import re
from email.errors import HeaderParseError
from email.headerregistry import Address

_LONGEST = 254


def is_mail_address(text: str) -> bool:
    """Whether the text is one plain address, such as bob@example.com, and nothing else."""
    if len(text) > _LONGEST or re.search(r"[\s\x00-\x1f\x7f<>,;:()\"]", text):
        return False
    try:
        address = Address(addr_spec=text)
    except (HeaderParseError, ValueError, IndexError):
        return False
    return bool(address.username and address.domain)
