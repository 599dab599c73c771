"""The page of a target: what clients sent lately, and the faults in force."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..exceptions import NotFound
from ..web import auth
from ..web.pages import Page, page
from .faults import WHEN, Rule
from .middleware import PAGE
from .namespaces import Namespaces
from .request_body import namespace_of
from .request_log import Entry

SHOWN = 200
"""How many requests are shown, the newest first."""


def page_routes() -> APIRouter:
    """The page, to be mounted only in target mode, and where pages are wanted."""
    router = APIRouter(route_class=Page, dependencies=[Depends(auth.reader)])
    router.add_api_route(PAGE, read_test_mode, include_in_schema=False)
    return router


async def read_test_mode(request: Request, namespace: str = "") -> Response:
    """Show the faults and newest requests of a namespace: the request's own unless one is named.

    A name in the query makes no new namespace.
    """
    namespace = namespace or namespace_of(request).name
    namespaces: Namespaces = request.app.state.namespaces
    known = {one.name: one for one in namespaces.all()}
    if namespace not in known:
        raise NotFound("namespace", namespace, f"there are {', '.join(known)}")
    shown = known[namespace]
    return await page(
        request,
        "test_mode.html",
        title="Test mode",
        namespace=namespace,
        namespaces=list(known),
        faults=[_rule(rule) for rule in shown.faults.rules],
        entries=[_entry(entry) for entry in shown.journal.newest(SHOWN)],
        total=len(shown.journal),
    )


def _rule(rule: Rule) -> dict[str, Any]:
    when = rule.fault.model_dump(exclude_defaults=True, include=WHEN)
    return {
        "when": _words(when) or "every request",
        "what": _words(rule.fault.effect()),
        "matched": rule.matched,
        "applied": rule.applied,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    started = datetime.fromtimestamp(entry.started, UTC)
    return {
        "time": f"{started:%H:%M:%S}.{started.microsecond // 1000:03}",
        "asked": f"{entry.method} {entry.path}" + (f"?{entry.query}" if entry.query else ""),
        "status": entry.status or "none",
        "client": entry.client or "",
        "milliseconds": "" if entry.milliseconds is None else f"{entry.milliseconds:.1f}",
        "fault": _words(entry.fault or {}),
    }


def _words(told: dict[str, Any]) -> str:
    """What a rule says, in a line."""
    return ", ".join(name if value is True else f"{name} {value}" for name, value in told.items())
