"""The routes of the web UI and its static files."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from .browse import browse_routes
from .changes import change_routes
from .compare import compare_routes
from .pages import STATIC_DIR, add_not_found_page, prepare
from .sign_in import sign_in_routes
from .upload import upload_routes

__all__ = ["add_not_found_page", "install", "prepare"]


class CachedStaticFiles(StaticFiles):
    """Static files, cacheable for a year if the URL contains a digest of their content."""

    def get_path(self, scope: Scope) -> str:
        """Return the path of a file below the directory.

        Starlette expects ``path`` to start with ``root_path``, the prefix of a namespace. Here it
        does not.
        """
        return os.path.normpath(str(scope["path"]).removeprefix("/static/"))

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, *args: Any) -> Response:
        """Return a file, cacheable for a year if the URL contains its digest."""
        response = super().file_response(full_path, stat_result, scope, *args)
        has_digest = scope["query_string"].startswith(b"v=")
        cache_control = "public, max-age=31536000, immutable" if has_digest else "no-cache"
        response.headers["Cache-Control"] = cache_control
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def install(app: FastAPI) -> None:
    """Add the pages and static files to an application."""
    pages = APIRouter(include_in_schema=False)
    for routes in (browse_routes, change_routes, compare_routes, upload_routes, sign_in_routes):
        pages.include_router(routes())
    app.include_router(pages)
    app.mount("/static", CachedStaticFiles(directory=STATIC_DIR), name="static")
