"""`import` of URLs that are not packages: documents lead to their package, others are errors."""

from pathlib import Path
from typing import Any

import pytest
from support import factories
from support.live_server import run_command_in_process as run
from support.scripted_source import ScriptedResponse, ScriptedSource

from case_server.net.download import DownloadError, Fetcher
from case_server.transfer.remote_server import PackageFetcher

BASE = "/ims/case/v1p1"
DISCOVERY = f"{BASE}/discovery/imscasev1p1_openapi3_v1p0.json"


def read(url: str) -> bytes:
    return PackageFetcher(Fetcher("secret")).fetch(url)


def refused(url: str) -> str:
    with pytest.raises(DownloadError) as raised:
        read(url)
    return str(raised.value)


def document(**fields: Any) -> dict[str, Any]:
    return factories.entity("d1", title="t", creator="c", **fields)


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize(
    ("link", "path"),
    [
        ({"identifier": "p1", "uri": "{url}/p/1"}, "/p/1"),
        ("{url}/p/1", "/p/1"),
        ({"identifier": "p1", "uri": "urn:uuid:p1"}, f"{BASE}/CFPackages/p1"),
        (None, f"{BASE}/CFPackages/d1"),
    ],
)
def test_document_leads_to_its_package(
    source: ScriptedSource, wrap: object, link: Any, path: str
) -> None:
    if isinstance(link, dict):
        link = link | {"uri": link["uri"].format(url=source.url)}
    elif link:
        link = link.format(url=source.url)
    body = document(CFPackageURI=link) if link else document()
    source.responses[f"{BASE}/CFDocuments/d1"] = ScriptedResponse(
        {"CFDocument": body} if wrap else body
    )
    source.responses[path] = package = ScriptedResponse(factories.package())
    assert read(f"{source.url}{BASE}/CFDocuments/d1") == package.content
    sent = dict(zip(source.requests, source.headers, strict=True))
    assert sent[path]["Authorization"] == "Bearer secret"


def test_document_with_package_on_other_origin_is_refused_with_url(source: ScriptedSource) -> None:
    link = {"identifier": "p1", "uri": "https://other.test/CFPackages/p1"}
    source.responses[f"{BASE}/CFDocuments/d1"] = ScriptedResponse(document(CFPackageURI=link))
    message = refused(f"{source.url}{BASE}/CFDocuments/d1")
    assert "give the URL of the package: https://other.test/CFPackages/p1" in message
    assert f"copy on this server: {source.url}{BASE}/CFPackages/p1" in message


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("name", ["CFItem", "CFAssociation"])
def test_other_object_is_refused_with_the_url_of_its_package(
    source: ScriptedSource, wrap: object, name: str
) -> None:
    body = factories.entity("i1", CFDocumentURI={"identifier": "d1", "uri": "x", "title": "t"})
    source.responses[f"{BASE}/{name}s/i1"] = ScriptedResponse({name: body} if wrap else body)
    message = refused(f"{source.url}{BASE}/{name}s/i1")
    assert f"give the URL of its package: {source.url}{BASE}/CFPackages/d1" in message


@pytest.mark.parametrize(
    "body",
    [
        {"CFDocument": factories.entity("d1", title="t")},
        {"CFDocument": document(), "CFDefinitions": {}},
        {"CFPackage": {"CFDocument": document(), "CFItems": None}},
    ],
)
def test_package_without_items_is_refused(source: ScriptedSource, body: Any) -> None:
    path = f"{BASE}/CFPackages/d1"
    source.responses[path] = ScriptedResponse(body)
    assert "no CFItems, so it is not imported as an empty package" in refused(source.url + path)


def test_empty_list_of_items_is_a_package(source: ScriptedSource) -> None:
    source.responses["/p"] = package = ScriptedResponse({"CFDocument": document(), "CFItems": []})
    assert read(f"{source.url}/p") == package.content


@pytest.mark.parametrize("wrap", [True, False])
def test_list_is_refused_with_what_to_type(source: ScriptedSource, wrap: object) -> None:
    url = f"{source.url}{BASE}/CFDocuments"
    source.responses[f"{BASE}/CFDocuments"] = ScriptedResponse(
        {"CFDocuments": [document()]} if wrap else [document()]
    )
    message = refused(url)
    assert f"case-server sync {url};" in message
    assert message.endswith(f"the URL of one package: {source.url}{BASE}/CFPackages/d1")


@pytest.mark.parametrize(
    ("path", "base"),
    [("", BASE), ("/", BASE), (BASE, BASE), (f"{BASE}/", BASE), ("/x/case/1.1", "/x/case/1.1")],
)
@pytest.mark.parametrize(
    "response",
    [ScriptedResponse({}, 404), ScriptedResponse(b"<html>"), ScriptedResponse({"name": "api"})],
)
def test_base_url_is_refused_and_the_url_of_its_list_suggested(
    source: ScriptedSource, path: str, base: str, response: ScriptedResponse
) -> None:
    source.respond = lambda _: response
    message = refused(f"{source.url}{path}")
    assert f"case-server sync {source.url}{base}/CFDocuments" in message
    assert f"{source.url}{base}/CFPackages/ID" in message


def service_description(*parameters: str) -> ScriptedResponse:
    inline = [{"name": name, "in": "query"} for name in parameters]
    return ScriptedResponse({"paths": {"/CFPackages/{sourcedId}": {"get": {"parameters": inline}}}})


@pytest.mark.parametrize(
    ("response", "query"),
    [
        (service_description("fields", "extensions"), "?extensions=true"),
        (service_description("fields"), ""),
        (ScriptedResponse({"paths": {}}), ""),
        (ScriptedResponse(b"<html>"), ""),
        (ScriptedResponse({}, 404), ""),
        (ScriptedResponse({}, 401), ""),
    ],
)
def test_extensions_are_requested_if_the_service_description_has_them(
    source: ScriptedSource, response: ScriptedResponse, query: str
) -> None:
    source.responses = {
        DISCOVERY: response,
        f"{BASE}/CFPackages/x": ScriptedResponse(factories.package()),
    }
    package_fetcher = PackageFetcher(Fetcher())
    for _ in range(2):
        package_fetcher.fetch(f"{source.url}{BASE}/CFPackages/x")
    package = f"{BASE}/CFPackages/x{query}"
    assert source.requests == [DISCOVERY, package, package]


@pytest.mark.parametrize("path", ["/p", "/ims/case/v1p0/CFPackages/x", "/case/1.1/CFPackages/x"])
def test_extensions_are_not_requested_from_other_servers(source: ScriptedSource, path: str) -> None:
    source.responses[path] = ScriptedResponse(factories.package())
    read(source.url + path)
    assert source.requests == [path]


def test_import_follows_document_not_list(source: ScriptedSource, running_data_dir: Path) -> None:
    body = factories.package()
    identifier = body["CFDocument"]["identifier"]
    source.responses = {
        f"{BASE}/CFDocuments": ScriptedResponse([body["CFDocument"]]),
        f"{BASE}/CFDocuments/{identifier}": ScriptedResponse(body["CFDocument"]),
        f"{BASE}/CFPackages/{identifier}": ScriptedResponse(body),
    }
    documents = f"{source.url}{BASE}/CFDocuments"
    result = run("import", f"{documents}/{identifier}", data_dir=running_data_dir)
    assert result.returncode == 0, result.stderr
    assert "2 items" in result.stdout
    result = run("import", documents, data_dir=running_data_dir)
    assert result.returncode == 1
    assert f"case-server sync {documents}" in result.stderr


CAPTURE = Path(__file__).parents[2].parent / "shared" / "reference" / "captures"
CAPTURED = CAPTURE / "package-items-and-associations.json"


@pytest.mark.skipif(not CAPTURED.exists(), reason="the captured answers are not here")
def test_captured_package_is_a_package(source: ScriptedSource) -> None:
    raw = CAPTURED.read_bytes()
    source.responses["/ims/case/v1p1/CFPackages/x"] = ScriptedResponse(raw)
    assert read(f"{source.url}/ims/case/v1p1/CFPackages/x") == raw


def dense_package(values: int) -> ScriptedResponse:
    """Return a package with an item of more JSON values than its size allows."""
    items = [factories.packed_item(extensions={"vector": [0] * values})]
    return ScriptedResponse(factories.package(CFItems=items, CFAssociations=[]))


@pytest.mark.parametrize(
    ("command", "values"),
    [(("check",), 800_000), (("import", "--dry-run"), 50_000), (("sync", "--dry-run"), 50_000)],
)
def test_dense_package_from_a_url_needs_the_flag(
    source: ScriptedSource, running_data_dir: Path, command: tuple[str, ...], values: int
) -> None:
    source.responses["/p"] = dense_package(values)
    result = run(*command, f"{source.url}/p", data_dir=running_data_dir)
    assert result.returncode
    assert "if you trust the source, give --allow-dense" in result.stderr
    result = run(*command, f"{source.url}/p", "--allow-dense", data_dir=running_data_dir)
    assert result.returncode == 0, result.stderr


def test_dense_package_from_a_file_needs_no_flag(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_bytes(dense_package(50_000).content)
    result = run("import", "--dry-run", str(file), data_dir=tmp_path / "data")
    assert result.returncode == 0, result.stderr
