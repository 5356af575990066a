"""The port mapper, version 2 (RFC 1833 §3): everything is on this one port, over TCP.

Clients that are told both ports do not ask; those that are not, ask whom they know.
"""

from collections.abc import Sequence

from hfnfs.nfs3.access import Access
from hfnfs.rpc.message import ProcedureUnavailable
from hfnfs.rpc.session import Body, Caller, Program, Run
from hfnfs.rpc.xdr import decode, encode, linked_list_of, struct_of, u32, void, wire

PORTMAP_PROGRAM = 100000
PORTMAP_VERSION = 2
TCP = 6
_NULL, _GETPORT, _DUMP = 0, 3, 4
_MAPPINGS_MAX = 64


@wire
class Mapping:
    """A program's version, over a protocol, and its port."""

    prog: int
    vers: int
    prot: int
    port: int


MAPPING = struct_of(Mapping, prog=u32, vers=u32, prot=u32, port=u32)
MAPPINGS = linked_list_of(MAPPING, _MAPPINGS_MAX)


class ProgramPortmap2:
    """Tells the port of the programs given, and its own.

    `port` is set when the server listens; until then it is 0, which says "not registered".
    """

    number = PORTMAP_PROGRAM
    versions = (PORTMAP_VERSION, PORTMAP_VERSION)

    def __init__(self, programs: Sequence[Program], access: Access) -> None:
        self.port = 0
        self._programs: Sequence[Program] = (*programs, self)
        self._access = access

    def runs_once(self, version: int, procedure: int) -> bool:
        """Nothing here changes anything."""
        return False

    def runner(self, version: int, procedure: int, caller: Caller) -> Run:
        """Give what answers NULL, GETPORT, DUMP; what registers or forwards is unavailable."""
        self._access.check(caller)
        answers = {_NULL: self._null, _GETPORT: self._getport, _DUMP: self._dump}
        if procedure not in answers:
            raise ProcedureUnavailable(procedure)
        answer = answers[procedure]
        return lambda buf, pos, end, _key=None: answer(buf, pos, end)

    def _null(self, buf: bytes | memoryview, pos: int, end: int) -> Body:
        decode(void, buf, pos, end)
        return b""

    def _getport(self, buf: bytes | memoryview, pos: int, end: int) -> Body:
        return encode(u32, self.port_of(decode(MAPPING, buf, pos, end)))

    def _dump(self, buf: bytes | memoryview, pos: int, end: int) -> Body:
        decode(void, buf, pos, end)
        return encode(MAPPINGS, self.mappings())

    def port_of(self, wanted: Mapping) -> int:
        """Give the port of a program's version over a protocol; 0 if it is not here."""
        for mapping in self.mappings():
            if (mapping.prog, mapping.vers, mapping.prot) == (
                wanted.prog,
                wanted.vers,
                wanted.prot,
            ):
                return mapping.port
        return 0

    def mappings(self) -> list[Mapping]:
        """Give a line for each version of each program."""
        return [
            Mapping(program.number, version, TCP, self.port)
            for program in self._programs
            for version in range(program.versions[0], program.versions[1] + 1)
        ]
