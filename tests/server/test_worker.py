import subprocess
import sys

import pytest

GROWTH = """
import hashlib
from pathlib import Path

import case_server.server.worker as worker


def resident_kilobytes():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


worker._tune_process()
before = resident_kilobytes()
for _ in range(3):
    hashlib.scrypt(b"secret", salt=bytes(16), n=2**14, r=8, p=1, maxmem=2**26)
print(resident_kilobytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and tunes glibc")
def test_memory_of_large_blocks_is_returned() -> None:
    output = subprocess.run(
        [sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True
    ).stdout
    assert int(output) < 4_000  # one block has 16,000
