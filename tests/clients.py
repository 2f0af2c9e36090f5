"""A client of the application that holds every answer against `/openapi.json`."""

import json as jsonlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from flask import Flask
from openapi_schema_validator import OAS30Validator
from werkzeug.test import TestResponse

from tests import leaks
from tests.leaks import SECRETS

MASTER_KEY = "sk-master-of-the-tests-0123456789"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def error(self) -> dict[str, Any]:
        return self.body["error"]

    @property
    def summary(self) -> tuple[int, str, str | None]:
        """Status, type and param of an error in the envelope."""
        return self.status, self.error["type"], self.error["param"]


class Api:
    """Calls the application; by default as the master key."""

    def __init__(self, app: Flask) -> None:
        self._client = app.test_client()
        self._document = Document(self._client.get("/openapi.json").get_json())

    def call(
        self,
        method: str,
        path: str,
        *,
        key: str | None = MASTER_KEY,
        json: Any = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        sent = {} if key is None else {"Authorization": f"Bearer {key}"}
        arguments: dict[str, Any] = {"headers": sent | (headers or {})}
        if query is not None:
            arguments["query_string"] = query
        if data is not None:
            arguments |= {"data": data, "content_type": content_type}
        elif json is not None:
            arguments |= {"data": jsonlib.dumps(json), "content_type": content_type}
        SECRETS.remember(key)
        SECRETS.remember_request(json)
        response = self._client.open(path, method=method, **arguments)
        kind = response.mimetype if response.mimetype in {"text/csv", "text/plain"} else "application/json"
        body = response.get_json(silent=True) if kind == "application/json" else response.get_data(as_text=True)
        self._check_secrets(path, arguments, response)
        self._document.check(method, path, response.status_code, body, kind)
        response.close()  # an asset is an open file
        return Answer(response.status_code, body, {k.lower(): v for k, v in response.headers.items()})

    @staticmethod
    def _check_secrets(path: str, sent: dict[str, Any], response: TestResponse) -> None:
        """Remember the key that an answer reveals, and fail where it tells any other."""
        asked = repr((sent.get("query_string"), sent.get("data"))).encode()
        told = leaks.in_answer(path, asked, response.status_code, str(response.headers), response.get_data())
        assert not told, f"{path} tells a key that it should not"

    def post(self, path: str, json: Any = None, **kwargs: Any) -> Answer:
        return self.call("POST", path, json={} if json is None else json, **kwargs)

    def get(self, path: str, key: str | None = MASTER_KEY, **query: Any) -> Answer:
        return self.call("GET", path, key=key, query=query)

    def generate(self, *, caller: str = MASTER_KEY, **fields: Any) -> dict[str, Any]:
        """Make a key that must succeed; answers the body."""
        answer = self.post("/key/generate", fields, key=caller)
        assert answer.status == 200, answer
        return answer.body

    def info(self, key: str, *, caller: str = MASTER_KEY) -> dict[str, Any]:
        answer = self.call("GET", "/key/info", key=caller, query={"key": key})
        assert answer.status == 200, answer
        return answer.body["info"]


class Document:
    """The OpenAPI document of the application under test."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._validators: dict[tuple[str, str, int, str], OAS30Validator] = {}
        self._templates = [
            (re.compile("^" + re.sub(r"{\w+}", ".+", path) + "$"), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]

    def check(self, method: str, path: str, status: int, body: Any, kind: str = "application/json") -> None:
        """Fail unless the document knows this answer; paths outside of it are none of its business."""
        route = path.partition("?")[0]
        template = next((name for pattern, name in self._templates if pattern.match(route)), None)
        if template is None or method.lower() not in self.document["paths"][template]:
            return
        responses = self.document["paths"][template][method.lower()]["responses"]
        assert str(status) in responses, f"{method} {template} answers an undocumented {status}: {body}"
        content = responses[str(status)].get("content", {}).get(kind)
        if content is not None:
            self._validator((template, method, status, kind), content["schema"]).validate(body)

    def _validator(self, answer: tuple[str, str, int, str], schema: dict[str, Any]) -> OAS30Validator:
        if answer not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[answer] = _validator(jsonlib.dumps(whole, sort_keys=True))
        return self._validators[answer]


@cache
def _validator(schema: str) -> OAS30Validator:
    return OAS30Validator(jsonlib.loads(schema))
