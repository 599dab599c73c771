"""Every page, to be mounted only where pages are wanted."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from .browse import browse_routes
from .changes import history_routes
from .compare import compare_routes
from .pages import STATIC, prepare
from .sign_in import sign_in_routes
from .upload import upload_routes


class Static(StaticFiles):
    """Files that pages name with a digest of their content: under it they never change."""

    def get_path(self, scope: Scope) -> str:
        """Return the path of a file below the folder.

        A namespace's prefix is in ``root_path`` alone, where Starlette expects it in ``path``, too.
        """
        return os.path.normpath(str(scope["path"]).removeprefix("/static/"))

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, *more: Any) -> Response:
        """A file; to be kept for good by whoever asked for it by its digest."""
        response = super().file_response(full_path, stat_result, scope, *more)
        named = scope["query_string"].startswith(b"v=")
        kept = "public, max-age=31536000, immutable" if named else "no-cache"
        response.headers["Cache-Control"] = kept
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


__all__ = ["install", "prepare"]


def install(app: FastAPI) -> None:
    """Add the pages to an application."""
    pages = APIRouter(include_in_schema=False)
    for routes in (browse_routes, history_routes, compare_routes, upload_routes, sign_in_routes):
        pages.include_router(routes())
    app.include_router(pages)
    app.mount("/static", Static(directory=STATIC), name="static")
