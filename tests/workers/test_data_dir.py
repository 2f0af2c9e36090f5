"""The data directory keeps secrets whole and private, and belongs to one supervisor at a time."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.data_dir import LOG_LIMIT_BYTES, LONGEST_SOCKET_PATH, DataDir, Unusable
from app.local_environment import beside_up, of_up


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path / "data")
    data.open()
    return data


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_secret_is_made_once_and_kept(data: DataDir) -> None:
    first = data.secret("master-key", "sk-")

    assert data.secret("master-key", "sk-") == first
    assert DataDir(data.path).secret("master-key", "sk-") == first
    assert first.startswith("sk-")
    assert len(first) > 40
    assert mode(data.secret_path("master-key")) == 0o600


def test_a_command_beside_it_works_with_what_it_was_started_with(data: DataDir) -> None:
    given = {"KEYLEDGER_DATA_DIR": str(data.path), "PATH": "/bin"}
    started = of_up(given, data)
    data.database.touch()

    assert beside_up(given) == started
    assert {"DATABASE_URL", "REDIS_URL", "KEYLEDGER_MASTER_KEY", "KEYLEDGER_SALT_KEY"} <= started.keys()


@pytest.mark.parametrize("named", [{}, {"DATABASE_URL": "postgresql://db.internal/keyledger"}])
def test_a_command_that_names_its_store_or_finds_none_is_given_nothing(
    data: DataDir, named: dict[str, str]
) -> None:
    given = {"KEYLEDGER_DATA_DIR": str(data.path), **named}
    of_up(given, data)
    if named:
        data.database.touch()

    assert beside_up(given) == given


def test_a_command_makes_no_secret_that_was_lost(data: DataDir) -> None:
    data.database.touch()

    found = beside_up({"KEYLEDGER_DATA_DIR": str(data.path), "LITELLM_MASTER_KEY": "sk-of-the-environment"})

    assert (found["KEYLEDGER_MASTER_KEY"], found["KEYLEDGER_SALT_KEY"]) == ("sk-of-the-environment", "")
    assert not any(data.secret_path(name).exists() for name in ("master-key", "salt-key"))


def test_a_draft_that_a_crash_has_left_becomes_no_secret(data: DataDir) -> None:
    (data.path / "master-key.new").write_text("sk-ha")

    assert len(data.secret("master-key", "sk-")) > 40


def test_an_empty_secret_is_a_fault_and_not_a_new_secret(data: DataDir) -> None:
    data.secret_path("salt-key").touch()

    with pytest.raises(Unusable, match="empty"):
        data.secret("salt-key")


def test_the_directory_and_its_folders_are_closed_to_others(data: DataDir) -> None:
    assert {mode(path) for path in (data.path, data.logs, data.redis, data.running)} == {0o700}


def test_only_one_holds_the_directory(data: DataDir) -> None:
    with pytest.raises(Unusable, match="already runs"):
        DataDir(data.path).open()


def test_a_path_that_cannot_be_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Unusable, match=str(tmp_path / "file")):
        DataDir(tmp_path / "file" / "data").open()


def test_a_log_past_its_limit_is_moved_aside_while_its_writer_goes_on(data: DataDir) -> None:
    path, former = data.log("web"), data.logs / "web.log.1"
    former.write_bytes(b"older still")
    with path.open("ab", buffering=0) as writer:
        for last, kept in ((b"", b"older still"), (b"x", b"x" * (LOG_LIMIT_BYTES + 1))):
            writer.write(last or b"x" * LOG_LIMIT_BYTES)
            data.rotate_logs()
            assert former.read_bytes() == kept
        writer.write(b"and on")

    assert path.read_bytes() == b"and on"


def test_a_log_that_is_moved_aside_is_its_owners_alone(data: DataDir) -> None:
    data.log("web").write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))

    data.rotate_logs()

    assert mode(data.logs / "web.log.1") == 0o600


def test_a_socket_lies_in_the_directory_when_its_path_is_short_enough() -> None:
    assert DataDir(Path("/srv/k")).socket("redis") == Path("/srv/k/redis/redis.sock")


@pytest.fixture
def long(tmp_path: Path) -> Iterator[DataDir]:
    """One whose path is too long for a socket."""
    data = DataDir(tmp_path / ("k" * 110))
    yield data
    data.close()


def test_a_socket_below_a_long_path_lies_in_a_short_private_one(long: DataDir) -> None:
    path = long.socket("redis")

    assert len(str(path)) <= LONGEST_SOCKET_PATH
    assert mode(path.parent) == 0o700
    assert long.socket("redis") == path


def test_two_long_paths_share_no_socket(long: DataDir) -> None:
    other = DataDir(long.path.with_name("k" * 111))

    assert other.socket("redis") != long.socket("redis")
    other.close()


def test_a_short_directory_that_others_may_enter_is_not_used(long: DataDir) -> None:
    long.socket("redis").parent.chmod(0o755)

    with pytest.raises(Unusable, match="mode 0700"):
        long.socket("redis")


def test_nothing_outside_of_the_directory_is_left_at_the_end(long: DataDir) -> None:
    path = long.socket("redis")
    path.touch()  # as a killed server leaves it

    long.close()

    assert not path.parent.exists()
