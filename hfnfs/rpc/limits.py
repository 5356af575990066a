"""What one server takes on, each bound with its reason."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond these the server pushes back (it stops reading) or closes; it never grows."""

    # The longest sensible call: a WRITE of 1 MiB (Linux clients write no more), its header, handle.
    record_bytes_max: int = MIB + 64 * KIB
    # Calls that wait on one connection before we stop reading from it; Linux sends up to 128.
    calls_in_flight_max: int = 256
    # Replies that the client has not taken yet, in one connection: eight READs of 1 MiB.
    unsent_bytes_max: int = 8 * MIB
    # A mount opens 1 to 16 (nconnect), and a server has a handful of mounts.
    connections_max: int = 256
    # Replies of calls that must not run twice. Clients send again what is at most minutes old;
    # such replies are about 250 bytes each.
    replies_kept_max: int = 4096
    reply_bytes_kept_max: int = 4 * MIB
