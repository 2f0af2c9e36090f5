"""Runs inside the reference client's own environment: parts of it, unchanged, called as the lines of its input say.

One JSON object per line in, one out. One process makes all calls: the client takes seconds to import.
"""

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


def outcome(request: dict) -> dict:
    try:
        return {"returned": call(request)}
    except UnauthorizedError:
        return {"raised": "UnauthorizedError"}
    except NotFoundError:
        return {"raised": "NotFoundError"}
    except HTTPError as error:
        return {"raised": "HTTPError", "status": error.response.status_code}


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(outcome(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
