"""The routes of the web UI and its static files."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from . import browse, changes, compare, sign_in, upload
from .pages import STATIC_DIR


class CachedStaticFiles(StaticFiles):
    """Serves static files; browsers may cache URLs with a content digest for a year."""

    def get_path(self, scope: Scope) -> str:
        """Return the path of the requested file relative to the directory of static files.

        ``scope`` is the ASGI scope of the request.
        """
        # Starlette would expect it to start with root_path, the prefix of a test-mode namespace.
        return os.path.normpath(str(scope["path"]).removeprefix("/static/"))

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, *args: Any) -> Response:
        """Return a static file's response, cacheable for a year if its URL contains a digest."""
        response = super().file_response(full_path, stat_result, scope, *args)
        has_digest = scope["query_string"].startswith(b"v=")
        cache_control = "public, max-age=31536000, immutable" if has_digest else "no-cache"
        response.headers["Cache-Control"] = cache_control
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def add_web_ui(app: FastAPI) -> None:
    """Add the pages of the web UI and its static files to the application."""
    pages = APIRouter(include_in_schema=False)
    for module in (browse, changes, compare, upload, sign_in):
        pages.include_router(module.router)
    app.include_router(pages)
    app.mount("/static", CachedStaticFiles(directory=STATIC_DIR), name="static")
