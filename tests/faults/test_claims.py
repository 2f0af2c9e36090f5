"""On whose behalf: what a real server does with the bytes of the header must not lose it."""

import pytest

from tests.faults.web import Caller, Pair


@pytest.mark.parametrize("pair", ["sqlite"], indirect=True)
def test_a_claim_beyond_ascii_is_recorded_or_refused_and_never_lost(pair: Pair):
    with Caller(pair.webs[0]) as caller:
        replies = {
            claim: caller.call("POST", "/key/generate", b"{}", {"litellm-changed-by": claim, "x-request-id": name})
            for claim, name in (
                ("José".encode(), "utf-8"),
                ("José".encode("latin-1"), "latin-1"),
                (b"Jos%C3%A9", "encoded"),
            )
        }
        recorded = {
            name: [row["litellm_changed_by"] for row in caller.get(f"/audit?request_id={name}").body["audit_logs"]]
            for name in ("utf-8", "latin-1", "encoded")
        }

    assert [reply.status for reply in replies.values()] == [400, 400, 200]
    assert recorded == {"utf-8": [], "latin-1": [], "encoded": ["José"]}
