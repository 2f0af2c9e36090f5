"""What may stand where a mail address is needed."""

import re

_LONGEST = 254
_PART = r"[^\s@<>,;:()\[\]\\\"]"
_ADDRESS = re.compile(rf"(?P<user>{_PART}{{1,64}})@(?P<domain>{_PART}+)")


def is_mail_address(text: str) -> bool:
    """Whether the text is one plain address, such as bob@example.com, and nothing else."""
    return len(text) <= _LONGEST and text.isprintable() and _ADDRESS.fullmatch(text) is not None
