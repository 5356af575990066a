"""ONC RPC version 2 over TCP (RFC 5531, RFC 4506); it knows nothing of NFS."""
