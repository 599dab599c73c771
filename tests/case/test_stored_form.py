import pytest

from case_server.case.stored_form import may_have_default_item_types


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
