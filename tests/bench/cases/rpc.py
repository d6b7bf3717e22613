"""GetVolume, 32 calls in flight, against a server that has nothing to look for"""

import contextlib
import os
import subprocess
import tempfile

from cairn.v1 import volume_pb2, volume_service_pb2
from caller import Caller
from cairn_under_test import CairnUnderTest, path_of, program
from figures import as_many, median
from rounds import in_rounds

IN_FLIGHT = 32


@contextlib.contextmanager
def echo():
    """The address of a server that answers each GetVolume with the same volume."""
    with tempfile.TemporaryDirectory(prefix='echo-') as directory:
        address = f'unix:{directory}/socket'
        server = subprocess.Popen([path_of('echo/cairn_bench_echo'), address])
        try:
            while not os.path.exists(f'{directory}/socket') and server.poll() is None:
                os.sched_yield()
            yield address
        finally:
            server.terminate()
            server.wait()


def run(report, quick):
    seconds = 1 if quick else 5

    def load(command, *options):
        return lambda: [program('load/cairn_bench_load', command, '--in-flight', IN_FLIGHT,
                                '--seconds', seconds, '--warm-up', 1, *options)['per_second']]

    with CairnUnderTest() as server, echo() as bare:
        volume = Caller(server).change(
            'volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
                name='bench', size_bytes=1 << 30, format=volume_pb2.VOLUME_FORMAT_QCOW2)).volume.id
        taken = in_rounds(
            1 if quick else 7,
            cairn=load('get', '--server', f'unix:{server.socket}', '--volume', volume),
            bare=load('echo', '--server', bare))
    report.add('rpc/echo', f'GetVolume, {IN_FLIGHT} in flight', median(taken['cairn']), '/s',
               median(taken['bare']), 'a bare echo', as_many(0.8))
