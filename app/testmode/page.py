"""The page ``/test-mode`` of the web UI: faults and newest requests of a namespace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..web import auth
from ..web.pages import PageRoute, render_page
from .faults import SELECTION_FIELDS, FaultRule
from .middleware import PAGE_PATH
from .request_log import LoggedRequest
from .routes import NamespaceDep, RegistryDep

MAX_SHOWN_REQUESTS = 200

router = APIRouter(route_class=PageRoute, dependencies=[Depends(auth.require_read_scope)])


@router.get(PAGE_PATH, include_in_schema=False)
async def show_test_mode_page(
    request: Request, current: NamespaceDep, registry: RegistryDep, namespace: str = ""
) -> Response:
    """Return an HTML page with the faults and newest requests of a test namespace.

    ``namespace`` is its name. If it is empty, the page shows the namespace of the request. Raises
    ``NotFound`` for an unknown name.
    """
    selected = registry.get(namespace or current.name)
    entries = selected.request_log.list_newest(MAX_SHOWN_REQUESTS)
    return await render_page(
        request,
        "test_mode.html",
        title="Test mode",
        namespace=selected.name,
        namespaces=list(registry.by_name),
        faults=[_describe_rule(rule) for rule in selected.faults],
        entries=[_describe_entry(entry) for entry in entries],
        total=len(selected.request_log),
    )


def _describe_rule(rule: FaultRule) -> dict[str, Any]:
    selection = rule.fault.model_dump(exclude_defaults=True, include=SELECTION_FIELDS)
    return {
        "selection": _format_fields(selection) or "every request",
        "effect": _format_fields(rule.fault.get_response_fields()),
        "matched": rule.matched,
        "applied": rule.applied,
    }


def _describe_entry(entry: LoggedRequest) -> dict[str, Any]:
    started = datetime.fromtimestamp(entry.started, UTC)
    return {
        "time": started.time().isoformat("milliseconds"),
        "request": f"{entry.method} {entry.path}" + (f"?{entry.query}" if entry.query else ""),
        "status": entry.status or "none",
        "client": entry.client or "",
        "milliseconds": "" if entry.milliseconds is None else f"{entry.milliseconds:.1f}",
        "fault": _format_fields(entry.fault or {}),
    }


def _format_fields(fields: dict[str, Any]) -> str:
    return ", ".join(name if value is True else f"{name} {value}" for name, value in fields.items())
