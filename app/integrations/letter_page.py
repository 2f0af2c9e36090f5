"""A letter as a page of HTML, for the programs that show mail."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.domain.letters import PRODUCT, Letter

_pages = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parents[1] / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
)


def page(letter: Letter) -> str:
    """Draw the letter; every text in it is escaped."""
    return _pages.get_template("mail.html").render(
        letter=letter,
        product=PRODUCT,
        key=None if letter.key is None else letter.key.reveal(),
        bar=None if letter.used is None else max(1, min(100, int(letter.used * 100))),
    )
