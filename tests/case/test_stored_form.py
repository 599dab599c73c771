import json
from uuid import uuid4

import pytest

from case_server.case.entity_urls import ServerUrlMatcher
from case_server.case.resources import ITEMS
from case_server.case.stored_form import EchoedValues, SubmittedBody, may_have_default_item_types

SERVER_URL, PREFIX = "http://case.test", "/ims/case/v1p1"


@pytest.mark.parametrize(
    "body",
    [
        b'{"CFItemType":"unknown","CFItemTypeURI":{}}',
        b'{"CFItemTypeURI":{}, "CFItemType" : "unknown"}',
        b'{"cfItemType":\n"unknown","CFItemTypeURI":{}}',
    ],
)
def test_default_type_with_a_type_link_may_be_echoed(body: bytes) -> None:
    assert may_have_default_item_types(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"CFItemType":"unknown"}',
        b'{"CFItemType":"Standard","CFItemTypeURI":{},"conceptKeywords":["unknown"]}',
    ],
)
def test_other_types_cannot_be_echoed(body: bytes) -> None:
    assert not may_have_default_item_types(body)


@pytest.mark.parametrize(
    ("titles", "expected"),
    [
        (["a", "b"], ["urn:1", "urn:2"]),
        (["b", "a"], ["urn:2", "urn:1"]),
        (["a", "new"], ["urn:1", "urn:2"]),
        (["new", "a"], ["urn:2", "urn:1"]),
        (["new", "other"], ["urn:1", "urn:2"]),
        (["a", "b", "new"], ["urn:1", "urn:2", "urn:2"]),
        (["b"], ["urn:2"]),
    ],
)
def test_links_with_one_identifier_keep_their_uris(titles: list[str], expected: list[str]) -> None:
    """Stored links may share an identifier; the client sends this server's URL for each."""
    identifier, subject = str(uuid4()), str(uuid4())
    matcher = ServerUrlMatcher([SERVER_URL], [PREFIX])

    def build_item(links: list[tuple[str, str]]) -> str:
        subjects = [{"title": title, "identifier": subject, "uri": uri} for title, uri in links]
        return json.dumps({"identifier": identifier, "uri": "urn:item", "subjectURI": subjects})

    stored = build_item([("a", "urn:1"), ("b", "urn:2")])
    item = build_item([(title, f"{SERVER_URL}{PREFIX}/CFSubjects/{subject}") for title in titles])
    submitted = SubmittedBody(ITEMS, item, stored, EchoedValues(server_urls=matcher))
    restored = json.loads(submitted.restore_stored_body(lambda _: None))
    assert [link["uri"] for link in restored["subjectURI"]] == expected


@pytest.mark.parametrize("host", ["case.test", "Case.Test"])
def test_host_is_found_as_configured_and_in_lower_case(host: str) -> None:
    matcher = ServerUrlMatcher([f"https://{host}:8443"], [PREFIX])
    for spelling in (host, host.lower()):
        url = f"https://{spelling}:8443{PREFIX}/CFItems/a"
        assert matcher.mentions_host(url.encode())
        assert matcher.parse_entity_url(url) == ("CFItems", "a")
    assert not matcher.mentions_host(b"https://other.test/")
