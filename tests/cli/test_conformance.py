"""`case-server conformance` against this server and against servers with defects."""

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
from support.databases import MigratedDatabase
from support.factories import package
from support.live_server import LiveServer, build_environment, run_live_server
from support.tampering_proxy import Exchange, Modify, leave_unchanged, run_tampering_proxy

from case_server.api.profiles import PROFILES
from case_server.cli import main
from case_server.conformance.checks import CHECKS
from case_server.conformance.profiles import PROFILE_SPECS, parse_base_url_and_profile
from case_server.exceptions import CommandError
from case_server.sample import read_sample

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "guides" / "conformance.md"
CLIENT = ("--client-id", "local-client", "--client-secret", "local-secret")
BASES = {profile.name: profile.prefix for profile in PROFILES}

Run = Callable[..., subprocess.CompletedProcess[str]]


def frameworks() -> list[Any]:
    """Return the sample and two more packages."""
    results = [json.loads(read_sample())]
    for month, title in enumerate(("a framework", "another's framework"), start=1):
        body = package()
        changed = f"2026-0{month}-02T00:00:00Z"
        body["CFDocument"] |= {"title": title, "lastChangeDateTime": changed}
        results.append(body)
    return results


@pytest.fixture(scope="module")
def ordinary(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: MigratedDatabase
) -> Iterator[LiveServer]:
    """A server without test mode."""
    settings = {"CASE_SERVER_DATABASE_URL": migrated_database("ordinary")}
    with run_live_server(
        tmp_path_factory.mktemp("ordinary") / "data", settings=settings
    ) as running:
        with running.client() as client:
            for body in frameworks():
                response = client.post("/case/1.1/CFPackages", json=body)
                assert response.status_code == 201, response.text
        yield running


@pytest.fixture(scope="module")
def target(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: MigratedDatabase
) -> Iterator[LiveServer]:
    """A server in test mode, seeded with the same packages."""
    settings = {"CASE_SERVER_DATABASE_URL": migrated_database("conformance")}
    with run_live_server(
        tmp_path_factory.mktemp("conformance") / "data", "--test-mode", settings=settings
    ) as server:
        seed = {"packages": frameworks()}
        httpx.post(f"{server.base_url}/_test/seed", json=seed, timeout=60).raise_for_status()
        yield server


@pytest.fixture
def server(target: LiveServer) -> LiveServer:
    """The server in test mode, reset to its seed."""
    httpx.post(f"{target.base_url}/_test/reset").raise_for_status()
    return target


@pytest.fixture
def conformance(tmp_path: Path) -> Run:
    """Run the command without a database, and with a data directory that cannot be created."""
    blocked_dir = tmp_path / "a file"
    blocked_dir.touch()
    variables = build_environment(blocked_dir / "data")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        # In this process, because each start takes a second.
        unset: dict[str, str | None] = {name: None for name in os.environ if name not in variables}
        result = CliRunner().invoke(
            main, ["conformance", *arguments], prog_name="case-server", env={**unset, **variables}
        )
        return subprocess.CompletedProcess(
            arguments, result.exit_code, result.stdout, result.stderr
        )

    return call


def report(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode in {0, 1}, result.stderr
    return json.loads(result.stdout)


def outcomes(body: Any, result: str) -> set[str]:
    return {check["id"] for check in body["checks"] if check["result"] == result}


@pytest.mark.parametrize("profile", BASES)
def test_own_server_passes_each_check(ordinary: LiveServer, conformance: Run, profile: str) -> None:
    url = f"{ordinary.base_url}{BASES[profile]}"
    result = conformance(url, *CLIENT, "--write", "--format", "json")
    body = report(result)
    assert [check for check in body["checks"] if check["result"] != "passed"] == []
    assert (result.returncode, body["profile"], body["url"]) == (0, profile, url)
    documented = {
        check.id for check in CHECKS if profile in (*check.profiles, *check.extension_profiles)
    }
    assert {check["id"] for check in body["checks"]} == documented


def list_identifiers(server: LiveServer) -> dict[str, set[str]]:
    """Return all identifiers in the lists, keyed by collection."""
    with server.client() as client:
        result = {}
        for collection in ("CFDocuments", "CFItems", "CFSubjects"):
            page = client.get(f"/ims/case/v1p1/{collection}", params={"limit": 3000}).json()
            result[collection] = {entity["identifier"] for entity in page[collection]}
        return result


def changes(server: LiveServer, cursor: str | None = None) -> tuple[list[Any], str]:
    """Return the change feed after a cursor, and the next cursor."""
    entries: list[Any] = []
    with server.client() as client:
        while True:
            params = {"since": cursor} if cursor else {}
            page = client.get("/case/1.1/changes", params=params).json()
            entries += page["changes"]
            cursor = page["next"]
            if not page["more"]:
                return entries, str(cursor)


def test_run_without_write_changes_nothing(server: LiveServer, conformance: Run) -> None:
    _, cursor = changes(server)
    for base in BASES.values():
        assert conformance(f"{server.base_url}{base}", *CLIENT).returncode == 0
    assert changes(server, cursor)[0] == []


@pytest.mark.parametrize("profile", ["platform", "sdk"])
def test_write_reports_all_leftovers(server: LiveServer, conformance: Run, profile: str) -> None:
    before, (_, cursor) = list_identifiers(server), changes(server)
    result = report(
        conformance(f"{server.base_url}{BASES[profile]}", *CLIENT, "--write", "--format", "json")
    )
    leftovers: dict[str, set[str]] = {}
    for line in result["leftovers"]:
        name, identifier = line.split()
        leftovers.setdefault(f"{name}s", set()).add(identifier)
    assert {name: len(entities) for name, entities in leftovers.items()} == {
        "CFDocuments": 2,
        "CFItemTypes": 1,
    }
    after = list_identifiers(server)
    assert after.pop("CFDocuments") == before.pop("CFDocuments") | leftovers["CFDocuments"]
    assert after == before

    feed, _ = changes(server, cursor)
    alive = {
        (entry["kind"], entry["identifier"]): entry["operation"] != "deleted" for entry in feed
    }
    assert {key[0] for key in alive} >= {"CFItem", "CFAssociation", "CFDocument", "CFItemType"}
    assert {key[1] for key, is_alive in alive.items() if is_alive} == set().union(
        *leftovers.values()
    )
    with server.client() as client:
        for identifier in leftovers["CFDocuments"]:
            body = client.get(f"/case/1.1/CFPackages/{identifier}").json()
            assert (body["CFItems"], body["CFAssociations"]) == ([], [])


def unlimited(exchange: Exchange) -> None:
    exchange.url = exchange.url.copy_remove_param("limit")


def unfiltered(exchange: Exchange) -> None:
    exchange.url = exchange.url.copy_remove_param("filter")


def unsorted(exchange: Exchange) -> None:
    exchange.url = exchange.url.copy_remove_param("orderBy")


def without_total(exchange: Exchange) -> None:
    if exchange.status == 200 and "total" in (body := exchange.json):
        exchange.json = {name: value for name, value in body.items() if name != "total"}


def html_errors(exchange: Exchange) -> None:
    if exchange.status >= 400 and "token" not in exchange.url.path:
        exchange.body = b"<h1>Something is not there</h1>"


def with_nulls(exchange: Exchange) -> None:
    if exchange.status == 200 and "/CFDocuments/" in exchange.url.path:
        exchange.json = {**exchange.json, "notes": None}


def unwrapped(exchange: Exchange) -> None:
    if exchange.status == 200 and "CFDocument" in (body := exchange.json) and len(body) == 1:
        exchange.json = body["CFDocument"]


def other_name(exchange: Exchange) -> None:
    exchange.body = exchange.body.replace(b'"sourcedId"', b'"id"')


def talkative(exchange: Exchange) -> None:
    if exchange.method == "PUT" and exchange.status == 201:
        exchange.status, exchange.json = 200, {"stored": True}


def never_deletes(exchange: Exchange) -> None:
    if exchange.method == "DELETE":
        exchange.status = 204


def always_there(exchange: Exchange) -> None:
    if exchange.status == 404 and "/CFItems/" in exchange.url.path:
        exchange.status, exchange.json = 200, {}


def without_items(exchange: Exchange) -> None:
    if exchange.status == 200 and "/CFPackages/" in exchange.url.path:
        exchange.json = {
            name: part for name, part in exchange.json.items() if name != "CFDefinitions"
        }


def chunk_after_head(exchange: Exchange) -> None:
    exchange.after_head = b"0\r\n\r\n"


def one_allowed_method(exchange: Exchange) -> None:
    if exchange.status == 405:
        exchange.headers = {**(exchange.headers or {}), "allow": "GET"}


FILTERS = {f"filter-{name}" for name in ("equals", "case", "contains", "differs", "or", "and")}
ERRORS = {"error-body", "minor-unknown", "minor-unauthorised"}
PUTS = {"put-document", "put-item", "put-item-type", "put-association"}


@pytest.mark.parametrize(
    ("profile", "request_", "response", "failing"),
    [
        ("platform", unlimited, leave_unchanged, {"list-paging", "list-limit", "list-offset"}),
        ("platform", unfiltered, leave_unchanged, FILTERS),
        ("sdk", unsorted, leave_unchanged, {"sort"}),
        ("platform", leave_unchanged, without_total, {"list-paging"}),
        ("sdk", leave_unchanged, html_errors, ERRORS),
        ("standard", leave_unchanged, html_errors, {*ERRORS, "malformed"}),
        ("standard", leave_unchanged, with_nulls, {"document", "no-nulls"}),
        ("sdk", leave_unchanged, unwrapped, {"wrapped"}),
        ("sdk", leave_unchanged, other_name, {"identifiers", "package-named", "fields"}),
        ("platform", leave_unchanged, talkative, {*PUTS, "put-again"}),
        ("platform", never_deletes, leave_unchanged, {"delete-association", "scope-delete"}),
        ("platform", leave_unchanged, always_there, {"unknown"}),
        ("platform", leave_unchanged, chunk_after_head, {"head", "allow"}),
        ("standard", leave_unchanged, one_allowed_method, {"allow"}),
        ("platform", leave_unchanged, without_items, {"package-definitions", "put-item-type"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_defect_fails_the_checks_for_it(
    server: LiveServer,
    conformance: Run,
    profile: str,
    request_: Modify,
    response: Modify,
    failing: set[str],
) -> None:
    with run_tampering_proxy(server.base_url, response, request_) as broken:
        url = f"{broken}{BASES[profile]}"
        result = conformance(url, *CLIENT, "--write", "--no-extensions", "--format", "json")
    failed = outcomes(report(result), "failed")
    assert failed == failing
    assert result.returncode == 1


@pytest.mark.parametrize("body", [b"[]", b'{"CFDocuments": [1]}', b"<html>"])
def test_unexpected_bodies_fail_without_errors(conformance: Run, body: bytes) -> None:
    def replace_response(exchange: Exchange) -> None:
        exchange.status, exchange.body = 200, body

    for base in BASES.values():
        with run_tampering_proxy("http://127.0.0.1:9", leave_unchanged, replace_response) as broken:
            result = conformance(f"{broken}{base}", "--token", "any", "--write", "--format", "json")
        outcome = report(result)
        assert (result.returncode, result.stderr) == (1, "")
        assert "list-documents" in outcomes(outcome, "failed")
        assert outcomes(outcome, "passed") <= {"list-largest-limit"}


def test_text_report_lists_results_of_checks(server: LiveServer, conformance: Run) -> None:
    with run_tampering_proxy(server.base_url, leave_unchanged, unlimited) as broken:
        url = f"{broken}/case/1.1"
        outcome = conformance(url, *CLIENT, "--only", "list-limit,list-subjects")
    assert outcome.returncode == 1
    ids = list_identifiers(server)
    subjects, limited = (
        f"  {result}  {check.id:13}  {check.behaviour} [{check.source}]"
        for result, name in (("passed ", "list-subjects"), ("FAILED ", "list-limit"))
        for check in CHECKS
        if check.id == name
    )
    assert outcome.stdout.splitlines() == [
        f"{url} (platform): 1 passed, 1 failed, 0 skipped",
        "",
        "lists",
        subjects,
        f"                          observed: {len(ids['CFSubjects'])} CFSubjects",
        limited,
        f"                          observed: {len(ids['CFDocuments'])} documents with limit=1",
        "",
        "Checks that write were left out; --write runs them.",
    ]


def test_junit_report_counts_failures(server: LiveServer, conformance: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    with run_tampering_proxy(server.base_url, html_errors) as broken:
        url = f"{broken}/ims/case/v1p1"
        result = conformance(url, *CLIENT, "--no-extensions", "--format", "junit", "-o", str(file))
    assert (result.returncode, result.stdout) == (1, "")
    root = ET.parse(file).getroot()
    cases = root.findall("testsuite/testcase")
    assert [element.get("name") for element in root] == [
        "tokens",
        "lists",
        "reading",
        "errors",
        "packages",
    ]
    assert root.get("tests") == str(len(cases))
    failed = {case.get("name") for case in cases if case.find("failure") is not None}
    assert failed == {"error-body", "minor-unknown", "minor-unauthorised"}
    assert root.get("failures") == "3"
    messages = [element.get("message") for element in root.iter("failure")]
    assert "<h1>Something is not there</h1>" in str(messages[0])


def test_empty_server_skips_checks_with_the_reason(server: LiveServer, conformance: Run) -> None:
    empty = f"{server.base_url}/ns/empty"
    httpx.post(f"{empty}/_test/seed", json={}).raise_for_status()
    tokens = ("--token-url", f"{empty}/oauth2/token")
    body = report(conformance(f"{empty}/case/1.1", *CLIENT, *tokens, "--format", "json"))
    assert outcomes(body, "failed") == set()
    (reason,) = {check["observed"] for check in body["checks"] if check["id"] == "document"}
    assert "no documents" in reason


def without_derived_values(exchange: Exchange) -> None:
    """Find nothing by the part of a link, as a server that compares stored values only."""
    if "URI." in exchange.url.params.get("filter", ""):
        exchange.url = exchange.url.copy_set_param("filter", "title='no document has this title'")


def test_filter_that_misses_a_shown_value_fails(server: LiveServer, conformance: Run) -> None:
    for profile, base in BASES.items():
        only = ("--only", "filter-shown", "--format", "json", "--profile", profile)
        assert (
            outcomes(report(conformance(f"{server.base_url}{base}", *CLIENT, *only)), "failed")
            == set()
        )
        with run_tampering_proxy(
            server.base_url, leave_unchanged, without_derived_values
        ) as broken:
            result = conformance(f"{broken}{base}", *CLIENT, *only)
        assert outcomes(report(result), "failed") == {"filter-shown"}, profile


def test_group_of_strings_fails_its_check_by_name(server: LiveServer, conformance: Run) -> None:
    def replace_groups(exchange: Exchange) -> None:
        if exchange.url.path.endswith("/groups"):
            exchange.json = {**exchange.json, "structuredContent": {"Standard": ["a string"]}}

    with run_tampering_proxy(server.base_url, replace_groups) as broken:
        url = f"{broken}{BASES['platform']}"
        result = conformance(url, *CLIENT, "--only", "groups", "--format", "json")
    (check,) = report(result)["checks"]
    assert check["result"] == "failed"
    message = "an item in structuredContent.Standard is not an object: a string"
    assert check["observed"] == message


def test_extensions_run_on_request_or_on_case_server(server: LiveServer, conformance: Run) -> None:
    url = f"{server.base_url}/case/1.1"
    own_checks = {
        check.id for check in CHECKS if "platform" in check.extension_profiles and not check.writes
    }
    without = report(conformance(url, *CLIENT, "--no-extensions", "--format", "json"))
    assert not own_checks & {check["id"] for check in without["checks"]}
    only = report(conformance(url, *CLIENT, "--only", "extensions", "--format", "json"))
    assert {check["id"] for check in only["checks"]} == own_checks

    def hide_change_feed(exchange: Exchange) -> None:
        if exchange.url.path.endswith("/changes"):
            exchange.status = 404

    with run_tampering_proxy(server.base_url, leave_unchanged, hide_change_feed) as other:
        other_report = report(conformance(f"{other}/case/1.1", *CLIENT, "--format", "json"))
    assert not own_checks & {check["id"] for check in other_report["checks"]}


def test_only_and_skip_select_checks_and_groups(server: LiveServer, conformance: Run) -> None:
    url = f"{server.base_url}/case/1.1"
    arguments = ("--only", "errors,document", "--only", "item", "--skip", "unknown-set")
    body = report(conformance(url, *CLIENT, *arguments, "--format", "json"))
    assert {check["id"] for check in body["checks"]} == {"document", "item", "unknown", "allow"}


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("/case/1.1", (), "add --client-id and --client-secret"),
        ("/case/1.1", ("--token", "strange"), "the token lacks the right to read"),
        ("/case/1.1", ("--client-id", "local-client", "--client-secret", "no"), "invalid_client"),
        ("/elsewhere/case/1.1", CLIENT, "is the base path right?"),
        ("/case/1.1", (*CLIENT, "--only", "wrapped"), "none of the selected checks applies"),
        ("/case/1.1", (*CLIENT, "-o", "/nowhere/at/all"), "cannot write /nowhere/at/all"),
    ],
)
def test_refused_client_exits_with_2(
    server: LiveServer, conformance: Run, path: str, arguments: tuple[str, ...], message: str
) -> None:
    result = conformance(f"{server.base_url}{path}", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "local-secret" not in result.stderr


def test_server_error_exits_with_2(conformance: Run) -> None:
    def replace_response(exchange: Exchange) -> None:
        exchange.status = 500

    with run_tampering_proxy("http://127.0.0.1:9", leave_unchanged, replace_response) as broken:
        result = conformance(f"{broken}/case/1.1", "--token", "any")
    assert result.returncode == 2
    assert "returned 500" in result.stderr


def test_end_of_url_implies_the_profile() -> None:
    for name, spec in PROFILE_SPECS.items():
        url = f"https://x.org{spec.path}"
        assert parse_base_url_and_profile(f"{url}/", None) == (url, spec)
        assert parse_base_url_and_profile("https://x.org", name) == (url, spec)
        assert parse_base_url_and_profile("https://x.org/any", name) == ("https://x.org/any", spec)
    assert parse_base_url_and_profile("https://x.org/", None)[1].name == "platform"
    with pytest.raises(CommandError):
        parse_base_url_and_profile("https://x.org/any", None)


def test_profile_specs_agree_with_the_server() -> None:
    for profile in PROFILES:
        spec = PROFILE_SPECS[profile.name]
        assert spec.path == profile.prefix
        assert spec.default_limit == profile.limits.default
        assert spec.max_limit in {None, profile.limits.maximum}
        assert spec.minor_key in profile.code_minor_names


def test_busy_server_is_retried_and_wait_is_reported(server: LiveServer, conformance: Run) -> None:
    seen: set[str] = set()

    def busy(exchange: Exchange) -> None:
        if exchange.url.path not in seen:
            seen.add(exchange.url.path)
            exchange.status, exchange.headers = 503, {"Retry-After": "0"}

    with run_tampering_proxy(server.base_url, leave_unchanged, busy) as proxy:
        result = conformance(f"{proxy}/case/1.1", *CLIENT, "--only", "lists")
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(seen) > 2
    for path in seen:
        assert f"waiting 0 s: {'POST' if 'token' in path else 'GET'} {path} returned 503" in (
            result.stderr
        )


def test_many_runs_do_not_fill_the_login_throttle(server: LiveServer, conformance: Run) -> None:
    url = f"{server.base_url}/1edtech/ims/case/v1p1"
    for _ in range(25):
        result = conformance(url, *CLIENT, "--only", "token-wrong-secret")
        assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr


def test_report_contains_no_access_token(server: LiveServer, conformance: Run) -> None:
    def accept_every_secret(exchange: Exchange) -> None:
        if exchange.status == 401 and exchange.url.path == "/oauth2/token":
            exchange.status, exchange.json = 200, {"access_token": "secret-token", "expires_in": 1}

    with run_tampering_proxy(server.base_url, accept_every_secret) as proxy:
        url = f"{proxy}/case/1.1"
        result = conformance(url, *CLIENT, "--only", "tokens", "--format", "json")
    assert outcomes(report(result), "failed") == {"token-wrong-secret"}
    assert "expires_in" in result.stdout
    assert "secret-token" not in result.stdout


def test_checks_option_lists_all_checks(conformance: Run) -> None:
    lines = conformance("--checks").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [check.id for check in CHECKS]
    assert len({check.id for check in CHECKS}) == len(CHECKS)


def test_documentation_lists_all_options(conformance: Run) -> None:
    help_text = re.sub(r"-\n\s+", "-", conformance("--help").stdout)
    flags = set(re.findall(r"--[a-z-]+", help_text)) - {"--help"}
    assert flags <= set(re.findall(r"--[a-z-]+", DOCS.read_text()))


def test_lost_connection_fails_and_still_reports(conformance: Run) -> None:
    count = 0

    def disconnect(exchange: Exchange) -> None:
        nonlocal count
        count += 1
        exchange.status = 200
        exchange.body = b'{"CFDocuments": []}'
        if count > 1:
            raise ConnectionResetError

    with run_tampering_proxy("http://127.0.0.1:9", leave_unchanged, disconnect) as broken:
        result = conformance(f"{broken}/case/1.1", "--token", "x", "--only", "list-documents")
    assert result.returncode == 1
    assert "no response" in result.stdout


def public_list(exchange: Exchange) -> None:
    """Remove the token requirement of the list of documents."""
    is_list = exchange.url.path.endswith("/CFDocuments")
    if is_list and exchange.status == 401:
        exchange.status, exchange.json = 200, {"CFDocuments": []}


def public_entities(exchange: Exchange) -> None:
    """Answer requests without a token for a document, a package or an item as if it were public."""
    if exchange.status == 401 and not exchange.url.path.endswith(("/CFDocuments", "/token")):
        exchange.status, exchange.json = 200, {}


def test_reading_without_token_is_judged_by_document_package_and_item(
    server: LiveServer, conformance: Run
) -> None:
    def outcome_of(profile: str, modify: Modify) -> Any:
        only = ("--only", "no-token,strange-token", "--format", "json")
        with run_tampering_proxy(server.base_url, modify) as proxy:
            body = report(conformance(f"{proxy}{BASES[profile]}", *CLIENT, *only))
        return {check["id"]: (check["result"], check["observed"]) for check in body["checks"]}

    results = outcome_of("standard", public_list)
    assert results["no-token"] == ("passed", "401 on 3 paths; the list of documents is public")
    assert results["strange-token"] == results["no-token"]
    result, observed = outcome_of("platform", public_list)["no-token"]
    assert (result, "/CFDocuments returned 200" in observed) == ("failed", True)
    for profile, expected in (("standard", "skipped"), ("platform", "failed")):
        result, observed = outcome_of(profile, public_entities)["no-token"]
        assert (profile, result) == (profile, expected), observed


def test_redirects_are_followed(server: LiveServer, conformance: Run) -> None:
    def moved(exchange: Exchange) -> None:
        prefix = "/old"
        if exchange.url.path.startswith(prefix):
            exchange.status, exchange.body = 307, b""
            location = exchange.url.raw_path.decode().removeprefix(prefix)
            exchange.headers = {"Location": location}

    with run_tampering_proxy(server.base_url, leave_unchanged, moved) as proxy:
        url = f"{proxy}/old/case/1.1"
        result = conformance(
            url, *CLIENT, "--write", "--only", "document,package,put-document", "--format", "json"
        )
    assert outcomes(report(result), "passed") == {"document", "package", "put-document"}


def test_failed_and_quiet_shorten_the_report(server: LiveServer, conformance: Run) -> None:
    with run_tampering_proxy(server.base_url, leave_unchanged, unlimited) as proxy:
        url = f"{proxy}/case/1.1"
        common = (url, *CLIENT, "--only", "list-limit,list-subjects")
        failed = conformance(*common, "--failed")
        quiet = conformance(*common, "--quiet")
        as_json = report(conformance(*common, "--failed", "--format", "json"))
    summary = f"{url} (platform): 1 passed, 1 failed, 0 skipped"
    assert failed.stdout.startswith(f"{summary}\n\nlists\n  FAILED   list-limit  ")
    assert "list-subjects" not in failed.stdout
    assert (quiet.stdout, quiet.stderr, quiet.returncode) == (f"{summary}\n", "", 1)
    assert [check["id"] for check in as_json["checks"]] == ["list-limit"]
    assert as_json["counts"] == {"passed": 1, "failed": 1, "skipped": 0}
