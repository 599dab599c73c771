"""Enabling and disabling test mode, its settings, and the database after it."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from support.applications import create_client
from support.live_server import LiveServer, run_command_in_process, run_live_server
from support.test_mode_client import DOCUMENTS, NamespaceClient

TEST_MODE_ROUTES = (
    *(("GET", "/_test"), ("GET", "/_test/"), ("POST", "/_test/reset")),
    *(("PUT", "/_test/faults"), ("GET", "/_test/requests")),
    *(("GET", "/_test/namespaces"), ("GET", f"/ns/one{DOCUMENTS}")),
    ("GET", "/test-mode"),
)


@pytest.mark.parametrize(("method", "path"), TEST_MODE_ROUTES)
async def test_routes_return_404_without_test_mode(
    anonymous: httpx.AsyncClient, method: str, path: str
) -> None:
    response = await anonymous.request(method, path)
    assert response.status_code == 404
    assert response.json()["imsx_codeMajor"] == "failure"


async def test_namespace_header_is_ignored_without_test_mode(client: httpx.AsyncClient) -> None:
    response = await client.get(DOCUMENTS, headers={"X-CASE-Namespace": "Not a name"})
    assert response.status_code == 200


async def test_openapi_documents_omit_test_api(
    app: FastAPI, testmode_app: FastAPI, namespace: NamespaceClient
) -> None:
    for application in (app, testmode_app):
        async with create_client(application) as http:
            document = (await http.get("/openapi.json")).text
            assert "/case/1.1/CFDocuments" in document
            assert "_test/" not in document


async def test_missing_test_api_token_returns_401(namespace: NamespaceClient) -> None:
    case_token = namespace.http.headers["Authorization"]
    for authorization in ("", "Bearer", "Bearer wrong", "Basic a test API token", case_token):
        headers = {"Authorization": authorization}
        response = await namespace.http.post("/_test/reset", headers=headers)
        assert response.status_code == 401
        assert "CASE_SERVER_TEST_API_TOKEN" in response.json()["imsx_description"]
    await namespace.test_api("POST", "/reset")


async def test_unknown_test_api_route_returns_404(namespace: NamespaceClient) -> None:
    refused = await namespace.test_api("GET", "/nothing", 404)
    assert refused["imsx_codeMajor"] == "failure"
    await namespace.test_api("GET", "/reset", 405)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workers", "2"), ["one process", "--workers"]),
        (("--host", "0.0.0.0"), ["CASE_SERVER_TEST_API_TOKEN"]),
        (("--workers", "2", "--host", "0.0.0.0"), ["one process", "CASE_SERVER_TEST_API_TOKEN"]),
    ],
)
def test_unsafe_settings_prevent_start(
    tmp_path: Path, arguments: tuple[str, ...], message: list[str]
) -> None:
    allowed = {"CASE_SERVER_ALLOW_DEFAULT_SECRET": "true"}
    result = run_command_in_process(
        "serve", "--test-mode", "--port", "0", *arguments, data_dir=tmp_path / "d", **allowed
    )
    assert result.returncode == 1
    assert all(words in result.stderr for words in message)
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "d").exists()


def totals(server: LiveServer) -> int:
    with server.client() as client:
        return int(client.get(DOCUMENTS).json()["total"])


def test_embedded_database_is_unchanged_after_test_mode(data_dir: Path, tmp_path: Path) -> None:
    """Test mode starts with its data, resets TCP connections, and changes nothing in it."""
    assert run_command_in_process("import", "--sample", "-q", data_dir=data_dir).returncode == 0
    settings = {"CASE_SERVER_TEST_MODE": "true", "CASE_SERVER_EMBEDDED_FSYNC": "false"}
    with run_live_server(data_dir, settings=settings) as server:
        assert f"{server.base_url}/_test" in server.banner
        assert totals(server) == 1
        httpx.post(f"{server.base_url}/_test/seed", json={}).raise_for_status()
        assert totals(server) == 0
        with server.client() as client:
            break_connections(client)
        assert server.stop() == 0
    assert "Traceback" not in (tmp_path / "data.log").read_text()
    with run_live_server(data_dir) as server:
        assert totals(server) == 1
        assert httpx.get(f"{server.base_url}/_test").status_code == 404


def break_connections(client: httpx.Client) -> None:
    faults = [
        {"path": DOCUMENTS, "reset": True, "nth": 1},
        {"path": DOCUMENTS, "body": "truncated", "nth": 2},
        {"path": DOCUMENTS, "reset": True, "apply_request": True, "nth": 3},
    ]
    client.put("/_test/faults", json=faults).raise_for_status()
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        client.get(DOCUMENTS)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        client.get(DOCUMENTS)
    with pytest.raises(httpx.ReadError, match="reset by peer"):
        client.get(DOCUMENTS)
    assert client.get(DOCUMENTS).status_code == 200
    entries = client.get("/_test/requests", params={"path": DOCUMENTS}).json()
    assert [entry["status"] for entry in entries][-4:] == [None, 200, None, 200]
