"""The section of the README on roles, drawn from the matrix: `python -m tests.access.roles_page` writes it there."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from tests.access.callers import ACME, CREW, ELSEWHERE, MATE, OTHER, STRANGER
from tests.access.matrix import decisions, keys, new_keys, organizations, others, teams, users
from tests.access.oracle import NOTHING, UNKNOWN, Row, expected
from tests.access.world import ENTRY, HAPPENED, TIER

README = Path(__file__).parents[2] / "README.md"
TITLE = "## Roles\n"

# The heading of each column, the caller that stands for all of its kind, and who that is.
COLUMNS = (
    ("admin", "proxy admin", "the master key; a key of a user with the role `proxy_admin`"),
    ("viewer", "viewer", "a key of a `proxy_admin_viewer`: sees everything, changes nothing"),
    ("org", "org admin", "a key of an `org_admin` of an organization: manages its teams"),
    ("team", "team admin", "a key of an `internal_user` who is an admin of the team"),
    ("member", "member", "a key of an `internal_user` who is a plain member of the team"),
    ("granted", "granted member", "the same, where the team's `team_member_permissions` list the route"),
    ("user", "internal user", "a key of an `internal_user` in no team"),
    ("other", "internal viewer", "a key of an `internal_user_viewer`, a `team` or a `customer`"),
    ("account", "service account", "a key of a team, without an owner, with a `service_account_id`"),
    ("none", "ownerless key", "a key without an owner and a team"),
    ("gateway", "gateway", "a key whose `permissions` hold `gateway: true`"),
)
# Letters for the targets, in their order.
LETTERS = {
    "itself": ("c", "the calling key itself"),
    "own": ("o", "a key that the caller owns and has made"),
    "given": ("g", "a key that it owns and an administrator has made"),
    "made": ("f", "a key that it has made for somebody else"),
    "own in team": ("i", "its own key in the team"),
    "mate's": ("m", "another member's key in the team"),
    "team's": ("n", "a key of the team without an owner"),
    "elsewhere": ("e", "a key of another team"),
    CREW: ("t", "the own team"),
    ELSEWHERE: ("e", "another one"),
    "oneself": ("s", "the caller itself"),
    MATE: ("p", "a member of the own organization's teams"),
    STRANGER: ("e", "somebody else"),
    ACME: ("a", "the own organization"),
    OTHER: ("e", "another one"),
    TIER: ("b", "a budget"),
    ENTRY: ("r", "a record"),
    HAPPENED: ("v", "an event"),
}
PARTS: Sequence[tuple[str, Sequence[Row]]] = (
    ("Keys", [*keys.ROWS, *new_keys.ROWS, *decisions.ROWS]),
    ("Teams", teams.ROWS),
    ("Users", users.ROWS),
    ("Organizations", organizations.ROWS),
    ("Budgets, audit, events, reports, catalogue", [row for row in others.ROWS if not row.public]),
)
INTRODUCTION = f"""{TITLE}
What a key may do follows from its owner's role, and from what the owner is to a team or an organization. A key's
`allowed_routes` narrow that down for whoever owns it, or open a route that the role does not reach. A refusal is a
401 where the role reaches no such route, a 403 where it reaches the route and not what it asks for; what a caller
may not see answers as what does not exist.

Nobody gives what it does not hold. What a key makes is bound by that key's own models, budget, rates and routes, and
a key that may more than the calling one, or whose owner stands higher, is rotated by an admin alone.
"""


def page() -> str:
    callers = "".join(f"- **{heading}**: {about}.\n" for heading, _, about in COLUMNS)
    reading = "`all`, `yes`: whatever it names; `-`: nothing; letters: these only.\n"
    return "\n".join([INTRODUCTION, callers, reading, *(_part(name, rows) for name, rows in PARTS)])


def write() -> None:
    before, after = around(README.read_text())
    README.write_text(before + page() + "\n" + after)


def around(text: str) -> tuple[str, str]:
    """What stands before the section and after it."""
    before, _, rest = text.partition(TITLE)
    return before, rest[rest.index("\n## ") + 1 :]


def _part(name: str, rows: Sequence[Row]) -> str:
    lines = [(_cells(row), row) for row in rows]
    headings = [heading for heading, _, _ in COLUMNS]
    table = [f"| {name} | " + " | ".join(headings) + " |", "|---" * (len(headings) + 1) + "|"]
    for cells in dict.fromkeys(cells for cells, _ in lines):
        routes = ", ".join(_routes([row for found, row in lines if found == cells]))
        table.append(f"| {routes} | " + " | ".join(cells) + " |")
    legend = "; ".join(f"`{letter}` {about}" for letter, about in _letters(rows).items())
    return "\n".join([*table, "", *([legend + ".", ""] if legend else [])])


def _letters(rows: Sequence[Row]) -> dict[str, str]:
    """The letters that the rows' cells use, with what they stand for."""
    used = {
        target
        for row in rows
        for _, caller, _ in COLUMNS
        if _cell(row, caller) != "all"
        for target in row.noun.targets(caller)
        if target != UNKNOWN and _granted(row, caller, target)
    }
    return dict(letter for target, letter in LETTERS.items() if target in used)


def _routes(rows: Sequence[Row]) -> Iterator[str]:
    """Each once: what a row does beside its route is told where the route has several."""
    for (route, does), _ in groupby(rows, key=lambda row: (row.route, row.does)):
        yield f"`{route}`" + (f" ({does})" if does else "")


def _cells(row: Row) -> tuple[str, ...]:
    return tuple(_cell(row, caller) for _, caller, _ in COLUMNS)


def _cell(row: Row, caller: str) -> str:
    if row.noun is NOTHING:
        return "yes" if expected(row, caller, "none") == row.done else "-"
    there = [target for target in row.noun.targets(caller) if target != UNKNOWN]
    granted = [target for target in there if _granted(row, caller, target)]
    if granted == there:
        return "all"
    return "".join(LETTERS[target][0] for target in granted) or "-"


def _granted(row: Row, caller: str, target: str) -> bool:
    if expected(row, caller, target) != row.done or not row.sees(caller, target):
        return False
    return row.shows is None or caller in row.shows.get(target, ())


if __name__ == "__main__":
    write()
