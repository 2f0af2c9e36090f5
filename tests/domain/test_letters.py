"""Letters: what a mail says, and that it holds a key only where it is handed one."""

import pytest

from app.domain.event_kinds import KINDS
from app.domain.letters import Letterhead, letter_of, plain
from app.domain.mail_address import is_mail_address
from app.domain.minting import Secret
from tests.domain.happenings import event

HEAD = Letterhead("https://llm.example.com", None, "help@example.com")
KEY = Secret("sk-a-key-for-a-letter-0123")

INVITATION = """\
Your new API key
----------------

An API key has been made for you: ci.

Keys are not sent by mail here. This one was shown once, to whoever made
it: ask them for it, or help@example.com.

Name:        ci
Key:         sk-...cdef
Team:        search
Soft budget: $8.00
Budget:      $10.00, renewed every month
Expires:     2027-01-31 00:00 UTC
Address:     https://llm.example.com

Questions? Ask help@example.com.

--\x20
Keyledger sent you this on 2026-11-18 at 13:47 UTC because somebody who
manages it asked for that.
"""


def invitation(about: str = "key_created"):
    return event("invite_mail", about=about, budget_duration="30d", expires="2027-01-31T00:00:00.000000Z")


def test_an_invitation_says_where_the_key_is_to_be_had():
    letter = letter_of(invitation(), HEAD)

    assert letter.subject == "Keyledger: Your new API key: ci"
    assert plain(letter) == INVITATION


def test_an_invitation_holds_the_key_where_it_is_handed_one():
    letter = letter_of(invitation(), HEAD, KEY)

    assert f"\n    {KEY.reveal()}\n" in plain(letter)
    assert "Keys are not sent" not in plain(letter)
    assert "sk-...cdef" not in plain(letter)
    assert KEY.reveal() not in repr(letter)


def test_the_letter_of_a_new_secret_holds_it():
    letter = letter_of(event("new_secret"), HEAD, KEY)

    assert letter.subject == "Keyledger: New secret of an API key: ci"
    assert f"\n    {KEY.reveal()}\n" in plain(letter)
    assert "Here is the key. It is sent only this once" in plain(letter)


@pytest.mark.parametrize(
    ("about", "subject"),
    [
        ("key_created", "Keyledger: Your new API key: ci"),
        ("key_rotated", "Keyledger: Your API key was replaced: ci"),
        ("key_updated", "Keyledger: Your API key was changed: ci"),
    ],
)
def test_an_invitation_says_what_it_is_about(about: str, subject: str):
    assert letter_of(invitation(about), HEAD).subject == subject


def test_a_changed_key_is_not_offered_again():
    assert "Keys are not sent" not in plain(letter_of(invitation("key_updated"), HEAD))


def test_a_user_without_a_key_is_welcomed():
    letter = letter_of(event("invite_mail", "user", user_id="bob", about="user_created"), HEAD)

    assert letter.subject == "Keyledger: Welcome"
    assert "You have no API key yet" in plain(letter)


@pytest.mark.parametrize(
    ("happened", "sentence"),
    [
        (
            event("budget_crossed"),
            "The budget of the API key ci is used up. Calls are refused until it is raised.",
        ),
        (
            event("budget_crossed", window_end="2026-12-01T00:00:00.000000Z"),
            "refused until it is raised, or renewed on 2026-12-01 00:00 UTC.",
        ),
        (event("soft_budget_crossed"), "The spend of the API key ci has reached its soft budget."),
        (event("max_budget_alert", percentage=50), "50 % of the budget of the API key ci is used."),
        (event("threshold_crossed", percentage=95), "95 % of the budget of the API key ci is used."),
        (
            event("projected_limit_exceeded", projected_exceeded_date="2026-11-24T03:00:00.000000Z"),
            "it passes its soft budget on 2026-11-24.",
        ),
        (event("key_expiring", expires="2026-12-01T00:00:00.000000Z"), "it expires on 2026-12-01 00:00 UTC"),
        (event("key_rotated"), "There is a new secret for the API key ci."),
        (
            event("new_secret", rotation_interval="30d", grace_period="24h"),
            "as planned every month. It works already, and the old one goes on working for 24h after this mail:",
        ),
        (
            event("rotation_cancelled", reason="HTTP 410\n{it}", key_rotation_at="2026-12-01T00:00:00.000000Z"),
            "nothing: HTTP 410 {it}. Its present secret goes on working, and the next rotation is due on 2026-12-01",
        ),
        (event("budget_crossed", "team", team_alias="Search"), "The budget of the team Search is used up."),
        (
            event("budget_crossed", "member", user_email="bob@example.com", team_id="search"),
            "The budget of bob@example.com in search is used up.",
        ),
    ],
)
def test_a_letter_says_what_has_happened(happened, sentence: str):
    assert sentence in " ".join(plain(letter_of(happened, Letterhead())).split())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written(kind: str):
    text = plain(letter_of(event(kind, key_alias=None), Letterhead()))

    assert "None" not in text
    assert "{" not in text
    assert "Questions?" not in text


@pytest.mark.parametrize("alias", ["ci\r\nBcc: all@example.com", "{it}", "x" * 1000])
def test_no_name_changes_what_a_letter_is(alias: str):
    letter = letter_of(event(key_alias=alias), HEAD)

    assert letter.subject.splitlines() == [letter.subject]
    assert len(letter.subject) < 200


@pytest.mark.parametrize(("spend", "used"), [(0, 0), (5, 0.5), (12, 1.2)])
def test_how_much_is_used_is_part_of_a_letter_about_a_budget(spend: float, used: float):
    assert letter_of(event("threshold_crossed", spend=spend), HEAD).used == used
    assert letter_of(event("key_expiring", spend=spend), HEAD).used is None


@pytest.mark.parametrize(
    "address", ["bob@example.com", "a+b@x.example", "josé@exämple.com", "o'brien@example.com"]
)
def test_a_mail_address(address: str):
    assert is_mail_address(address)


@pytest.mark.parametrize(
    "text",
    [
        *("", "bob", "@example.com", "bob@", "bob@example.com, al@example.com", "Bob <bob@example.com>"),
        *("bob@example.com\r\nRCPT TO:<al@example.com>", "bob @example.com", "a" * 250 + "@x.example", "bob@a@b"),
    ],
)
def test_no_mail_address(text: str):
    assert not is_mail_address(text)
