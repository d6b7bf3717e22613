"""Kills the real server between any two durable steps of an operation, starts it again, and looks
at every byte and every file.

    crash_test.py --cairnd FILE --stubs DIR [TEST]

Fail points (lib/base/failpoint.h) stand before the plan is journalled ("queued"), after it
("planned"), before each step, after the point of no return, before the end is recorded and after
it. A scenario names those that its operation passes; one that is armed and not reached fails the
test. Start-up must finish the operation by itself: what was accepted is carried out.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

from setting import CAIRND  # first: it finds the stubs

import grpc
from google.protobuf import duration_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import snapshot_service_pb2, snapshot_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from cairn_server import CairnServer

MIB = 1 << 20
SIZE = 4 * MIB
BLOCK = 65536
FAIL_POINT_EXIT_CODE = 42
QCOW2 = volume_pb2.VOLUME_FORMAT_QCOW2
RAW = volume_pb2.VOLUME_FORMAT_RAW_SPARSE
FORMATS = (QCOW2, RAW, volume_pb2.VOLUME_FORMAT_RAW_THICK)
ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED,
         operation_pb2.OPERATION_STATE_CANCELLED)


class Server(CairnServer):
    """With a second share and a directory of images."""

    def __init__(self, program):
        self.shares = []
        super().__init__(program)

    def _write(self, name, text):
        if name == 'nfs_shares':
            second = os.path.join(self.root, 'share2')
            os.makedirs(second, exist_ok=True)
            os.makedirs(os.path.join(self.root, 'images'), exist_ok=True)
            self.shares = [self.share, second]
            text += f'file://{second}\n'
        elif name == 'cairnd.yaml':
            text += f'    image_directories: [{self.root}/images]\n'
        super()._write(name, text)

    def all_files(self):
        return {os.path.join(share, name) for share in self.shares for name in os.listdir(share)
                if name != '.cairn'}


class CrashTest(unittest.TestCase):
    def setUp(self):
        self.server = Server(CAIRND)
        self.addCleanup(self.server.close)
        self.connect()
        self.expected = {}  # (kind, id) -> block patterns

    def connect(self):
        channel = self.server.channel
        self.volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
        self.snapshots = snapshot_service_pb2_grpc.SnapshotServiceStub(channel)
        self.operations = operation_service_pb2_grpc.OperationServiceStub(channel)

    # What a caller does.

    def wait(self, operation_id):
        while True:
            operation = self.operations.WaitOperation(
                operation_service_pb2.WaitOperationRequest(operation_id=operation_id),
                timeout=120).operation
            if operation.state in ENDED:
                return operation

    def change(self, method, request):
        operation = self.wait(method(request, timeout=60).operation.id)
        self.assertEqual(operation.state, operation_pb2.OPERATION_STATE_SUCCEEDED, operation)
        return operation

    def call(self, method, request):
        """`method`: the names of the stub and of its method; stubs are made anew at each start."""
        return getattr(getattr(self, method[0]), method[1])(request, timeout=60)

    def create(self, **fields):
        fields.setdefault('share', f'file://{self.server.shares[0]}')
        return self.change(self.volumes.CreateVolume,
                           volume_service_pb2.CreateVolumeRequest(**fields)).volume.id

    def snapshot(self, volume_id):
        return self.change(
            self.snapshots.CreateSnapshot,
            snapshot_service_pb2.CreateSnapshotRequest(volume_id=volume_id)).snapshot.id

    def full(self, volume_id):
        return self.volumes.GetVolume(volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id, view=volume_pb2.VOLUME_VIEW_FULL), timeout=30).volume

    def path(self, volume, file):
        return os.path.join(volume.share[len('file://'):], file)

    def write(self, volume_id, block, pattern):
        volume = self.full(volume_id)
        active = volume.chain[-1]
        form = 'raw' if active.format == volume_pb2.FILE_FORMAT_RAW else 'qcow2'
        subprocess.run(['qemu-io', '-f', form, '-c',
                        f'write -P {pattern} {block * BLOCK} {BLOCK}',
                        self.path(volume, active.file)], check=True, stdout=subprocess.PIPE)

    def chain(self, form):
        """A volume with three snapshots, each of its states different in every block written."""
        volume = self.create(size_bytes=SIZE, format=form)
        snapshots = []
        for state in range(1, 5):
            self.write(volume, 0, state)
            self.write(volume, state, 10 + state)
            if state < 4:
                snapshots.append(self.snapshot(volume))
        return volume, snapshots

    @staticmethod
    def state(number):
        """The blocks of a volume of chain() as they were at a state, 1 to 4."""
        return {0: number, **{block: 10 + block if block <= number else 0 for block in range(1, 6)}}

    # What must hold.

    def assert_holds(self, path, form, blocks):
        arguments = ['qemu-io', '-r', '-f', form]
        for block, pattern in blocks.items():
            arguments += ['-c', f'read -P {pattern} {block * BLOCK} {BLOCK}']
        result = subprocess.run(arguments + [path], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(result.returncode, 0, f'{path} {blocks}\n{result.stdout}')
        self.assertNotIn('verification failed', result.stdout, f'{path} {blocks}')

    def assert_volume(self, volume_id, blocks, snapshots=()):
        """The content of a volume and of its snapshots ({id: blocks}), and the map."""
        volume = self.full(volume_id)
        formats = {file.file: 'raw' if file.format == volume_pb2.FILE_FORMAT_RAW else 'qcow2'
                   for file in volume.chain}
        self.assertEqual(volume.state, volume_pb2.VOLUME_STATE_AVAILABLE)
        self.assertEqual(volume.chain[-1].file, volume.active_file)
        for file, form in formats.items():
            if form == 'qcow2':
                subprocess.run(['qemu-img', 'check', '-f', 'qcow2', self.path(volume, file)],
                               check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assert_holds(self.path(volume, volume.active_file), formats[volume.active_file],
                          blocks)
        listed = self.snapshots.ListSnapshots(
            snapshot_service_pb2.ListSnapshotsRequest(volume_id=volume_id), timeout=30).snapshots
        self.assertEqual({s.id for s in listed}, set(snapshots))
        for snapshot in listed:
            self.assert_holds(self.path(volume, snapshot.file), formats[snapshot.file],
                              snapshots[snapshot.id])
        info = self.path(volume, f'volume-{volume_id}.info')
        if os.path.exists(info):
            with open(info, encoding='utf-8') as file:
                found = json.load(file)
            self.assertEqual(found.pop('active'), volume.active_file)
            self.assertEqual(set(found), set(snapshots))
        else:
            self.assertFalse(snapshots)

    def assert_no_other_files(self, *volume_ids):
        """Nothing lies on the shares but the files of these volumes."""
        known = set()
        for volume_id in volume_ids:
            volume = self.full(volume_id)
            names = [file.file for file in volume.chain] + [f'volume-{volume_id}.info']
            known |= {self.path(volume, name) for name in names}
        # What ended operations left is swept in the background after the start.
        give_up = time.monotonic() + 10
        while True:
            unknown = {path for path in self.server.all_files() - known
                       if not os.path.basename(path).startswith('.cairn')}
            if not unknown or time.monotonic() > give_up:
                break
            time.sleep(0.1)
        self.assertFalse(unknown)

    def crash_at(self, point, method, request):
        """Runs the change with the fail point armed, sees the server die, and starts it again."""
        request.request_id = str(uuid.uuid4())
        request.wait.CopyFrom(duration_pb2.Duration(seconds=30))
        self.server.stop()
        self.server.start(f'{point}=crash')
        self.connect()
        try:
            self.call(method, request)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error)
        self.assertEqual(self.server.process.wait(30), FAIL_POINT_EXIT_CODE,
                         f'{point} was not reached')
        self.server.channel.close()
        self.server.start()
        self.connect()
        # The same request again finds the operation, which start-up has taken up.
        operation = self.wait(self.call(method, request).operation.id)
        self.assertEqual(operation.state, operation_pb2.OPERATION_STATE_SUCCEEDED, operation)
        return operation

    @staticmethod
    def points(kind, steps, crossed=False):
        names = ['queued', 'planned', *(f'step{i}' for i in range(steps)), 'done', 'ended']
        if crossed:
            names.insert(2, 'crossed')
        return [f'{kind}.{name}' for name in names]

    # The scenarios.

    def test_create_volume(self):
        made = []
        for point in self.points('create_volume', 1):
            for form in FORMATS:
                with self.subTest(point, form=form):
                    operation = self.crash_at(
                        point, ('volumes', 'CreateVolume'),
                        volume_service_pb2.CreateVolumeRequest(size_bytes=SIZE, format=form))
                    made.append(operation.volume.id)
                    self.assert_volume(made[-1], {0: 0, 3: 0})
        self.assert_no_other_files(*made)

    def test_create_from_image(self):
        image = os.path.join(self.server.root, 'images', 'image.qcow2')
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', image, str(SIZE)], check=True)
        subprocess.run(['qemu-io', '-f', 'qcow2', '-c', f'write -P 7 0 {BLOCK}', image],
                       check=True, stdout=subprocess.PIPE)
        made = []
        for point in self.points('create_volume', 1):
            with self.subTest(point):
                operation = self.crash_at(
                    point, ('volumes', 'CreateVolume'),
                    volume_service_pb2.CreateVolumeRequest(
                        format=QCOW2, source_image=volume_service_pb2.ImageSource(
                            path=image, format=volume_pb2.FILE_FORMAT_QCOW2)))
                made.append(operation.volume.id)
                self.assert_volume(made[-1], {0: 7, 1: 0})
        self.assert_no_other_files(*made)

    def test_create_snapshot(self):
        for form in (QCOW2, RAW):
            volume = self.create(size_bytes=SIZE, format=form)
            held = {}
            for number, point in enumerate(self.points('create_snapshot', 2), start=1):
                with self.subTest(point, form=form):
                    self.write(volume, 0, number)
                    operation = self.crash_at(
                        point, ('snapshots', 'CreateSnapshot'),
                        snapshot_service_pb2.CreateSnapshotRequest(volume_id=volume))
                    held[operation.snapshot.id] = {0: number}
                    self.assert_volume(volume, {0: number}, held)

    def delete_snapshot_at(self, which, points):
        made = []
        for number, point in enumerate(points):
            with self.subTest(point):
                volume, snapshots = self.chain(FORMATS[number % len(FORMATS)])
                made.append(volume)
                self.crash_at(point, ('snapshots', 'DeleteSnapshot'),
                              snapshot_service_pb2.DeleteSnapshotRequest(
                                  snapshot_id=snapshots[which]))
                left = {snapshot: self.state(i + 1) for i, snapshot in enumerate(snapshots)}
                del left[snapshots[which]]
                self.assert_volume(volume, self.state(4), left)
        self.assert_no_other_files(*made)

    def test_delete_middle_snapshot(self):
        self.delete_snapshot_at(1, self.points('delete_snapshot', 4))

    def test_delete_newest_snapshot(self):
        self.delete_snapshot_at(2, self.points('delete_snapshot', 3))

    def clone_at(self, points, source, blocks, kind=RAW):
        made = [source]
        held = {s.id: None for s in self.snapshots.ListSnapshots(
            snapshot_service_pb2.ListSnapshotsRequest(volume_id=source), timeout=30).snapshots}
        for point in points:
            with self.subTest(point):
                operation = self.crash_at(
                    point, ('volumes', 'CreateVolume'),
                    volume_service_pb2.CreateVolumeRequest(
                        source_volume_id=source, size_bytes=2 * SIZE, format=kind))
                made.append(operation.volume.id)
                self.assertEqual(operation.volume.size_bytes, 2 * SIZE)
                self.assert_volume(made[-1], {**blocks, 100: 0})
        self.assertEqual(held.keys(), {s.id for s in self.snapshots.ListSnapshots(
            snapshot_service_pb2.ListSnapshotsRequest(volume_id=source), timeout=30).snapshots})
        self.assert_no_other_files(*made)

    def test_clone_raw(self):
        source = self.create(size_bytes=SIZE, format=RAW)
        self.write(source, 2, 5)
        self.clone_at(self.points('create_volume', 2), source, {0: 0, 2: 5})

    def test_clone_qcow2(self):
        source = self.create(size_bytes=SIZE, format=QCOW2)
        self.write(source, 2, 5)
        self.clone_at(self.points('create_volume', 1), source, {0: 0, 2: 5}, QCOW2)

    def test_clone_chain(self):
        source, _ = self.chain(QCOW2)
        self.clone_at(self.points('create_volume', 1), source, self.state(4))

    def revert_at(self, which, points, **fields):
        made = []
        for number, point in enumerate(points):
            with self.subTest(point):
                volume, snapshots = self.chain(FORMATS[number % len(FORMATS)])
                made.append(volume)
                self.crash_at(point, ('snapshots', 'RevertToSnapshot'),
                              snapshot_service_pb2.RevertToSnapshotRequest(
                                  snapshot_id=snapshots[which], **fields))
                left = {s: self.state(i + 1) for i, s in enumerate(snapshots[:which + 1])}
                self.assert_volume(volume, self.state(which + 1), left)
        self.assert_no_other_files(*made)

    def test_revert_newest(self):
        self.revert_at(2, self.points('revert_to_snapshot', 2, crossed=True))

    def test_revert_older(self):
        self.revert_at(0, self.points('revert_to_snapshot', 4, crossed=True), discard_newer=True)

    def test_extend(self):
        for form in FORMATS:
            size = SIZE
            volume = self.create(size_bytes=size, format=form)
            self.write(volume, 0, 9)
            for point in self.points('extend_volume', 1):
                with self.subTest(point, form=form):
                    size += MIB
                    operation = self.crash_at(
                        point, ('volumes', 'ExtendVolume'),
                        volume_service_pb2.ExtendVolumeRequest(volume_id=volume, size_bytes=size))
                    self.assertEqual(operation.volume.size_bytes, size)
                    self.assert_volume(volume, {0: 9, size // BLOCK - 1: 0})

    def test_migrate(self):
        volume, snapshots = self.chain(QCOW2)
        held = {snapshot: self.state(i + 1) for i, snapshot in enumerate(snapshots)}
        # Four files, the map, and the removal of the old ones.
        for number, point in enumerate(self.points('migrate_volume', 6, crossed=True)):
            with self.subTest(point):
                target = f'file://{self.server.shares[(number + 1) % 2]}'
                self.crash_at(point, ('volumes', 'MigrateVolume'),
                              volume_service_pb2.MigrateVolumeRequest(volume_id=volume,
                                                                      share=target))
                self.assertEqual(self.full(volume).share, target)
                self.assert_volume(volume, self.state(4), held)
                self.assert_no_other_files(volume)

    def test_delete_volume(self):
        for point in self.points('delete_volume', 1):
            with self.subTest(point):
                volume, _ = self.chain(RAW)
                self.crash_at(point, ('volumes', 'DeleteVolume'),
                              volume_service_pb2.DeleteVolumeRequest(volume_id=volume,
                                                                     cascade=True))
                self.assertFalse(self.server.all_files())

    def test_merge_layers(self):
        """By itself, of what another system, or a machine, has left: of adopted volumes here."""
        points = self.points('merge_layers', 4)
        points.insert(4, 'merge_layers.crossed')
        made = []
        for point in points:
            with self.subTest(point):
                volume = self.foreign_chain()
                made.append(volume)
                self.crash_at(point, ('volumes', 'AdoptVolume'),
                              volume_service_pb2.AdoptVolumeRequest(
                                  file_name=f'volume-{volume}', format=QCOW2,
                                  share=f'file://{self.server.shares[0]}'))
                give_up = time.monotonic() + 60
                while len(self.full(volume).chain) > 1 or self.full(volume).current_operation:
                    self.assertLess(time.monotonic(), give_up, self.full(volume))
                    time.sleep(0.02)
                self.assertFalse(self.full(volume).surplus_layers)
                self.assert_volume(volume, {0: 2, 1: 3, 2: 0})
        self.assert_no_other_files(*made)

    def foreign_chain(self):
        """A base and a layer that is no snapshot's, which no server knows yet."""
        volume = str(uuid.uuid4())
        base = os.path.join(self.server.shares[0], f'volume-{volume}')
        layer = f'{base}.{uuid.uuid4()}'
        for path, below, writes in ((base, [], ((0, 1), (1, 3))),
                                    (layer, ['-b', os.path.basename(base), '-F', 'qcow2'],
                                     ((0, 2),))):
            subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', *below, path, str(SIZE)],
                           check=True)
            for block, pattern in writes:
                subprocess.run(['qemu-io', '-f', 'qcow2', '-c',
                                f'write -P {pattern} {block * BLOCK} {BLOCK}', path],
                               check=True, stdout=subprocess.PIPE)
        with open(f'{base}.info', 'w', encoding='utf-8') as file:
            json.dump({'active': os.path.basename(layer)}, file)
        return volume

    def test_import_is_undone(self):
        """Content that was still coming when the server died can only be sent again."""
        def requests():
            yield volume_service_pb2.ImportVolumeRequest(
                header=volume_service_pb2.ImportHeader(size_bytes=SIZE, format=QCOW2))
            time.sleep(60)

        call = self.volumes.ImportVolume.future(requests())
        give_up = time.monotonic() + 30
        while not any('.import' in path for path in self.server.all_files()):
            self.assertLess(time.monotonic(), give_up, 'the import did not begin')
            time.sleep(0.05)
        self.server.process.kill()
        self.server.process.wait()
        call.cancel()
        self.server.channel.close()
        self.server.start()
        self.connect()
        operations = self.operations.ListOperations(
            operation_service_pb2.ListOperationsRequest(), timeout=30).operations
        self.assertEqual(len(operations), 1)
        operation = self.wait(operations[0].id)
        self.assertEqual(operation.state, operation_pb2.OPERATION_STATE_FAILED)
        self.assertFalse(self.volumes.ListVolumes(volume_service_pb2.ListVolumesRequest(),
                                                  timeout=30).volumes)
        self.assert_no_other_files()

    def test_kill_at_random(self):
        """SIGKILL at random instants while one client makes, writes, snapshots and deletes."""
        seed = int(os.environ.get('CAIRN_TEST_SEED', random.randrange(1 << 32)))
        print(f'CAIRN_TEST_SEED={seed}')
        dice = random.Random(seed)
        volume = self.create(size_bytes=SIZE, format=QCOW2)
        content = {block: 0 for block in range(8)}
        held = {}
        for round_number in range(1, 26):
            block, pattern = dice.randrange(8), round_number
            self.write(volume, block, pattern)
            content[block] = pattern
            if held and dice.random() < 0.5:
                method = ('snapshots', 'DeleteSnapshot')
                victim = dice.choice(sorted(held))
                request = snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=victim,
                                                                     allow_missing=True)
            else:
                method = ('snapshots', 'CreateSnapshot')
                request = snapshot_service_pb2.CreateSnapshotRequest(
                    volume_id=volume, snapshot_id=str(uuid.UUID(int=dice.getrandbits(128))))
            request.request_id = str(uuid.uuid4())
            call = getattr(getattr(self, method[0]), method[1]).future(request, timeout=60)
            time.sleep(dice.random() * 0.06)
            self.server.process.kill()
            self.server.process.wait()
            call.exception()
            self.server.channel.close()
            self.server.start()
            self.connect()
            # Whatever came of it, the same request again completes it, once.
            self.assertEqual(self.wait(self.call(method, request).operation.id).state,
                             operation_pb2.OPERATION_STATE_SUCCEEDED)
            if method[1] == 'DeleteSnapshot':
                del held[victim]
            else:
                held[request.snapshot_id] = dict(content)
            self.assert_volume(volume, content, held)
        self.assert_no_other_files(volume)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
