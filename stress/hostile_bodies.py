"""Hostile request bodies for ``adversarial``."""

import json
from collections.abc import Callable
from typing import Any

from support import factories

DEPTH = 10_000


def _item(**fields: Any) -> bytes:
    body = {**factories.item("d", "x"), **fields}
    return json.dumps(body).encode()


def _item_with_raw_notes(prefix: str, raw: bytes) -> bytes:
    """Build the JSON of an item whose ``notes`` are ``raw``, which may be invalid JSON.

    ``prefix`` replaces HERE inside ``raw``.
    """
    return _item(notes="HERE").replace(b'"HERE"', raw).replace(b"HERE", prefix.encode())


BODIES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "white space": lambda: b" \n" * 500,
    "a string": lambda: b'"text"',
    "an array": lambda: b"[]",
    "null": lambda: b"null",
    "not JSON": lambda: b"<html></html>",
    "half an object": lambda: _item()[:-20],
    "two objects": lambda: _item() + _item(),
    "a list that is 10,000 deep": lambda: b"[" * DEPTH + b"]" * DEPTH,
    "an object that is 10,000 deep": lambda: b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
    "depth that is never closed": lambda: b'{"item":' * DEPTH,
    "depth in extensions": lambda: _item_with_raw_notes(
        "", b'"", "extensions": ' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
    ),
    "depth in an unknown field": lambda: _item_with_raw_notes(
        "", b'"", "x": ' + b"[" * DEPTH + b"]" * DEPTH
    ),
    "1e400": lambda: _item_with_raw_notes("", b"1e400"),
    "1e400 in extensions": lambda: _item_with_raw_notes("", b'"", "extensions": {"a": 1e400}'),
    "NaN": lambda: _item_with_raw_notes("", b"NaN"),
    "a hundred thousand digits": lambda: _item_with_raw_notes("", b"9" * 100_000),
    "…in extensions": lambda: _item_with_raw_notes(
        "", b'"", "extensions": {"a": ' + b"9" * 100_000 + b"}"
    ),
    "a fraction of as many": lambda: _item_with_raw_notes(
        "", b'"", "extensions": {"a": 0.' + b"9" * 100_000 + b"}"
    ),
    "a name twice": lambda: _item_with_raw_notes("", b'"a", "notes": 7'),
    "an identifier twice": lambda: b'{"identifier": "y", ' + _item()[1:],
    "two wrappers": lambda: b'{"item": ' + _item() + b', "CFItem": ' + _item() + b"}",
    "a wrapper twice": lambda: b'{"item": ' + _item() + b', "item": 5}',
    "a lone surrogate": lambda: _item_with_raw_notes("", rb'"\ud800"'),
    "a lone surrogate as bytes": lambda: _item_with_raw_notes("", b'"\xed\xa0\x80"'),
    "a lone surrogate as a name": lambda: _item_with_raw_notes(
        "", rb'"", "extensions": {"\udfff": 1}'
    ),
    "a NUL": lambda: _item_with_raw_notes("", rb'"\u0000"'),
    "a NUL as a byte": lambda: _item_with_raw_notes("", b'"\x00"'),
    "a NUL as a name": lambda: _item_with_raw_notes("", rb'"", "extensions": {"\u0000": 1}'),
    "a NUL after the end": lambda: _item() + b"\x00",
    "a BOM": lambda: b"\xef\xbb\xbf" + _item(notes=5),
    "UTF-16": lambda: _item().decode().encode("utf-16"),
    "UTF-32": lambda: _item().decode().encode("utf-32"),
    "Latin-1": lambda: _item_with_raw_notes("", b'"\xe9"'),
    "overlong UTF-8": lambda: _item_with_raw_notes("", b'"\xc0\x80"'),
    "a comment": lambda: _item() + b"// that is all",
    "single quotes": lambda: _item().replace(b'"', b"'"),
    "a hundred thousand unknown fields": lambda: json.dumps(
        {f"f{number}": 1 for number in range(100_000)}
    ).encode(),
    "a hundred thousand items of nothing": lambda: b'{"CFItems": [' + b"{}," * 100_000 + b"{}]}",
    "sourcedId and identifier": lambda: _item(sourcedId="other"),
    "sourcedId as an object": lambda: _item(sourcedId={"a": []}),
    "an identifier that is a number": lambda: _item(identifier=5),
    "a year beyond the calendar": lambda: _item(lastChangeDateTime="9999-12-31T23:59:59-23:59"),
    "a timestamp without an offset": lambda: _item(lastChangeDateTime="2026-01-01T00:00:00"),
    "the name of a prototype": lambda: _item(__proto__={}, __class__=1),
}
"""Bodies that are invalid for every operation."""

OPERATIONS = (
    ("PUT", "/CFDocuments/x"),
    ("PUT", "/CFItems/x"),
    ("PUT", "/CFItemTypes/x"),
    ("PUT", "/CFItemAssociations/x"),
    ("POST", "/CFPackages"),
    ("PUT", "/CFPackages/x"),
    ("POST", "/CFPackages?repair=true"),
)
"""Every operation that reads a body with entities."""
