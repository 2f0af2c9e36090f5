"""What each process of the web server runs."""

from flask import Flask

from app import create_app
from app.processes import die_with_parent


def application() -> Flask:
    """Build the application, in a process that ends with the server's main process."""
    die_with_parent()
    return create_app()
