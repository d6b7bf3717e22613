"""Whoever follows something outlives a restart of the server, an orderly one as well as a death.

    cairnctl_restart_test.py --cairnd FILE --stubs DIR --cairnctl FILE [TEST]
"""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support', 'python'))

# It finds the stubs, which all that follows needs.
import setting

import grpc

from cairn.v1 import operation_service_pb2, operation_service_pb2_grpc
from cairn.v1 import volume_service_pb2, volume_service_pb2_grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2, status_pb2

from cairn_server import CairnServer
from cairnctl import Cairnctl


class Server(CairnServer):
    settings = 'shutdown_grace_seconds: 1\n'


def reason_of(error):
    """The reason of a call's error; empty if the service did not say one."""
    for key, value in error.trailing_metadata() or ():
        if key == 'grpc-status-details-bin':
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason
    return ''


class Lines:
    """What a process prints, line by line."""

    def __init__(self, stream):
        self.text = ''
        self.changed = threading.Condition()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            with self.changed:
                self.text += line.decode()
                self.changed.notify_all()

    def wait_for(self, part):
        with self.changed:
            return self.changed.wait_for(lambda: part in self.text, 60)


class RestartTest(unittest.TestCase):
    def setUp(self):
        self.server = Server(setting.CAIRND)
        self.addCleanup(self.server.close)
        self.cairnctl = Cairnctl(self.server)

    def follow(self, *words):
        process = self.cairnctl.start(*words, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, Lines(process.stdout)

    def waiting_operation(self):
        """A snapshot that waits for its consumer, and so for as long as it takes."""
        volume, = self.cairnctl.make('volume', 'create', '--name', 'v', '--size', '1MiB',
                                     '--format', 'qcow2')
        self.cairnctl.make('volume', 'attach', volume, '--instance', 'vm', '--assisted')
        return self.cairnctl.make('snapshot', 'create', volume, '--name', 'other', '--no-wait')[0]

    def followers_outlive(self, how):
        operation = self.waiting_operation()
        followers = [self.follow('operation', 'wait', operation),
                     self.follow('operation', 'watch', operation),
                     self.follow('volume', 'watch')]
        # All of them follow when they have said so.
        self.assertTrue(followers[0][1].wait_for('WAITING_FOR_CONSUMER'))
        self.assertTrue(followers[1][1].wait_for('WAITING_FOR_CONSUMER'))
        self.assertTrue(followers[2][1].wait_for('added'))
        for _ in range(2):
            self.server.stop(how)
            self.server.start()
        self.cairnctl.make('volume', 'create', '--name', 'after-it', '--size', '1MiB')
        self.assertTrue(followers[2][1].wait_for('after-it'), followers[2][1].text)
        for process, lines in followers:
            self.assertIsNone(process.poll(), lines.text)
        # They are told the end.
        self.cairnctl.make('operation', 'report', operation, '--step', '1', '--failed', 'no')
        for process, lines in followers[:2]:
            process.wait(60)
            self.assertNotIn('Traceback', lines.text)

    def test_followers_outlive_an_orderly_stop(self):
        self.followers_outlive(signal.SIGTERM)

    def test_followers_outlive_a_death(self):
        self.followers_outlive(signal.SIGKILL)


class DrainTest(unittest.TestCase):
    """What the service says to those that follow while it stops."""

    def setUp(self):
        self.server = Server(setting.CAIRND)
        self.addCleanup(self.server.close)
        self.cairnctl = Cairnctl(self.server)

    def test_watchers_and_waiters_are_told_that_it_stops(self):
        volume, = self.cairnctl.make('volume', 'create', '--size', '1MiB', '--format', 'qcow2')
        self.cairnctl.make('volume', 'attach', volume, '--instance', 'vm', '--assisted')
        operation, = self.cairnctl.make('snapshot', 'create', volume, '--no-wait')
        operations = operation_service_pb2_grpc.OperationServiceStub(self.server.channel)
        volumes = volume_service_pb2_grpc.VolumeServiceStub(self.server.channel)
        wait = operation_service_pb2.WaitOperationRequest(
            operation_id=operation, timeout=duration_pb2.Duration(seconds=60))
        streams = []
        for _ in range(4):
            streams.append(operations.WatchOperation(
                operation_service_pb2.WatchOperationRequest(operation_id=operation)))
            streams.append(volumes.WatchVolumes(volume_service_pb2.WatchVolumesRequest()))
        for stream in streams:
            next(stream)  # it is under way
        waits = [operations.WaitOperation.future(wait) for _ in range(4)]
        ends, later, threads = [], [], []

        def read(stream):
            try:
                for _ in stream:
                    pass
                ends.append('no error')
            except grpc.RpcError as error:
                ends.append((error.code(), reason_of(error)))

        def come_again():
            # Whoever comes while it stops is told the same, for as long as the service answers:
            # at its very end gRPC itself ends what has just arrived, without a word.
            while True:
                try:
                    for _ in volumes.WatchVolumes(volume_service_pb2.WatchVolumesRequest()):
                        pass
                except grpc.RpcError as error:
                    if error.code() == grpc.StatusCode.UNAVAILABLE and not reason_of(error):
                        return  # it is gone
                    if reason_of(error):
                        later.append((error.code(), reason_of(error)))
                time.sleep(0.01)

        for stream in streams:
            threads.append(threading.Thread(target=read, args=(stream,)))
        threads.append(threading.Thread(target=come_again))
        for thread in threads:
            thread.start()
        self.server.process.send_signal(signal.SIGTERM)
        for future in waits:
            error = future.exception(60)
            ends.append((error.code(), reason_of(error)))
        for thread in threads:
            thread.join(60)
            self.assertFalse(thread.is_alive())
        self.assertEqual(self.server.process.wait(30), 0)
        self.assertEqual(ends, [(grpc.StatusCode.UNAVAILABLE, 'SHUTTING_DOWN')] * 12)
        self.assertEqual(set(later), {(grpc.StatusCode.UNAVAILABLE, 'SHUTTING_DOWN')})


if __name__ == '__main__':
    unittest.main()
