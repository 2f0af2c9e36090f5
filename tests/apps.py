"""The application for tests, drawn once per process: its routes and its document do not depend on the services.

Drawing takes some 200 ms, more than nearly every test that asks the application something.
"""

from copy import copy

from flask import Flask

from app import create_app
from app.api import bind
from app.container import Services

_drawn: list[Flask] = []


def app_over(services: Services) -> Flask:
    """What `create_app` makes: routes and document are shared, the services and the configuration its own."""
    if not _drawn:
        _drawn.append(create_app(services))
    app = copy(_drawn[0])
    app.config, app.extensions = copy(app.config), copy(app.extensions)
    bind(app, services)
    return app
