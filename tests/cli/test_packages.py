"""`case-server import` and `export`: round trips, refusals and repairs."""

import gzip
import json
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support import factories
from support.databases import NewDataDir
from support.live_server import COMMAND, build_environment, run_live_server
from support.live_server import run_command_in_process as run
from support.selection import REAL_FRAMEWORKS, mark_slow_except

from case_server.sample import SAMPLE_DOCUMENT_ID, read_sample


@pytest.fixture(scope="module")
def data_dir(running_data_dir: Path) -> Path:
    return running_data_dir


def write(folder: Path, name: str, body: Any) -> str:
    path = folder / name
    path.write_text(json.dumps(body))
    return str(path)


def with_utc_timestamps(node: Any) -> Any:
    """Return a body with all timestamps in UTC with milliseconds, as in responses."""
    if isinstance(node, list):
        return [with_utc_timestamps(part) for part in node]
    if not isinstance(node, dict):
        return node
    body = {name: with_utc_timestamps(part) for name, part in node.items()}
    if "lastChangeDateTime" in body:
        timestamp = datetime.fromisoformat(body["lastChangeDateTime"]).astimezone(UTC)
        body["lastChangeDateTime"] = timestamp.isoformat(timespec="milliseconds")
    return body


@pytest.mark.parametrize(
    ("name", "items", "associations"),
    [
        ("ccss-math-2010", 746, 746),
        pytest.param("large-11k", 11_033, 11_041, marks=pytest.mark.slow),
    ],
)
def test_real_framework_survives_import_and_export(
    shared: Path, new_data_dir: NewDataDir, name: str, items: int, associations: int
) -> None:
    source, data_dir = shared / "frameworks" / f"{name}.json", new_data_dir()
    result = run("import", str(source), data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    assert f"{items:,} items" in result.stdout
    original = json.loads(source.read_bytes())
    exported = run("export", original["CFDocument"]["identifier"], data_dir=data_dir)
    assert exported.returncode == 0, exported.stderr
    package = json.loads(exported.stdout)
    assert len(package["CFItems"]) == items
    assert len(package["CFAssociations"]) == associations
    for kind in ("CFItems", "CFAssociations"):
        assert with_utc_timestamps(package[kind]) == with_utc_timestamps(original[kind])
    assert with_utc_timestamps(package["CFDocument"]) == with_utc_timestamps(original["CFDocument"])
    for kind, definitions in original["CFDefinitions"].items():
        by_id = {
            definition["identifier"]: definition
            for definition in with_utc_timestamps(package["CFDefinitions"][kind])
        }
        assert all(
            by_id[definition["identifier"]] == definition
            for definition in with_utc_timestamps(definitions)
        )


def test_export_is_a_standard_package(data_dir: Path, tmp_path: Path) -> None:
    body = factories.package_with_every_class()
    assert run("import", write(tmp_path, "one.json", body), data_dir=data_dir).returncode == 0
    target = tmp_path / "out.json"
    result = run("export", body["CFDocument"]["identifier"], "-o", str(target), data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    assert "sourcedId" not in target.read_text()
    package = json.loads(target.read_text())
    assert "CFPackageURI" not in package["CFDocument"]
    assert all(
        "CFDocumentURI" not in item for item in package["CFItems"] + package["CFAssociations"]
    )
    assert package["CFRubrics"] == body["CFRubrics"]
    assert not list(tmp_path.glob("*.partial"))


def test_export_of_unknown_identifier_fails(data_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    result = run("export", "unknown", "-o", str(target), data_dir=data_dir)
    assert result.returncode == 1
    assert "unknown" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["case-json", "csv"])
def test_export_to_closed_pipe_ends_quietly(data_dir: Path, tmp_path: Path, form: str) -> None:
    body = factories.package(CFItems=[factories.packed_item() for _ in range(3000)])
    body["CFAssociations"] = []
    assert run("import", write(tmp_path, "one.json", body), data_dir=data_dir).returncode == 0
    identifier = body["CFDocument"]["identifier"]
    command = shlex.join((*COMMAND, "export", identifier, "--format", form))
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -c 50"],
        env=build_environment(data_dir),
        capture_output=True,
        check=False,
    )
    assert (result.returncode, len(result.stdout)) == (0, 50)
    assert result.stderr.decode() == f"reading from the embedded Postgres in {data_dir}\n"


def test_export_to_unwritable_file_fails(data_dir: Path, tmp_path: Path) -> None:
    body = factories.package()
    assert run("import", write(tmp_path, "one.json", body), data_dir=data_dir).returncode == 0
    identifier = body["CFDocument"]["identifier"]
    full = Path("/dev/full")  # only writing shows that it cannot be written
    for target, code in ((tmp_path, 2), (tmp_path / "nowhere" / "out.json", 2), (full, 1)):
        result = run("export", identifier, "-o", str(target), data_dir=data_dir)
        assert result.returncode == code
        assert f"cannot write {target}" in result.stderr
        assert "Traceback" not in result.stderr
    link, real = tmp_path / "link.json", tmp_path / "real.json"
    link.symlink_to(real)
    assert run("export", identifier, "-o", str(link), data_dir=data_dir).returncode == 0
    assert link.is_symlink()
    assert json.loads(real.read_text())["CFDocument"]["identifier"] == identifier


def test_invalid_files_are_reported_and_valid_ones_imported(data_dir: Path, tmp_path: Path) -> None:
    bad, good = factories.package(), factories.package()
    del bad["CFItems"][0]["fullStatement"]
    bad["CFAssociations"][0]["associationType"] = "RelatedTo"
    (tmp_path / "text.json").write_text("not json")
    (tmp_path / "packed.json").write_bytes(gzip.compress(b"{}"))
    sources = [write(tmp_path, "bad.json", bad)]
    sources += [str(tmp_path / name) for name in ("text.json", "packed.json")]
    sources.append(write(tmp_path, "good.json", good))
    result = run("import", "--strict", *sources, data_dir=data_dir)
    assert result.returncode == 1
    assert "bad.json: refused, 2 problems" in result.stderr
    assert "CFItems[0].fullStatement: required" in result.stderr
    assert "CFAssociations[0].associationType: must be one of" in result.stderr
    assert "text.json: refused: the file is not JSON" in result.stderr
    assert "packed.json: refused: is compressed with gzip" in result.stderr
    assert "rename it to packed.json.gz" in result.stderr
    assert "good.json: created" in result.stdout
    for body, code in ((bad, 1), (good, 0)):
        identifier = body["CFDocument"]["identifier"]
        assert run("export", identifier, data_dir=data_dir).returncode == code


def test_repeated_import_replaces_the_tree(
    data_dir: Path, new_data_dir: NewDataDir, tmp_path: Path
) -> None:
    empty = new_data_dir()
    items = [factories.packed_item() for _ in range(6)]
    root, first, second, moved, removed, left = (item["identifier"] for item in items)
    new = factories.packed_item()

    def under(*pairs: tuple[str, str]) -> list[Any]:
        return [
            factories.association(child, parent, f"of-{child}", sequenceNumber=number)
            for number, (child, parent) in enumerate(pairs, 1)
        ]

    tree = under((first, root), (second, root), (moved, first), (removed, first), (left, second))
    body = factories.package(CFItems=items, CFAssociations=tree)
    assert run("import", write(tmp_path, "old.json", body), data_dir=data_dir).returncode == 0
    body["CFItems"] = [new, *(item for item in items if item["identifier"] != removed)]
    body["CFAssociations"] = under(
        (first, root), (second, root), (left, second), (moved, second), (new["identifier"], first)
    )
    source = write(tmp_path, "new.json", body)
    assert run("import", source, data_dir=data_dir).returncode == 0
    assert run("import", source, data_dir=empty).returncode == 0
    identifier = body["CFDocument"]["identifier"]
    reimported, fresh = (
        json.loads(run("export", identifier, data_dir=folder).stdout)
        for folder in (data_dir, empty)
    )
    assert reimported == fresh
    assert len(reimported["CFItems"]) == 6
    assert {association["identifier"] for association in reimported["CFAssociations"]} == {
        f"of-{child}" for child in (first, second, left, moved, new["identifier"])
    }


def test_sample_is_imported(data_dir: Path) -> None:
    result = run("import", "--sample", data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    exported = run("export", SAMPLE_DOCUMENT_ID, data_dir=data_dir)
    original, package = json.loads(read_sample()), json.loads(exported.stdout)
    for entity in original["CFItems"] + original["CFAssociations"]:
        entity.pop("CFDocumentURI", None)
    assert {name: in_order(part) for name, part in package.items()} == {
        name: in_order(part) for name, part in original.items()
    }


def in_order(part: Any) -> Any:
    """Sort lists of definitions, because shared ones have the order of the first import."""
    if isinstance(part, dict) and "CFItemTypes" in part:
        return {
            name: sorted(value, key=lambda each: str(each["identifier"]))
            if isinstance(value, list)
            else value
            for name, value in part.items()
        }
    return part


def test_second_server_reads_from_the_first(new_data_dir: NewDataDir) -> None:
    """Both servers have the same framework after an import by URL."""
    first, second = new_data_dir(), new_data_dir()
    assert run("import", "--sample", data_dir=first).returncode == 0
    with run_live_server(first) as server:
        prefix = f"{server.base_url}/1edtech/ims/case/v1p1"
        url = f"{prefix}/CFPackages/{SAMPLE_DOCUMENT_ID}?extensions=true"
        result = run("import", url, data_dir=second)
        assert result.returncode == 1
        assert "answered 401" in result.stderr
        result = run("import", url, "--token", server.token(), data_dir=second)
        assert result.returncode == 0, result.stderr
    own_package, other_package = (
        json.loads(run("export", SAMPLE_DOCUMENT_ID, data_dir=data_dir).stdout)
        for data_dir in (first, second)
    )
    # The standard's package does not say its own name, only its document's.
    del own_package["CFDocument"]["CFPackageURI"]
    assert own_package == other_package
    assert own_package["CFRubrics"]


def repairable() -> factories.Body:
    """Return a package with two kinds of repairable problems, one of them twice."""
    body = factories.package()
    for item in body["CFItems"]:
        item["educationLevel"] = "06, 07"
    body["CFAssociations"][0]["associationType"] = "RelatedTo"
    return body


def test_repairs_are_reported_once_and_stored(data_dir: Path, tmp_path: Path) -> None:
    body, report = repairable(), tmp_path / "report.json"
    source = write(tmp_path, "one.json", body)
    result = run("import", source, "--report", str(report), data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    assert "string-for-list (2)" in result.stdout
    (outcome,) = json.loads(report.read_text())
    assert outcome["status"] == "created"
    assert (outcome["items"], outcome["associations"]) == (2, 1)
    assert {repair["kind"]: repair["count"] for repair in outcome["repairs"]} == {
        "string-for-list": 2,
        "association-type": 1,
    }
    package = json.loads(run("export", body["CFDocument"]["identifier"], data_dir=data_dir).stdout)
    assert [item["educationLevel"] for item in package["CFItems"]] == [["06", "07"]] * 2
    assert package["CFAssociations"][0]["associationType"] == "isRelatedTo"


def test_strict_rejects_repairable_files(data_dir: Path, tmp_path: Path) -> None:
    source = write(tmp_path, "one.json", repairable())
    result = run("import", "--strict", source, data_dir=data_dir)
    assert result.returncode == 1
    assert "refused, 3 problems" in result.stderr


def test_unrepairable_file_is_rejected_with_its_paths(data_dir: Path, tmp_path: Path) -> None:
    body, report = repairable(), tmp_path / "report.json"
    body["CFItems"][1]["statusStartDate"] = "last spring"
    body["CFAssociations"][0]["associationType"] = "isFriendOf"
    source = write(tmp_path, "one.json", {"CFPackage": body})
    result = run("import", "--report", str(report), source, data_dir=data_dir)
    assert result.returncode == 1
    (outcome,) = json.loads(report.read_text())
    assert [problem["path"] for problem in outcome["problems"]] == [
        "CFPackage.CFItems[1].statusStartDate",
        "CFPackage.CFAssociations[0].associationType",
    ]
    assert run("export", body["CFDocument"]["identifier"], data_dir=data_dir).returncode == 1


def test_folders_and_compressed_files_are_imported(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frameworks"
    folder.mkdir()
    bodies = [factories.package() for _ in range(2)]
    write(folder, "a.json", bodies[0])
    (folder / "b.json.gz").write_bytes(gzip.compress(json.dumps(bodies[1]).encode()))
    (folder / "notes.txt").write_text("not a framework")
    result = run("import", str(folder), data_dir=data_dir)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("created") == 2
    result = run("import", "--quiet", str(folder), data_dir=data_dir)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", mark_slow_except(["opensalt-2017-sample"], REAL_FRAMEWORKS))
def test_export_of_real_file_is_valid_and_unchanged(
    shared: Path, new_data_dir: NewDataDir, tmp_path: Path, name: str
) -> None:
    """Import each real framework, most of which need repair, and import its export strictly."""
    data_dir, output = new_data_dir(), str(tmp_path / "exported.json")
    result = run("import", str(shared / "frameworks" / f"{name}.json"), data_dir=data_dir)
    assert ": created " in result.stdout, result.stderr
    identifier = result.stdout.split("created ")[1].split(":")[0]
    exported = run("export", identifier, "-o", output, data_dir=data_dir)
    assert exported.returncode == 0, exported.stderr
    reimported = run("import", "--strict", output, data_dir=data_dir)
    assert ": unchanged " in reimported.stdout, reimported.stderr
