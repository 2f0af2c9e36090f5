"""What a data directory says where the environment does not: its store, its Redis, its two secrets.

`keyledger up` starts its parts with it, and an operator's command beside it works on the very same.
"""

from collections.abc import Callable, Mapping
from urllib.parse import quote

from app import local_redis
from app.data_dir import DataDir


def of_up(given: Mapping[str, str], data: DataDir) -> dict[str, str]:
    """The environment with what was not given; secrets that there are none of are made. Raises Unusable."""
    return _filled(given, data, data.secret)


def beside_up(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment of a command that names no store, on the one of its data directory, if that has one.

    No secret is made. Where a store is named nothing is filled in: the secrets here are not that one's. Raises
    Unusable.
    """
    given = {name: value for name, value in environment.items() if value.strip()}
    data = DataDir.of(given)
    if "DATABASE_URL" in given or not data.database.exists():
        return given
    return _filled(given, data, lambda name, _: data.secret(name) if data.secret_path(name).exists() else "")


def _filled(given: Mapping[str, str], data: DataDir, secret: Callable[[str, str], str]) -> dict[str, str]:
    environment = {"DATABASE_URL": f"sqlite:///{quote(str(data.database))}", **given}
    if "REDIS_URL" not in given:
        environment["REDIS_URL"] = local_redis.url(data)
    for part, prefix in (("MASTER", "sk-"), ("SALT", "")):
        name = f"KEYLEDGER_{part}_KEY"
        own = given.get(name) or given.get(f"LITELLM_{part}_KEY")
        environment[name] = (own or secret(f"{part.lower()}-key", prefix)).strip()
    environment["KEYLEDGER_DATA_DIR"] = str(data.path)
    return environment
