"""What every service of the tests is told beside where its stores are: its secrets, and patience with a busy machine.

A test about a Redis that says nothing sets the shorter patience of a real installation itself.
"""

from collections.abc import Mapping

from tests.clients import MASTER_KEY

SALT_KEY = "salt-of-the-tests-0123456789"
# Far beyond what an answer takes, however many others want the processor.
REDIS_SECONDS = 10.0

ENVIRONMENT: Mapping[str, str] = {
    "KEYLEDGER_MASTER_KEY": MASTER_KEY,
    "KEYLEDGER_SALT_KEY": SALT_KEY,
    "KEYLEDGER_HOT_REDIS_SECONDS": str(REDIS_SECONDS),
}
