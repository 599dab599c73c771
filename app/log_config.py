"""Log lines: text for people, or JSON for machines; one for each request, and no secret in any.

A request's line has its path without the query, and no address: queries carry what should not be
kept, and addresses are personal data.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

Format = Literal["text", "json"]

REQUEST_LOGGER = "case_server.requests"
"""The logger of requests; its records have these arguments, in this order."""
REQUEST_FIELDS = ("method", "path", "status", "milliseconds", "client_id", "request_id")
REQUEST_LINE = "%s %s %d %.1f ms client=%s request=%s"
CHANGE_FIELDS = ("created", "updated", "unchanged", "deleted")
"""The further arguments of a record about a package upload: how many entities became what."""
UPLOAD_LINE = REQUEST_LINE + "".join(f" {name}=%d" for name in CHANGE_FIELDS)


class TextFormatter(logging.Formatter):
    """``2026-01-15T09:30:00.000Z INFO message``, and a traceback below where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(  # noqa: N802  the name that logging calls
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """The moment of a record, in UTC with milliseconds."""
        del datefmt
        return _moment(record)


class JsonFormatter(logging.Formatter):
    """One JSON object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        told: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
        }
        if record.name == REQUEST_LOGGER and isinstance(record.args, tuple):
            told |= zip((*REQUEST_FIELDS, *CHANGE_FIELDS), record.args, strict=False)
        else:
            told["message"] = record.getMessage()
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(told, default=str).decode()


def logging_config(form: Format) -> dict[str, Any]:
    """How everything is logged, to stderr: what the server says of itself stands alone on stdout.

    Of the libraries only what goes wrong is heard; uvicorn's own line for each request, which has
    the query, is not.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": JsonFormatter if form == "json" else TextFormatter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "chosen",
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "case_server": {"level": "INFO"},
            **{name: {"level": "WARNING"} for name in ("uvicorn", "uvicorn.error")},
        },
    }


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
