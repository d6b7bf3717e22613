"""What a disk may hold after writes of which some were under way when something happened.

Each block that is written carries a stamp: the disk, its own number, and the number of the write.
So what a block holds says which write it is from. Each write is known with two ticks of one clock:
when it was issued and when it was acknowledged. From these follows exactly

  what a snapshot may hold: there is one instant, between the call and its answer, at which every
  write was in that had been acknowledged, and none that had not been issued. Whether there is such
  an instant is computed over all blocks, and over all disks of a group;

  what a disk may hold after its machine's death: in each block the last write that had been
  acknowledged before a flush that was acknowledged, or any later one.
"""

import itertools
import struct

BLOCK = 4096
_STAMP = struct.Struct('<IIQ')
_COPIES = BLOCK // _STAMP.size
_ZEROS = bytes(BLOCK)
FOREVER = float('inf')


class Clock:
    """Gives each event a number; any thread."""

    def __init__(self):
        self._count = itertools.count(1)

    def tick(self):
        return next(self._count)


class Write:
    """One write as one block sees it. `value`: its number, or 0 for zeros."""

    __slots__ = ('value', 'issued', 'acknowledged')

    def __init__(self, value, issued=0, acknowledged=FOREVER):
        self.value = value
        self.issued = issued
        self.acknowledged = acknowledged


class WrongContent(AssertionError):
    pass


class DiskModel:
    """The history of one disk. Blocks may be written by several threads, each block by one."""

    _tags = itertools.count(1)

    def __init__(self, clock, size):
        self.clock = clock
        self.size = size
        self.tag = next(DiskModel._tags)
        self.history = {}
        self.flushed = 0  # every write that was acknowledged before this tick is durable
        self._values = itertools.count(1)

    # What the writer says.

    def issue(self, first, count, zeros=False):
        """A write of some blocks begins. Gives the bytes and what to hand to acknowledge()."""
        value = 0 if zeros else next(self._values)
        write = Write(value, self.clock.tick())
        for block in range(first, first + count):
            writes = self.history.get(block)
            if writes is None:
                writes = self.history[block] = [Write(0, 0, 0)]
            writes.append(write)
        data = bytes(count * BLOCK) if zeros else b''.join(
            _STAMP.pack(self.tag, block, value) * _COPIES for block in range(first, first + count))
        return data, write

    def acknowledge(self, write):
        write.acknowledged = self.clock.tick()

    def flushed_since(self, issued):
        """A flush that was issued at this tick is acknowledged."""
        self.flushed = max(self.flushed, issued)

    # What is expected.

    def between(self, begin, end):
        """The content at one instant between the two ticks."""
        return Instant(self.history, self.size, begin, end)

    def after_death(self):
        """The content after the machine has died: for whoever opens the disk next."""
        return AfterDeath(self.history, self.flushed, self.size)

    def settle(self, values):
        """The content is known to be this: block -> value. What was expected before stays as it
        was expected."""
        now = self.clock.tick()
        self.history = {block: [Write(value, 0, now)] for block, value in values.items()}
        self.flushed = self.clock.tick()

    # What is there.

    def read(self, data):
        """The blocks of a disk's content: block -> value, without those that are zeros."""
        values = {}
        for block in range(len(data) // BLOCK):
            piece = data[block * BLOCK:(block + 1) * BLOCK]
            if piece == _ZEROS:
                continue
            tag, number, value = _STAMP.unpack_from(piece)
            if (tag, number) != (self.tag, block) or \
                    piece != _STAMP.pack(tag, number, value) * _COPIES:
                raise WrongContent(f'block {block} holds what was never written: '
                                   f'{bytes(piece[:32]).hex()}...')
            values[block] = value
        return values


class Instant:
    """The content of one disk at one instant."""

    def __init__(self, history, size, begin, end):
        self.history, self.size = history, size
        self.begin, self.end = begin, end

    def instants(self, values):
        """At which ticks the disk held this: a list of open intervals."""
        possible = [(self.begin, self.end)]
        for block in self.history.keys() | values.keys():
            value = values.get(block, 0)
            writes = self.history.get(block) or [Write(0, 0, 0)]
            here = []
            for write, after in itertools.zip_longest(writes, writes[1:]):
                if write.value == value:
                    here.append((write.issued, after.acknowledged if after else FOREVER))
            possible = [(max(a, c), min(b, d)) for a, b in possible for c, d in here
                        if max(a, c) < min(b, d)]
            if not possible:
                known = [(w.value, w.issued, w.acknowledged) for w in writes[-8:]]
                raise WrongContent(
                    f'there was no instant between {self.begin} and {self.end} at which the disk '
                    f'held this: block {block} holds {value}, its last writes were {known}')
        return possible

    def check(self, values):
        self.instants(values)


class AfterDeath:
    """The content of a disk whose machine has died."""

    def __init__(self, history, flushed, size):
        self.size = size
        self.allowed = {}
        for block, writes in list(history.items()):
            last = max(i for i, write in enumerate(writes)
                       if i == 0 or write.acknowledged < flushed)
            self.allowed[block] = {write.value for write in writes[last:]}

    def check(self, values):
        for block in self.allowed.keys() | values.keys():
            allowed = self.allowed.get(block, {0})
            if values.get(block, 0) not in allowed:
                raise WrongContent(f'block {block} holds {values.get(block, 0)} after the death of '
                                   f'its machine; it may hold {sorted(allowed)}')


class Either:
    """As one or the other says."""

    def __init__(self, *expectations):
        self.expectations = expectations
        self.size = expectations[0].size

    def check(self, values):
        problems = []
        for expectation in self.expectations:
            try:
                expectation.check(values)
                return
            except WrongContent as problem:
                problems.append(str(problem))
        raise WrongContent('; '.join(problems))


def check_one_instant(found):
    """[(Instant, values)] of several disks: there must be one instant for all of them."""
    possible = [(0, FOREVER)]
    for instant, values in found:
        possible = [(max(a, c), min(b, d)) for a, b in possible
                    for c, d in instant.instants(values) if max(a, c) < min(b, d)]
        if not possible:
            raise WrongContent('the disks are not of one instant')
