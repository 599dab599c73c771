"""Every page, to be mounted only where pages are wanted."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

from .browse import browse_routes
from .compare import compare_routes
from .pages import STATIC
from .signin import sign_in_routes
from .upload import upload_routes


def install(app: FastAPI) -> None:
    """Add the pages to an application."""
    pages = APIRouter(include_in_schema=False)
    for routes in (browse_routes, compare_routes, upload_routes, sign_in_routes):
        pages.include_router(routes())
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
