import platform
import subprocess
import sys

import pytest

TWO_BLOCKS = """
import resource
from passion_components.engines.memory import keep_freed_memory
keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"1") * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library gives its memory back as it likes")
def test_a_block_taken_again_is_not_asked_of_the_system_again():
    found = subprocess.run([sys.executable, "-c", TWO_BLOCKS], capture_output=True, text=True, check=True)
    first, second = map(int, found.stdout.split())
    assert first > 100 * max(second, 1)
