"""Keyledger: a stand-alone virtual-key service for LLM gateways."""

from flask import Flask

from app import api, logs
from app.config import from_environment
from app.container import Services, build


def create_app(services: Services | None = None) -> Flask:
    """The web application over `services`; without them, over those that the environment describes."""
    if services is None:
        settings = from_environment()
        logs.configure(settings.log_level)
        services = build(settings)
    app = Flask("keyledger", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = services.settings.max_body_bytes
    app.extensions["keyledger"] = services
    api.register(app)
    return app
