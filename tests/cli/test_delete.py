"""`case-server purge`: what it reports, asks and removes."""

import re
from pathlib import Path

from support.databases import MigratedDatabase
from support.live_server import run_command_in_process as run


def test_purge_without_yes_asks_for_confirmation(
    migrated_database: MigratedDatabase, tmp_path: Path
) -> None:
    url = migrated_database("purged")

    def case_server(*command: str, stdin: str | None = None, code: int = 0) -> str:
        result = run(*command, data_dir=tmp_path, stdin=stdin, CASE_SERVER_DATABASE_URL=url)
        assert result.returncode == code, result.stderr
        return result.stdout

    def delete_framework() -> None:
        (document,) = set(re.findall(r"[0-9a-f-]{36}", case_server("import", "--sample")))
        case_server("delete", "document", document)

    purge = ("purge", "--older-than", "0h")
    delete_framework()
    dry_run_output = case_server(*purge, "--dry-run")
    assert "CFDocument: 1 would be removed\n" in dry_run_output
    declined_output = case_server(*purge, stdin="n\n", code=1)
    assert declined_output.startswith(f"{dry_run_output}Remove them permanently? ")
    confirmed_output = case_server(*purge, stdin="y\n")
    assert confirmed_output.startswith(dry_run_output)
    expected_end = dry_run_output.replace("would be removed", "removed")
    assert confirmed_output.endswith(expected_end)
    delete_framework()
    # Without a dry run first, which would take as long again.
    unprompted_output = case_server(*purge, "--yes")
    assert "CFDocument: 1 removed\n" in unprompted_output
    assert "would be" not in unprompted_output
    assert case_server(*purge, "--yes") == "nothing was deleted that long ago\n"
