"""Logging configuration: text lines for people or JSON for machines, a line per request.

A request's line contains its path without the query, and no client address: queries may contain
secrets, and addresses are personal data.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from .formatting import format_timestamp

LogFormat = Literal["text", "json"]

REQUEST_LOGGER = "case_server.requests"
"""The logger of requests. Its records have ``REQUEST_FIELDS`` as their arguments, in that order."""

REQUEST_FIELDS = ("method", "path", "status", "milliseconds", "client_id", "request_id")
REQUEST_LINE = "%s %s %d %.1f ms client=%s request=%s"

CHANGE_FIELDS = ("created", "updated", "unchanged", "deleted")
"""Further arguments for a package upload: the number of entities with each outcome."""

UPLOAD_LINE = REQUEST_LINE + "".join(f" {name}=%d" for name in CHANGE_FIELDS)


class TextFormatter(logging.Formatter):
    """Formats log records as lines such as ``2026-01-15T09:30:00.000Z INFO message``."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")


class JsonFormatter(logging.Formatter):
    """Formats each log record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a log record as JSON with ``time``, ``level``, ``logger`` and ``message``.

        Instead of ``message``, an HTTP request has ``method``, ``path``, ``status`` and the other
        ``REQUEST_FIELDS``. An upload also has ``CHANGE_FIELDS``.
        """
        fields: dict[str, Any] = {
            "time": format_timestamp(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
        }
        if record.name == REQUEST_LOGGER and isinstance(record.args, tuple):
            fields |= zip((*REQUEST_FIELDS, *CHANGE_FIELDS), record.args, strict=False)
        else:
            fields["message"] = record.getMessage()
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


def build_logging_config(log_format: LogFormat) -> dict[str, Any]:
    """Build the ``logging.config`` dictionary of the server, which logs to stderr.

    Stdout is for the banner and the output of commands. Libraries log only warnings and errors, so
    uvicorn writes no access log, which would contain query strings.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"default": {"()": JsonFormatter if log_format == "json" else TextFormatter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "default",
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "case_server": {"level": "INFO"},
            **{name: {"level": "WARNING"} for name in ("uvicorn", "uvicorn.error")},
        },
    }
