"""Requests at a steady rate, each on its time, whether those before it are done or not."""

import threading
import time

import grpc
from google.protobuf import duration_pb2

from cairn.v1 import operation_pb2, volume_service_pb2, volume_service_pb2_grpc


class Reply:
    """What became of one request: seconds from when it was due, and what was wrong, if anything."""

    def __init__(self, seconds, problem):
        self.seconds = seconds
        self.problem = problem


class SteadyLoad:
    """CreateVolume and DeleteVolume by turns on one share, from a thread, until stop()."""

    def __init__(self, channel, share, rate):
        self._volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
        self._share = share
        self._interval = 1 / rate
        self._lock = threading.Lock()
        self._replies = []
        self._made = []
        self._open = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def take(self):
        """The replies since the last call."""
        with self._lock:
            replies, self._replies = self._replies, []
        return replies

    def stop(self):
        """No more requests; waits for those under way."""
        self._stopping = True
        self._thread.join()
        while self._open:
            time.sleep(0.01)

    def _run(self):
        due = time.monotonic()
        turn = 0
        while not self._stopping:
            due += self._interval
            time.sleep(max(0, due - time.monotonic()))
            with self._lock:
                victim = self._made.pop(0) if turn % 2 and self._made else None
            self._send(due, victim)
            turn += 1

    def _send(self, due, victim):
        wait = duration_pb2.Duration(seconds=20)
        if victim is None:
            call = self._volumes.CreateVolume.future(volume_service_pb2.CreateVolumeRequest(
                size_bytes=1 << 20, share=self._share, wait=wait), timeout=30)
        else:
            call = self._volumes.DeleteVolume.future(volume_service_pb2.DeleteVolumeRequest(
                volume_id=victim, wait=wait), timeout=30)
        with self._lock:
            self._open += 1
        call.add_done_callback(lambda done: self._note(due, victim, done))

    def _note(self, due, victim, call):
        seconds = time.monotonic() - due
        problem = ''
        try:
            operation = call.result().operation
            if operation.state != operation_pb2.OPERATION_STATE_SUCCEEDED:
                problem = str(operation)
        except grpc.RpcError as error:
            problem = str(error)
        with self._lock:
            self._open -= 1
            self._replies.append(Reply(seconds, problem))
            if victim is None and not problem:
                self._made.append(operation.volume.id)


def percentile(replies, percent):
    """The seconds within which so many percent of the replies came."""
    ordered = sorted(reply.seconds for reply in replies)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
