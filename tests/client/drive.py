"""Runs inside the reference client's own environment: one call of its key client, unchanged; JSON in, JSON out."""

import json
import sys

from litellm.proxy.client import Client
from litellm.proxy.client.exceptions import UnauthorizedError
from litellm.proxy.client.health import HealthManagementClient
from requests import HTTPError


def call(request: dict) -> object:
    url, key = request["url"], request["key"]
    if request["part"] == "health":
        part = HealthManagementClient(url, key)
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
        except HTTPError as error:
            answers.append({"raised": "HTTPError", "status": error.response.status_code})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
