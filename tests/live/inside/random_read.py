"""Read 4 KiB at a place of a big file.

random_read.py FILE OFFSET
"""

import hashlib
import json
import os
import sys

name, offset = sys.argv[1:]
file = os.open(name, os.O_RDONLY)
data = os.pread(file, 4096, int(offset))
print(json.dumps({"sha256": hashlib.sha256(data).hexdigest(), "size": os.fstat(file).st_size}))
