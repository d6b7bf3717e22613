"""The machine whose power power_cut_test.py cuts: a disk with Cairn's state and a share, another
one that it exports by NFS and mounts itself.

    power_cut.py --cairnd FILE --stubs DIR TOLD [--check]

First checks what TOLD says, a line of JSON each: what an earlier life of this machine has told.
Then goes on to change things, and tells each on its output when it is done, until the power fails.
With --check it ends instead.
"""

import collections
import json
import os
import random
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'support', 'python'))

import setting

from google.protobuf import duration_pb2

from cairn.v1 import operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import pool_pb2, pool_service_pb2, pool_service_pb2_grpc
from cairn.v1 import snapshot_pb2, snapshot_service_pb2, snapshot_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from cairn_server import CairnServer

DISK = '/run/disk'
NFS = os.environ['CAIRN_NFS_PLAIN']
SIZE = 1 << 20
PIECE = 65536
FORMATS = (volume_pb2.VOLUME_FORMAT_QCOW2, volume_pb2.VOLUME_FORMAT_RAW_SPARSE,
           volume_pb2.VOLUME_FORMAT_RAW_THICK)
NAMES = {volume_pb2.FILE_FORMAT_RAW: 'raw', volume_pb2.FILE_FORMAT_QCOW2: 'qcow2'}
UNFINISHED = 'state != SUCCEEDED AND state != FAILED AND state != CANCELLED'
WAIT = duration_pb2.Duration(seconds=60)


def tell(**fact):
    print(json.dumps(fact), flush=True)


def run(*command):
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode != 0:
        raise AssertionError(f'{" ".join(command)}: {result.stdout}')
    return result.stdout


class Server(CairnServer):
    def _write(self, name, text):
        if name == 'nfs_shares':
            text += f'{NFS}\n'
        super()._write(name, text)


class Told:
    """Of one volume."""

    def __init__(self):
        self.patterns = {0}  # what its first piece may hold
        self.snapshots = {}  # what that of each may


class Machine:
    def __init__(self):
        os.makedirs(DISK, exist_ok=True)
        run('mount', os.environ['CAIRN_NFS_OTHER_DISK'], DISK)
        self.server = Server(setting.CAIRND, root=os.path.join(DISK, 'cairn'))
        channel = self.server.channel
        self.volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
        self.snapshots = snapshot_service_pb2_grpc.SnapshotServiceStub(channel)
        self.operations = operation_service_pb2_grpc.OperationServiceStub(channel)
        self.pools = pool_service_pb2_grpc.PoolServiceStub(channel)
        self.told = collections.defaultdict(Told)
        self.directories = {}
        self.await_shares()

    def await_shares(self):
        """The pool serves as soon as one of them does."""
        give_up = time.monotonic() + 60
        while True:
            shares = self.pools.GetPool(pool_service_pb2.GetPoolRequest()).pool.shares
            if all(share.state == pool_pb2.SHARE_STATE_ONLINE for share in shares):
                return
            assert time.monotonic() < give_up, shares
            time.sleep(0.05)

    # What is changed, and told.

    def create(self):
        made = self.volumes.CreateVolume(volume_service_pb2.CreateVolumeRequest(
            size_bytes=SIZE, format=random.choice(FORMATS),
            share=random.choice((f'file://{self.server.share}', NFS)), wait=WAIT)).operation
        tell(volume=self.done(made).volume.id)
        self.told[made.volume.id] = Told()

    def snapshot(self, volume_id):
        taken = self.snapshots.CreateSnapshot(snapshot_service_pb2.CreateSnapshotRequest(
            volume_id=volume_id, wait=WAIT)).operation
        tell(snapshot=self.done(taken).snapshot.id, of=volume_id)

    def write(self, volume_id):
        """As a machine would that has been told the file's name some time ago."""
        volume = self.full(volume_id)
        pattern = random.randrange(1, 256)
        active = volume.chain[-1]
        path = self.path(volume, active.file)
        tell(writing=volume_id, pattern=pattern)
        if active.format == volume_pb2.FILE_FORMAT_RAW:
            with open(path, 'r+b') as file:
                file.write(bytes([pattern]) * PIECE)
                file.flush()
                os.fsync(file.fileno())
        else:
            run('qemu-io', '-f', 'qcow2', '-c', f'write -P {pattern} 0 {PIECE}', '-c', 'flush',
                path)
        tell(written=volume_id, pattern=pattern)

    def change(self):
        """A volume that is new is written to before anything else is asked of Cairn."""
        kind = random.choice(('create', 'create and write', 'snapshot', 'snapshot and write'))
        if kind.startswith('create') or not self.told:
            self.create()
            volume_id = list(self.told)[-1]
        else:
            volume_id = random.choice(list(self.told)[-8:])
            self.snapshot(volume_id)
        if kind.endswith('write'):
            self.write(volume_id)

    # What must hold.

    def check(self, facts):
        self.await_ends()
        for fact in facts:
            self.remember(fact)
        known = set()
        for volume_id, told in self.told.items():
            volume = self.full(volume_id)
            assert volume.state == volume_pb2.VOLUME_STATE_AVAILABLE, volume
            self.check_content(volume, volume.active_file, told.patterns)
            taken = {each.id: each for each in self.snapshots.ListSnapshots(
                snapshot_service_pb2.ListSnapshotsRequest(volume_id=volume_id)).snapshots}
            for snapshot_id, patterns in told.snapshots.items():
                assert taken[snapshot_id].state == snapshot_pb2.SNAPSHOT_STATE_AVAILABLE, taken
                self.check_content(volume, taken[snapshot_id].file, patterns)
        # Those too that nobody was told of.
        for volume in self.volumes.ListVolumes(
                volume_service_pb2.ListVolumesRequest(page_size=1000)).volumes:
            volume = self.full(volume.id)
            known.update(self.path(volume, each.file) for each in volume.chain)
            if len(volume.chain) > 1:
                known.add(self.path(volume, f'volume-{volume.id}.info'))
            for each in volume.chain:
                if each.format == volume_pb2.FILE_FORMAT_QCOW2:
                    run('qemu-img', 'check', '-f', 'qcow2', self.path(volume, each.file))
        found = {os.path.join(directory, name) for directory in self.directories.values()
                 for name in os.listdir(directory) if 'volume-' in name}
        assert found == known, f'left behind: {found - known}; missing: {known - found}'
        tell(checked=len(self.told), snapshots=sum(len(t.snapshots) for t in self.told.values()))

    def remember(self, fact):
        if 'volume' in fact:
            self.told[fact['volume']] = Told()
        elif 'snapshot' in fact:
            told = self.told[fact['of']]
            told.snapshots[fact['snapshot']] = set(told.patterns)
        elif 'writing' in fact:
            self.told[fact['writing']].patterns.add(fact['pattern'])
        elif 'written' in fact:
            self.told[fact['written']].patterns = {fact['pattern']}
        elif 'found' in fact:
            self.told[fact['found']].patterns &= {fact['pattern']}

    def check_content(self, volume, name, patterns):
        form = {each.file: NAMES[each.format] for each in volume.chain}[name]
        flat = '/run/flat'
        run('qemu-img', 'convert', '-f', form, '-O', 'raw', self.path(volume, name), flat)
        with open(flat, 'rb') as file:
            piece = file.read(PIECE)
        assert piece == piece[:1] * PIECE and piece[0] in patterns, \
            f'{name}: {sorted(set(piece))}, not one of {patterns}'
        if name == volume.active_file and len(patterns) > 1:
            tell(found=volume.id, pattern=piece[0])

    def await_ends(self):
        give_up = time.monotonic() + 30
        while True:
            left = self.operations.ListOperations(operation_service_pb2.ListOperationsRequest(
                filter=UNFINISHED)).operations
            if not left:
                return
            assert time.monotonic() < give_up, left
            time.sleep(0.05)

    def full(self, volume_id):
        return self.volumes.GetVolume(volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id, view=volume_pb2.VOLUME_VIEW_FULL)).volume

    def done(self, operation):
        assert operation.HasField('end_time') and not operation.error.code, operation
        return operation

    def path(self, volume, file):
        if volume.share not in self.directories:
            self.directories[volume.share] = self.server.share
            if volume.share == NFS:
                base = os.path.join(self.server.root, 'state', 'mnt')
                self.directories[NFS] = os.path.join(base, *os.listdir(base))
        return os.path.join(self.directories[volume.share], file)


def main():
    with open(sys.argv[1], encoding='utf-8') as file:
        facts = [json.loads(line) for line in file]
    machine = Machine()
    try:
        machine.check(facts)
        while '--check' not in sys.argv:
            machine.change()
    except Exception:
        print(machine.server.log_tail(), file=sys.stderr)
        raise
    machine.server.stop()


if __name__ == '__main__':
    main()
