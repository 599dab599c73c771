"""The request log: entries, filters, redaction and verification."""

import base64
import gzip
import json
import weakref
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import pytest
from support import factories
from support.test_mode_client import DOCUMENTS, TEST_API_TOKEN, NamespaceClient

from case_server.testmode import request_log
from case_server.testmode.request_log import RequestFilter, RequestLog


async def test_request_log_contains_requests(namespace: NamespaceClient) -> None:
    body = factories.document()
    path = f"{DOCUMENTS}/{body['identifier']}"
    headers = {"X-Request-ID": "r-1"}
    response = await namespace.call("PUT", path, json=body, headers=headers)
    await namespace.call("GET", f"{DOCUMENTS}?limit=3", headers={"X-Request-ID": "r-2"})
    put, get = await namespace.test_api("GET", "/requests?body=true")
    assert (put["method"], put["path"], put["status"]) == ("PUT", path, 201)
    assert (put["client"], put["request_id"], put["query"]) == ("local-client", "r-1", "")
    assert put["request_bytes"] == len(response.request.content)
    assert put["body"].encode() == response.request.content
    assert put["body_is_whole"] is True
    assert put["milliseconds"] > 0
    assert put["fault"] is None
    assert (get["query"], get["request_id"], get["body"]) == ("limit=3", "r-2", "")
    assert get["response_bytes"] > 0
    assert get["number"] == put["number"] + 1
    assert put["time"] <= get["time"]
    without = await namespace.test_api("GET", "/requests")
    assert "body" not in without[0]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [0, 1, 2, 3]),
        ("method=put", [0]),
        (f"path={quote('/ims/*')}", [2]),
        ("status=401", [3]),
        ("status=200&path=*CFDocuments", [1, 2]),
        ("client=local-client", [0, 1, 2]),
        ("client=unknown", []),
        ("since=2001-01-01T00:00:00Z", [0, 1, 2, 3]),
        ("since=2201-01-01", []),
    ],
)
async def test_log_is_filtered(namespace: NamespaceClient, query: str, numbers: list[int]) -> None:
    await namespace.put_document()
    await namespace.total()
    await namespace.call("GET", "/ims/case/v1p1/CFDocuments")
    await namespace.call("GET", DOCUMENTS, headers={"Authorization": ""})
    everything = await namespace.test_api("GET", "/requests")
    response = await namespace.test_api("GET", f"/requests?{query}")
    assert response == [everything[number] for number in numbers]


async def test_since_excludes_older_requests(namespace: NamespaceClient) -> None:
    await namespace.total()
    (first,) = await namespace.test_api("GET", "/requests")
    await namespace.total()
    response = await namespace.test_api("GET", f"/requests?since={first['time']}")
    assert len(response) == 2
    await namespace.test_api("DELETE", "/requests", 204)
    assert await namespace.test_api("GET", "/requests") == []


@pytest.mark.parametrize("query", ["status=abc", "since=soon", "colour=red"])
async def test_invalid_query_returns_400(namespace: NamespaceClient, query: str) -> None:
    refused = await namespace.test_api("GET", f"/requests?{query}", 400)
    assert query.partition("=")[0] in refused["imsx_description"]


@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth/token", "/no/token/route"])
@pytest.mark.parametrize("kind", ["form", "json", "basic", "query"])
async def test_credentials_are_not_logged(namespace: NamespaceClient, path: str, kind: str) -> None:
    secret = "s3cret-of-the-client"
    fields = {"grant_type": "client_credentials", "client_id": "c", "client_secret": secret}
    ways: dict[str, dict[str, Any]] = {
        "form": {"data": fields},
        "json": {"json": fields},
        "basic": {"data": {"grant_type": "client_credentials"}, "auth": ("c", secret)},
        "query": {"params": {"client_secret": secret, "access_token": secret, "a": "b"}},
    }
    await namespace.call("POST", path, **ways[kind])
    (entry,) = await namespace.test_api("GET", "/requests?body=true")
    assert secret not in str(entry)
    bearer = namespace.http.headers["Authorization"].removeprefix("Bearer ")
    assert bearer not in str(entry)
    if kind in {"form", "json"}:
        assert "client_credentials" in entry["body"]
    if kind == "query":
        assert "a=b" in entry["query"]
    if path.startswith("/oauth") and kind != "query":
        assert entry["client"] == "c"


VALUE = "s3cret-of-the-client"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyb2JvdCJ9.c2lnbmF0dXJl"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        (JSON, '{"client_secret": "%s"}'),
        (JSON, r'{"client\u005fsecret": "%s"}'),
        (JSON, r'{"\u0063lient_\u0053ECRET": "%s"}'),
        (JSON, r'{"pass\u0077ord": "%s"}'),
        (JSON, '{"Access_Token": "%s"}'),
        (JSON, '{"extensions": [{"deep": {"refresh_token": "%s"}}]}'),
        (JSON, '{"token": {"value": "%s"}}'),
        (JSON, '[{"client_assertion": "%s"}]'),
        (JSON, '{"a": {"token": "%s"}, "a": {}}'),
        (JSON, '{"token": "%s", "token": 7}'),
        (JSON, '{"client_secret": "%s", "cut": '),
        (JSON, '{"client_secret": "%s", "deep": ' + "[" * 50_000),
        (JSON, ('{"client_secret": "%s"}').encode("utf-16").decode("latin-1")),
        ("text/plain", '{"client_secret": "%s"}'),
        ("", '{"client_secret": "%s"}'),
        (FORM, "client_secret=%s"),
        (FORM, "client%%5Fsecret=%s&a=b"),
        (FORM, "a=b&p%%61ssword=%s"),
        (FORM, "CLIENT_SECRET=%s"),
        (FORM, '{"client_secret": "%s"}'),
        ("", "client_secret=%s"),
        ("text/plain", "client_secret=%s"),
        (JSON, "client_secret=%s"),
        ("multipart/form-data; boundary=x", '--x\r\nname="password"\r\n\r\n%s\r\n--x--'),
    ],
)
async def test_escaped_secrets_are_not_logged(
    namespace: NamespaceClient, content_type: str, content: str
) -> None:
    body = (content % VALUE if "\0" not in content else content).encode("latin-1")
    if "\0" in content:
        body = body.replace("%s".encode("utf-16-le"), VALUE.encode("utf-16-le"))
    headers = {"Content-Type": content_type} if content_type else {}
    for path in ("/oauth2/token", "/case/1.1/CFPackages"):
        await namespace.call("POST", path, content=body, headers=headers)
    for entry in await namespace.test_api("GET", "/requests?body=true"):
        assert VALUE not in str(entry).replace("\\x00", "").replace("\0", "")


async def test_tokens_and_configured_secrets_are_not_logged(namespace: NamespaceClient) -> None:
    for value in (JWT, TEST_API_TOKEN, "local-secret"):
        quoted = quote(value, safe="")
        for address in (f"?q={quoted}", f"?acc%65ss_token={quoted}", f"?{quoted}", f"/{quoted}"):
            await namespace.call("GET", f"{DOCUMENTS}{address}")
        for body in ({"title": f"x {value} y"}, [value], value):
            await namespace.call("POST", "/case/1.1/CFPackages", json=body)
        compressed = gzip.compress(f'{{"token": "{value}"}}'.encode())
        headers = {"Content-Encoding": "gzip", "Content-Type": JSON}
        await namespace.call("POST", "/case/1.1/CFPackages", content=compressed, headers=headers)
        basic = base64.b64encode(value.encode()).decode()
        await namespace.call("POST", "/oauth2/token", headers={"Authorization": f"Basic {basic}"})
    entries = await namespace.test_api("GET", "/requests?body=true")
    assert len(entries) == 27
    for entry in entries:
        for value in (JWT, TEST_API_TOKEN, TEST_API_TOKEN.replace(" ", "+"), "local-secret"):
            assert value not in unquote(str(entry)), entry
        assert "\x1f" not in (entry["body"] or "")


async def test_text_about_secrets_is_logged(namespace: NamespaceClient) -> None:
    body = factories.item(factories.new_id()) | {"fullStatement": "A secret token: é"}
    body["extensions"] = {"tokens": 7, "logged": "a password is a word"}
    sent = json.dumps(body | {"notes": "a=b&token"}, ensure_ascii=False)
    headers = {"Content-Type": JSON}
    await namespace.call("PUT", "/case/1.1/CFItems/x", content=sent.encode(), headers=headers)
    await namespace.call("GET", f"{DOCUMENTS}?filter=title='secret'&limit=3")
    put, get = await namespace.test_api("GET", "/requests?body=true")
    logged = json.loads(put["body"])
    assert logged["fullStatement"] == body["fullStatement"]
    assert logged["extensions"]["logged"] == body["extensions"]["logged"]
    assert parse_qs(get["query"]) == {"filter": ["title='secret'"], "limit": ["3"]}


async def test_test_api_requests_are_not_logged(namespace: NamespaceClient) -> None:
    await namespace.test_api("GET", "/requests")
    assert await namespace.test_api("GET", "/requests") == []


async def test_fault_is_logged(namespace: NamespaceClient) -> None:
    rule = {"path": "*", "times": 1, "status": 503, "retry_after": 2}
    await namespace.test_api("PUT", "/faults", body=[rule])
    body = await namespace.put_document(503)
    (entry,) = await namespace.test_api("GET", "/requests?body=true")
    assert entry["status"] == 503
    assert entry["fault"] == {"status": 503, "retry_after": 2}
    assert body["identifier"] in entry["body"]


async def test_body_of_rejected_request_is_logged(namespace: NamespaceClient) -> None:
    body = factories.document()
    path = f"{DOCUMENTS}/{body['identifier']}"
    await namespace.call("PUT", path, json=body, headers={"Authorization": ""})
    (entry,) = await namespace.test_api("GET", "/requests?body=true")
    assert entry["status"] == 401
    assert body["identifier"] in entry["body"]


async def test_large_body_is_logged_up_to_limit(namespace: NamespaceClient) -> None:
    body = factories.package(CFItems=[factories.packed_item() for _ in range(500)])
    body["CFAssociations"] = []
    response = await namespace.call("POST", "/case/1.1/CFPackages", json=body)
    assert response.status_code == 201
    (entry,) = await namespace.test_api("GET", "/requests?body=true")
    assert entry["request_bytes"] == len(response.request.content) > request_log.MAX_BODY_BYTES
    assert len(entry["body"]) == request_log.MAX_BODY_BYTES
    assert entry["body_is_whole"] is False


def test_request_log_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "MAX_TOTAL_BODY_BYTES", 1000)
    log = RequestLog()
    for number in range(request_log.MAX_ENTRIES + 5):
        entry = log.add_request("PUT", f"/{number}", "", None, "")
        log.set_body(entry, b"x" * 300, "")
    entries = log.find_entries(RequestFilter())
    assert len(entries) == len(log) == request_log.MAX_ENTRIES
    assert entries[0].path == "/5"
    assert [entry.body for entry in entries[-4:]] == [None, b"x" * 300, b"x" * 300, b"x" * 300]


def test_request_log_keeps_nothing_of_removed_requests() -> None:
    log = RequestLog()
    removed = []
    for body in (b"x" * 300, b""):
        entry = log.add_request("PUT", "/removed", "", None, "")
        log.set_body(entry, body, "")
        removed.append(weakref.ref(entry))
    slow = log.add_request("PUT", "/slow", "", None, "")
    for number in range(request_log.MAX_ENTRIES):
        entry = log.add_request("GET", f"/{number}", "", None, "")
    log.set_body(slow, b"x" * 300, "")
    assert [reference() for reference in removed] == [None, None]
    assert log._total_body_bytes == 0


EXPECTED = [
    ({"method": "PUT", "path": "*/CFDocuments/*"}, ""),
    ({"method": "PUT", "path": "*/CFDocuments/*", "status": 201, "count": 2}, ""),
    ({"at_least": 3}, ""),
    ({"method": "PUT", "at_most": 2}, ""),
    ({"method": "DELETE", "count": 0}, ""),
    ({"client": "local-client", "count": 3}, ""),
    ({"body": {"title": "first", "CFPackageURI": {"title": "a title"}}, "count": 1}, ""),
    ({"method": "PUT", "count": 1}, "expected exactly 1 PUT on any path, found 2"),
    ({"method": "DELETE"}, "expected at least 1 DELETE on any path, found 0"),
    ({"at_least": 4}, "expected at least 4 any method on any path, found 3"),
    ({"method": "PUT", "at_most": 1}, "expected at most 1 PUT on any path, found 2"),
    ({"status": 500}, "with status 500, found 0"),
    ({"body": {"title": "third"}}, "with {'title': 'third'} in the body, found 0"),
    ({"path": "/nowhere"}, "no requests on /nowhere"),
]


@pytest.mark.parametrize(("expected", "message"), EXPECTED)
async def test_verify_reports_differences(
    namespace: NamespaceClient, expected: dict[str, Any], message: str
) -> None:
    for title in ("first", "second"):
        await namespace.put_document(title=title)
    await namespace.total()
    wanted = [{"method": "GET"}, expected]
    response = await namespace.test_api("POST", "/requests/verify", 200, wanted)
    assert response["met"] is not bool(message)
    assert len(response["differences"]) == bool(message)
    assert message in "".join(response["differences"])


async def test_difference_lists_requests_on_path(namespace: NamespaceClient) -> None:
    body = await namespace.put_document()
    expected = [{"method": "DELETE", "path": "*/CFDocuments/*"}]
    response = await namespace.test_api("POST", "/requests/verify", 200, expected)
    assert f"PUT {DOCUMENTS}/{body['identifier']}: status 201" in response["differences"][0]


async def test_invalid_expectation_returns_422(namespace: NamespaceClient) -> None:
    wanted = [{"count": 1, "at_least": 1}, {"count": -1}, {"colour": "red"}]
    refused = await namespace.test_api("POST", "/requests/verify", 422, wanted)
    assert len(refused["imsx_error_details"]) == 3


async def test_test_api_token_is_not_logged(namespace: NamespaceClient) -> None:
    await namespace.call("GET", DOCUMENTS, headers={"Authorization": f"Bearer {TEST_API_TOKEN}"})
    (entry,) = await namespace.test_api("GET", "/requests?body=true")
    assert TEST_API_TOKEN not in str(entry)
    assert entry["client"] is None
