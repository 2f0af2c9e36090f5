"""Runs inside the reference client's own environment: one call of a part of it, unchanged; JSON in, JSON out."""

import json
import sys

from litellm.proxy.client import Client
from litellm.proxy.client.exceptions import NotFoundError, UnauthorizedError
from litellm.proxy.client.health import HealthManagementClient
from litellm.proxy.client.users import UsersManagementClient
from requests import HTTPError


def call(request: dict) -> object:
    url, key = request["url"], request["key"]
    beside = {"health": HealthManagementClient, "users": UsersManagementClient}
    if request["part"] in beside:
        part = beside[request["part"]](url, key)
    else:
        part = getattr(Client(base_url=url, api_key=key), request["part"])
    return getattr(part, request["method"])(**request["arguments"])


def main() -> None:
    answers = []
    for request in json.load(sys.stdin):
        try:
            answers.append({"returned": call(request)})
        except UnauthorizedError:
            answers.append({"raised": "UnauthorizedError"})
        except NotFoundError:
            answers.append({"raised": "NotFoundError"})
        except HTTPError as error:
            answers.append({"raised": "HTTPError", "status": error.response.status_code})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
