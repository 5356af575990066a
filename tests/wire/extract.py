"""Takes the calls of a real client out of a capture, for the tests to replay.

    tcpdump -i lo -U -s 0 -w CAPTURE tcp port PORT          # while the client is at work
    python -m tests.wire.extract CAPTURE PORT > tests/wire/CLIENT.json

The server was one of tests.nfs3.desk, so that its handles are good in every Desk. Kept are the
first two calls of each procedure.
"""

import json
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hfnfs.rpc.message import decode_call
from hfnfs.rpc.record import RecordReader

KEPT_MAX = 2
RECORD_BYTES_MAX = 2 << 20
ETHERNET_BYTES = 14


def segments(capture: bytes, port: int) -> Iterator[tuple[int, int, bytes]]:
    """Source port, sequence number and payload of what was sent to port (pcap, IPv4)."""
    order = "<" if capture[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    at = 24
    while at < len(capture):
        length = struct.unpack_from(f"{order}I", capture, at + 8)[0]
        packet = capture[at + 16 : at + 16 + length]
        at += 16 + length
        ip = packet[ETHERNET_BYTES:]
        tcp = ip[(ip[0] & 15) * 4 : struct.unpack_from(">H", ip, 2)[0]]
        source, destination, sequence = struct.unpack_from(">HHI", tcp)
        payload = tcp[(tcp[12] >> 4) * 4 :]
        if destination == port and payload:
            yield source, sequence, payload


def records(capture: bytes, port: int) -> Iterator[bytes]:
    """The records of all connections to port, one connection after the other."""
    streams: dict[int, dict[int, bytes]] = {}
    for source, sequence, payload in segments(capture, port):
        streams.setdefault(source, {})[sequence] = payload
    for stream in streams.values():
        reader = RecordReader(RECORD_BYTES_MAX)
        sent = b"".join(payload for _, payload in sorted(stream.items()))
        while sent:
            space = reader.space()
            count = min(len(space), len(sent))
            space[:count] = sent[:count]
            sent = sent[count:]
            reader.received(count)
            for buf, start, end in reader.records():
                yield bytes(buf[start:end])


def main(path: str, port: str) -> None:
    kept: Counter[tuple[int, int, int]] = Counter()
    calls: list[tuple[tuple[int, int, int], str]] = []
    for record in records(Path(path).read_bytes(), int(port)):
        header, _ = decode_call(record, 0, len(record))
        target = (header.program, header.version, header.procedure)
        kept[target] += 1
        if kept[target] <= KEPT_MAX:
            calls.append((target, record.hex()))
    json.dump([{"target": t, "record": r} for t, r in sorted(calls)], sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
