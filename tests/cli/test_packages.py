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
    ran = run("import", str(source), data_dir=data_dir)
    assert ran.returncode == 0, ran.stderr
    assert f"{items:,} items" in ran.stdout
    sent = json.loads(source.read_bytes())
    exported = run("export", sent["CFDocument"]["identifier"], data_dir=data_dir)
    assert exported.returncode == 0, exported.stderr
    got = json.loads(exported.stdout)
    assert len(got["CFItems"]) == items
    assert len(got["CFAssociations"]) == associations
    for kind in ("CFItems", "CFAssociations"):
        assert with_utc_timestamps(got[kind]) == with_utc_timestamps(sent[kind])
    assert with_utc_timestamps(got["CFDocument"]) == with_utc_timestamps(sent["CFDocument"])
    for kind, definitions in sent["CFDefinitions"].items():
        by_id = {one["identifier"]: one for one in with_utc_timestamps(got["CFDefinitions"][kind])}
        assert all(by_id[one["identifier"]] == one for one in with_utc_timestamps(definitions))


def test_export_is_a_standard_package(data_dir: Path, tmp_path: Path) -> None:
    body = factories.package_with_every_class()
    assert run("import", write(tmp_path, "one.json", body), data_dir=data_dir).returncode == 0
    target = tmp_path / "out.json"
    ran = run("export", body["CFDocument"]["identifier"], "-o", str(target), data_dir=data_dir)
    assert ran.returncode == 0, ran.stderr
    assert "sourcedId" not in target.read_text()
    got = json.loads(target.read_text())
    assert "CFPackageURI" not in got["CFDocument"]
    assert all("CFDocumentURI" not in one for one in got["CFItems"] + got["CFAssociations"])
    assert got["CFRubrics"] == body["CFRubrics"]
    assert not list(tmp_path.glob("*.partial"))


def test_export_of_unknown_identifier_fails(data_dir: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    ran = run("export", "unknown", "-o", str(target), data_dir=data_dir)
    assert ran.returncode == 1
    assert "unknown" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["case-json", "csv"])
def test_export_to_closed_pipe_ends_quietly(data_dir: Path, tmp_path: Path, form: str) -> None:
    body = factories.package(CFItems=[factories.packed_item() for _ in range(3000)])
    body["CFAssociations"] = []
    assert run("import", write(tmp_path, "one.json", body), data_dir=data_dir).returncode == 0
    identifier = body["CFDocument"]["identifier"]
    command = shlex.join((*COMMAND, "export", identifier, "--format", form))
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -c 50"],
        env=build_environment(data_dir),
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, len(ran.stdout)) == (0, 50)
    assert ran.stderr.decode() == f"reading from the embedded Postgres in {data_dir}\n"


def test_export_to_unwritable_file_fails(data_dir: Path, tmp_path: Path) -> None:
    body = factories.package()
    assert run("import", write(tmp_path, "one.json", body), data_dir=data_dir).returncode == 0
    identifier = body["CFDocument"]["identifier"]
    full = Path("/dev/full")  # only writing shows that it cannot be written
    for target, code in ((tmp_path, 2), (tmp_path / "nowhere" / "out.json", 2), (full, 1)):
        ran = run("export", identifier, "-o", str(target), data_dir=data_dir)
        assert ran.returncode == code
        assert f"cannot write {target}" in ran.stderr
        assert "Traceback" not in ran.stderr
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
    ran = run("import", "--strict", *sources, data_dir=data_dir)
    assert ran.returncode == 1
    assert "bad.json: refused, 2 problems" in ran.stderr
    assert "CFItems[0].fullStatement: required" in ran.stderr
    assert "CFAssociations[0].associationType: must be one of" in ran.stderr
    assert "text.json: refused: the file is not JSON" in ran.stderr
    assert "packed.json: refused: is compressed with gzip" in ran.stderr
    assert "rename it to packed.json.gz" in ran.stderr
    assert "good.json: created" in ran.stdout
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
            factories.association(child, parent, f"of-{child}", sequenceNumber=place)
            for place, (child, parent) in enumerate(pairs, 1)
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
    again, fresh = (
        json.loads(run("export", identifier, data_dir=folder).stdout)
        for folder in (data_dir, empty)
    )
    assert again == fresh
    assert len(again["CFItems"]) == 6
    assert {one["identifier"] for one in again["CFAssociations"]} == {
        f"of-{child}" for child in (first, second, left, moved, new["identifier"])
    }


def test_sample_is_imported(data_dir: Path) -> None:
    ran = run("import", "--sample", data_dir=data_dir)
    assert ran.returncode == 0, ran.stderr
    exported = run("export", SAMPLE_DOCUMENT_ID, data_dir=data_dir)
    sent, got = json.loads(read_sample()), json.loads(exported.stdout)
    for entity in sent["CFItems"] + sent["CFAssociations"]:
        entity.pop("CFDocumentURI", None)
    assert {name: in_order(part) for name, part in got.items()} == {
        name: in_order(part) for name, part in sent.items()
    }


def in_order(part: Any) -> Any:
    """Sort lists of definitions, because shared ones have the order of the first import."""
    if isinstance(part, dict) and "CFItemTypes" in part:
        return {
            name: sorted(one, key=lambda each: str(each["identifier"]))
            if isinstance(one, list)
            else one
            for name, one in part.items()
        }
    return part


def test_second_server_reads_from_the_first(new_data_dir: NewDataDir) -> None:
    """Both servers have the same framework after an import by URL."""
    first, second = new_data_dir(), new_data_dir()
    assert run("import", "--sample", data_dir=first).returncode == 0
    with run_live_server(first) as server:
        prefix = f"{server.base_url}/1edtech/ims/case/v1p1"
        url = f"{prefix}/CFPackages/{SAMPLE_DOCUMENT_ID}?extensions=true"
        ran = run("import", url, data_dir=second)
        assert ran.returncode == 1
        assert "answered 401" in ran.stderr
        ran = run("import", url, "--token", server.token(), data_dir=second)
        assert ran.returncode == 0, ran.stderr
    ours, theirs = (
        json.loads(run("export", SAMPLE_DOCUMENT_ID, data_dir=data_dir).stdout)
        for data_dir in (first, second)
    )
    # The standard's package does not say its own name, only its document's.
    del ours["CFDocument"]["CFPackageURI"]
    assert ours == theirs
    assert ours["CFRubrics"]


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
    ran = run("import", source, "--report", str(report), data_dir=data_dir)
    assert ran.returncode == 0, ran.stderr
    assert "string-for-list (2)" in ran.stdout
    (outcome,) = json.loads(report.read_text())
    assert outcome["status"] == "created"
    assert (outcome["items"], outcome["associations"]) == (2, 1)
    assert {repair["kind"]: repair["count"] for repair in outcome["repairs"]} == {
        "string-for-list": 2,
        "association-type": 1,
    }
    got = json.loads(run("export", body["CFDocument"]["identifier"], data_dir=data_dir).stdout)
    assert [item["educationLevel"] for item in got["CFItems"]] == [["06", "07"]] * 2
    assert got["CFAssociations"][0]["associationType"] == "isRelatedTo"


def test_strict_rejects_repairable_files(data_dir: Path, tmp_path: Path) -> None:
    source = write(tmp_path, "one.json", repairable())
    ran = run("import", "--strict", source, data_dir=data_dir)
    assert ran.returncode == 1
    assert "refused, 3 problems" in ran.stderr


def test_unrepairable_file_is_rejected_with_its_paths(data_dir: Path, tmp_path: Path) -> None:
    body, report = repairable(), tmp_path / "report.json"
    body["CFItems"][1]["statusStartDate"] = "last spring"
    body["CFAssociations"][0]["associationType"] = "isFriendOf"
    source = write(tmp_path, "one.json", {"CFPackage": body})
    ran = run("import", "--report", str(report), source, data_dir=data_dir)
    assert ran.returncode == 1
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
    ran = run("import", str(folder), data_dir=data_dir)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("created") == 2
    ran = run("import", "--quiet", str(folder), data_dir=data_dir)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("name", mark_slow_except(["opensalt-2017-sample"], REAL_FRAMEWORKS))
def test_export_of_real_file_is_valid_and_unchanged(
    shared: Path, new_data_dir: NewDataDir, tmp_path: Path, name: str
) -> None:
    """Import each real framework, most of which need repair, and import its export strictly."""
    data_dir, output = new_data_dir(), str(tmp_path / "exported.json")
    ran = run("import", str(shared / "frameworks" / f"{name}.json"), data_dir=data_dir)
    assert ": created " in ran.stdout, ran.stderr
    identifier = ran.stdout.split("created ")[1].split(":")[0]
    exported = run("export", identifier, "-o", output, data_dir=data_dir)
    assert exported.returncode == 0, exported.stderr
    again = run("import", "--strict", output, data_dir=data_dir)
    assert ": unchanged " in again.stdout, again.stderr
