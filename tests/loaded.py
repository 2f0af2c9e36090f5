"""What a fork server has at hand before it forks: the application, drawn, and all that either store needs."""

import gc

from app.config import Settings
from app.container import build
from tests.apps import app_over
from tests.environment import ENVIRONMENT

# Nobody is contacted; that it is PostgreSQL loads its driver.
_NOWHERE = {"DATABASE_URL": "postgresql:///nowhere", "REDIS_URL": "redis://127.0.0.1:1/0"}

app_over(build(Settings.parse({**ENVIRONMENT, **_NOWHERE})))

# What is loaded stays: a collection in a fork would go through all of it, and copy each page.
gc.collect()
gc.freeze()
