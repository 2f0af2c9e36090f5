"""The README tells of roles what the matrix holds the service to."""

from tests.access.roles_page import README, TITLE, around, page


def test_the_readme_tells_of_roles_what_the_matrix_says():
    text = README.read_text()
    before, after = around(text)

    section = text[len(before) : len(text) - len(after)]
    assert section == page() + "\n", "write it anew: python -m tests.access.roles_page"


def test_there_is_one_section_of_roles():
    assert README.read_text().count(TITLE) == 1
