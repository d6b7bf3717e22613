"""What the NFS client has asked its server for, as the kernel counts (/proc/self/mountstats)."""

import collections
import os


class Counts(collections.Counter):
    """Requests by kind (CLONE, WRITE...), and in `written` the bytes that WRITEs have carried."""

    written = 0

    def since(self, earlier):
        counts = Counts({kind: count - earlier[kind] for kind, count in self.items()
                         if count != earlier[kind]})
        counts.written = self.written - earlier.written
        return counts


def of_mount(mount_point):
    """Since it was mounted. What is not synced yet has not been asked for: sync first."""
    counts = Counts()
    ours, kinds = False, False
    with open('/proc/self/mountstats', encoding='utf-8') as file:
        for line in file:
            words = line.split()
            if line.startswith('device '):
                ours, kinds = words[words.index('on') + 1] == mount_point, False
            elif ours and 'per-op statistics' in line:
                kinds = True
            elif ours and kinds and words:
                counts[words[0].rstrip(':')] = int(words[1])
            elif ours and words and words[0] == 'bytes:':
                # What applications read and wrote comes first, then with O_DIRECT, then the server.
                counts.written = int(words[6])
    if not counts:
        raise AssertionError(f'no NFS is mounted on {mount_point}')
    return counts


def asked_by(mount_point, job):
    """The requests of `job()`, until all that it wrote is on the server."""
    os.sync()
    before = of_mount(mount_point)
    job()
    os.sync()
    return of_mount(mount_point).since(before)
