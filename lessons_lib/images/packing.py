"""Writes directories of tags, with a place in the file for everything they hold."""

import struct

from lessons_lib.images.directories import SIZES, Directory, Entry, integer, long, turned


def packed(
    directory: Directory,
    start: int,
    order: str = "<",
    wide: bool = False,
    more: bool = False,
    pinned: Entry | None = None,
) -> bytes:
    """A directory with all that hangs on it, as the bytes of a file.

    Args:
        directory: its tags are written in the order of their numbers.
        start: where in the file the bytes will stand, an even number.
        order: "<" or ">".
        wide: for BigTIFF.
        more: whether another directory follows right after these bytes.
        pinned: the one entry, of any of the directories, that must stay at its old place.
    """
    layout = _Layout(start, pinned)
    _place(layout, directory, order, wide)
    layout.reserve(0)
    end = start + len(layout.data)
    if more:
        head, slot, link = (8, 20, 8) if wide else (2, 12, 4)
        number = len(directory.entries) + len(directory.children)
        where = head + slot * number
        layout.data[where : where + link] = integer(end, link, order)
    return bytes(layout.data)


class _Layout:
    """Gives out places in a file, round one that is taken."""

    def __init__(self, start: int, taken: Entry | None) -> None:
        self.start = start
        self.data = bytearray()
        self.taken = taken

    def reserve(self, size: int) -> int:
        self.data += bytes(len(self.data) % 2)
        place = self.start + len(self.data)
        if self.taken:
            end = self.taken.place + len(self.taken.data)
            if place < end and place + size > self.taken.place:
                self.data += bytes(end - place)
                return self.reserve(size)
        self.data += bytes(size)
        return place

    def put(self, place: int, data: bytes) -> None:
        begin = place - self.start
        self.data += bytes(max(0, begin + len(data) - len(self.data)))
        self.data[begin : begin + len(data)] = data


def _place(layout: _Layout, directory: Directory, order: str, wide: bool) -> int:
    head, slot, link = (8, 20, 8) if wide else (2, 12, 4)
    codes = sorted({*directory.entries, *directory.children})
    start = layout.reserve(head + slot * len(codes) + link)
    layout.put(start, integer(len(codes), head, order))
    for index, code in enumerate(codes):
        if code in directory.children:
            where = _place(layout, directory.children[code], order, wide)
            entry = long(where)
        else:
            entry = directory.entries[code]
        content = turned(entry.data, SIZES[entry.kind][1], order)
        if len(content) > link:
            where = entry.place if entry is layout.taken else layout.reserve(len(content))
            layout.put(where, content)
            content = integer(where, link, order)
        fixed = struct.pack(f"{order}HH", code, entry.kind) + integer(entry.count, link, order)
        layout.put(start + head + slot * index, fixed + content.ljust(link, b"\0"))
    return start
