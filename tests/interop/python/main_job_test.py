"""The main job over gRPC from Python, with stubs generated from proto/.

    main_job_test.py --cairnd FILE --stubs DIR [TEST]
"""

import json
import os
import signal
import subprocess
import sys
import unittest
import uuid


def _option(name):
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return value


CAIRND = _option('--cairnd')
STUBS = _option('--stubs')
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [STUBS, os.path.join(HERE, '..', '..', 'support', 'python')]

# The stubs are on the path from here on; gRPC's own package must be told where to look for more.
# pylint: disable=wrong-import-position
import grpc

grpc.__path__.append(os.path.join(STUBS, 'grpc'))
from google.protobuf import descriptor_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc.health.v1 import health_pb2, health_pb2_grpc
from grpc.reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cairn.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import pool_service_pb2, pool_service_pb2_grpc
from cairn.v1 import snapshot_service_pb2, snapshot_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from cairn_server import CairnServer
from crc32c import combine, crc32c

MIB = 1 << 20
AT_ONCE = duration_pb2.Duration()
ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED,
         operation_pb2.OPERATION_STATE_CANCELLED)


class Refused(Exception):
    """An error of a call or of an operation: both carry a google.rpc.Status."""

    def __init__(self, status):
        super().__init__(status.message)
        self.code = status.code
        self.info = error_details_pb2.ErrorInfo()
        self.bad_request = error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(self.info)
            detail.Unpack(self.bad_request)

    @staticmethod
    def of_call(error):
        for key, value in error.trailing_metadata() or ():
            if key == 'grpc-status-details-bin':
                return Refused(status_pb2.Status.FromString(value))
        return error


class Content:
    """What a volume must hold: a model in memory of what was written."""

    def __init__(self, size):
        self.bytes = bytearray(size)

    def write(self, path, file_format, pattern, offset, length):
        subprocess.run(['qemu-io', '-f', file_format, '-c',
                        f'write -P {pattern:#x} {offset} {length}', path],
                       check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.bytes[offset:offset + length] = bytes([pattern]) * length

    def copy(self, size=None):
        other = Content(0)
        other.bytes = bytearray(self.bytes)
        other.bytes.extend(bytes((size or len(self.bytes)) - len(self.bytes)))
        return other


class MainJobTest(unittest.TestCase):
    log = ''

    def setUp(self):
        self.server = CairnServer(CAIRND)
        self.addCleanup(self.end)
        self.connect()

    def end(self):
        self.log = self.server.log_tail()
        self.server.close()

    def run(self, result=None):
        bad = len(result.errors) + len(result.failures)
        super().run(result)
        if len(result.errors) + len(result.failures) > bad:
            print(f'The end of cairnd\'s log:\n{self.log}', file=sys.stderr)
        return result

    def connect(self):
        channel = self.server.channel
        self.volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
        self.snapshots = snapshot_service_pb2_grpc.SnapshotServiceStub(channel)
        self.pools = pool_service_pb2_grpc.PoolServiceStub(channel)
        self.operations = operation_service_pb2_grpc.OperationServiceStub(channel)

    # What a caller does.

    def call(self, method, request):
        try:
            return method(request, timeout=60)
        except grpc.RpcError as error:
            raise Refused.of_call(error) from error

    def change(self, method, request):
        """Calls a changing method and waits for its operation to end well."""
        operation = self.call(method, request).operation
        while operation.state not in ENDED:
            operation = self.call(self.operations.WaitOperation,
                                  operation_service_pb2.WaitOperationRequest(
                                      operation_id=operation.id)).operation
        if operation.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
            raise Refused(operation.error)
        return operation

    def create(self, **fields):
        return self.change(self.volumes.CreateVolume,
                           volume_service_pb2.CreateVolumeRequest(**fields)).volume

    def snapshot(self, volume_id, **fields):
        return self.change(self.snapshots.CreateSnapshot,
                           snapshot_service_pb2.CreateSnapshotRequest(
                               volume_id=volume_id, **fields)).snapshot

    def delete(self, volume_id, **fields):
        self.change(self.volumes.DeleteVolume,
                    volume_service_pb2.DeleteVolumeRequest(volume_id=volume_id, **fields))

    def full(self, volume_id):
        return self.call(self.volumes.GetVolume, volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id, view=volume_pb2.VOLUME_VIEW_FULL)).volume

    def write(self, content, volume_id, pattern, offset, length):
        """Writes into the file that the API names, in the format that it says."""
        active = self.full(volume_id).chain[-1]
        names = {volume_pb2.FILE_FORMAT_RAW: 'raw', volume_pb2.FILE_FORMAT_QCOW2: 'qcow2'}
        content.write(os.path.join(self.server.share, active.file), names[active.format],
                      pattern, offset, length)

    def download(self, **request):
        """The content of a volume or a snapshot; every checksum is verified."""
        stream = self.volumes.ExportVolume(
            volume_service_pb2.ExportVolumeRequest(**request), timeout=60)
        header, trailer, data, crc = None, None, bytearray(), 0
        for message in stream:
            part = message.WhichOneof('part')
            self.assertIsNone(trailer, 'something follows the trailer')
            self.assertEqual(part == 'header', header is None)
            if part == 'header':
                header = message.header
            elif part == 'trailer':
                trailer = message.trailer
            else:
                chunk = message.chunk
                self.assertEqual(chunk.offset, header.offset + len(data))
                piece = chunk.data or bytes(chunk.zero_length)
                self.assertEqual(chunk.crc32c, crc32c(piece))
                crc = combine(crc, chunk.crc32c, len(piece))
                data += piece
        self.assertEqual(trailer.total_bytes, len(data))
        self.assertEqual(trailer.total_bytes, header.length)
        self.assertEqual(trailer.crc32c, crc)
        return data

    def assert_holds(self, content, **source):
        self.assertTrue(self.download(**source) == content.bytes, f'wrong content in {source}')

    def assert_refused(self, code, reason, function, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            function(*arguments, **fields)
        refused = caught.exception
        self.assertEqual((refused.code, refused.info.reason, refused.info.domain),
                         (code.value[0], reason, 'cairn'), refused)
        return refused

    # The tests.

    def test_main_job(self):
        for name in ('QCOW2', 'RAW_SPARSE', 'RAW_THICK'):
            with self.subTest(name):
                self.main_job(volume_pb2.VolumeFormat.Value(f'VOLUME_FORMAT_{name}'))

    def main_job(self, volume_format):
        size = 16 * MIB
        volume = self.create(name='web', size_bytes=size, format=volume_format,
                             labels={'tier': 'gold'})
        self.assertEqual((volume.state, volume.size_bytes, volume.format, volume.active_file),
                         (volume_pb2.VOLUME_STATE_AVAILABLE, size, volume_format,
                          f'volume-{volume.id}'))
        now = Content(size)
        self.write(now, volume.id, 0xa1, 0, 2 * MIB)
        self.write(now, volume.id, 0xa2, 9 * MIB + 512, 70 * 1024)

        first, first_holds = self.snapshot(volume.id, name='first'), now.copy()
        self.write(now, volume.id, 0xb1, MIB, 3 * MIB)
        second, second_holds = self.snapshot(volume.id, name='second'), now.copy()
        self.write(now, volume.id, 0xc1, 0, 512)
        chain = self.full(volume.id).chain
        self.assertEqual([file.snapshot_id for file in chain], [first.id, second.id, ''])
        with open(os.path.join(self.server.share, f'volume-{volume.id}.info'),
                  encoding='utf-8') as file:
            info = json.load(file)
        self.assertEqual(info, {'active': chain[2].file, first.id: chain[1].file,
                                second.id: chain[2].file})
        self.assert_holds(now, volume_id=volume.id)
        self.assert_holds(first_holds, snapshot_id=first.id)
        self.assert_holds(second_holds, snapshot_id=second.id)

        # Into a new volume, with progress.
        operation = self.call(self.volumes.CreateVolume, volume_service_pb2.CreateVolumeRequest(
            source_snapshot_id=first.id, wait=AT_ONCE)).operation
        seen = [message.operation for message in self.operations.WatchOperation(
            operation_service_pb2.WatchOperationRequest(operation_id=operation.id), timeout=60)]
        self.assertEqual(seen[-1].state, operation_pb2.OPERATION_STATE_SUCCEEDED)
        done = [operation.progress.done_bytes for operation in seen]
        self.assertEqual(done, sorted(done))
        self.assertGreater(done[-1], 0)
        self.assertEqual(done[-1], seen[-1].progress.total_bytes)
        restored = seen[-1].volume
        self.assertEqual(restored.source.snapshot_id, first.id)
        self.assert_holds(first_holds, volume_id=restored.id)

        # Back in time, and forward again on a larger disk.
        self.change(self.snapshots.RevertToSnapshot,
                    snapshot_service_pb2.RevertToSnapshotRequest(snapshot_id=second.id))
        now = second_holds.copy(size + MIB)
        self.change(self.volumes.ExtendVolume, volume_service_pb2.ExtendVolumeRequest(
            volume_id=volume.id, size_bytes=size + MIB))
        self.write(now, volume.id, 0xd1, size - 512, 1024)
        self.assert_holds(now, volume_id=volume.id)

        self.change(self.snapshots.DeleteSnapshot,
                    snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=first.id))
        self.assert_holds(second_holds, snapshot_id=second.id)
        self.assert_holds(now, volume_id=volume.id)
        copy = self.create(source_volume_id=volume.id)
        self.assert_holds(now, volume_id=copy.id)

        self.delete(copy.id)
        self.delete(restored.id)
        self.delete(volume.id, cascade=True)
        self.assertEqual(self.server.files(), [])

    def test_upload_and_download(self):
        size = 4 * MIB
        parts = [(0, b'\x11' * MIB), (MIB, MIB), (2 * MIB, os.urandom(4096))]
        expected = Content(size)
        total = 0

        def messages(spoil=False):
            nonlocal total
            yield volume_service_pb2.ImportVolumeRequest(header=volume_service_pb2.ImportHeader(
                name='upload', size_bytes=size, format=volume_pb2.VOLUME_FORMAT_QCOW2))
            crc = total = 0
            for offset, part in parts:
                data = bytes(part)
                kind = {'zero_length': part} if isinstance(part, int) else {'data': part}
                yield volume_service_pb2.ImportVolumeRequest(
                    chunk=volume_service_pb2.ContentChunk(
                        offset=offset, crc32c=crc32c(data) ^ spoil, **kind))
                expected.bytes[offset:offset + len(data)] = data
                crc = combine(crc, crc32c(data), len(data))
                total += len(data)
            yield volume_service_pb2.ImportVolumeRequest(
                trailer=volume_service_pb2.ContentTrailer(total_bytes=total, crc32c=crc))

        self.assert_refused(grpc.StatusCode.INVALID_ARGUMENT, 'CHECKSUM_MISMATCH',
                            self.change, self.volumes.ImportVolume, messages(spoil=True))
        self.assertEqual(self.server.files(), [])
        volume = self.change(self.volumes.ImportVolume, messages()).volume
        self.assertTrue(volume.source.imported)
        self.assert_holds(expected, volume_id=volume.id)
        # The rest after a break, and a piece.
        self.assertTrue(self.download(volume_id=volume.id, offset=MIB + 512) ==
                        expected.bytes[MIB + 512:])
        self.assertEqual(self.download(volume_id=volume.id, offset=2 * MIB, length=4096,
                                       chunk_bytes=4096), parts[2][1])

    def test_errors_say_why(self):
        code = grpc.StatusCode
        unknown = str(uuid.uuid4())
        refused = self.assert_refused(code.NOT_FOUND, 'VOLUME_NOT_FOUND', self.full, unknown)
        self.assertEqual(refused.info.metadata['volume'], unknown)
        refused = self.assert_refused(code.INVALID_ARGUMENT, 'INVALID_FIELD', self.full, '../x')
        self.assertEqual(refused.info.metadata['field'], 'volume_id')
        self.assertEqual([v.field for v in refused.bad_request.field_violations], ['volume_id'])
        for size in (0, -512, 1000, 1 << 62):
            refused = self.assert_refused(code.INVALID_ARGUMENT, 'INVALID_FIELD', self.create,
                                          size_bytes=size)
            self.assertEqual(refused.info.metadata['field'], 'size_bytes')
        self.assert_refused(code.NOT_FOUND, 'POOL_NOT_FOUND', self.create, size_bytes=MIB,
                            pool='nowhere')

        volume = self.create(size_bytes=MIB)
        snapshot = self.snapshot(volume.id)
        refused = self.assert_refused(code.FAILED_PRECONDITION, 'VOLUME_HAS_SNAPSHOTS',
                                      self.delete, volume.id)
        self.assertIn(snapshot.id, refused.info.metadata['snapshots'])
        self.assert_refused(code.ALREADY_EXISTS, 'VOLUME_EXISTS', self.create,
                            volume_id=volume.id, size_bytes=2 * MIB)
        self.assert_refused(code.INVALID_ARGUMENT, 'INVALID_FIELD', self.change,
                            self.volumes.ExtendVolume, volume_service_pb2.ExtendVolumeRequest(
                                volume_id=volume.id, size_bytes=512))
        self.assert_refused(code.INVALID_ARGUMENT, 'INVALID_FILTER', self.call,
                            self.volumes.ListVolumes,
                            volume_service_pb2.ListVolumesRequest(filter='colour = red'))

    def test_a_change_can_be_repeated(self):
        def create(size, request_id='', volume_id=''):
            return self.change(self.volumes.CreateVolume, volume_service_pb2.CreateVolumeRequest(
                size_bytes=size, request_id=request_id, volume_id=volume_id))

        first = create(MIB, request_id='one')
        self.assertEqual(create(MIB, request_id='one').id, first.id)
        refused = self.assert_refused(grpc.StatusCode.ALREADY_EXISTS, 'REQUEST_ID_REUSED',
                                      create, 2 * MIB, request_id='one')
        self.assertEqual(refused.info.metadata['operation'], first.id)
        chosen = str(uuid.uuid4())
        second = create(MIB, volume_id=chosen)
        self.assertEqual(create(MIB, volume_id=chosen).id, second.id)

        # Neither an orderly end nor a sudden one makes the server forget.
        for how in (signal.SIGTERM, signal.SIGKILL):
            self.server.stop(how)
            self.server.start()
            self.connect()
            self.assertEqual(create(MIB, request_id='one').id, first.id)
            self.assertEqual(create(MIB, volume_id=chosen).id, second.id)
            self.assertEqual(self.server.files(),
                             sorted(f'volume-{v.volume.id}' for v in (first, second)))
        missing = volume_service_pb2.DeleteVolumeRequest(volume_id=str(uuid.uuid4()),
                                                         allow_missing=True)
        self.change(self.volumes.DeleteVolume, missing)

    def test_lists_and_watches(self):
        watch = self.volumes.WatchVolumes(volume_service_pb2.WatchVolumesRequest(), timeout=60)
        self.assertEqual(next(watch).WhichOneof('event'), 'bookmark')
        made = {self.create(size_bytes=MIB, name=f'v{i}', labels={'odd': str(i % 2)}).id
                for i in range(5)}
        told = set()
        while told != made:
            event = next(watch)
            if event.WhichOneof('event') == 'added':
                told.add(event.added.id)
            self.assertGreater(event.revision, 0)
        gone = sorted(made)[0]
        self.delete(gone)
        while next(watch).removed.volume_id != gone:
            pass
        watch.cancel()

        listed, token = [], ''
        while True:
            page = self.call(self.volumes.ListVolumes, volume_service_pb2.ListVolumesRequest(
                page_size=2, page_token=token, order_by='name'))
            listed += page.volumes
            token = page.next_page_token
            if not token:
                break
        self.assertEqual({volume.id for volume in listed}, made - {gone})
        self.assertEqual([v.name for v in listed], sorted(v.name for v in listed))
        odd = self.call(self.volumes.ListVolumes, volume_service_pb2.ListVolumesRequest(
            filter='labels.odd = "1" AND name : v')).volumes
        self.assertEqual({v.id for v in odd}, {v.id for v in listed if v.labels['odd'] == '1'})
        pool = self.call(self.pools.GetPool, pool_service_pb2.GetPoolRequest()).pool
        self.assertTrue(pool.usable)
        self.assertEqual(pool.capacity.provisioned_bytes, 4 * MIB)
        self.assertEqual([share.address for share in pool.shares],
                         [f'file://{self.server.share}'])

    def test_health_and_reflection(self):
        health = health_pb2_grpc.HealthStub(self.server.channel)
        for service in ('', 'cairn.v1.VolumeService', 'pool/default'):
            reply = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            self.assertEqual(reply.status, health_pb2.HealthCheckResponse.SERVING, service)
        reflection = reflection_pb2_grpc.ServerReflectionStub(self.server.channel)
        ask = reflection_pb2.ServerReflectionRequest
        names = ['OperationService', 'PoolService', 'SnapshotService', 'VolumeService']
        replies = list(reflection.ServerReflectionInfo(
            iter([ask(list_services='')] +
                 [ask(file_containing_symbol=f'cairn.v1.{name}') for name in names]), timeout=10))
        services = {service.name for service in replies[0].list_services_response.service}
        self.assertLessEqual({f'cairn.v1.{name}' for name in names}, services)
        self.assertIn('grpc.health.v1.Health', services)
        # What the server says of itself is what the stubs were made from.
        ours = {f.name: f for f in (operation_service_pb2.DESCRIPTOR, pool_service_pb2.DESCRIPTOR,
                                    snapshot_service_pb2.DESCRIPTOR,
                                    volume_service_pb2.DESCRIPTOR)}
        for reply in replies[1:]:
            found = False
            for data in reply.file_descriptor_response.file_descriptor_proto:
                served = descriptor_pb2.FileDescriptorProto.FromString(data)
                if served.name in ours:
                    expected = descriptor_pb2.FileDescriptorProto()
                    ours[served.name].CopyToProto(expected)
                    self.assertEqual(served.service, expected.service)
                    found = True
            self.assertTrue(found, reply)


if __name__ == '__main__':
    unittest.main()
