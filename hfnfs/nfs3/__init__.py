"""NFS version 3, MOUNT version 3 and the port mapper's GETPORT (RFC 1813, RFC 1833)."""
