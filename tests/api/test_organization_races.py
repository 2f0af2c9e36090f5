"""What is put into an organization while it is deleted is either gone with it or was never put there."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from app.container import Services
from app.models import keys, organization_members, organizations, teams
from tests.api.organizations import new
from tests.apps import app_over
from tests.clients import Answer, Api
from tests.factories import rows

ROUNDS = 4


def test_nothing_is_left_in_an_organization_that_is_deleted_while_others_fill_it(services: Services):
    calls: list[Callable[[Api, str], Answer]] = [
        lambda api, name: api.call("DELETE", "/organization/delete", json={"organization_ids": [name]}),
        lambda api, name: api.post("/key/generate", {"organization_id": name}),
        lambda api, name: api.post("/team/new", {"team_id": f"of {name}", "organization_id": name}),
        lambda api, name: api.post(
            "/organization/member_add",
            {"organization_id": name, "member": {"user_id": f"in {name}", "role": "org_admin"}},
        ),
    ]
    apis = [Api(app_over(services)) for _ in calls]
    with ThreadPoolExecutor(len(calls)) as threads:
        for number in range(ROUNDS):
            name = f"round {number}"
            new(apis[0], organization_id=name)
            together = Barrier(len(calls))

            def go(index: int, name: str = name, together: Barrier = together) -> Answer:
                together.wait(60)
                return calls[index](apis[index], name)

            answers = list(threads.map(go, range(len(calls))))

            statuses = [answer.status for answer in answers]
            assert statuses[0] in {200, 409}, answers[0]
            assert set(statuses[1:]) <= {200, 400, 404}, answers
            if statuses[0] == 409:  # a member came in between who administers it
                assert (
                    apis[0].call("DELETE", "/organization/delete", json={"organization_ids": [name]}).status == 200
                )
    for table in (organizations, teams, keys, organization_members):
        left = [row for row in rows(services.database, table) if row["organization_id"] is not None]
        assert left == [], table
