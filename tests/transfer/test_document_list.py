"""Lists of CFDocuments with the pagination of various servers."""

from collections import deque
from typing import Any

import pytest
from support.scripted_source import (
    ScriptedResponse,
    ScriptedSource,
    parse_page,
    run_scripted_source,
)

from case_server.net.download import Fetcher
from case_server.transfer.document_list import DocumentList, read_document_list

LIST = "/ims/case/v1p0/CFDocuments"


def read(source: ScriptedSource, query: str = "") -> DocumentList:
    return read_document_list(Fetcher(), f"{source.url}{LIST}{query}")


def assert_complete(documents: DocumentList) -> None:
    assert list(documents.package_urls) == IDENTIFIERS
    assert documents.incomplete_reason is None


def entry(number: int, **fields: Any) -> dict[str, Any]:
    return {"identifier": f"d{number}", "title": f"document {number}", **fields}


ENTRIES = [entry(number) for number in range(25)]
IDENTIFIERS = [entry["identifier"] for entry in ENTRIES]


def paged(page_size: int, *, hidden: int = 0, total: str | None = None) -> Any:
    """Serve a list by limit and offset, in pages of ``page_size`` without hidden entries."""

    def respond(target: str) -> ScriptedResponse:
        limit, offset = parse_page(target)
        page = ENTRIES[offset : offset + min(limit, page_size)]
        page = page[:-hidden] if hidden and len(page) > hidden else page
        headers = {"X-Total-Count": total} if total is not None else {}
        return ScriptedResponse({"CFDocuments": page}, headers=headers)

    return respond


@pytest.mark.parametrize("page_size", [1, 7, 25, 100])
@pytest.mark.parametrize("total", [None, "25", "7", "0", "many", "-1"])
def test_list_of_short_pages_is_read_to_its_end(
    source: ScriptedSource, page_size: int, total: str | None
) -> None:
    source.respond = paged(page_size, total=total)
    assert_complete(read(source))


def test_pages_with_hidden_documents_do_not_end_the_list(source: ScriptedSource) -> None:
    source.respond = paged(10, hidden=1)
    assert list(read(source).package_urls) == IDENTIFIERS


@pytest.mark.parametrize(
    "response",
    [
        ScriptedResponse({"CFDocuments": ENTRIES}, headers={"X-Total-Count": "26"}),
        ScriptedResponse({"CFDocuments": ENTRIES, "total": 26}),
        ScriptedResponse({"CFDocuments": ENTRIES, "totalCount": 26}),
    ],
)
def test_list_that_names_fewer_than_its_total_is_incomplete(
    source: ScriptedSource, response: ScriptedResponse
) -> None:
    source.responses[LIST] = response
    documents = read(source)
    assert list(documents.package_urls) == IDENTIFIERS
    assert documents.incomplete_reason == "it lists 25 of the 26 documents it counts"


def test_total_that_is_reached_ends_a_list_with_links(source: ScriptedSource) -> None:
    headers = {"X-Total-Count": "25", "Link": f'<{LIST}?offset=0>; rel="first"'}
    source.responses[LIST] = ScriptedResponse(ENTRIES, headers=headers)
    assert read(source).incomplete_reason is None
    assert len(source.requests) == 1


@pytest.mark.parametrize("target", ["{url}{list}?page=2", "{list}?page=2", "?page=2"])
def test_next_link_is_followed(source: ScriptedSource, target: str) -> None:
    link = target.format(url=source.url, list=LIST)
    headers = {"Link": f'<{LIST}?page=1>; rel="first", <{link}>; rel="next"; title="a, b"'}
    source.responses[LIST] = ScriptedResponse({"CFDocuments": ENTRIES[:5]}, headers=headers)
    source.responses[f"{LIST}?page=2"] = ScriptedResponse({"CFDocuments": ENTRIES[5:]})
    assert_complete(read(source))
    assert len(source.requests) == 2


def test_next_link_with_another_scheme_or_port_stays_on_the_origin(source: ScriptedSource) -> None:
    headers = {"Link": f'<https://127.0.0.1{LIST}?page=2>; rel="next"'}
    source.responses[LIST] = ScriptedResponse({"CFDocuments": ENTRIES[:5]}, headers=headers)
    source.responses[f"{LIST}?page=2"] = ScriptedResponse({"CFDocuments": ENTRIES[5:]})
    assert list(read(source).package_urls) == IDENTIFIERS


@pytest.mark.parametrize(
    "target", ["http://localhost:1/x", "https://other.test/x", "file:///etc/passwd", "http://["]
)
def test_next_link_to_another_origin_is_an_error(source: ScriptedSource, target: str) -> None:
    headers = {"Link": f'<{target}>; rel="next"'}
    source.responses[LIST] = ScriptedResponse({"CFDocuments": ENTRIES}, headers=headers)
    documents = read(source)
    assert list(documents.package_urls) == IDENTIFIERS
    assert documents.error
    assert documents.error.startswith(f"page 1 ({source.url}{LIST}?limit=100&offset=0): its Link")
    assert target in documents.error


def test_next_links_in_a_circle_are_an_error(source: ScriptedSource) -> None:
    for page, following in (("", "2"), ("?page=2", "3"), ("?page=3", "2")):
        headers = {"Link": f'<{LIST}?page={following}>; rel="next"'}
        number = int(page[-1:] or 1)
        response = ScriptedResponse({"CFDocuments": [entry(number)]}, headers=headers)
        source.responses[f"{LIST}{page}"] = response
    documents = read(source)
    assert documents.error
    assert "page 3" in documents.error
    assert "which was already read" in documents.error
    assert list(documents.package_urls) == ["d1", "d2", "d3"]


def test_next_links_without_new_documents_are_an_error(source: ScriptedSource) -> None:
    def respond(target: str) -> ScriptedResponse:
        headers = {"Link": f'<{LIST}?after={len(source.requests)}>; rel="next"'}
        return ScriptedResponse({"CFDocuments": ENTRIES}, headers=headers)

    source.respond = respond
    documents = read(source)
    assert documents.error
    assert "list no new document" in documents.error
    assert len(source.requests) < 20


@pytest.mark.parametrize(
    "body",
    [
        ENTRIES,
        {"CFDocuments": ENTRIES},
        {"data": ENTRIES},
        {"CFDocumentSet": {"CFDocuments": ENTRIES}},
        [{"CFDocuments": ENTRIES}],
        {"CFDocuments": [{"CFDocument": entry} for entry in ENTRIES]},
        [{"sourcedId": identifier} for identifier in IDENTIFIERS],
    ],
)
def test_list_in_another_shape_is_read(source: ScriptedSource, body: Any) -> None:
    source.responses[LIST] = ScriptedResponse(body)
    assert_complete(read(source))


def test_single_document_in_place_of_a_list_is_read(source: ScriptedSource) -> None:
    source.responses[LIST] = ScriptedResponse({"CFDocuments": ENTRIES[0]})
    assert list(read(source).package_urls) == ["d0"]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"CFDocuments": [', {"CFDocument": []}, {"a": [], "b": 1}, 7, {"a": {}}],
)
def test_response_that_is_no_list_is_an_error(source: ScriptedSource, body: Any) -> None:
    source.responses[LIST] = ScriptedResponse(body)
    documents = read(source)
    if body == {"CFDocument": []}:
        assert documents.package_urls == {}
    else:
        assert documents.error
        assert "is no list of CFDocuments" in documents.error


@pytest.mark.parametrize(
    "bad", [{"title": "x"}, {"identifier": ""}, {"identifier": None}, {"identifier": 7}, "d1", None]
)
def test_entry_without_identifier_is_error_with_its_page(source: ScriptedSource, bad: Any) -> None:
    pages = [ENTRIES[:3], [bad], []]
    source.respond = lambda target: ScriptedResponse(pages[min(parse_page(target)[1] // 3, 2)])
    documents = read(source)
    assert documents.error == (
        f"page 2 ({source.url}{LIST}?limit=100&offset=3): entry 1 has no identifier; run the "
        "command again, or sync the packages by their own URLs"
    )
    assert list(documents.package_urls) == ["d0", "d1", "d2"]


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_error_in_the_middle_is_noted_with_its_page(source: ScriptedSource, status: int) -> None:
    first = paged(10)
    source.respond = lambda target: (
        first(target) if parse_page(target)[1] < 20 else ScriptedResponse({}, status)
    )
    documents = read(source)
    assert len(documents.package_urls) == 20
    assert documents.error
    assert f"page 3 ({source.url}{LIST}?limit=100&offset=20): answered {status}" in documents.error


def test_404_after_the_last_page_ends_a_list_as_incomplete(source: ScriptedSource) -> None:
    first = paged(30)
    source.respond = lambda target: (
        first(target) if parse_page(target)[1] < 25 else ScriptedResponse({}, 404)
    )
    documents = read(source)
    assert list(documents.package_urls) == IDENTIFIERS
    assert documents.error is None
    assert documents.incomplete_reason
    assert "answered 404" in documents.incomplete_reason


def test_limit_and_filter_of_the_url_stay(source: ScriptedSource) -> None:
    source.respond = paged(100)
    read(source, "?limit=10&filter=title~'a'")
    assert source.requests[1] == f"{LIST}?limit=10&filter=title~'a'&offset=10"
    assert read(source, "?offset=5").error


def test_token_is_sent_to_each_page(source: ScriptedSource) -> None:
    source.respond = paged(10)
    read_document_list(Fetcher("secret"), f"{source.url}{LIST}")
    assert {headers.get("Authorization") for headers in source.headers} == {"Bearer secret"}


def test_token_is_not_sent_to_pages_of_another_origin(source: ScriptedSource) -> None:
    with run_scripted_source() as other:
        following = {"Link": '</2>; rel="next"'}
        other.responses = {
            "/1": ScriptedResponse(ENTRIES[:5], headers=following),
            "/2": ScriptedResponse(ENTRIES),
        }
        source.responses[LIST] = ScriptedResponse(
            status=302, headers={"Location": f"{other.url}/1"}
        )
        documents = read_document_list(Fetcher("secret"), f"{source.url}{LIST}")
        assert len(documents.package_urls) == 25
        assert len(other.requests) == 2
        assert not [headers for headers in other.headers if "Authorization" in headers]


def test_package_uri_is_used_on_the_same_origin_else_its_identifier(source: ScriptedSource) -> None:
    base = f"{source.url}/ims/case/v1p0/CFPackages"
    source.responses[LIST] = ScriptedResponse(
        [
            entry(1),
            entry(2, CFPackageURI={"identifier": "p2", "uri": f"{source.url}/p/2#x"}),
            entry(3, CFPackageURI={"identifier": "p3", "uri": "https://other.test/p/3"}),
            entry(4, CFPackageURI={"identifier": "p/4", "uri": "urn:uuid:4"}),
            entry(5, CFPackageURI="/p/5"),
            entry(6, CFPackageURI={"sourcedId": "d6"}),
            entry(7, CFPackageURI=7),
            {"CFDocument": entry(8, CFPackageURI={"uri": f"{source.url}/p/8"})},
        ]
    )
    assert read(source).package_urls == {
        "d1": [f"{base}/d1"],
        "d2": [f"{source.url}/p/2", f"{base}/d2"],
        "d3": [f"{base}/p3", f"{base}/d3"],
        "d4": [f"{base}/p%2F4", f"{base}/d4"],
        "d5": [f"{source.url}/p/5", f"{base}/d5"],
        "d6": [f"{base}/d6"],
        "d7": [f"{base}/d7"],
        "d8": [f"{source.url}/p/8", f"{base}/d8"],
    }


def test_busy_page_is_retried(source: ScriptedSource) -> None:
    page = ScriptedResponse({"CFDocuments": ENTRIES, "total": 25})
    source.responses[LIST] = deque(
        [ScriptedResponse({}, 503), ScriptedResponse(page.body, cut_at=40, reset=True), page]
    )
    documents = read(source)
    assert documents.incomplete_reason is None
    assert len(documents.package_urls) == 25
