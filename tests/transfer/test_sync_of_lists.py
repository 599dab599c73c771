"""`case-server sync` of lists never deletes a framework that the source still serves."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from anyio import from_thread, to_thread
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support import factories
from support.live_server import run_command_in_process as run
from support.scripted_source import (
    ScriptedResponse,
    ScriptedSource,
    parse_page,
    run_scripted_source,
)
from support.selection import scale_examples

from case_server.db import mirrors
from case_server.db.pool import Database
from case_server.net.download import Fetcher
from case_server.transfer.sync import Syncer, SyncResult

Listing = Callable[["Hub", str], ScriptedResponse | None]


@dataclass
class Hub:
    """A list of frameworks, of which tests decide what it shows and what their URLs response."""

    source: ScriptedSource
    count: int
    database: Database | None = None
    """The database into which tests sync the list."""
    name: str = field(default_factory=lambda: f"hub-{uuid.uuid4().hex[:8]}")
    unlisted: set[str] = field(default_factory=set)
    faults: dict[str, ScriptedResponse] = field(default_factory=dict)
    """Responses that replace the package, by its identifier."""
    listing: Listing = lambda *_: None
    """Returns a response that replaces a page of the list, or None for the page itself."""

    def __post_init__(self) -> None:
        self.packages = {}
        for _ in range(self.count):
            body = factories.package()
            self.packages[body["CFDocument"]["identifier"]] = body
        self.source.respond = self.respond

    @property
    def url(self) -> str:
        return f"{self.source.url}/{self.name}/CFDocuments"

    @property
    def ids(self) -> list[str]:
        return list(self.packages)

    @property
    def documents(self) -> list[Any]:
        shown = (identifier for identifier in self.ids if identifier not in self.unlisted)
        return [self.packages[identifier]["CFDocument"] for identifier in shown]

    def respond(self, target: str) -> ScriptedResponse:
        path = urlsplit(target).path
        if path == f"/{self.name}/CFDocuments":
            limit, offset = parse_page(target)
            page = self.documents[offset : offset + limit]
            return self.listing(self, target) or ScriptedResponse({"CFDocuments": page})
        identifier = path.rpartition("/")[2]
        if identifier in self.faults:
            return self.faults[identifier]
        if path == f"/{self.name}/CFPackages/{identifier}" and identifier in self.packages:
            return ScriptedResponse(self.packages[identifier])
        return ScriptedResponse({"message": "unknown"}, 404)

    def withdraw(self, *identifiers: str, status: int = 404) -> None:
        for identifier in identifiers:
            self.unlisted.add(identifier)
            self.faults[identifier] = ScriptedResponse({}, status)

    async def sync(self, **flags: bool) -> list[SyncResult]:
        assert self.database
        return await sync_url(self.database, self.url, **flags)

    async def list_mirrored(self) -> set[str]:
        """Return the identifiers of its frameworks that the database has."""
        sql = "SELECT identifier FROM documents WHERE deleted_at IS NULL AND identifier = ANY($1)"
        assert self.database
        async with self.database.connection() as connection:
            return {row["identifier"] for row in await connection.fetch(sql, self.ids)}


async def sync_url(
    database: Database, url: str, *, allow_deletes: bool = False, dry_run: bool = False
) -> list[SyncResult]:
    syncer = Syncer(database, Fetcher(), allow_deletes=allow_deletes, dry_run=dry_run)
    return [result async for result in syncer.sync(url)]


NewHub = Callable[[int], Hub]
MirroredHub = Callable[[int], Awaitable[Hub]]


@pytest.fixture
def new_hub(source: ScriptedSource, database: Database, clean: None) -> NewHub:
    """Return a function that creates a list of so many frameworks."""
    return lambda count: Hub(source, count, database)


@pytest.fixture
def mirrored_hub(new_hub: NewHub) -> MirroredHub:
    """Return a function that creates a list of so many frameworks and syncs it."""

    async def create(count: int) -> Hub:
        hub = new_hub(count)
        assert statuses(await hub.sync()) == ["created"] * count
        return hub

    return create


def statuses(results: list[SyncResult]) -> list[str]:
    return [result.status for result in results]


def outcomes(results: list[SyncResult]) -> list[object]:
    return [(result.status, result.counts) for result in results]


@pytest.mark.parametrize("status", [404, 410])
async def test_unlisted_gone_framework_is_deleted(mirrored_hub: MirroredHub, status: int) -> None:
    hub = await mirrored_hub(3)
    hub.withdraw(hub.ids[0], status=status)
    results = await hub.sync()
    assert statuses(results) == ["unchanged", "unchanged", "deleted"]
    assert results[-1].document == hub.ids[0]
    assert results[-1].counts.deleted == 4
    assert await hub.list_mirrored() == set(hub.ids[1:])
    assert statuses(await hub.sync()) == ["unchanged", "unchanged"]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_framework_whose_url_returns_another_error_remains_and_is_reported(
    mirrored_hub: MirroredHub, status: int
) -> None:
    hub = await mirrored_hub(2)
    hub.withdraw(hub.ids[0], status=status)
    results = await hub.sync()
    assert statuses(results) == ["unchanged", "failed"]
    assert f"answered {status}" in str(results[-1].reason)
    assert results[-1].notes == []
    assert await hub.list_mirrored() == set(hub.ids)


async def test_unlisted_framework_that_is_still_served_is_synced(mirrored_hub: MirroredHub) -> None:
    hub = await mirrored_hub(2)
    hub.unlisted.add(hub.ids[0])
    hub.packages[hub.ids[0]]["CFItems"][0]["fullStatement"] = "another statement"
    results = await hub.sync()
    assert statuses(results) == ["unchanged", "changed"]
    assert results[-1].notes == ["its list does not contain it, but its package still exists"]
    assert await hub.list_mirrored() == set(hub.ids)


async def test_404_behind_redirect_to_another_host_does_not_drop(mirrored_hub: MirroredHub) -> None:
    hub = await mirrored_hub(2)
    with run_scripted_source() as other:
        hub.unlisted.add(hub.ids[0])
        hub.faults[hub.ids[0]] = ScriptedResponse(
            status=302, headers={"Location": f"{other.url}/moved"}
        )
        assert statuses(await hub.sync()) == ["unchanged", "failed"]
        assert other.requests == ["/moved"]
    assert await hub.list_mirrored() == set(hub.ids)


def short(hub: Hub, _: str) -> ScriptedResponse:
    return ScriptedResponse({"CFDocuments": hub.documents, "total": hub.count + 1})


def cut(hub: Hub, _: str) -> ScriptedResponse:
    return ScriptedResponse({"CFDocuments": hub.documents}, cut_at=60)


def failing(hub: Hub, target: str) -> ScriptedResponse | None:
    return ScriptedResponse({}, 500) if parse_page(target)[1] else None


def faulty(hub: Hub, target: str) -> ScriptedResponse | None:
    return ScriptedResponse([{}]) if parse_page(target)[1] else None


def unreadable(hub: Hub, target: str) -> ScriptedResponse:
    return ScriptedResponse({"message": "maintenance"})


@pytest.mark.parametrize("listing", [short, cut, failing, faulty, unreadable])
async def test_list_that_is_not_known_to_be_complete_drops_nothing(
    mirrored_hub: MirroredHub, listing: Listing
) -> None:
    hub = await mirrored_hub(3)
    hub.withdraw(hub.ids[0])
    hub.listing = listing
    for flags in ({}, {"allow_deletes": True}):
        results = await hub.sync(**flags)
        assert results[-1].status == "failed"
        assert results[-1].url == hub.url
        note = "1 unlisted framework kept" if listing is short else "nothing is deleted"
        assert note in str(results[-1].reason)
        assert "deleted" not in statuses(results)
    assert await hub.list_mirrored() == set(hub.ids)
    hub.listing = lambda *_: None
    assert statuses(await hub.sync()) == ["unchanged", "unchanged", "deleted"]


async def test_packages_listed_before_an_error_are_synced(new_hub: NewHub) -> None:
    hub = new_hub(3)
    hub.listing = failing
    assert statuses(await hub.sync()) == ["created", "created", "created", "failed"]
    assert await hub.list_mirrored() == set(hub.ids)


async def test_incomplete_list_without_anything_to_drop_is_only_noted(new_hub: NewHub) -> None:
    hub = new_hub(2)
    hub.listing = short
    results = await hub.sync()
    assert statuses(results) == ["created", "created", "noted"]
    assert "it lists 2 of the 3 documents it counts" in results[-1].notes[0]


async def test_empty_list_drops_nothing_without_the_flag(mirrored_hub: MirroredHub) -> None:
    hub = await mirrored_hub(2)
    hub.withdraw(*hub.ids)
    (refused,) = await hub.sync()
    assert refused.status == "failed"
    assert "the list is empty; 2 unlisted frameworks kept" in str(refused.reason)
    assert "--allow-deletes" in str(refused.reason)
    assert await hub.list_mirrored() == set(hub.ids)
    assert statuses(await hub.sync(allow_deletes=True)) == ["noted", "deleted", "deleted"]
    assert await hub.list_mirrored() == set()


async def test_many_frameworks_gone_at_once_need_the_flag(mirrored_hub: MirroredHub) -> None:
    hub = await mirrored_hub(21)
    hub.withdraw(*hub.ids[:3])
    results = await hub.sync()
    assert statuses(results) == ["unchanged"] * 18 + ["failed"]
    assert "3 of the 21 frameworks" in str(results[-1].reason)
    assert "--allow-deletes" in str(results[-1].reason)
    assert await hub.list_mirrored() == set(hub.ids)
    del hub.faults[hub.ids[0]]
    hub.unlisted.remove(hub.ids[0])
    assert statuses(await hub.sync()) == ["unchanged"] * 19 + ["deleted"] * 2
    hub.withdraw(*hub.ids[2:6])
    assert statuses(await hub.sync(allow_deletes=True))[-3:] == ["deleted"] * 3


async def test_dry_run_writes_nothing_and_reports_same(new_hub: NewHub, database: Database) -> None:
    hub = new_hub(2)
    planned = await hub.sync(dry_run=True)
    assert await hub.list_mirrored() == set()
    assert await mirrors.list_mirrors(database, hub.url) == []
    done = await hub.sync()
    assert outcomes(planned) == outcomes(done)
    assert done[0].counts == (4, 0, 0, 0)
    hub.withdraw(hub.ids[0])
    hub.packages[hub.ids[1]]["CFItems"][0]["fullStatement"] = "another statement"
    planned = await hub.sync(dry_run=True)
    assert await hub.list_mirrored() == set(hub.ids)
    assert [result.counts for result in planned] == [(0, 1, 3, 0), (0, 0, 0, 4)]
    done = await hub.sync()
    assert outcomes(planned) == outcomes(done)


async def test_package_that_lost_most_items_needs_the_flag(mirrored_hub: MirroredHub) -> None:
    hub = await mirrored_hub(1)
    body = hub.packages[hub.ids[0]]
    body["CFItems"], body["CFAssociations"] = [], []
    (refused,) = await hub.sync()
    assert refused.status == "failed"
    assert "delete 2 of the 2 items" in str(refused.reason)
    assert "--allow-deletes" in str(refused.reason)
    assert refused.counts.deleted == 3
    (deleted,) = await hub.sync(allow_deletes=True)
    assert (deleted.status, deleted.counts.deleted) == ("changed", 3)


async def test_package_uri_of_the_list_is_used_and_its_former_url_forgotten(
    mirrored_hub: MirroredHub, database: Database
) -> None:
    hub = await mirrored_hub(2)
    identifier = hub.ids[0]
    package = hub.packages[identifier]
    elsewhere = f"{hub.source.url}/elsewhere/1"
    hub.source.respond = lambda target: (
        ScriptedResponse(package) if target == "/elsewhere/1" else hub.respond(target)
    )
    package["CFDocument"]["CFPackageURI"] = factories.link(identifier) | {"uri": elsewhere}
    hub.faults[identifier] = ScriptedResponse({}, 404)
    results = await hub.sync()
    assert results[0].url == elsewhere
    assert {mirror.url for mirror in await mirrors.list_mirrors(database, hub.url)} == {
        elsewhere,
        f"{hub.source.url}/{hub.name}/CFPackages/{hub.ids[1]}",
    }
    assert await hub.list_mirrored() == set(hub.ids)


async def test_framework_that_another_list_still_has_is_not_deleted(
    mirrored_hub: MirroredHub, database: Database
) -> None:
    hub = await mirrored_hub(2)
    identifier = hub.ids[0]
    copy = f"{hub.source.url}/copy/CFPackages/{identifier}"
    hub.source.respond = lambda target: (
        ScriptedResponse(hub.packages[identifier])
        if target.startswith("/copy/")
        else hub.respond(target)
    )
    await sync_url(database, copy)
    hub.withdraw(identifier)
    results = await hub.sync()
    assert results[-1].notes == [f"gone from this URL, but still mirrored from {copy}"]
    assert await hub.list_mirrored() == set(hub.ids)


async def test_url_that_returns_another_document_keeps_the_former_one(
    mirrored_hub: MirroredHub,
) -> None:
    hub = await mirrored_hub(2)
    first, second = hub.ids
    hub.faults[first] = ScriptedResponse(hub.packages[second])
    results = await hub.sync()
    assert f"case-server delete document {first}" in results[0].notes[0]
    assert await hub.list_mirrored() == set(hub.ids)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (ScriptedResponse(cut_at=50, body=factories.package()), "the response is incomplete"),
        (
            ScriptedResponse(cut_at=50, body=factories.package(), reset=True),
            "the connection was lost",
        ),
        (ScriptedResponse(json.dumps(factories.package()).encode()[:-9]), "breaks off after"),
        (
            ScriptedResponse(b"\x1f\x8b" + bytes(40), headers={"Content-Encoding": "gzip"}),
            "compressed data",
        ),
        (ScriptedResponse(b"\x1f\x8b" + bytes(40)), "compressed data"),
        (ScriptedResponse(b"{}", headers={"Content-Encoding": "br"}), "Content-Encoding br"),
        (
            ScriptedResponse(b"<html>", headers={"Content-Type": "text/html"}),
            "the response is text/html",
        ),
        (ScriptedResponse(b'{"CFItems": [}'), "not JSON"),
    ],
)
async def test_truncated_response_is_reported_as_an_error_of_the_source(
    source: ScriptedSource, database: Database, response: ScriptedResponse, reason: str
) -> None:
    source.responses["/CFPackages/x"] = response
    (failed,) = await sync_url(database, f"{source.url}/CFPackages/x")
    assert failed.status == "failed"
    assert reason in str(failed.reason)
    assert "database" not in str(failed.reason)


FAULTS = [
    ScriptedResponse({}, 401),
    ScriptedResponse({}, 403),
    ScriptedResponse({}, 500),
    ScriptedResponse({}, 503),
    ScriptedResponse(b"<html>"),
    ScriptedResponse({"CFDocument": {"title": "x"}}),
    ScriptedResponse(factories.package(), cut_at=40),
]


def capped(hub: Hub, target: str) -> ScriptedResponse:
    _, offset = parse_page(target)
    return ScriptedResponse(hub.documents[offset : offset + 2])


def counted(difference: int) -> Listing:
    def respond(hub: Hub, target: str) -> ScriptedResponse:
        page = capped(hub, target)
        page.headers = {"X-Total-Count": str(max(0, len(hub.documents) + difference))}
        return page

    return respond


def linked(hub: Hub, target: str) -> ScriptedResponse:
    page, (_, offset) = capped(hub, target), parse_page(target)
    if offset + 2 < len(hub.documents):
        page.headers = {"Link": f'</{hub.name}/CFDocuments?offset={offset + 2}>; rel="next"'}
    return page


def looping(hub: Hub, target: str) -> ScriptedResponse:
    page = capped(hub, target)
    page.headers = {"Link": f'</{hub.name}/CFDocuments?offset=0>; rel="next"'}
    return page


def busy_once(hub: Hub, target: str) -> ScriptedResponse | None:
    is_first = hub.source.requests.count(target) % 2 == 1
    return ScriptedResponse({}, 429, {"Retry-After": "0"}) if is_first else None


def redirected(hub: Hub, target: str) -> ScriptedResponse | None:
    location = {"Location": f"/{hub.name}/CFDocuments?offset=0&moved=1"}
    return None if "moved" in target else ScriptedResponse(status=302, headers=location)


LISTINGS: list[Listing] = [
    *(lambda *_: None, capped, counted(0), counted(2), counted(-2), linked, looping),
    *(busy_once, redirected, failing, faulty, cut, unreadable),
    lambda *_: ScriptedResponse([]),
    lambda *_: ScriptedResponse({}, 500),
    lambda *_: ScriptedResponse({}, 404),
    lambda hub, _: ScriptedResponse(hub.documents[:2]),
]

STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "listing": st.sampled_from(LISTINGS),
            "unlisted": st.sets(st.integers(0, 4)),
            "withdrawn": st.sets(st.integers(0, 4), max_size=2),
            "faults": st.dictionaries(st.integers(0, 4), st.sampled_from(FAULTS), max_size=2),
        }
    ),
    min_size=1,
    max_size=4,
)


async def test_no_sequence_of_syncs_deletes_an_offered_framework(mirrored_hub: MirroredHub) -> None:
    async def once(steps: list[dict[str, Any]]) -> None:
        hub = await mirrored_hub(5)
        stored_ids = set(hub.ids)
        for step in steps:
            hub.listing = step["listing"]
            gone = {hub.ids[index] for index in step["withdrawn"]}
            hub.unlisted = {hub.ids[index] for index in step["unlisted"]} | gone
            hub.faults = {hub.ids[index]: fault for index, fault in step["faults"].items()}
            hub.withdraw(*gone)
            await hub.sync()
            now = await hub.list_mirrored()
            assert stored_ids - gone <= now, "a framework that is offered still was deleted"
            assert len(stored_ids - now) <= 1, "more than one, and more than a tenth, were deleted"
            stored_ids = now

    @hypothesis_settings(
        max_examples=scale_examples(25),
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(steps=STEPS)
    def each(steps: list[dict[str, Any]]) -> None:
        from_thread.run(lambda: once(steps))

    await to_thread.run_sync(each)


async def test_cancelled_sync_ends_its_wait_for_a_retry(
    source: ScriptedSource, database: Database, clean: None
) -> None:
    source.responses["/p"] = ScriptedResponse({}, 503, {"Retry-After": "60"})
    loop, is_waiting = asyncio.get_running_loop(), asyncio.Event()

    def notify(_: str) -> None:
        loop.call_soon_threadsafe(is_waiting.set)

    fetcher = Fetcher(notify=notify)
    task = asyncio.ensure_future(anext(Syncer(database, fetcher).sync(f"{source.url}/p")))
    await is_waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fetcher._stopped.is_set()


def test_command_reports_counts_totals_and_waits(
    source: ScriptedSource, tmp_path: Path, running_data_dir: Path
) -> None:
    hub = Hub(source, 3)
    hub.listing = busy_once
    result = run("sync", hub.url, "--dry-run", data_dir=tmp_path)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == (
        "dry run, nothing was written: frameworks: 3 created, 0 changed, 0 unchanged, 0 deleted, "
        "0 failed; entities: 12 added, 0 changed, 0 unchanged, 0 deleted"
    )
    assert result.stdout.count(": would be created ") == 3
    assert "compared with an empty database, because there is none yet\n" in result.stderr
    assert "/tmp/case-server-" not in result.stderr
    assert "answered 429" in result.stderr
    assert "retrying in 0.0 s (attempt 2 of 4)" in result.stderr
    assert not any(tmp_path.iterdir()), "a dry run left a database behind"
    run("sync", hub.url, data_dir=running_data_dir)
    hub.withdraw(*hub.ids[:2])
    hub.packages[hub.ids[2]]["CFItems"].append(factories.packed_item())
    result = run("sync", hub.url, data_dir=running_data_dir)
    assert result.returncode == 1
    assert "2 of the 3 frameworks" in result.stderr
    assert f"changed {hub.ids[2]}: 1 added, " in result.stdout
    result = run("sync", hub.url, "--allow-deletes", data_dir=running_data_dir)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == (
        "frameworks: 0 created, 0 changed, 1 unchanged, 2 deleted, 0 failed; "
        "entities: 0 added, 0 changed, 5 unchanged, 8 deleted"
    )
    hub.withdraw(*hub.ids)
    assert run("sync", hub.url, data_dir=running_data_dir).returncode == 1
