"""`case-server sync` with a second server: updates, deletions and outages."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from httpx import AsyncClient, Client, Response
from support import factories
from support.databases import NewDataDir
from support.live_server import LiveServer, run_command, run_command_in_process, run_live_server
from support.scripted_source import ScriptedResponse, run_scripted_source

from case_server.case.resources import DOCUMENTS
from case_server.db.pool import Database
from case_server.db.write import soft_delete
from case_server.net.download import Fetcher
from case_server.net.oauth import ClientCredentials
from case_server.transfer.remote_server import PackageFetcher
from case_server.transfer.sync import Syncer, SyncResult, format_changes, parse_url_lines

Sync = Callable[..., Awaitable[list[SyncResult]]]

STANDARD = "/1edtech/ims/case/v1p1"


@pytest.fixture(scope="module")
def source_dir(new_data_dir: NewDataDir) -> Path:
    return new_data_dir()


@pytest.fixture(scope="module")
def live(source_dir: Path) -> Iterator[LiveServer]:
    with run_live_server(source_dir) as running:
        yield running


@pytest.fixture
def source(live: LiveServer) -> Iterator[Client]:
    """The server to synchronize with."""
    with live.client() as client:
        yield client


@pytest.fixture
def fetcher(live: LiveServer) -> Fetcher:
    credentials = ClientCredentials(f"{live.base_url}/oauth2/token", "local-client", "local-secret")
    return Fetcher(credentials=credentials)


@pytest.fixture
def sync(database: Database, clean: None, fetcher: Fetcher) -> Sync:
    async def run_once(url: str, fetcher: Fetcher = fetcher) -> list[SyncResult]:
        return [synced async for synced in Syncer(database, fetcher).sync(url)]

    return run_once


def upload(source: Client, **fields: Any) -> tuple[factories.Body, str]:
    """Store a framework on the source; return it and the URL of its package."""
    body = {**factories.chain(4), **fields}
    response = source.post("/case/1.1/CFPackages", json=body)
    assert response.status_code == 201, response.text
    path = f"{STANDARD}/CFPackages/{body['CFDocument']['identifier']}"
    return body, f"{source.base_url}{path}".replace("//1edtech", "/1edtech")


def replace(source: Client, body: factories.Body) -> None:
    path = f"/case/1.1/CFPackages/{body['CFDocument']['identifier']}"
    assert source.put(path, json=body).status_code == 200


def same(local: Response, source: Client, path: str) -> None:
    """Assert that a response equals that of the source."""
    there = source.get(path)
    assert local.status_code == there.status_code == 200
    assert local.json() == there.json()


def sent(source: Client, path: str) -> bytes:
    return source.get(path).content


async def test_edits_and_deletions_follow(source: Client, client: AsyncClient, sync: Sync) -> None:
    body, url = upload(source)
    path = urlsplit(url).path
    (synced,) = await sync(url)
    assert synced.status == "created"
    assert [*format_changes(synced.changes)] == [
        "CFDocument: 1 created",
        "CFItem: 4 created",
        "CFAssociation: 3 created",
    ]
    same(await client.get(path), source, path)
    (synced,) = await sync(url)
    assert (synced.status, synced.changes) == ("unchanged", {})

    first, second, *_, last = body["CFItems"]
    new = factories.packed_item()
    body["CFItems"] = [{**first, "fullStatement": "another"}, second, last, new]
    relations = body["CFAssociations"]
    body["CFAssociations"] = [
        relations[0],
        factories.association(new["identifier"], second["identifier"]),
    ]
    replace(source, body)
    (synced,) = await sync(url)
    assert synced.status == "changed"
    assert synced.changes["CFItem", "create"] == 1
    assert synced.changes["CFItem", "delete"] == 1
    assert synced.changes["CFAssociation", "create"] == 1
    assert synced.changes["CFAssociation", "delete"] == 2
    same(await client.get(path), source, path)


async def test_unmodified_package_is_not_transferred(
    source: Client, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = upload(source)
    await sync(url)
    responses: list[Any] = []
    fetch = PackageFetcher.fetch_if_modified

    def recording_fetch(*arguments: Any) -> Any:
        responses.append(fetch(*arguments))
        return responses[-1]

    monkeypatch.setattr(PackageFetcher, "fetch_if_modified", recording_fetch)
    await sync(url)
    assert responses == [None]


async def test_local_changes_are_overwritten(
    source: Client, client: AsyncClient, database: Database, sync: Sync
) -> None:
    body, url = upload(source)
    document = body["CFDocument"]["identifier"]
    path = urlsplit(url).path
    await sync(url)
    response = await client.put(
        f"/case/1.1/CFItems/{(mine := factories.item(document))['identifier']}", json=mine
    )
    assert response.status_code == 201
    (synced,) = await sync(url)
    assert synced.changes == {("CFItem", "delete"): 1}
    await soft_delete.delete_entity(database, DOCUMENTS, document)
    (synced,) = await sync(url)
    assert synced.status == "created"
    same(await client.get(path), source, path)


async def test_list_sync_adds_and_removes_documents(
    source: Client, source_dir: Path, live: LiveServer, client: AsyncClient, sync: Sync
) -> None:
    frameworks = [upload(source) for _ in range(3)]
    list_url = f"{live.base_url}{STANDARD}/CFDocuments"
    synced = await sync(list_url)
    assert {each.status for each in synced} <= {"created", "unchanged"}
    ids = {body["CFDocument"]["identifier"] for body, _ in frameworks}
    assert ids <= {each.document for each in synced}
    gone = frameworks[0][0]["CFDocument"]["identifier"]
    result = run_command("delete", "document", gone, data_dir=source_dir)
    assert result.stdout == "deleted: CFDocument (1), CFItem (4), CFAssociation (3)\n"
    deleted = [each for each in await sync(list_url) if each.status == "deleted"]
    assert [each.document for each in deleted] == [gone]
    assert deleted[0].changes["CFItem", "delete"] == 4
    assert (await client.get(f"/case/1.1/CFDocuments/{gone}")).status_code == 404
    assert not [each for each in await sync(list_url) if each.status != "unchanged"]


async def test_concurrent_syncs_succeed(source: Client, client: AsyncClient, sync: Sync) -> None:
    body, url = upload(source)
    path = urlsplit(url).path
    for number in range(3):
        body["CFItems"][0] = {**body["CFItems"][0], "fullStatement": f"statement {number}"}
        replace(source, body)
        results = await asyncio.gather(*(sync(url) for _ in range(4)))
        assert sum(bool(synced.changes) for (synced,) in results) == 1
        assert "failed" not in {synced.status for (synced,) in results}
    same(await client.get(path), source, path)


FAILURES: dict[str, Callable[[bytes], ScriptedResponse]] = {
    "500": lambda _: ScriptedResponse(status=500),
    "cut off": lambda package: ScriptedResponse(package, cut_at=len(package) // 2),
    "half a package": lambda package: ScriptedResponse(package[: len(package) // 2]),
    "another language": lambda _: ScriptedResponse(b"<html>maintenance</html>"),
    "invalid": lambda package: ScriptedResponse(package.replace(b'"isChildOf"', b'"isAuntOf"')),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_outage_of_the_source_changes_nothing(
    source: Client, client: AsyncClient, sync: Sync, failure: Callable[[bytes], ScriptedResponse]
) -> None:
    body, url = upload(source)
    path = urlsplit(url).path
    package = sent(source, path)
    with run_scripted_source() as failing:
        url = f"{failing.url}/CFPackages/x"
        failing.respond = lambda _: ScriptedResponse(package)
        (synced,) = await sync(url, Fetcher())
        assert synced.status == "created"
        before = (await client.get(path)).json()
        failing.respond = lambda _: failure(package)
        (synced,) = await sync(url, Fetcher())
        assert synced.status == "failed"
        assert synced.reason
        assert (await client.get(path)).json() == before
        failing.respond = lambda _: ScriptedResponse(package)
        (synced,) = await sync(url, Fetcher())
    assert synced.status == "unchanged"
    assert body["CFDocument"]["identifier"] == synced.document


async def test_unreachable_source_is_reported(sync: Sync) -> None:
    for url in ("http://127.0.0.1:1/CFPackages/x", "http://127.0.0.1:1/CFDocuments"):
        (synced,) = await sync(url, Fetcher())
        assert synced.status == "failed"


def test_command_syncs_and_reports(
    source: Client, live: LiveServer, tmp_path: Path, data_dir: Path
) -> None:
    _, url = upload(source)
    listed = tmp_path / "sources"
    listed.write_text(f"# frameworks\n{url}  # ours\n\nhttp://127.0.0.1:1/CFPackages/x\n")
    client = {"CASE_SOURCE_CLIENT_ID": "local-client", "CASE_SOURCE_CLIENT_SECRET": "local-secret"}
    token_url = ("--token-url", f"{live.base_url}/oauth2/token")
    result = run_command_in_process(
        "sync", "--from", str(listed), *token_url, data_dir=data_dir, **client
    )
    assert result.returncode == 1
    assert f"{url}: created" in result.stdout
    assert "CFItem: 4 created" in result.stdout
    assert "http://127.0.0.1:1/CFPackages/x: failed, the copy is unchanged" in result.stderr
    result = run_command_in_process("sync", url, "-q", *token_url, data_dir=data_dir, **client)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    for arguments in ((), ("framework.json",)):
        assert run_command_in_process("sync", *arguments, data_dir=data_dir).returncode == 2


def test_file_of_urls_is_synced() -> None:
    lines = ["# all", "https://a/CFPackages/1#part", " https://b/CFDocuments # b", "", "#c"]
    assert parse_url_lines(lines) == ["https://a/CFPackages/1#part", "https://b/CFDocuments"]


PROFILES = ["/case/1.1", "/ims/case/v1p1", STANDARD, "/1edtech/ims/case/v1p0"]


@pytest.mark.parametrize("prefix", PROFILES)
async def test_list_of_each_profile_of_this_server_is_mirrored(
    source: Client, client: AsyncClient, sync: Sync, prefix: str
) -> None:
    extensions = {"weights": [1, 2.5], "note": "unchanged"}
    items = [factories.packed_item(extensions=extensions) for _ in range(2)]
    bodies = [upload(source)[0] for _ in range(11)]
    bodies.append(upload(source, CFItems=items, CFAssociations=[])[0])
    results = await sync(f"{source.base_url}{prefix}/CFDocuments")
    assert {result.status for result in results} == {"created"}
    assert {body["CFDocument"]["identifier"] for body in bodies} <= {
        result.document for result in results
    }
    assert {result.status for result in await sync(f"{source.base_url}{prefix}/CFDocuments")} == {
        "unchanged"
    }
    response = await client.get(f"/case/1.1/CFItems/{items[0]['identifier']}")
    expected = None if prefix.endswith("v1p0") else extensions
    assert response.json().get("extensions") == expected


@pytest.mark.parametrize("prefix", PROFILES)
async def test_document_url_leads_to_its_package(source: Client, sync: Sync, prefix: str) -> None:
    body, _ = upload(source)
    document = body["CFDocument"]["identifier"]
    (result,) = await sync(f"{source.base_url}{prefix}/CFDocuments/{document}")
    assert (result.status, result.document) == ("created", document)
    assert "/CFPackages/" in result.url


def test_byte_order_mark_of_a_file_of_urls_is_skipped(tmp_path: Path) -> None:
    listed = tmp_path / "sources"
    listed.write_text("# from Windows\nnot a URL\n", encoding="utf-8-sig")
    result = run_command_in_process("sync", "--from", str(listed), data_dir=tmp_path / "untouched")
    assert result.stderr.startswith("case-server: error: invalid URL not a URL: ")


def test_file_of_urls_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    listed = tmp_path / "sources"
    listed.write_bytes(b"# M\xfcnchen\nhttp://127.0.0.1:1/CFPackages/x\n")
    result = run_command_in_process("sync", "--from", str(listed), data_dir=tmp_path / "untouched")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"case-server: error: {listed}: the file is not UTF-8 (byte 0xfc at "
        "offset 3); save it as UTF-8 (see `case-server sync --help`)\n"
    )
