"""Write one big file with dd, and say what it was.

dd.py FILE MIB
"""

import hashlib
import json
import random
import subprocess
import sys

name, mib = sys.argv[1], int(sys.argv[2])
dice, digest = random.Random(mib), hashlib.sha256()
argv = ["dd", f"of={name}", "bs=1M", "iflag=fullblock", "conv=fsync", "status=none"]
with subprocess.Popen(argv, stdin=subprocess.PIPE) as dd:
    assert dd.stdin is not None
    for _ in range(mib):
        data = dice.randbytes(1024 * 1024)
        digest.update(data)
        dd.stdin.write(data)
    dd.stdin.close()
print(json.dumps({"exit": dd.returncode, "sha256": digest.hexdigest()}))
