"""Keyledger: a stand-alone virtual-key service for LLM gateways."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.container import Services


def create_app(services: "Services | None" = None) -> "Flask":
    """The web application over `services`; without them, over those that the environment describes.

    Imports are made here: every module of `app` passes through this file, the supervisor's few too.
    """
    from flask import Flask  # noqa: PLC0415

    from app import api, logs  # noqa: PLC0415
    from app.config import from_environment  # noqa: PLC0415
    from app.container import build  # noqa: PLC0415

    if services is None:
        settings = from_environment()
        logs.configure(settings.log_level)
        services = build(settings)
    app = Flask("keyledger", static_folder=None)
    api.register(app)
    api.bind(app, services)
    return app
