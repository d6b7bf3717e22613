"""What a change asks of the kernel, counted by strace: an upper bound, so that nobody adds a child
process, a sync or a walk through the share to a path that has none.

    syscalls_test.py --cairnd FILE --stubs DIR [TEST]
"""

import collections
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support', 'python'))

# It finds the stubs, which all that follows needs.
import setting

from cairn.v1 import snapshot_service_pb2, snapshot_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from google.protobuf import duration_pb2

from cairn_server import CairnServer

ROUNDS = 20
PROCESSES = {'fork', 'vfork', 'clone', 'clone3', 'execve'}
DIRECTORY_READS = {'getdents64'}
SYNCS = {'fsync', 'fdatasync', 'sync_file_range', 'syncfs'}
# On files, without the catalog's, whose pages and locks are SQLite's affair.
FILES = {'openat', 'close', 'newfstatat', 'fstat', 'statx', 'fchmod', 'fchown', 'ftruncate',
         'fallocate', 'pread64', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat', 'statfs',
         'fstatfs', 'lseek', 'mkdir', 'access', 'readlink'} | SYNCS | DIRECTORY_READS
# With the syncs.
CREATE_SYNCS, CREATE_FILES = 3, 17
SNAPSHOT_SYNCS, SNAPSHOT_FILES = 4, 30
ATTACH_FILES = 11
WAIT = duration_pb2.Duration(seconds=30)


class SyscallsTest(unittest.TestCase):
    def setUp(self):
        self.server = CairnServer(setting.CAIRND)
        self.addCleanup(self.server.close)
        self.volumes = volume_service_pb2_grpc.VolumeServiceStub(self.server.channel)
        self.snapshots = snapshot_service_pb2_grpc.SnapshotServiceStub(self.server.channel)

    def create(self):
        made = self.volumes.CreateVolume(volume_service_pb2.CreateVolumeRequest(
            size_bytes=1 << 30, format=volume_pb2.VOLUME_FORMAT_QCOW2, wait=WAIT))
        return made.operation.volume.id

    def count(self, change):
        """How many calls of each name one change makes, rounded down: what the server does besides,
        such as probing the share, is no part of it."""
        for _ in range(3):
            change()
        output = os.path.join(tempfile.mkdtemp(dir=self.server.root), 'strace')
        names = ','.join(sorted(FILES | PROCESSES - {'fork', 'vfork'}))
        strace = subprocess.Popen(
            ['strace', '-f', '-qq', '-o', output, '-e', f'trace={names}',
             '-p', str(self.server.process.pid)], stdin=subprocess.DEVNULL)
        try:
            self.await_traced()
            for _ in range(ROUNDS):
                change()
        finally:
            strace.terminate()
            strace.wait(30)
        found = collections.Counter()
        with open(output, encoding='utf-8', errors='replace') as lines:
            for line in lines:
                call = re.match(r'\d+ +(\w+)\(', line)
                if call:
                    found[call[1]] += 1
        return {name: count // ROUNDS for name, count in found.items() if count >= ROUNDS}, found

    def await_traced(self):
        give_up = time.monotonic() + 30
        task = f'/proc/{self.server.process.pid}/task'
        while time.monotonic() < give_up:
            states = []
            for thread in os.listdir(task):
                with open(f'{task}/{thread}/status', encoding='utf-8') as status:
                    states.append(re.search(r'TracerPid:\t(\d+)', status.read())[1] != '0')
            if all(states):
                return
            time.sleep(0.02)
        self.fail('strace does not trace the server')

    def expect(self, change, syncs, files):
        each, found = self.count(change)
        shown = dict(sorted(each.items()))
        for name in sorted(PROCESSES | DIRECTORY_READS):
            self.assertLess(found[name], ROUNDS, f'{name}: {shown}')
        self.assertEqual(sum(each.get(name, 0) for name in SYNCS), syncs, shown)
        self.assertLessEqual(sum(each.get(name, 0) for name in FILES), files, shown)

    def test_create_volume(self):
        # The image, its directory; the plan in the journal. Its end goes with what is synced next.
        self.expect(self.create, syncs=CREATE_SYNCS, files=CREATE_FILES)

    def test_create_snapshot(self):
        # The layer, the map, their directory; the plan.
        self.expect(lambda: self.snapshots.CreateSnapshot(
            snapshot_service_pb2.CreateSnapshotRequest(volume_id=self.create(), wait=WAIT)),
            syncs=CREATE_SYNCS + SNAPSHOT_SYNCS, files=CREATE_FILES + SNAPSHOT_FILES)

    def test_attach_volume(self):
        volume = self.create()
        # It is journalled once, as ended.
        self.expect(lambda: self.volumes.AttachVolume(volume_service_pb2.AttachVolumeRequest(
            volume_id=volume, instance_id='instance', wait=WAIT)), syncs=1, files=ATTACH_FILES)


if __name__ == '__main__':
    unittest.main()
