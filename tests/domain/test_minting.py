"""Secrets: made unguessable, stored as a digest, shown masked, never serialised by accident."""

import base64
import copy
import hashlib
import json
import pickle
import re

import orjson
import pytest

from app.domain import minting
from app.domain.minting import Secret

PLAINTEXT = "sk-abcdefghijklmnop_-1234"


def test_a_minted_key_is_the_prefix_and_128_random_bits_in_url_safe_characters():
    plaintext = minting.mint().reveal()

    assert re.fullmatch(r"sk-[A-Za-z0-9_-]{22}", plaintext)
    assert len(base64.urlsafe_b64decode(plaintext.removeprefix("sk-") + "==")) * 8 == 128


def test_a_minted_key_would_pass_as_a_custom_one():
    assert minting.fault_of_custom_key(minting.mint().reveal()) is None


def test_no_two_minted_keys_are_alike():
    minted = {minting.mint().reveal() for _ in range(2_000)}

    assert len(minted) == 2_000


@pytest.mark.parametrize("plaintext", [PLAINTEXT, "", "sk-", "sk-é漢🔑"])
def test_the_digest_is_the_sha256_hex_of_the_whole_key(plaintext: str):
    assert minting.digest(plaintext) == hashlib.sha256(plaintext.encode()).hexdigest()


def test_a_lone_surrogate_has_a_digest_too():
    digest = minting.digest("sk-\ud800")

    assert re.fullmatch(r"[0-9a-f]{64}", digest)


@pytest.mark.parametrize(
    ("reference", "token"),
    [
        pytest.param(PLAINTEXT, hashlib.sha256(PLAINTEXT.encode()).hexdigest(), id="a plaintext is hashed"),
        pytest.param("a" * 64, "a" * 64, id="a digest is itself"),
        pytest.param("an-alias", "an-alias", id="anything else is itself"),
    ],
)
def test_a_reference_means_a_stored_token(reference: str, token: str):
    assert minting.token_of(reference) == token


@pytest.mark.parametrize(
    ("reference", "can_name_a_key"),
    [
        (PLAINTEXT, True),
        ("sk-x", True),
        ("0123456789abcdef" * 4, True),
        ("", False),
        ("sk-", False),
        ("sk-with space", False),
        ("sk-new\n", False),
        ("sk-né", False),
        ("0123456789ABCDEF" * 4, False),
        ("0123456789abcdef" * 4 + "\n", False),
        ("0" * 63, False),
        ("0" * 65, False),
        ("an-alias", False),
    ],
)
def test_only_well_formed_plaintexts_and_digests_can_name_a_key(reference: str, can_name_a_key: bool):
    assert minting.is_reference(reference) is can_name_a_key


@pytest.mark.parametrize(
    ("plaintext", "masked"),
    [
        (PLAINTEXT, "sk-...1234"),
        ("sk-" + "a" * 13, "sk-...aaaa"),
        pytest.param("sk-" + "a" * 12, "sk-...", id="four of fifteen characters would be too much"),
        ("sk-1234", "sk-..."),
        ("", "sk-..."),
    ],
)
def test_the_masked_name_shows_four_characters_of_a_long_key_and_none_of_a_short_one(plaintext: str, masked: str):
    assert minting.key_name(plaintext) == masked


@pytest.mark.parametrize(
    ("plaintext", "fault"),
    [
        pytest.param("sk-" + "a" * 13, None, id="shortest"),
        pytest.param("sk-" + "a" * 253, None, id="longest"),
        pytest.param("sk-AZaz09_-AZaz09_-", None, id="every kind of character"),
        pytest.param("", "must start with 'sk-'", id="empty"),
        pytest.param("pk-aaaaaaaaaaaaaaaa", "must start with 'sk-'", id="another prefix"),
        pytest.param("SK-aaaaaaaaaaaaaaaa", "must start with 'sk-'", id="prefix in capitals"),
        pytest.param(" sk-aaaaaaaaaaaaaaaa", "must start with 'sk-'", id="leading space"),
        pytest.param("sk-" + "a" * 12, "16 to 256 characters", id="too short"),
        pytest.param("sk-" + "a" * 254, "16 to 256 characters", id="too long"),
        pytest.param("sk-aaaaaaaaaaaaa aaa", "letters, digits, '-' and '_' only", id="space"),
        pytest.param("sk-aaaaaaaaaaaaaaaa\n", "letters, digits, '-' and '_' only", id="trailing newline"),
        pytest.param("sk-aaaaaaaaaaaaa/aaa", "letters, digits, '-' and '_' only", id="slash"),
        pytest.param("sk-aaaaaaaaaaaaaé", "letters, digits, '-' and '_' only", id="letter beyond ASCII"),
        pytest.param("sk-aaaaaaaaaaaaa٣", "letters, digits, '-' and '_' only", id="digit beyond ASCII"),
        pytest.param("sk-aaaaaaaaaaaaa\x00", "letters, digits, '-' and '_' only", id="NUL"),
        pytest.param("sk-aaaaaaaaaaaaa\ud800", "letters, digits, '-' and '_' only", id="lone surrogate"),
    ],
)
def test_a_custom_key_is_refused_with_its_reason(plaintext: str, fault: str | None):
    told = minting.fault_of_custom_key(plaintext)

    assert told is None if fault is None else fault in (told or "")


def test_the_reason_for_a_refusal_does_not_repeat_the_key():
    told = minting.fault_of_custom_key("sk-distinctive secret")

    assert told is not None
    assert "distinctive" not in told


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda secret: f"{[secret]!r}"])
def test_a_secret_cannot_be_printed(show):
    shown = show(Secret(PLAINTEXT))

    assert PLAINTEXT not in shown
    assert "Secret(****)" in shown


@pytest.mark.parametrize(
    "serialise", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, orjson.dumps, vars, list, bytes]
)
def test_a_secret_cannot_be_serialised(serialise):
    with pytest.raises(TypeError) as refused:
        serialise(Secret(PLAINTEXT))

    assert PLAINTEXT not in str(refused.value)


def test_a_secret_is_revealed_on_purpose_only():
    assert Secret(PLAINTEXT).reveal() == PLAINTEXT


@pytest.mark.parametrize(("other", "equal"), [("a" * 64, True), ("a" * 63 + "b", False), ("", False)])
def test_digests_are_compared_by_value(other: str, equal: bool):
    assert minting.same("a" * 64, other) is equal
