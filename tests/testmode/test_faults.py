"""Faults: which requests they select and which responses they cause."""

import time
from typing import Any

import pytest
from support.test_mode_client import DOCUMENTS, NamespaceClient

from case_server.api.profiles import ApiProfile


async def statuses(namespace: NamespaceClient, number: int, path: str = DOCUMENTS) -> list[int]:
    return [(await namespace.call("GET", path)).status_code for _ in range(number)]


@pytest.mark.parametrize(
    ("status", "minor"),
    [
        (400, "invaliddata"),
        (401, "unauthorisedrequest"),
        (403, "forbidden"),
        (404, "unknownobject"),
        (429, "server_busy"),
        (500, "internal_server_error"),
        (503, "server_busy"),
    ],
)
async def test_status_fault_returns_platform_error(
    namespace: NamespaceClient, status: int, minor: str
) -> None:
    await namespace.test_api("PUT", "/faults", body=[{"status": status, "description": "as set"}])
    response = await namespace.call("GET", DOCUMENTS, headers={"X-Request-ID": "mine"})
    assert response.status_code == status
    body = response.json()
    assert body["imsx_description"] == "as set"
    (field,) = body["imsx_codeMinor"]["imsx_codeMinorField"]
    assert field["imsx_codeMinorFieldValue"] == minor
    assert response.headers.get("Retry-After") == ("1" if status in {429, 503} else None)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert response.headers["X-Request-ID"] == "mine"


async def test_status_fault_returns_error_of_profile(
    namespace: NamespaceClient, any_profile: ApiProfile
) -> None:
    await namespace.test_api("PUT", "/faults", body=[{"status": 503, "retry_after": 7}])
    response = await namespace.call("GET", f"{any_profile.prefix}/CFDocuments")
    assert response.headers["Retry-After"] == "7"
    assert set(any_profile.code_minor_names) <= response.json().keys()
    assert ("imsx_error_details" in response.json()) == any_profile.error_details


async def test_token_endpoint_fault_returns_oauth_error(namespace: NamespaceClient) -> None:
    rules = [{"path": "/oauth2/token", "client": "local-client", "status": 503}]
    await namespace.test_api("PUT", "/faults", body=rules)
    form = {"grant_type": "client_credentials"}
    own = await namespace.call("POST", "/oauth2/token", data=form, auth=("local-client", "x"))
    assert (own.status_code, own.json()["error"]) == (503, "temporarily_unavailable")
    in_form = {**form, "client_id": "local-client", "client_secret": "x"}
    assert (await namespace.call("POST", "/oauth2/token", data=in_form)).status_code == 503
    someone = await namespace.call("POST", "/oauth2/token", data=form, auth=("other-client", "x"))
    assert someone.status_code == 401


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({}, [503, 503, 503, 503]),
        ({"times": 2}, [503, 503, 200, 200]),
        ({"nth": 3}, [200, 200, 503, 200]),
        ({"nth": [1, 4]}, [503, 200, 200, 503]),
        ({"method": "put"}, [200, 200, 200, 200]),
        ({"method": "get", "times": 1}, [503, 200, 200, 200]),
        ({"path": "/case/1.1/*"}, [503, 503, 503, 503]),
        ({"path": "/ims/*"}, [200, 200, 200, 200]),
        ({"path_regex": "CFDoc.*s$", "times": 1}, [503, 200, 200, 200]),
        ({"client": "local-client"}, [503, 503, 503, 503]),
        ({"client": "other-client"}, [200, 200, 200, 200]),
    ],
)
async def test_fault_selects_requests(
    namespace: NamespaceClient, when: dict[str, Any], expected: list[int]
) -> None:
    await namespace.test_api("PUT", "/faults", body=[{**when, "status": 503}])
    assert await statuses(namespace, 4) == expected
    (rule,) = await namespace.test_api("GET", "/faults")
    assert rule["applied"] == expected.count(503)
    assert rule.items() >= when.items()


async def test_probability_with_same_seed_selects_same_requests(namespace: NamespaceClient) -> None:
    async def drawn(seed: int) -> list[int]:
        rule = {"probability": 0.5, "seed": seed, "status": 500}
        await namespace.test_api("PUT", "/faults", body=[rule])
        return await statuses(namespace, 30)

    first, second, other = await drawn(1), await drawn(1), await drawn(2)
    assert first == second != other
    assert 5 < first.count(500) < 25


async def test_first_selecting_fault_applies_and_all_count(namespace: NamespaceClient) -> None:
    await namespace.test_api("PUT", "/faults", body=[{"status": 500, "nth": 2}])
    added = await namespace.test_api("POST", "/faults", body=[{"status": 503, "times": 2}])
    assert [rule["status"] for rule in added] == [500, 503]
    assert await statuses(namespace, 4) == [503, 500, 503, 200]
    faults = await namespace.test_api("GET", "/faults")
    assert [(rule["matched"], rule["applied"]) for rule in faults] == [(4, 1), (4, 2)]
    await namespace.test_api("DELETE", "/faults", 204)
    assert await namespace.test_api("GET", "/faults") == []


@pytest.mark.parametrize("apply_request", [False, True])
async def test_request_is_applied_only_with_apply_request(
    namespace: NamespaceClient, *, apply_request: bool
) -> None:
    rule = {"method": "PUT", "status": 503, "apply_request": apply_request}
    await namespace.test_api("PUT", "/faults", body=[rule])
    await namespace.put_document(503)
    assert await namespace.total() == int(apply_request)


@pytest.mark.parametrize(("kind", "seconds"), [("delay", 0.3), ("slow_body", 0.5)])
async def test_delay_fault_delays_the_response(
    namespace: NamespaceClient, kind: str, seconds: float
) -> None:
    await namespace.test_api("PUT", "/faults", body=[{kind: seconds}])
    started = time.perf_counter()
    assert await namespace.total() == 0
    assert time.perf_counter() - started > seconds / 2  # as timers may fire early


async def test_malformed_body_fault_returns_truncated_json(namespace: NamespaceClient) -> None:
    await namespace.test_api("PUT", "/faults", body=[{"body": "malformed"}])
    response = await namespace.call("GET", DOCUMENTS)
    assert response.status_code == 200
    assert len(response.content) == int(response.headers["Content-Length"])
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        response.json()


@pytest.mark.parametrize("fault", [{"body": "malformed"}, {"slow_body": 0.1}])
async def test_body_fault_leaves_a_response_without_body_unchanged(
    namespace: NamespaceClient, fault: dict[str, Any]
) -> None:
    document = await namespace.put_document()
    path = f"/case/1.1/CFPackages/{document['identifier']}"
    etag = (await namespace.call("GET", path)).headers["ETag"]
    expected = await namespace.call("GET", path, headers={"If-None-Match": etag})
    await namespace.test_api("PUT", "/faults", body=[fault])
    response = await namespace.call("GET", path, headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers.get("Content-Length") == expected.headers.get("Content-Length")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({}, "needs one of status"),
        ({"status": 200}, "greater than or equal to 400"),
        ({"status": 500, "reset": True}, "status and reset cannot be combined"),
        ({"delay": 1, "retry_after": 3}, "need a status"),
        ({"delay": 1, "apply_request": True}, "apply_request is for"),
        ({"status": 500, "path_regex": "("}, "not a regular expression"),
        ({"status": 500, "nth": 0}, "nth counts from 1"),
        ({"status": 500, "nth": [2, 0]}, "nth counts from 1"),
        ({"status": 500, "seed": 2**63}, "less than 9223372036854775808"),
        ({"status": 500, "times": 2**64}, "less than 9223372036854775808"),
        ({"status": 500, "retry_after": 2**64}, "less than 9223372036854775808"),
        ({"status": 500, "probability": 2}, "less than or equal to 1"),
        ({"status": 500, "pth": "*"}, "unknown field: did you mean path?"),
        ({"status": 500, "verb": "GET"}, "unknown field: use method, path, client, path_regex"),
    ],
)
async def test_invalid_fault_returns_422(
    namespace: NamespaceClient, rule: dict[str, Any], message: str
) -> None:
    refused = await namespace.test_api("PUT", "/faults", 422, [{"status": 500}, rule])
    (problem,) = refused["imsx_error_details"]
    assert problem["path"].startswith("[1]")
    assert message in problem["message"]
    assert await namespace.test_api("GET", "/faults") == []


async def test_fault_body_not_json_returns_400(namespace: NamespaceClient) -> None:
    headers = {"Authorization": "Bearer a test API token"}
    response = await namespace.http.put("/_test/faults", content=b"[{", headers=headers)
    assert response.status_code == 400
    assert "not JSON" in response.json()["imsx_description"]


async def test_probes_never_fail(namespace: NamespaceClient) -> None:
    await namespace.test_api("PUT", "/faults", body=[{"status": 503}])
    assert await statuses(namespace, 1, "/health") == [200]
    assert await statuses(namespace, 1, "/ready") == [200]
    assert await namespace.test_api("GET", "/requests") == []
