"""Read a file from its beginning to its end.

whole_read.py FILE
"""

import hashlib
import json
import sys

with open(sys.argv[1], "rb") as file:
    print(json.dumps({"sha256": hashlib.file_digest(file, "sha256").hexdigest()}))
