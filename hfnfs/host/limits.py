"""How many files this process may have open."""

import resource

OPEN_FILES_WANTED = 65536


def raise_open_files_limit() -> int:
    """Raise the soft limit as far as we may (macOS begins with 256); gives what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = OPEN_FILES_WANTED if hard == unlimited else min(OPEN_FILES_WANTED, hard)
    if soft != unlimited and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS refuses more than its kernel's own limit
            return soft
        return wanted
    return soft
