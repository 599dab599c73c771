"""The names in docs/architecture.md exist, and its call sequences match real requests."""

import ast
import asyncio
import importlib
import inspect
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.applications import authorize, run_app
from support.databases import MigratedDatabase

import case_server
from case_server.settings import Settings

ROOT = Path(__file__).parents[2]
APP = Path(case_server.__file__).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()

CLIENT = ("architecture", "a secret of this test")

IS_TRACED: ContextVar[bool] = ContextVar("is_traced", default=False)
"""Set in the context of a request, which tasks and worker threads inherit from it."""


def diagram_rows() -> list[list[str]]:
    """Return the package names in each row of the diagram, the highest row first."""
    rows: list[list[str]] = [[]]
    for line in PAGE.split("```text\n")[1].split("```")[0].splitlines():
        if line.startswith("│"):
            rows[-1] += line.split("│")[1].split()
        elif line.startswith("├"):
            rows.append([])
    return rows


def top_level_imports() -> Iterator[tuple[str, str]]:
    """Yield (importer, imported) for the top-level modules and packages, without type imports."""
    for path in APP.rglob("*.py"):
        *package, module = path.relative_to(APP).with_suffix("").parts
        tree = ast.parse(path.read_text())
        types_only = {
            id(child)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for child in ast.walk(node)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in types_only:
                continue
            base = package[: len(package) - node.level + 1]
            names = [*base, *(node.module or "").split(".")] if node.module else base
            targets = names[:1] or [alias.name for alias in node.names]
            yield from ((package[0] if package else module, target) for target in targets)


def test_diagram_shows_every_package_and_import_direction() -> None:
    rows = diagram_rows()
    rank = {name: number for number, names in enumerate(rows) for name in names}
    modules = {path.stem for path in APP.iterdir() if path.suffix == ".py" or path.is_dir()}
    modules = {name for name in modules if not name.startswith("_")} - {"migrations", "py"}
    assert set(rank) == modules - {"pytest_plugin"}
    free_rows = (len(rows) - 1, rank["api"])
    upward = {
        f"{importer} imports {imported}"
        for importer, imported in top_level_imports()
        if importer in rank and imported in rank and importer != imported
        if rank[importer] > rank[imported]
        or (rank[importer] == rank[imported] and rank[importer] not in free_rows)
    }
    assert upward == set()


PACKAGES = "|".join(name for names in diagram_rows() for name in names)
NAMES = sorted(set(re.findall(rf"`((?:{PACKAGES})\.[\w.]+)`", PAGE)))


def resolve(name: str) -> Any:
    """Return the module, class or function that a name on the page stands for."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            target = importlib.import_module(f"case_server.{'.'.join(parts[:length])}")
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            target = getattr(target, attribute)
        return target
    raise AssertionError(f"no module of {name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_the_architecture_page_exists(name: str) -> None:
    assert resolve(name)


def walk(heading: str) -> list[str]:
    """Return the functions that the steps below a heading name, in their order."""
    (section,) = re.findall(rf"^## {heading}: .*?(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\d+\. `([\w.]+)`", section, re.MULTILINE)


class Tracer:
    """Records the first call of each named function within the traced requests."""

    def __init__(self, names: list[str]) -> None:
        self.calls: list[str] = []
        self._names: dict[CodeType, str] = {}
        self._functions = [resolve(name) for name in names]
        for name, function in zip(names, self._functions, strict=True):
            self._names[inspect.unwrap(function).__code__] = name

    def clear_caches(self) -> None:
        """Clear the caches of the named functions, because a cached result would hide a call."""
        for function in self._functions:
            if hasattr(function, "cache_clear"):
                function.cache_clear()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Record a call (the signature is that of ``sys.setprofile``)."""
        name = self._names.get(frame.f_code)
        if event == "call" and name and name not in self.calls and IS_TRACED.get():
            self.calls.append(name)


@contextmanager
def profiling(tracer: Tracer) -> Iterator[None]:
    """Call a tracer for every function call in this thread and in those that it starts.

    The application must start within the block, because its idle worker threads are reused.
    """
    threading.setprofile(tracer)
    sys.setprofile(tracer)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def send(client: AsyncClient, method: str, path: str, body: Any = None) -> None:
    response = await client.request(method, f"/case/1.1{path}", json=body)
    assert response.is_success, response.text


async def send_traced(settings: Settings, heading: str, tracer: Tracer) -> None:
    """Send the request of a walk to the application, and trace it.

    The same request is sent once before, because a first request connects and verifies the token.
    """
    document = factories.package()
    identifier = document["CFDocument"]["identifier"]
    item = factories.item(identifier, CFItemType="Standard")
    item_path, package_path = f"/CFItems/{item['identifier']}", f"/CFPackages/{identifier}"
    async with run_app(settings) as (_, client):
        await authorize(client, CLIENT)
        await send(client, "POST", "/CFPackages", document)
        await send(client, "PUT", item_path, {"item": item})
        requests: dict[str, tuple[Any, ...]] = {
            "A read": ("GET", item_path),
            "A write": ("PUT", item_path, {"item": {**item, "fullStatement": "changed"}}),
            "An upload": ("PUT", package_path, document),
        }
        await send(client, *requests[heading])
        document["CFItems"][0]["fullStatement"] = "changed"
        tracer.clear_caches()
        IS_TRACED.set(True)
        await send(client, *requests[heading])


@pytest.mark.parametrize("heading", ["A read", "A write", "An upload"])
def test_walk_names_the_calls_of_the_request_in_order(
    heading: str, migrated_database: MigratedDatabase
) -> None:
    settings = Settings(
        database_url=migrated_database("architecture"),
        public_url="http://case.test",
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        web=False,
    )
    steps = walk(heading)
    assert len(steps) > 15
    tracer = Tracer(steps)
    with profiling(tracer):
        asyncio.run(send_traced(settings, heading, tracer))
    assert tracer.calls == steps
