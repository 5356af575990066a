"""What a mount must show: the model of a volume that we change, that crashes and starts again."""

from dataclasses import dataclass, field

Path = str


@dataclass
class File:
    """A file: its bytes now, and all that they may be after a crash."""

    data: bytes = b""
    # What it was at the last moment that was answered as stable, and everything since.
    past: list[bytes] = field(default_factory=lambda: [b""])

    def write(self, offset: int, data: bytes) -> None:
        now = bytearray(self.data.ljust(offset, b"\0"))
        now[offset : offset + len(data)] = data
        self.data = bytes(now)
        self.past.append(self.data)

    def truncate(self, size: int) -> None:
        """Which is stable, though what was written before may not be."""
        self.data = self.data[:size].ljust(size, b"\0")
        self.past = [each[:size].ljust(size, b"\0") for each in [*self.past, self.data]]

    def commit(self) -> None:
        self.past = [self.data]

    def may_be(self, data: bytes) -> bool:
        """Whether that may be left by a crash: each byte is of some moment since."""
        sizes = {len(each) for each in self.past}
        return len(data) in sizes and all(
            any(at < len(each) and each[at] == byte for each in self.past)
            or (byte == 0 and any(at >= len(each) for each in self.past))
            for at, byte in enumerate(data)
        )


@dataclass
class Link:
    """A symbolic link."""

    target: bytes


class Directory(dict[str, "Thing"]):
    """Names."""


Thing = File | Link | Directory


class Refused(Exception):
    """The model says it cannot be done."""


class Volume:
    """Directories, files and links, by path."""

    def __init__(self) -> None:
        self.root = Directory()

    def at(self, path: Path) -> Thing | None:
        thing: Thing = self.root
        for name in filter(None, path.split("/")):
            if not isinstance(thing, Directory) or name not in thing:
                return None
            thing = thing[name]
        return thing

    def home(self, path: Path) -> tuple[Directory, str]:
        directory, _, name = path.rpartition("/")
        home = self.at(directory)
        if not isinstance(home, Directory):
            raise Refused
        return home, name

    def file(self, path: Path) -> File:
        thing = self.at(path)
        if not isinstance(thing, File):
            raise Refused
        return thing

    def make(self, path: Path, thing: Thing) -> None:
        home, name = self.home(path)
        if name in home:
            raise Refused
        home[name] = thing

    def remove(self, path: Path) -> None:
        home, name = self.home(path)
        if name not in home or isinstance(home[name], Directory):
            raise Refused
        del home[name]

    def remove_directory(self, path: Path) -> None:
        home, name = self.home(path)
        thing = home.get(name)
        if not isinstance(thing, Directory) or thing:
            raise Refused
        del home[name]

    def rename(self, old: Path, new: Path) -> None:
        from_home, from_name = self.home(old)
        to_home, to_name = self.home(new)
        thing, there = from_home.get(from_name), to_home.get(to_name)
        if thing is None:
            raise Refused
        if thing is there:
            return
        if isinstance(thing, Directory) and f"{new}/".startswith(f"{old}/"):
            raise Refused
        if there is not None and isinstance(there, Directory) != isinstance(thing, Directory):
            raise Refused
        if isinstance(there, Directory) and there:
            raise Refused
        del from_home[from_name]
        to_home[to_name] = thing

    def link(self, old: Path, new: Path) -> None:
        thing = self.at(old)
        if thing is None or isinstance(thing, Directory):
            raise Refused
        twin = Link(thing.target) if isinstance(thing, Link) else File(thing.data, [thing.data])
        self.make(new, twin)

    def walk(self) -> dict[Path, Thing]:
        found: dict[Path, Thing] = {}
        below: list[tuple[str, Directory]] = [("", self.root)]
        while below:
            base, directory = below.pop()
            for name, thing in directory.items():
                found[base + name] = thing
                if isinstance(thing, Directory):
                    below.append((f"{base}{name}/", thing))
        return found
