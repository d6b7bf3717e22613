"""Copies of 1 GiB on NFS, and what other programs need for them. cases/nfs.py runs it in the guest:

    copies_on_nfs.py --cairnd FILE --cairnctl FILE --stubs DIR ROUNDS FILE

Writes {job: [milliseconds, ...]} to FILE.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'nfs'))

# pylint: disable=wrong-import-position
import cairn_on_nfs as nfs
from cairn_on_nfs import MIB, PLAIN, REFLINK
from rounds import in_rounds
from timing import milliseconds

SIZE = 1024 * MIB


class CopiesOnNfs(nfs.NfsTest):
    """A server on both exports, and the jobs; each removes what it has made."""

    def written_volume(self, share):
        """A raw volume, each of its blocks written, none of them zeros."""
        volume = self.create(size_bytes=SIZE, share=share, format=nfs.SPARSE)
        block = os.urandom(4 * MIB)
        with open(self.path(volume, volume.active_file), 'r+b') as file:
            for _ in range(SIZE // len(block)):
                file.write(block)
            os.fsync(file.fileno())
            # The server, in the same guest, has it in memory already.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return volume

    def creating(self, **fields):
        def create():
            made = []
            os.sync()
            taken = milliseconds(lambda: made.append(self.create(**fields)))
            self.delete(made[0].id)
            return [taken]
        return create

    @staticmethod
    def running(*command, makes):
        def run():
            os.sync()
            taken = milliseconds(nfs.run, *command)
            os.remove(makes)
            return [taken]
        return run

    def jobs(self):
        found = {}
        for name, share in (('reflink', REFLINK), ('plain', PLAIN)):
            volume = self.written_volume(share)
            source, copy = self.path(volume, volume.active_file), self.path(volume, 'copy')
            found[f'clone-{name}'] = self.creating(source_volume_id=volume.id, share=share,
                                                   format=nfs.SPARSE)
            if share == REFLINK:
                found[f'convert-{name}'] = self.running(
                    'qemu-img', 'convert', '-f', 'raw', '-O', 'raw', source, copy, makes=copy)
            else:
                found[f'cp-{name}'] = self.running('cp', source, copy, makes=copy)
            found[f'thick-{name}'] = self.creating(size_bytes=SIZE, share=share, format=nfs.THICK)
            found[f'dd-{name}'] = self.running(
                'dd', 'if=/dev/zero', f'of={copy}', 'bs=1M', 'count=1024', makes=copy)
        return found

    def measure(self, rounds):
        self.serve(REFLINK, PLAIN, options='vers=4.2')
        try:
            jobs = self.jobs()
            in_rounds(1, **jobs)  # the caches were cold
            return in_rounds(rounds, **jobs)
        finally:
            self.doCleanups()


def main():
    taken = CopiesOnNfs().measure(int(sys.argv[1]))
    with open(sys.argv[2], 'w', encoding='utf-8') as file:
        json.dump(taken, file)


if __name__ == '__main__':
    main()
