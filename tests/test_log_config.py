"""Log lines as text and as JSON: complete, in order, and one record per line."""

import json
import logging
import re
from pathlib import Path

import httpx
import pytest
from support import factories
from support.live_server import run_live_server
from support.selection import mark_slow_except

from case_server.log_config import (
    CHANGE_FIELDS,
    REQUEST_FIELDS,
    REQUEST_LINE,
    REQUEST_LOGGER,
    UPLOAD_LINE,
    JsonFormatter,
    TextFormatter,
)


def record(name: str, message: str, *args: object, failed: bool = False) -> logging.LogRecord:
    reason = ValueError("the reason")
    error = (ValueError, reason, None) if failed else None
    return logging.LogRecord(name, logging.INFO, "x.py", 1, message, args, error)


REQUEST = record(REQUEST_LOGGER, REQUEST_LINE, "GET", "/x", 200, 1.25, "robot", "abc")


def test_text_formatter_writes_a_request_as_one_line() -> None:
    line = TextFormatter().format(REQUEST)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO GET /x 200 1\.2 ms client=robot request=abc",
        line,
    )


def test_json_formatter_writes_a_request_as_named_fields() -> None:
    entry = json.loads(JsonFormatter().format(REQUEST))
    assert list(entry) == ["time", "level", "logger", *REQUEST_FIELDS]
    assert [entry[name] for name in REQUEST_FIELDS] == ["GET", "/x", 200, 1.25, "robot", "abc"]


UPLOAD = record(REQUEST_LOGGER, UPLOAD_LINE, *("PUT", "/x", 200, 1.25, "robot", "abc"), 1, 2, 3, 4)


def test_upload_text_line_ends_with_changes() -> None:
    line = TextFormatter().format(UPLOAD)
    assert line.endswith(" request=abc created=1 updated=2 unchanged=3 deleted=4")


def test_upload_json_line_contains_changes() -> None:
    logged = json.loads(JsonFormatter().format(UPLOAD))
    assert list(logged) == ["time", "level", "logger", *REQUEST_FIELDS, *CHANGE_FIELDS]
    assert [logged[name] for name in CHANGE_FIELDS] == [1, 2, 3, 4]


def test_other_record_is_one_json_line() -> None:
    line = JsonFormatter().format(record("other", "a %s\nb", "{", failed=True))
    assert "\n" not in line
    entry = json.loads(line)
    assert entry["message"] == "a {\nb"
    assert "the reason" in entry["exception"]


@pytest.mark.parametrize("workers", mark_slow_except(["1"], ["1", "2"]))
def test_server_logs_json(data_dir: Path, tmp_path: Path, workers: str) -> None:
    arguments = ("--log-format", "json", "--workers", workers)
    with run_live_server(data_dir, *arguments) as server:
        refused = httpx.get(f"{server.base_url}/case/1.1/CFItems?token=hidden")
        with server.client() as client:
            named = client.get("/case/1.1/CFItems", headers={"X-Request-ID": "mine"})
            upload = client.post("/case/1.1/CFPackages", json=factories.package())
            after = client.get("/case/1.1/CFItems")
    text = (tmp_path / "data.log").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    # Workers that answer one client in turn write their lines in any order.
    lines = {line["request_id"]: line for line in records if line["logger"] == REQUEST_LOGGER}
    responses = (refused, named, upload, after)
    first, last, uploaded, listed = [lines.pop(r.headers["X-Request-ID"]) for r in responses]
    (token,) = lines.values()
    assert (first["status"], first["client_id"]) == (401, "-")
    assert (token["path"], token["client_id"]) == ("/oauth2/token", "local-client")
    assert (last["status"], last["client_id"], last["request_id"]) == (200, "local-client", "mine")
    assert [uploaded[name] for name in CHANGE_FIELDS] == [4, 0, 0, 0]
    assert not listed.keys() & {*CHANGE_FIELDS}
    assert "hidden" not in text
    assert "127.0.0.1" not in text
