"""Run the unmodified TimeBack SDK from PyPI against a server.

The SDK runs in a process of its own, because it needs a newer Python than the server.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.live_server import LiveServer, build_environment, run_live_server
from support.packages import repair_package
from support.selection import NOT_LARGE, mark_slow_except

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "tests" / "sdk"
SAMPLE = ROOT / "app" / "sample" / "framework.json"
CREDENTIALS = {"CASE_CLIENT_ID": "local-client", "CASE_CLIENT_SECRET": "local-secret"}
LARGE = ("large-11k",)
"""Contains parts of the other frameworks, and so needs a server of its own."""

SHORT = ("opencase-v1p1-with-rubrics", "teks-118-economics")


@pytest.fixture
def live(data_dir: Path, sdk_python: Path) -> Iterator[LiveServer]:
    """Start a server without data, after the SDK has been installed."""
    # Without an access log, because this test does not read the pipe and a full one would block.
    with run_live_server(data_dir, "--no-access-log") as server:
        yield server


def drive(python: Path, tmp_path: Path, *arguments: str, **variables: str) -> str:
    """Run a script with the SDK's interpreter; return its output, and assert that it succeeded."""
    clean = {
        name: value
        for name, value in build_environment(tmp_path, **variables).items()
        # Without the SDK settings of this machine's user, which may name other servers.
        if not name.startswith(("TIMEBACK_", "PYTHON"))
    }
    result = subprocess.run(
        [python, *arguments], env=clean, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def write_repaired(source: Path, folder: Path) -> str:
    """Write a repaired copy of a framework, which the importer has nothing to repair in."""
    target = folder / source.name
    target.write_bytes(repair_package(source.read_bytes())[0])
    return str(target)


@pytest.mark.parametrize(
    "names",
    [
        SHORT,
        pytest.param(NOT_LARGE, marks=pytest.mark.slow),
        pytest.param(LARGE, marks=pytest.mark.slow),
    ],
    ids=["short", "real", "large"],
)
@pytest.mark.parametrize("profile", mark_slow_except(["explicit"], ["explicit", "learnwith"]))
def test_every_sdk_method_passes_its_checks(
    sdk_python: Path, live: LiveServer, tmp_path: Path, profile: str, names: tuple[str, ...]
) -> None:
    real = ROOT.parent / "shared" / "frameworks"
    files = [
        write_repaired(path, tmp_path) for name in names if (path := real / f"{name}.json").exists()
    ]
    urls = (live.base_url, f"{live.base_url}/oauth2/token")
    script = str(SCRIPTS / "walk.py")
    output = drive(sdk_python, tmp_path, script, *urls, profile, str(SAMPLE), *files, **CREDENTIALS)
    assert re.search(r"^all \d{3,4} checks passed$", output, re.MULTILINE)


def test_unified_client_passes_its_checks(
    sdk_python: Path, live: LiveServer, tmp_path: Path
) -> None:
    urls = (live.base_url, f"{live.base_url}/oauth2/token")
    output = drive(sdk_python, tmp_path, str(SCRIPTS / "unified.py"), *urls, **CREDENTIALS)
    assert re.search(r"^all \d\d checks passed$", output, re.MULTILINE)


def run_snippet(python: Path, live: LiveServer, tmp_path: Path, page: str) -> list[str]:
    """Run the Python snippet of a page against a server, and return the lines it prints."""
    snippets = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    )
    (snippet,) = [each for each in snippets if "base_url=" in each]
    assert "http://127.0.0.1:8000" in snippet
    script = tmp_path / "snippet.py"
    script.write_text(snippet.replace("http://127.0.0.1:8000", live.base_url))
    return drive(python, tmp_path, str(script)).splitlines()


def test_sdk_snippet_prints_its_upload(sdk_python: Path, live: LiveServer, tmp_path: Path) -> None:
    advice = "the CFPackage of its framework contains those that exist"
    for _ in ("created", "replaced"):
        assert run_snippet(sdk_python, live, tmp_path, "docs/guides/sdk.md") == [
            "documents=1 items=1 associations=0",
            "Standard 3.OA.1: Interpret products of whole numbers",
            "Interpret products of whole numbers",
            f"no CFItem has the identifier '3-oa-2': {advice}",
            "CFDocument Field required",
        ]


def test_readme_snippet_lists_documents(sdk_python: Path, live: LiveServer, tmp_path: Path) -> None:
    assert "CFDocument" in "".join(run_snippet(sdk_python, live, tmp_path, "README.md"))
