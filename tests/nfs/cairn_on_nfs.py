"""What the tests of cairnd on NFS shares begin with. They run in the guest that in_guest starts:

    TEST.py --cairnd FILE --cairnctl FILE --stubs DIR [TEST]
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import unittest


def _option(name):
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return value


CAIRND = _option('--cairnd')
CAIRNCTL = _option('--cairnctl')
STUBS = _option('--stubs')
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [STUBS, os.path.join(HERE, '..', 'support', 'python')]

# The stubs are on the path from here on; gRPC's own package must be told where to look for more.
# pylint: disable=wrong-import-position
import grpc

grpc.__path__.append(os.path.join(STUBS, 'grpc'))
from google.rpc import error_details_pb2, status_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import pool_pb2, pool_service_pb2, pool_service_pb2_grpc
from cairn.v1 import snapshot_service_pb2, snapshot_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from cairn_server import CairnServer

MIB = 1 << 20
REFLINK = os.environ['CAIRN_NFS_REFLINK']
PLAIN = os.environ['CAIRN_NFS_PLAIN']
MACHINE = os.path.join(HERE, 'guest', 'machine')
EXPORTS = os.environ['CAIRN_NFS_EXPORTS']
QCOW2 = volume_pb2.VOLUME_FORMAT_QCOW2
SPARSE = volume_pb2.VOLUME_FORMAT_RAW_SPARSE
THICK = volume_pb2.VOLUME_FORMAT_RAW_THICK
ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED,
         operation_pb2.OPERATION_STATE_CANCELLED)
FILE_FORMATS = {volume_pb2.FILE_FORMAT_RAW: 'raw', volume_pb2.FILE_FORMAT_QCOW2: 'qcow2'}


def run(*argv, **options):
    """The output of a program that must succeed."""
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False, **options)
    if result.returncode != 0:
        raise AssertionError(f'{" ".join(argv)}: {result.returncode}\n{result.stdout}')
    return result.stdout


def mounts(directory):
    """The kernel's mounts on a directory: (mount id, type, source, options), the topmost last."""
    found = []
    with open('/proc/self/mountinfo', encoding='utf-8') as file:
        for line in file:
            fields = line.split()
            if fields[4] == directory:
                rest = fields[fields.index('-') + 1:]
                found.append((int(fields[0]), rest[0], rest[1], rest[2]))
    return found


def wait_for(condition, what, seconds=30):
    """The first true value of `condition()`."""
    give_up = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up:
            raise AssertionError(f'{what}: not within {seconds} s')
        time.sleep(0.1)


class Refused(Exception):
    """An error of a call or of an operation: both carry a google.rpc.Status."""

    def __init__(self, status):
        super().__init__(status.message)
        self.code = status.code
        self.info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            detail.Unpack(self.info)

    @staticmethod
    def of_call(error):
        for key, value in error.trailing_metadata() or ():
            if key == 'grpc-status-details-bin':
                return Refused(status_pb2.Status.FromString(value))
        return error


class Server(CairnServer):
    """On NFS shares, which it mounts itself. `lines` are those of the shares file."""

    def __init__(self, *lines, options='', keys='', pool_keys='', machine=None,
                 awaited='pool/default'):
        self.lines = lines
        self.machine = machine
        self.awaited = awaited
        self.options = options
        self.keys = keys
        self.pool_keys = pool_keys
        super().__init__(CAIRND)

    def command(self):
        there = [MACHINE, 'run', self.machine] if self.machine else []
        return there + super().command()

    def _write(self, name, text):
        if name == 'nfs_shares':
            text = ''.join(f'{line}\n' for line in self.lines)
        elif name == 'cairnd.yaml':
            text = self.keys + text + f'    nfs_mount_options: "{self.options}"\n' + self.pool_keys
        super()._write(name, text)

    def start(self):
        self.prepare()
        super().start()

    def prepare(self):
        """What is to happen before the server starts."""

    def list_shares(self, *lines):
        self.lines = lines
        self._write('nfs_shares', '')

    def mount_point(self, address):
        """As the OpenStack driver names it."""
        name = hashlib.md5(address.encode()).hexdigest()
        return os.path.join(self.root, 'state', 'mnt', name)

    def ctl(self, *arguments):
        return run(CAIRNCTL, *arguments, env={**os.environ, 'CAIRN_SERVER': f'unix:{self.socket}'})

    def close(self):
        try:
            super().close()
        finally:
            # What CairnServer could not remove: the mount points.
            base = os.path.join(self.root, 'state', 'mnt')
            for name in os.listdir(base) if os.path.isdir(base) else ():
                while mounts(os.path.join(base, name)):
                    run('umount', os.path.join(base, name))


class NfsTest(unittest.TestCase):
    """Calls that wait, and comparisons. A test begins with empty shares."""

    log = ''

    def serve(self, *lines, server=Server, **options):
        """A server, which calls go to from now on."""
        self.addCleanup(self.empty_shares)
        started = server(*lines, **options)
        self.addCleanup(self.end, started)
        self.use(started)
        return started

    def use(self, server):
        self.server = server
        self.connect()

    def end(self, server):
        self.log += server.log_tail()
        server.close()

    @staticmethod
    def empty_shares():
        for export in ('reflink', 'plain'):
            run('find', os.path.join(EXPORTS, export), '-mindepth', '1', '-delete')

    def run(self, result=None):
        bad = len(result.errors) + len(result.failures)
        super().run(result)
        if len(result.errors) + len(result.failures) > bad:
            print(f'\nThe end of cairnd\'s log:\n{self.log}', file=sys.stderr)
        return result

    def connect(self):
        channel = self.server.channel
        self.volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
        self.snapshots = snapshot_service_pb2_grpc.SnapshotServiceStub(channel)
        self.pools = pool_service_pb2_grpc.PoolServiceStub(channel)
        self.operations = operation_service_pb2_grpc.OperationServiceStub(channel)

    # What a caller does.

    def call(self, method, request, timeout=60):
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise Refused.of_call(error) from error

    def change(self, method, request, timeout=60):
        """Calls a changing method and waits for its operation to end well."""
        operation = self.call(method, request, timeout).operation
        while operation.state not in ENDED:
            operation = self.call(self.operations.WaitOperation,
                                  operation_service_pb2.WaitOperationRequest(
                                      operation_id=operation.id), timeout=600).operation
        if operation.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
            raise Refused(operation.error)
        return operation

    def create(self, **fields):
        return self.change(self.volumes.CreateVolume,
                           volume_service_pb2.CreateVolumeRequest(**fields)).volume

    def delete(self, volume_id, **fields):
        self.change(self.volumes.DeleteVolume,
                    volume_service_pb2.DeleteVolumeRequest(volume_id=volume_id, **fields))

    def snapshot(self, volume_id, **fields):
        return self.change(self.snapshots.CreateSnapshot,
                           snapshot_service_pb2.CreateSnapshotRequest(
                               volume_id=volume_id, **fields)).snapshot

    def adopt(self, **fields):
        return self.change(self.volumes.AdoptVolume,
                           volume_service_pb2.AdoptVolumeRequest(**fields)).volume

    def full(self, volume_id):
        return self.call(self.volumes.GetVolume, volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id, view=volume_pb2.VOLUME_VIEW_FULL)).volume

    def share(self, address):
        """What GetPool says of a share."""
        pool = self.call(self.pools.GetPool, pool_service_pb2.GetPoolRequest()).pool
        return {share.address: share for share in pool.shares}.get(address)

    def wait_for_state(self, address, state, seconds=30):
        def reached():
            share = self.share(address)
            return share if share is not None and share.state == state else None
        return wait_for(reached, f'{address} is {pool_pb2.ShareState.Name(state)}', seconds)

    def path(self, volume, file):
        return os.path.join(self.server.mount_point(volume.share), file)

    def write(self, volume_id, content, pattern, offset, length):
        """Writes into the file that the API names, in the format that it says."""
        volume = self.full(volume_id)
        active = volume.chain[-1]
        run('qemu-io', '-f', FILE_FORMATS[active.format], '-c',
            f'write -P {pattern:#x} {offset} {length}', self.path(volume, active.file))
        content[offset:offset + length] = bytes([pattern]) * length

    # What must hold.

    def assert_file(self, path, form, content):
        """A file, with the chain below it, holds this, byte by byte."""
        flat = os.path.join(self.server.root, 'flat')
        run('qemu-img', 'convert', '-f', form, '-O', 'raw', path, flat)
        with open(flat, 'rb') as file:
            self.assertTrue(file.read() == content, f'wrong content in {path}')

    def assert_holds(self, volume_id, content, snapshots=()):
        """A volume holds this, its snapshots what {id: content} says, and the map knows them."""
        volume = self.full(volume_id)
        self.assertEqual(volume.state, volume_pb2.VOLUME_STATE_AVAILABLE)
        self.assertEqual(volume.chain[-1].file, volume.active_file)
        formats = {file.file: FILE_FORMATS[file.format] for file in volume.chain}
        self.assert_file(self.path(volume, volume.active_file), formats[volume.active_file],
                         content)
        listed = self.call(self.snapshots.ListSnapshots,
                           snapshot_service_pb2.ListSnapshotsRequest(volume_id=volume_id)).snapshots
        self.assertEqual({snapshot.id for snapshot in listed}, set(snapshots))
        for snapshot in listed:
            self.assert_file(self.path(volume, snapshot.file), formats[snapshot.file],
                             snapshots[snapshot.id])
        if snapshots:
            with open(self.path(volume, f'volume-{volume_id}.info'), encoding='utf-8') as file:
                found = json.load(file)
            self.assertEqual(found.pop('active'), volume.active_file)
            self.assertEqual(set(found), set(snapshots))

    def assert_refused(self, code, reason, function, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            function(*arguments, **fields)
        refused = caught.exception
        self.assertEqual((refused.code, refused.info.reason), (code.value[0], reason), refused)
        return refused


def main():
    # The guest ends with the test, and whatever still runs with it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
