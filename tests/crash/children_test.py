"""Kills the real server while it has children at work, and looks for what is left of them.

    children_test.py --cairnd FILE --stubs DIR [TEST]

A tool of QEMU's that outlived the server would keep the images locked: neither the next server nor
a machine could open them.
"""

import os
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

from setting import CAIRND  # first: it finds the stubs

from google.protobuf import duration_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import snapshot_service_pb2, snapshot_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from cairn_server import CairnServer

MIB = 1 << 20
SIZE = 128 * MIB
BELOW = SIZE // 4  # of what is above that there is too much for cairnd to merge by itself
LIMIT = 60  # seconds; no test waits them out
FAIL_POINT_EXIT_CODE = 42
SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
ENDED = (SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED, operation_pb2.OPERATION_STATE_CANCELLED)


class ChildrenTest(unittest.TestCase):
    def setUp(self):
        self.server = CairnServer(CAIRND)
        self.addCleanup(self.server.close)
        self.connect()

    def connect(self):
        channel = self.server.channel
        self.volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
        self.snapshots = snapshot_service_pb2_grpc.SnapshotServiceStub(channel)
        self.operations = operation_service_pb2_grpc.OperationServiceStub(channel)

    def wait(self, operation):
        while operation.state not in ENDED:
            operation = self.operations.WaitOperation(
                operation_service_pb2.WaitOperationRequest(operation_id=operation.id),
                timeout=LIMIT * 2).operation
        self.assertEqual(operation.state, SUCCEEDED, operation)
        return operation

    def active(self, volume_id):
        volume = self.volumes.GetVolume(volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id, view=volume_pb2.VOLUME_VIEW_FULL), timeout=LIMIT).volume
        return os.path.join(self.server.share, volume.active_file)

    def io(self, volume_id, *commands):
        arguments = ['qemu-io', '-f', 'qcow2']
        for command in commands:
            arguments += ['-c', command]
        result = subprocess.run(arguments + [self.active(volume_id)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertNotIn('verification failed', result.stdout)

    def volume_with_snapshot(self):
        """Its base holds 1, its layer 2 in the upper part."""
        volume = self.wait(self.volumes.CreateVolume(volume_service_pb2.CreateVolumeRequest(
            size_bytes=SIZE, format=volume_pb2.VOLUME_FORMAT_QCOW2),
            timeout=LIMIT).operation).volume.id
        self.io(volume, f'write -P 1 0 {SIZE}')
        snapshot = self.wait(self.snapshots.CreateSnapshot(
            snapshot_service_pb2.CreateSnapshotRequest(volume_id=volume),
            timeout=LIMIT).operation).snapshot.id
        self.io(volume, f'write -P 2 {BELOW} {SIZE - BELOW}')
        return volume, snapshot

    def tools(self):
        """Processes of QEMU's that work on this server's share; the dead have no command line."""
        found = []
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                with open(f'/proc/{pid}/cmdline', 'rb') as file:
                    words = file.read().split(b'\0')
                where = os.readlink(f'/proc/{pid}/cwd')
            except OSError:
                continue
            at_work = where.startswith(self.server.root) or any(
                self.server.root.encode() in word for word in words)
            if os.path.basename(words[0]).startswith(b'qemu-') and at_work:
                found.append(words[0].decode())
        return found

    def sees_child(self, name, while_it_lasts):
        """Whether the server has a child of that name before the call has ended."""
        tasks = f'/proc/{self.server.process.pid}/task'
        while not while_it_lasts.done():
            for task in os.listdir(tasks):
                try:
                    with open(f'{tasks}/{task}/children', encoding='ascii') as file:
                        for pid in file.read().split():
                            with open(f'/proc/{pid}/comm', encoding='utf-8') as comm:
                                if comm.read().strip() == name:
                                    return True
                except OSError:
                    continue
        return False

    def await_no_tools(self):
        give_up = time.monotonic() + LIMIT
        while self.tools():
            self.assertLess(time.monotonic(), give_up, self.tools())

    def restart_after(self, how):
        if how == signal.SIGKILL:
            self.server.stop(how)
        else:
            self.assertEqual(self.server.stop(how), 0)
        self.await_no_tools()
        self.server.start()
        self.connect()

    def export_cut_off_by(self, how):
        volume, snapshot = self.volume_with_snapshot()
        for source in ({'volume_id': volume}, {'snapshot_id': snapshot}):
            stream = self.volumes.ExportVolume(volume_service_pb2.ExportVolumeRequest(
                chunk_bytes=4096, **source), timeout=LIMIT * 2)
            self.assertTrue(self.sees_child('qemu-nbd', stream))
            self.restart_after(how)
            self.io(volume, f'read -P 1 0 {BELOW}', f'write -P 2 {BELOW} {MIB}')
        self.wait(self.snapshots.DeleteSnapshot(snapshot_service_pb2.DeleteSnapshotRequest(
            snapshot_id=snapshot), timeout=LIMIT).operation)
        self.io(volume, f'read -P 1 0 {BELOW}', f'read -P 2 {BELOW} {SIZE - BELOW}')

    def test_export_and_kill(self):
        self.export_cut_off_by(signal.SIGKILL)

    def test_export_and_stop(self):
        self.export_cut_off_by(signal.SIGTERM)

    def test_merge_and_kill(self):
        seen = False
        while not seen:  # it does not take long
            volume, snapshot = self.volume_with_snapshot()
            operation = self.snapshots.DeleteSnapshot(snapshot_service_pb2.DeleteSnapshotRequest(
                snapshot_id=snapshot, wait=duration_pb2.Duration()), timeout=LIMIT).operation
            seen = self.sees_child('qemu-img', self.operations.WaitOperation.future(
                operation_service_pb2.WaitOperationRequest(operation_id=operation.id),
                timeout=LIMIT * 2))
        self.restart_after(signal.SIGKILL)
        self.wait(operation)
        self.io(volume, f'read -P 1 0 {BELOW}', f'read -P 2 {BELOW} {SIZE - BELOW}')
        self.assertEqual(self.tools(), [])

    def hold(self, path):
        """A process that has an image locked, as a tool that hangs would."""
        ready = os.path.join(self.server.root, 'held.pid')  # written once the image is open
        holder = subprocess.Popen(['qemu-nbd', f'--socket={self.server.root}/held',
                                   f'--pid-file={ready}', '--persistent', '--format=qcow2', path])
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        while not os.path.exists(ready):
            self.assertIsNone(holder.poll())
            time.sleep(0.01)
        return holder

    def test_image_locked_at_start(self):
        volume, snapshot = self.volume_with_snapshot()
        request = snapshot_service_pb2.DeleteSnapshotRequest(
            snapshot_id=snapshot, request_id='once', wait=duration_pb2.Duration())
        path = self.active(volume)
        self.server.stop()
        self.server.start('delete_snapshot.step0=crash')
        self.connect()
        self.snapshots.DeleteSnapshot.future(request, timeout=LIMIT).exception()
        self.assertEqual(self.server.process.wait(LIMIT), FAIL_POINT_EXIT_CODE)
        holder = self.hold(path)
        for _ in range(2):
            self.server.channel.close()
            self.server.start()
            self.connect()
            operation = self.snapshots.DeleteSnapshot(request, timeout=LIMIT).operation
            self.assertNotIn(self.state_in_a_moment(operation), ENDED)
            self.server.stop(signal.SIGKILL)
        self.server.start()
        self.connect()
        holder.terminate()
        self.wait(self.snapshots.DeleteSnapshot(request, timeout=LIMIT).operation)
        self.io(volume, f'read -P 1 0 {BELOW}', f'read -P 2 {BELOW} {SIZE - BELOW}')

    def state_in_a_moment(self, operation):
        return self.operations.WaitOperation(operation_service_pb2.WaitOperationRequest(
            operation_id=operation.id, timeout=duration_pb2.Duration(seconds=3)),
            timeout=LIMIT).operation.state


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
