"""What nobody should send: refused with the reason, never a failure of ours, and nothing is written."""

from io import BytesIO
from typing import Any

import pytest

from app.container import Services
from tests.api.settings import FIELDS, FOLDED, PLAIN
from tests.clients import MASTER_KEY, Answer, Api
from tests.factories import unchanged

POSTS = ["/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock"]
INT32, INT64 = 2**31 - 1, 2**63 - 1
NUL, SURROGATE, LONE_LOW = "a\x00b", "\ud800", "x\udfff"
ARABIC_FIVE = "\u0665"
MEGABYTE = 1024 * 1024


def raw(api: Api, path: str, data: bytes, *, key: str | None = MASTER_KEY, content_type: str = "application/json"):
    return api.call("POST", path, key=key, data=data, content_type=content_type)


def fault(answer: Answer) -> tuple[str, list[str | int]]:
    """Type and place of the first thing that does not fit the schema."""
    assert answer.status == 422, answer
    first = answer.body["detail"][0]
    assert first.keys() == {"type", "loc", "msg"}
    return first["type"], first["loc"]


# --- bodies that are no JSON object ------------------------------------------------------------------------

BROKEN: dict[str, tuple[bytes, str, list[str | int]]] = {
    "cut off": (b'{"key": "x', "json_invalid", ["body", 8]),
    "no value": (b'{"key":', "json_invalid", ["body", 7]),
    "two values": (b"{}{}", "json_invalid", ["body", 2]),
    "single quotes": (b"{'key': 1}", "json_invalid", ["body", 1]),
    "a form": (b"key=1", "json_invalid", ["body", 0]),
    "blanks": (b"  ", "json_invalid", ["body", 2]),
    "a byte order mark": (b"\xef\xbb\xbf{}", "json_invalid", ["body", 0]),
    "UTF-16": ("{}".encode("utf-16"), "json_invalid", ["body", 0]),
    "no UTF-8": (b'{"key": "\xff"}', "json_invalid", ["body", 9]),
    "a raw control character": (b'{"key": "a\nb"}', "json_invalid", ["body", 10]),
    "an unknown escape": (b'{"key": "\\x41"}', "json_invalid", ["body", 9]),
    "nested 10,000 deep": (b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "json_invalid", ["body", 0]),
    "objects 10,000 deep": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "json_invalid", ["body", 0]),
    "5,000 digits": (b'{"x": ' + b"9" * 5_000 + b"}", "json_invalid", ["body", 0]),
    "nothing": (b"", "missing", ["body"]),
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BROKEN)
def test_a_body_that_cannot_be_read_does_not_fit(shared_api: Api, shared_services: Services, path: str, body: str):
    data, kind, place = BROKEN[body]

    with unchanged(shared_services.database):
        answer = raw(shared_api, path, data)

    assert fault(answer) == (kind, place)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("data", [b"[]", b"null", b"5", b'"text"', b"true", b"[{}]", b"NaN"])
def test_json_that_is_no_object_is_refused(shared_api: Api, path: str, data: bytes):
    answer = raw(shared_api, path, data)

    assert answer.summary == (400, "invalid_request_error", "request_body")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json"]
)
def test_a_body_of_another_kind_does_not_fit(shared_api: Api, path: str, content_type: str):
    answer = raw(shared_api, path, b"{}", content_type=content_type)

    assert fault(answer) == ("model_attributes_type", ["body"])


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/merge-patch+json", ""])
def test_json_by_any_of_its_names_is_read(shared_api: Api, content_type: str):
    assert raw(shared_api, "/key/generate", b"{}", content_type=content_type).status == 200


def test_syntax_comes_before_the_caller_and_the_caller_before_the_schema(shared_api: Api):
    unknown = "sk-unknown-key-0000"

    broken = [raw(shared_api, "/key/generate", b"{", key=key) for key in (None, unknown, MASTER_KEY)]
    wrong_kind = [raw(shared_api, "/key/generate", b"[]", key=key) for key in (None, unknown, MASTER_KEY)]
    wrong_type = [
        raw(shared_api, "/key/generate", b'{"models": 5}', key=key) for key in (None, unknown, MASTER_KEY)
    ]
    query = [
        shared_api.call("GET", "/key/list", key=key, query={"size": 0}) for key in (None, unknown, MASTER_KEY)
    ]

    assert [answer.status for answer in broken] == [422, 422, 422]
    assert [answer.status for answer in wrong_kind] == [401, 401, 400]
    assert [answer.status for answer in wrong_type] == [401, 401, 422]
    assert [answer.status for answer in query] == [401, 401, 422]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_body_that_is_encoded_is_415(shared_api: Api, encoding: str):
    answer = shared_api.post("/key/generate", {}, headers={"content-encoding": encoding})

    assert answer.summary == (415, "invalid_request_error", None)
    assert answer.error["message"] == "Content-Encoding is not supported: send the body as it is."
    assert shared_api.post("/key/generate", {}, headers={"content-encoding": "identity"}).status == 200


# --- size --------------------------------------------------------------------------------------------------


def of_size(size: int) -> bytes:
    frame = b'{"metadata": {"a": ""}}'
    return frame.replace(b'""', b'"' + b"x" * (size - len(frame)) + b'"')


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("key", [None, MASTER_KEY])
def test_a_body_above_the_limit_is_413_whoever_sends_it(shared_api: Api, path: str, key: str | None):
    answer = raw(shared_api, path, of_size(MEGABYTE + 1), key=key)

    assert answer.summary == (413, "invalid_request_error", None)


def test_a_body_above_the_limit_that_does_not_say_so_is_413_too(shared_api: Api, shared_services: Services):
    client = shared_api._client

    with unchanged(shared_services.database):
        response = client.post(
            "/key/generate",
            input_stream=BytesIO(b"{}".ljust(MEGABYTE + 1)),
            headers={"Authorization": f"Bearer {MASTER_KEY}", "Transfer-Encoding": "chunked"},
            content_type="application/json",
            environ_overrides={"wsgi.input_terminated": True},
        )

    assert (response.status_code, response.get_json()["error"]["code"]) == (413, "413")


def test_a_body_of_exactly_the_limit_is_read(shared_api: Api):
    assert raw(shared_api, "/key/generate", of_size(MEGABYTE)).status == 200


# --- values of the wrong type ------------------------------------------------------------------------------

TEXTS = [
    "key", "key_alias", "duration", "user_id", "team_id", "budget_id", "organization_id", "project_id", "agent_id",
    "budget_duration", "rotation_interval", "end_user_budget_id",
]  # fmt: skip
CHOICES = ["key_type", "rpm_limit_type", "tpm_limit_type"]
LISTS = [
    "models", "allowed_cache_controls", "allowed_routes", "tags", "guardrails", "enforced_params", "policies",
    "prompts", "allowed_passthrough_routes", "denied_passthrough_routes", "access_group_ids",
]  # fmt: skip
OBJECTS = [
    "aliases",
    "config",
    "permissions",
    "metadata",
    "model_max_budget",
    "budget_fallbacks",
    "router_settings",
]
RATES = [
    "model_rpm_limit",
    "model_tpm_limit",
    "mcp_rpm_limit",
    "tag_rpm_limit",
    "default_estimated_output_tokens_per_model",
]
WHOLES = ["max_parallel_requests", "tpm_limit", "rpm_limit", "tpd_limit", "default_estimated_output_tokens"]
AMOUNTS = ["max_budget", "soft_budget", "spend"]
FLAGS = [
    "blocked", "send_invite_email", "auto_rotate", "disable_global_guardrails", "throttle_on_budget_exceeded",
    "enable_prompt_caching",
]  # fmt: skip
STRUCTURES = ["budget_limits", "object_permission", "allowed_vector_store_indexes"]

WRONG: list[tuple[str, Any, str, list[str | int]]] = [
    *((field, value, "string_type", []) for field in TEXTS for value in (5, True, 1.5, ["x"], {})),
    *((field, value, "string_nul", []) for field in TEXTS for value in (NUL,)),
    *((field, value, "string_unicode", []) for field in TEXTS for value in (SURROGATE, LONE_LOW)),
    *((field, value, "enum", []) for field in CHOICES for value in (5, "", "none", NUL, SURROGATE, ["default"])),
    *((field, value, "list_type", []) for field in LISTS for value in ("x", 5, {}, True)),
    *((field, ["a", value], "string_type", [1]) for field in LISTS for value in (5, None, ["x"], {})),
    *((field, [NUL], "string_nul", []) for field in LISTS),
    *((field, [SURROGATE], "string_unicode", []) for field in LISTS),
    *((field, value, "dict_type", []) for field in OBJECTS + RATES for value in ("x", 5, [], True)),
    *((field, {NUL: 1}, "string_nul", []) for field in OBJECTS + RATES),
    *((field, {"a": [{"b": NUL}]}, "string_nul", []) for field in OBJECTS),
    *((field, {SURROGATE: 1}, "string_unicode", []) for field in OBJECTS + RATES),
    *((field, {"a": [LONE_LOW]}, "string_unicode", []) for field in OBJECTS),
    *((field, {"a": 2**63}, "int_too_large", []) for field in OBJECTS),
    *((field, {"a": -(10**4000)}, "int_too_large", []) for field in OBJECTS),
    *((field, {"a": float("nan")}, "finite_number", []) for field in OBJECTS + RATES),
    *((field, {"a": [float("-inf")]}, "finite_number", []) for field in OBJECTS),
    *((field, {"m": value}, "int_type", ["m"]) for field in RATES for value in (-1, 1.5, "5", True, None, [])),
    *((field, value, "int_type", []) for field in WHOLES for value in ([], {}, [5])),
    *((field, value, "int_parsing", []) for field in WHOLES for value in ("", "x", "1.5", "--5", "+-5", "5 5", ARABIC_FIVE, "9" * 40)),
    *((field, value, "int_from_float", []) for field in WHOLES for value in (1.5, float("nan"), float("inf"))),
    *((field, value, "greater_than_equal", []) for field in WHOLES for value in (-1, -(2**63), "-1", -1.0)),
    *((field, value, "less_than_equal", []) for field in WHOLES for value in (2**63, "9223372036854775808", 1e300, 10**4000)),
    ("max_parallel_requests", 2**31, "less_than_equal", []),
    ("default_estimated_output_tokens", 0, "greater_than_equal", []),
    *((field, value, "float_type", []) for field in AMOUNTS for value in ([], {}, [1])),
    *((field, value, "float_parsing", []) for field in AMOUNTS for value in ("x", "1,5", "$1", " ", "1e" + "9" * 30, NUL)),
    *((field, value, "bool_parsing", []) for field in FLAGS for value in ("", "maybe", 2, -1, 1.5, [], {}, float("nan"))),
    ("budget_limits", "x", "list_type", []),
    ("budget_limits", {}, "list_type", []),
    ("budget_limits", [5], "dict_type", [0]),
    ("budget_limits", [{}], "missing", [0, "budget_duration"]),
    ("budget_limits", [{"budget_duration": "1d"}], "missing", [0, "max_budget"]),
    ("budget_limits", [{"budget_duration": 5, "max_budget": 1}], "string_type", [0, "budget_duration"]),
    ("budget_limits", [{"budget_duration": "1d", "max_budget": []}], "float_type", [0, "max_budget"]),
    ("object_permission", "x", "dict_type", []),
    ("object_permission", [], "dict_type", []),
    ("object_permission", {"vector_stores": "x"}, "list_type", ["vector_stores"]),
    ("object_permission", {"models": [5]}, "string_type", ["models", 0]),
    ("object_permission", {"mcp_tool_permissions": {"a": float("nan")}}, "finite_number", ["mcp_tool_permissions"]),
    ("object_permission", {"mcp_tool_search_enabled": "maybe"}, "bool_parsing", ["mcp_tool_search_enabled"]),
    ("allowed_vector_store_indexes", {}, "list_type", []),
    ("allowed_vector_store_indexes", [5], "dict_type", [0]),
    ("key_alias", "x" * 513, "string_too_long", []),
    ("team_id", "x" * 513, "string_too_long", []),
    ("duration", "1" * 65, "string_too_long", []),
    ("key", "sk-" + "x" * 254, "string_too_long", []),
]  # fmt: skip


def test_the_table_leaves_no_field_out():
    assert {field for field, *_ in WRONG} == {*FIELDS, *PLAIN, *FOLDED, "key", "key_type"}


@pytest.mark.parametrize(("field", "value", "kind", "place"), WRONG, ids=lambda value: repr(value)[:40])
def test_a_value_that_is_wrong_is_refused_by_its_place(
    shared_api: Api, field: str, value: Any, kind: str, place: list[str | int]
):
    answer = shared_api.post("/key/generate", {field: value})

    assert fault(answer) == (kind, ["body", field, *place])


def test_nothing_of_all_that_was_written(shared_api: Api, shared_services: Services):
    made = shared_api.generate()

    with unchanged(shared_services.database):
        for field, value, *_ in WRONG:
            statuses = {
                shared_api.post("/key/generate", {"tags": ["x"], field: value}).status,
                shared_api.post("/key/update", {"key": made["key"], "tags": ["x"], field: value}).status,
            } if field not in {"key", "key_type"} else {422}  # fmt: skip
            assert statuses == {422}, (field, value)


@pytest.mark.parametrize("half", ["temp_budget_increase", "temp_budget_expiry"])
def test_half_a_temporary_increase_does_not_fit(shared_api: Api, half: str):
    made = shared_api.generate()
    value = {"temp_budget_increase": 1, "temp_budget_expiry": "2027-01-01"}[half]

    answer = shared_api.post("/key/update", {"key": made["key"], half: value})

    assert fault(answer) == ("value_error", ["body"])


@pytest.mark.parametrize(
    "until", ["", "soon", 5, True, [], "2027-13-01", "2027-01-01T25:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", NUL, SURROGATE]
)  # fmt: skip
def test_an_end_that_is_no_instant_does_not_fit(shared_api: Api, until: Any):
    made = shared_api.generate()

    answer = shared_api.post(
        "/key/update", {"key": made["key"], "temp_budget_increase": 1, "temp_budget_expiry": until}
    )

    assert fault(answer) == ("datetime_parsing", ["body", "temp_budget_expiry"])


@pytest.mark.parametrize(
    "windows",
    [
        [{"budget_duration": None, "max_budget": 1}],
        [{"budget_duration": "1d", "max_budget": None}],
        [{"budget_duration": "1d", "max_budget": ""}],
        [{"budget_duration": "", "max_budget": 1}],
        [{"budget_duration": "1d", "max_budget": -1}],
        [{"budget_duration": "1d", "max_budget": "NaN"}],
        [{"budget_duration": "0s", "max_budget": 1}],
    ],
)
def test_windows_that_could_not_be_kept_are_refused(
    shared_api: Api, shared_services: Services, windows: list[dict[str, Any]]
):
    with unchanged(shared_services.database):
        answer = shared_api.post("/key/generate", {"budget_limits": windows})

    assert answer.summary == (400, "invalid_request_error", "budget_limits")


@pytest.mark.parametrize("field", ["metadata", "aliases", "config", "model_max_budget"])
def test_an_object_may_be_nested_this_deep_and_no_deeper(shared_api: Api, field: str):
    def nested(depth: int) -> dict[str, Any]:
        value: Any = 1
        for _ in range(depth - 1):
            value = [value]
        return {"m": {"x": value} if field == "model_max_budget" else value}

    levels = 31 if field == "model_max_budget" else 32
    fits = shared_api.post("/key/generate", {field: nested(levels)})
    too_deep = shared_api.post("/key/generate", {field: nested(levels + 1)})
    far_too_deep = shared_api.post("/key/generate", {field: nested(400)})

    assert fits.status == 200
    assert [fault(answer) for answer in (too_deep, far_too_deep)] == [("too_deep", ["body", field])] * 2


@pytest.mark.parametrize("field", ["key_alias", "user_id", "team_id", "agent_id", "project_id"])
def test_the_longest_name_in_the_widest_characters_is_stored(api: Api, field: str):
    name = "\U0001f511" * 512

    made = api.generate(**{field: name})

    assert api.info(made["key"])[field] == name


def test_the_edges_of_every_number_are_stored(api: Api):
    edges = {
        "tpm_limit": INT64, "rpm_limit": INT64, "tpd_limit": INT64, "max_parallel_requests": INT32,
        "max_budget": 9_000_000, "spend": 9_000_000, "soft_budget": 0, "model_tpm_limit": {"m": INT64},
        "metadata": {"most": INT64, "least": -INT64, "small": 5e-324, "large": 1.7976931348623157e308},
    }  # fmt: skip

    made = api.generate(**edges)

    info = api.info(made["key"])
    assert info["metadata"] == {**edges["metadata"], "model_tpm_limit": {"m": INT64}}
    assert {name: info[name] for name in edges if name in info and name != "metadata"} == {
        name: edges[name] for name in edges if name in info and name != "metadata"
    }


# --- the other bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "kind", "place"),
    [
        ("/key/update", {}, "value_error", ["body"]),
        ("/key/update", {"key": None}, "value_error", ["body"]),
        ("/key/update", {"key": ""}, "value_error", ["body"]),
        ("/key/update", {"key_alias": ""}, "value_error", ["body"]),
        ("/key/update", {"key": 5}, "string_type", ["body", "key"]),
        ("/key/update", {"key": NUL}, "string_nul", ["body", "key"]),
        ("/key/update", {"key": SURROGATE}, "string_unicode", ["body", "key"]),
        ("/key/delete", {}, "value_error", ["body"]),
        ("/key/delete", {"key": "sk-x"}, "value_error", ["body"]),
        ("/key/delete", {"keys": "sk-x"}, "list_type", ["body", "keys"]),
        ("/key/delete", {"keys": [None]}, "string_type", ["body", "keys", 0]),
        ("/key/delete", {"keys": [5]}, "string_type", ["body", "keys", 0]),
        ("/key/delete", {"keys": [["sk-x"]]}, "string_type", ["body", "keys", 0]),
        ("/key/delete", {"keys": [NUL]}, "string_nul", ["body", "keys"]),
        ("/key/delete", {"key_aliases": [SURROGATE]}, "string_unicode", ["body", "key_aliases"]),
        ("/key/block", {}, "missing", ["body", "key"]),
        ("/key/block", {"key": None}, "string_type", ["body", "key"]),
        ("/key/block", {"key": ["sk-x"]}, "string_type", ["body", "key"]),
        ("/key/unblock", {"key": NUL}, "string_nul", ["body", "key"]),
        ("/key/unblock", {"key": SURROGATE}, "string_unicode", ["body", "key"]),
        *(
            ("/team/key/bulk_update", {"team_id": "t", "all_keys_in_team": True, "update_fields": value},
             "dict_type", ["body", "update_fields"])
            for value in ("x", 5, [], True)
        ),
        *(
            ("/key/verify", {"key": "sk-x", name: names}, "too_long", ["body", name])
            for name in ("params", "cache", "guardrails", "tools", "vector_stores", "mcp_servers")
            for names in (["x"] * 1_001, {str(number): 1 for number in range(1_001)})
        ),
        *(
            ("/key/explain", {"key": "sk-x", "at": at}, "datetime_range", ["body", "at"])
            for at in ("9999-12-31T23:59:59Z", "8999-01-01", "1000-12-31T23:59:59Z", "0001-01-01")
        ),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit_changes_nothing(
    shared_api: Api, shared_services: Services, path: str, body: dict[str, Any], kind: str, place: list[str | int]
):
    with unchanged(shared_services.database):
        answer = shared_api.post(path, body)

    assert fault(answer) == (kind, place)


# --- query strings -----------------------------------------------------------------------------------------

LIST_TEXTS = [
    "user_id", "team_id", "organization_id", "key_hash", "key_alias", "search", "project_id", "access_group_id",
    "agent_id",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        *(("page", value, kind) for value, kind in (
            ("0", "greater_than_equal"), ("-1", "greater_than_equal"), ("1.5", "int_parsing"), ("x", "int_parsing"),
            ("", "int_parsing"), ("--1", "int_parsing"), ("1000000001", "less_than_equal"),
            ("9223372036854775808", "less_than_equal"), ("9" * 5_000, "int_parsing"), (ARABIC_FIVE, "int_parsing"),
        )),
        *(("size", value, kind) for value, kind in (
            ("0", "greater_than_equal"), ("101", "less_than_equal"), ("-1", "greater_than_equal"),
            ("x", "int_parsing"), ("NaN", "int_parsing"),
        )),
        *((name, "x", "bool_parsing") for name in (
            "return_full_object", "include_team_keys", "include_created_by_keys", "substring_matching"
        )),
        *((name, NUL, "string_nul") for name in (*LIST_TEXTS, "sort_by", "sort_order", "status", "expires")),
        *((name, "x" * 60_000, "string_too_long") for name in LIST_TEXTS),
    ],
)  # fmt: skip
def test_a_parameter_that_is_wrong_is_refused_by_its_name(shared_api: Api, name: str, value: str, kind: str):
    answer = shared_api.call("GET", "/key/list", query={name: value})

    assert fault(answer) == (kind, ["query", name])


@pytest.mark.parametrize("name", [*LIST_TEXTS, "sort_by", "status", "expand"])
@pytest.mark.parametrize("octets", ["%ff", "%ed%a0%80", "%c0%80", "%", "%zz", "%F0%9F%94%91"])
def test_octets_that_are_no_text_are_no_failure(shared_api: Api, name: str, octets: str):
    answer = shared_api.call("GET", f"/key/list?{name}={octets}")

    assert answer.status in {200, 400}


@pytest.mark.parametrize("reference", ["%ff", "%ed%a0%80", "%F0%9F%94%91", "x" * 60_000, "'; DROP TABLE keys; --"])
def test_a_reference_that_is_no_key_is_not_found(shared_api: Api, reference: str):
    answer = shared_api.call("GET", f"/key/info?key={reference}")

    assert answer.summary == (404, "not_found_error", "key")


def test_a_reference_with_a_nul_does_not_fit(shared_api: Api):
    assert fault(shared_api.call("GET", "/key/info?key=%00")) == ("string_nul", ["query", "key"])


def test_the_last_page_that_can_be_asked_for_is_empty(api: Api):
    api.generate()

    answer = api.call("GET", "/key/list", query={"page": 10**9, "size": 100})

    assert (answer.status, answer.body["keys"], answer.body["total_count"]) == (200, [], 1)


def test_a_body_on_a_get_is_none_of_its_business(shared_api: Api):
    answer = shared_api.call("GET", "/key/list", data=b"{", content_type="application/json")

    assert answer.status == 200
