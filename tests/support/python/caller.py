"""A server with two shares, and a caller of it."""

import os

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import snapshot_service_pb2_grpc
from cairn.v1 import volume_pb2, volume_service_pb2, volume_service_pb2_grpc
from cairn_server import CairnServer

ENDED = (operation_pb2.OPERATION_STATE_SUCCEEDED, operation_pb2.OPERATION_STATE_FAILED,
         operation_pb2.OPERATION_STATE_CANCELLED)
AT_ONCE = duration_pb2.Duration()


class Refused(Exception):
    """An error of a call or of an operation: both carry a google.rpc.Status."""

    def __init__(self, status):
        self.code = status.code
        self.message = status.message
        self.info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            detail.Unpack(self.info)
        super().__init__(f'{self.info.reason}: {status.message}')

    @property
    def reason(self):
        return self.info.reason

    @staticmethod
    def of_call(error):
        for key, value in error.trailing_metadata() or ():
            if key == 'grpc-status-details-bin':
                return Refused(status_pb2.Status.FromString(value))
        return error


class Server(CairnServer):
    def __init__(self, program):
        self.shares = []
        super().__init__(program)

    def _write(self, name, text):
        if name == 'nfs_shares':
            second = os.path.join(self.root, 'share2')
            os.mkdir(second)
            self.shares = [self.share, second]
            text += f'file://{second}\n'
        super()._write(name, text)

    def all_files(self):
        """The files on both shares but what the server keeps about itself."""
        return {os.path.join(share, name) for share in self.shares for name in os.listdir(share)
                if not name.startswith('.cairn')}


class Caller:
    """Calls by the names of a stub and its method, because stubs are made anew at each start."""

    def __init__(self, server):
        self.server = server
        self.stubs = {}
        self.connect()

    def connect(self):
        channel = self.server.channel
        self.stubs = {'volumes': volume_service_pb2_grpc.VolumeServiceStub(channel),
                      'snapshots': snapshot_service_pb2_grpc.SnapshotServiceStub(channel),
                      'operations': operation_service_pb2_grpc.OperationServiceStub(channel)}

    def method(self, name):
        stub, method = name.split('.')
        return getattr(self.stubs[stub], method)

    def call(self, name, request):
        try:
            return self.method(name)(request, timeout=120)
        except grpc.RpcError as error:
            raise Refused.of_call(error) from error

    def get(self, operation_id):
        return self.call('operations.GetOperation', operation_service_pb2.GetOperationRequest(
            operation_id=operation_id)).operation

    def wait(self, operation_id, until=ENDED, timeout=60):
        """Waits for the operation to come to one of the states, or to its end."""
        stream = self.stubs['operations'].WatchOperation(
            operation_service_pb2.WatchOperationRequest(operation_id=operation_id),
            timeout=timeout)
        operation = None
        try:
            for message in stream:
                operation = message.operation
                if operation.state in until:
                    return operation
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise AssertionError(f'after {timeout} s it is still like this:\n'
                                     f'{operation}') from error
            raise Refused.of_call(error) from error
        finally:
            stream.cancel()
        return operation

    def begin(self, name, request):
        """Calls a changing method and gives the operation as it is at once."""
        request.wait.CopyFrom(AT_ONCE)
        return self.call(name, request).operation

    def change(self, name, request):
        """Calls a changing method and waits for its operation to end well."""
        operation = self.call(name, request).operation
        return self.ended_well(self.wait(operation.id))

    @staticmethod
    def ended_well(operation):
        if operation.state not in ENDED:
            raise AssertionError(f'not ended: {operation}')
        if operation.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
            raise Refused(operation.error)
        return operation

    def brief(self, volume_id):
        """Without a look at its files."""
        return self.call('volumes.GetVolume', volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id)).volume

    def full(self, volume_id):
        return self.call('volumes.GetVolume', volume_service_pb2.GetVolumeRequest(
            volume_id=volume_id, view=volume_pb2.VOLUME_VIEW_FULL)).volume

    def download(self, **source):
        """The content of a volume or a snapshot."""
        stream = self.stubs['volumes'].ExportVolume(
            volume_service_pb2.ExportVolumeRequest(chunk_bytes=2 << 20, **source), timeout=180)
        pieces, total = [], None
        try:
            for message in stream:
                part = message.WhichOneof('part')
                if part == 'chunk':
                    pieces.append(message.chunk.data or bytes(message.chunk.zero_length))
                elif part == 'trailer':
                    total = message.trailer.total_bytes
        except grpc.RpcError as error:
            raise Refused.of_call(error) from error
        data = b''.join(pieces)
        if total != len(data):
            raise AssertionError(f'{source}: {len(data)} bytes came, the trailer says {total}')
        return data
