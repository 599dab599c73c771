"""`case-server conform`: what it says of a server that is well, and of servers that are not."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from click.testing import CliRunner
from support.factories import package
from support.live_server import Live, environment, serving
from support.tampering_proxy import Passing, Spoil, as_it_is, tampering

from case_server.api.profiles import PROFILES
from case_server.cli import main
from case_server.conformance.profiles import PROFILE_SPECS, resolve_profile
from case_server.conformance.table import CHECKS
from case_server.exceptions import StartupError
from case_server.sample import sample

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "conform.md"
CLIENT = ("--client-id", "local-client", "--client-secret", "local-secret")
BASES = {profile.name: profile.prefix for profile in PROFILES}

Conform = Callable[..., subprocess.CompletedProcess[str]]


def frameworks() -> list[Any]:
    """The sample and two frameworks more."""
    found = [json.loads(sample())]
    for month, title in enumerate(("a framework", "another's framework"), start=1):
        body = package()
        changed = f"2026-0{month}-02T00:00:00Z"
        body["CFDocument"] |= {"title": title, "lastChangeDateTime": changed}
        found.append(body)
    return found


@pytest.fixture(scope="module")
def ordinary(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Callable[[str], str]
) -> Iterator[Live]:
    """A server as everybody has it."""
    settings = {"CASE_SERVER_DATABASE_URL": migrated_database("ordinary")}
    with serving(tmp_path_factory.mktemp("ordinary") / "data", settings=settings) as found:
        with found.client() as client:
            for body in frameworks():
                answer = client.post("/case/1.1/CFPackages", json=body)
                assert answer.status_code == 201, answer.text
        yield found


@pytest.fixture(scope="module")
def target(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Callable[[str], str]
) -> Iterator[Live]:
    """A server that goes back to the same frameworks."""
    settings = {"CASE_SERVER_DATABASE_URL": migrated_database("conform")}
    with serving(
        tmp_path_factory.mktemp("conform") / "data", "--test-mode", settings=settings
    ) as one:
        seed = {"packages": frameworks()}
        httpx.post(f"{one.base_url}/_test/seed", json=seed, timeout=60).raise_for_status()
        yield one


@pytest.fixture
def server(target: Live) -> Live:
    """The same, in which no other test wrote."""
    httpx.post(f"{target.base_url}/_test/reset").raise_for_status()
    return target


@pytest.fixture
def conform(tmp_path: Path) -> Conform:
    """Runs the command where there is no database, and nowhere to put one."""
    nowhere = tmp_path / "a file"
    nowhere.touch()
    kept = environment(nowhere / "data")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        # In this process, as each would take a second to start.
        unset: dict[str, str | None] = {name: None for name in os.environ if name not in kept}
        ran = CliRunner().invoke(
            main, ["conform", *arguments], prog_name="case-server", env={**unset, **kept}
        )
        return subprocess.CompletedProcess(arguments, ran.exit_code, ran.stdout, ran.stderr)

    return call


def report(ran: subprocess.CompletedProcess[str]) -> Any:
    assert ran.returncode in {0, 1}, ran.stderr
    return json.loads(ran.stdout)


def outcomes(found: Any, result: str) -> set[str]:
    return {one["id"] for one in found["checks"] if one["result"] == result}


@pytest.mark.parametrize("profile", BASES)
def test_this_server_does_all_that_it_promises(
    ordinary: Live, conform: Conform, profile: str
) -> None:
    url = f"{ordinary.base_url}{BASES[profile]}"
    ran = conform(url, *CLIENT, "--write", "--format", "json")
    found = report(ran)
    assert [one for one in found["checks"] if one["result"] != "pass"] == []
    assert (ran.returncode, found["profile"], found["url"]) == (0, profile, url)
    said = {one.id for one in CHECKS if profile in (*one.documented, *one.extension_of)}
    assert {one["id"] for one in found["checks"]} == said


def everything(server: Live) -> dict[str, set[str]]:
    """Every identifier that the lists show."""
    with server.client() as client:
        found = {}
        for plural in ("CFDocuments", "CFItems", "CFSubjects"):
            page = client.get(f"/ims/case/v1p1/{plural}", params={"limit": 3000}).json()
            found[plural] = {one["identifier"] for one in page[plural]}
        return found


def changes(server: Live, since: str | None = None) -> tuple[list[Any], str]:
    """What the feed of changes tells after a cursor, and the next cursor."""
    told: list[Any] = []
    with server.client() as client:
        while True:
            asked = {"since": since} if since else {}
            page = client.get("/case/1.1/changes", params=asked).json()
            told += page["changes"]
            since = page["next"]
            if not page["more"]:
                return told, str(since)


def test_reading_writes_nothing(server: Live, conform: Conform) -> None:
    _, cursor = changes(server)
    for base in BASES.values():
        assert conform(f"{server.base_url}{base}", *CLIENT).returncode == 0
    assert changes(server, cursor)[0] == []


@pytest.mark.parametrize("profile", ["platform", "sdk"])
def test_nothing_stays_of_what_was_written_but_what_it_names(
    server: Live, conform: Conform, profile: str
) -> None:
    before, (_, cursor) = everything(server), changes(server)
    found = report(
        conform(f"{server.base_url}{BASES[profile]}", *CLIENT, "--write", "--format", "json")
    )
    kept: dict[str, set[str]] = {}
    for line in found["kept"]:
        name, identifier = line.split()
        kept.setdefault(f"{name}s", set()).add(identifier)
    assert {name: len(those) for name, those in kept.items()} == {
        "CFDocuments": 2,
        "CFItemTypes": 1,
    }
    after = everything(server)
    assert after.pop("CFDocuments") == before.pop("CFDocuments") | kept["CFDocuments"]
    assert after == before

    told, _ = changes(server, cursor)
    alive = {(one["kind"], one["identifier"]): one["operation"] != "deleted" for one in told}
    assert {key[0] for key in alive} >= {"CFItem", "CFAssociation", "CFDocument", "CFItemType"}
    assert {key[1] for key, here in alive.items() if here} == set().union(*kept.values())
    with server.client() as client:
        for identifier in kept["CFDocuments"]:
            body = client.get(f"/case/1.1/CFPackages/{identifier}").json()
            assert (body["CFItems"], body["CFAssociations"]) == ([], [])


def unlimited(passing: Passing) -> None:
    passing.url = passing.url.copy_remove_param("limit")


def unfiltered(passing: Passing) -> None:
    passing.url = passing.url.copy_remove_param("filter")


def unsorted(passing: Passing) -> None:
    passing.url = passing.url.copy_remove_param("orderBy")


def without_total(passing: Passing) -> None:
    if passing.status == 200 and "total" in (body := passing.json):
        passing.json = {name: value for name, value in body.items() if name != "total"}


def html_errors(passing: Passing) -> None:
    if passing.status >= 400 and "token" not in passing.url.path:
        passing.body = b"<h1>Something is not there</h1>"


def with_nulls(passing: Passing) -> None:
    if passing.status == 200 and "/CFDocuments/" in passing.url.path:
        passing.json = {**passing.json, "notes": None}


def unwrapped(passing: Passing) -> None:
    if passing.status == 200 and "CFDocument" in (body := passing.json) and len(body) == 1:
        passing.json = body["CFDocument"]


def other_name(passing: Passing) -> None:
    passing.body = passing.body.replace(b'"sourcedId"', b'"id"')


def talkative(passing: Passing) -> None:
    if passing.method == "PUT" and passing.status == 201:
        passing.status, passing.json = 200, {"stored": True}


def never_deletes(passing: Passing) -> None:
    if passing.method == "DELETE":
        passing.status = 204


def always_there(passing: Passing) -> None:
    if passing.status == 404 and "/CFItems/" in passing.url.path:
        passing.status, passing.json = 200, {}


def without_items(passing: Passing) -> None:
    if passing.status == 200 and "/CFPackages/" in passing.url.path:
        passing.json = {
            name: part for name, part in passing.json.items() if name != "CFDefinitions"
        }


def chunk_after_head(passing: Passing) -> None:
    passing.after_head = b"0\r\n\r\n"


def one_allowed_method(passing: Passing) -> None:
    if passing.status == 405:
        passing.headers = {**(passing.headers or {}), "allow": "GET"}


FILTERS = {f"filter-{name}" for name in ("equals", "case", "contains", "differs", "or", "and")}
ERRORS = {"error-body", "minor-unknown", "minor-unauthorised"}
PUTS = {"put-document", "put-item", "put-item-type", "put-association"}


@pytest.mark.parametrize(
    ("profile", "request_", "answer", "failing"),
    [
        ("platform", unlimited, as_it_is, {"list-paging", "list-limit", "list-offset"}),
        ("platform", unfiltered, as_it_is, FILTERS),
        ("sdk", unsorted, as_it_is, {"sort"}),
        ("platform", as_it_is, without_total, {"list-paging"}),
        ("sdk", as_it_is, html_errors, ERRORS),
        ("standard", as_it_is, html_errors, {*ERRORS, "malformed"}),
        ("standard", as_it_is, with_nulls, {"document", "no-nulls"}),
        ("sdk", as_it_is, unwrapped, {"wrapped"}),
        ("sdk", as_it_is, other_name, {"identifiers", "package-named", "fields"}),
        ("platform", as_it_is, talkative, {*PUTS, "put-again"}),
        ("platform", never_deletes, as_it_is, {"delete-association", "scope-delete"}),
        ("platform", as_it_is, always_there, {"unknown"}),
        ("platform", as_it_is, chunk_after_head, {"head", "allow"}),
        ("standard", as_it_is, one_allowed_method, {"allow"}),
        ("platform", as_it_is, without_items, {"package-definitions", "put-item-type"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_what_is_spoilt_is_seen(
    server: Live, conform: Conform, profile: str, request_: Spoil, answer: Spoil, failing: set[str]
) -> None:
    with tampering(server.base_url, answer, request_) as broken:
        url = f"{broken}{BASES[profile]}"
        ran = conform(url, *CLIENT, "--write", "--no-extensions", "--format", "json")
    failed = outcomes(report(ran), "fail")
    assert failed == failing
    assert ran.returncode == 1


@pytest.mark.parametrize("body", [b"[]", b'{"CFDocuments": [1]}', b"<html>"])
def test_a_server_that_is_none_fails_and_breaks_nothing(conform: Conform, body: bytes) -> None:
    def answer(passing: Passing) -> None:
        passing.status, passing.body = 200, body

    for base in BASES.values():
        with tampering("http://127.0.0.1:9", as_it_is, answer) as broken:
            ran = conform(f"{broken}{base}", "--token", "any", "--write", "--format", "json")
        found = report(ran)
        assert (ran.returncode, ran.stderr) == (1, "")
        assert "list-documents" in outcomes(found, "fail")
        assert outcomes(found, "pass") <= {"list-largest-limit"}


def test_text(server: Live, conform: Conform) -> None:
    with tampering(server.base_url, as_it_is, unlimited) as broken:
        url = f"{broken}/case/1.1"
        ran = conform(url, *CLIENT, "--only", "list-limit,list-subjects")
    assert ran.returncode == 1
    listed = everything(server)
    subjects, limited = (
        f"  {result}  {one.id:13}  {one.behaviour} [{one.source}]"
        for result, name in (("pass", "list-subjects"), ("FAIL", "list-limit"))
        for one in CHECKS
        if one.id == name
    )
    assert ran.stdout.splitlines() == [
        f"{url} as platform: 1 holds, 1 does not, 0 could not be seen",
        "",
        "lists",
        subjects,
        f"                       seen: {len(listed['CFSubjects'])} CFSubjects",
        limited,
        f"                       seen: {len(listed['CFDocuments'])} documents with limit=1",
        "",
        "Nothing was written; where a profile writes, --write tries that, too.",
    ]


def test_junit(server: Live, conform: Conform, tmp_path: Path) -> None:
    file = tmp_path / "conform.xml"
    with tampering(server.base_url, html_errors) as broken:
        url = f"{broken}/ims/case/v1p1"
        ran = conform(url, *CLIENT, "--no-extensions", "--format", "junit", "-o", str(file))
    assert (ran.returncode, ran.stdout) == (1, "")
    root = ET.parse(file).getroot()
    cases = root.findall("testsuite/testcase")
    assert [one.get("name") for one in root] == ["tokens", "lists", "reading", "errors", "packages"]
    assert root.get("tests") == str(len(cases))
    failed = {one.get("name") for one in cases if one.find("failure") is not None}
    assert failed == {"error-body", "minor-unknown", "minor-unauthorised"}
    assert root.get("failures") == "3"
    told = [one.get("message") for one in root.iter("failure")]
    assert "<h1>Something is not there</h1>" in str(told[0])


def test_an_empty_server_is_said_to_show_little(server: Live, conform: Conform) -> None:
    empty = f"{server.base_url}/ns/empty"
    httpx.post(f"{empty}/_test/seed", json={}).raise_for_status()
    tokens = ("--token-url", f"{empty}/oauth2/token")
    found = report(conform(f"{empty}/case/1.1", *CLIENT, *tokens, "--format", "json"))
    assert outcomes(found, "fail") == set()
    (told,) = {one["seen"] for one in found["checks"] if one["id"] == "document"}
    assert "no documents" in told


def without_derived_values(passing: Passing) -> None:
    """Find nothing by the part of a link, as a server that compares stored values only."""
    if "URI." in passing.url.params.get("filter", ""):
        passing.url = passing.url.copy_set_param("filter", "title='no document has this title'")


def test_filter_that_misses_a_shown_value_fails(server: Live, conform: Conform) -> None:
    for profile, base in BASES.items():
        only = ("--only", "filter-shown", "--format", "json", "--profile", profile)
        assert (
            outcomes(report(conform(f"{server.base_url}{base}", *CLIENT, *only)), "fail") == set()
        )
        with tampering(server.base_url, as_it_is, without_derived_values) as broken:
            ran = conform(f"{broken}{base}", *CLIENT, *only)
        assert outcomes(report(ran), "fail") == {"filter-shown"}, profile


def test_extensions_are_for_those_who_ask(server: Live, conform: Conform) -> None:
    url = f"{server.base_url}/case/1.1"
    ours = {one.id for one in CHECKS if "platform" in one.extension_of and not one.writes}
    unasked = report(conform(url, *CLIENT, "--no-extensions", "--format", "json"))
    assert not ours & {one["id"] for one in unasked["checks"]}
    only = report(conform(url, *CLIENT, "--only", "extensions", "--format", "json"))
    assert {one["id"] for one in only["checks"]} == ours

    def strange(passing: Passing) -> None:
        if passing.url.path.endswith("/changes"):
            passing.status = 404

    with tampering(server.base_url, as_it_is, strange) as other:
        elsewhere = report(conform(f"{other}/case/1.1", *CLIENT, "--format", "json"))
    assert not ours & {one["id"] for one in elsewhere["checks"]}


def test_checks_and_groups_are_chosen(server: Live, conform: Conform) -> None:
    url = f"{server.base_url}/case/1.1"
    chosen = ("--only", "errors,document", "--only", "item", "--skip", "unknown-set")
    found = report(conform(url, *CLIENT, *chosen, "--format", "json"))
    assert {one["id"] for one in found["checks"]} == {"document", "item", "unknown", "allow"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("http://127.0.0.1:9/case/1.1",), "cannot be read"),
        (("http://127.0.0.1:9/case/1.1", *CLIENT), "no token: http://127.0.0.1:9/oauth2/token"),
        (("http://127.0.0.1:9/here",), "does not end in a base path"),
        (("ftp://127.0.0.1/case/1.1",), "is not the base URL"),
        (("http://x/case/1.1", "--client-id", "x"), "--client-secret"),
        (("http://x/case/1.1", "--token", "x", "--token-url", "http://x"), "not both"),
        (("http://x/case/1.1", "--only", "list-limits"), "list-limit?"),
        (("http://x/case/1.1", "--only", "put-item"), "put-item writes: add --write"),
        (("http://x/case/1.1", "--profile", "other"), "'other' is not one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_exits_with_2(
    conform: Conform, arguments: tuple[str, ...], told: str
) -> None:
    ran = conform(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert told in " ".join(ran.stderr.split())


@pytest.mark.parametrize(
    ("path", "arguments", "told"),
    [
        ("/case/1.1", (), "give --client-id and --client-secret"),
        ("/case/1.1", ("--token", "strange"), "it does not take this token"),
        ("/case/1.1", ("--client-id", "local-client", "--client-secret", "no"), "invalid_client"),
        ("/elsewhere/case/1.1", CLIENT, "is the base path right?"),
        ("/case/1.1", (*CLIENT, "--only", "wrapped"), "no check that was asked for"),
        ("/case/1.1", (*CLIENT, "-o", "/nowhere/at/all"), "cannot be written"),
    ],
)
def test_who_is_not_let_in_exits_with_2(
    server: Live, conform: Conform, path: str, arguments: tuple[str, ...], told: str
) -> None:
    ran = conform(f"{server.base_url}{path}", *arguments)
    assert ran.returncode == 2
    assert told in ran.stderr
    assert "local-secret" not in ran.stderr


def test_a_server_in_trouble_exits_with_2(conform: Conform) -> None:
    def answer(passing: Passing) -> None:
        passing.status = 500

    with tampering("http://127.0.0.1:9", as_it_is, answer) as broken:
        ran = conform(f"{broken}/case/1.1", "--token", "any")
    assert ran.returncode == 2
    assert "answered 500" in ran.stderr


def test_the_end_of_a_url_tells_the_profile() -> None:
    for name, contract in PROFILE_SPECS.items():
        assert resolve_profile(f"https://x.org{contract.path}/", None) == (
            f"https://x.org{contract.path}",
            contract,
        )
        assert resolve_profile("https://x.org", name) == (f"https://x.org{contract.path}", contract)
        assert resolve_profile("https://x.org/any", name) == ("https://x.org/any", contract)
    assert resolve_profile("https://x.org/", None)[1].name == "platform"
    with pytest.raises(StartupError):
        resolve_profile("https://x.org/any", None)


def test_contracts_are_those_of_the_server() -> None:
    for profile in PROFILES:
        contract = PROFILE_SPECS[profile.name]
        assert (contract.path, contract.wraps) == (profile.prefix, profile.wraps)
        assert contract.default_limit == profile.limits.default
        assert contract.max_limit in {None, profile.limits.maximum}
        assert contract.minor_key in profile.code_minor_names


def test_busy_targets_are_asked_again(server: Live, conform: Conform) -> None:
    seen: set[str] = set()

    def busy(passing: Passing) -> None:
        if passing.url.path not in seen:
            seen.add(passing.url.path)
            passing.status, passing.headers = 503, {"Retry-After": "0"}

    with tampering(server.base_url, as_it_is, busy) as target:
        ran = conform(f"{target}/case/1.1", *CLIENT, "--only", "lists")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(seen) > 2
    for path in seen:
        assert f"waiting 0 s: {'POST' if 'token' in path else 'GET'} {path} answered 503" in (
            ran.stderr
        )


def test_many_runs_do_not_fill_the_login_throttle(server: Live, conform: Conform) -> None:
    url = f"{server.base_url}/1edtech/ims/case/v1p1"
    for _ in range(25):
        ran = conform(url, *CLIENT, "--only", "token-wrong-secret")
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr


def test_no_token_is_told(server: Live, conform: Conform) -> None:
    def too_kind(passing: Passing) -> None:
        if passing.status == 401 and passing.url.path == "/oauth2/token":
            passing.status, passing.json = 200, {"access_token": "of-somebody", "expires_in": 1}

    with tampering(server.base_url, too_kind) as target:
        url = f"{target}/case/1.1"
        ran = conform(url, *CLIENT, "--only", "tokens", "--format", "json")
    assert outcomes(report(ran), "fail") == {"token-wrong-secret"}
    assert "expires_in" in ran.stdout
    assert "of-somebody" not in ran.stdout


def test_documented_checks_are_those_of_the_code(conform: Conform) -> None:
    told = [
        tuple(cell.strip() for cell in line.strip("|").split(" | "))
        for line in DOCS.read_text().split("## Checks")[1].splitlines()
        if line.startswith("| `")
    ]
    expected = [
        (
            f"`{one.id}`",
            one.group,
            one.behaviour,
            one.source,
            ", ".join([*one.documented, *(f"({name})" for name in one.extension_of)]),
            *(["W"] if one.writes else []),
        )
        for one in CHECKS
    ]
    assert [tuple(cell for cell in row if cell) for row in told] == expected
    assert len({one.id for one in CHECKS}) == len(CHECKS)
    listed = conform("--checks").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [one.id for one in CHECKS]


def test_documented_flags_are_those_of_the_command(conform: Conform) -> None:
    told = re.sub(r"-\n\s+", "-", conform("--help").stdout)
    flags = set(re.findall(r"--[a-z-]+", told)) - {"--help"}
    assert flags <= set(re.findall(r"--[a-z-]+", DOCS.read_text()))


def test_a_group_is_enough_to_see_that_a_server_is_gone(conform: Conform) -> None:
    """A target that goes away while it is looked at fails, and the report is still written."""
    asked = 0

    def going(passing: Passing) -> None:
        nonlocal asked
        asked += 1
        passing.status = 200
        passing.body = b'{"CFDocuments": []}'
        if asked > 1:
            raise ConnectionResetError

    with tampering("http://127.0.0.1:9", as_it_is, going) as broken:
        ran = conform(f"{broken}/case/1.1", "--token", "x", "--only", "list-documents")
    assert ran.returncode == 1
    assert "no answer" in ran.stdout
