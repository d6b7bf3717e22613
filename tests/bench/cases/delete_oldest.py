"""deleting the oldest of 20 snapshots, with 1 MiB written to each layer"""

import os
import subprocess

from cairn.v1 import snapshot_service_pb2, volume_pb2, volume_service_pb2
from caller import Caller
from cairn_under_test import CairnUnderTest
from figures import faster, median
from peer import NAME, start_peer
from rounds import in_rounds
from timing import milliseconds

CHAIN = 20
LAYER = '1M'


class Chain:
    """A volume with 20 snapshots: each that is deleted is followed by a new one."""

    def __init__(self, server):
        self.server = server
        self.caller = Caller(server)
        self.volume = self.caller.change('volumes.CreateVolume',
                                         volume_service_pb2.CreateVolumeRequest(
                                             size_bytes=1 << 30,
                                             format=volume_pb2.VOLUME_FORMAT_QCOW2)).volume.id
        self.snapshots = []

    def _add_written_snapshot(self):
        self.snapshots.append(self.caller.change(
            'snapshots.CreateSnapshot',
            snapshot_service_pb2.CreateSnapshotRequest(volume_id=self.volume)).snapshot.id)
        active = self.caller.full(self.volume).active_file
        subprocess.run(['qemu-io', '-f', 'qcow2', '-c', f'write -P 7 0 {LAYER}',
                        os.path.join(self.server.share, active)],
                       check=True, stdout=subprocess.DEVNULL)

    def delete_oldest(self):
        while len(self.snapshots) < CHAIN:
            self._add_written_snapshot()
        request = snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=self.snapshots.pop(0))
        return [milliseconds(self.caller.change, 'snapshots.DeleteSnapshot', request)]


def run(report, quick):
    with CairnUnderTest() as server, start_peer() as peer:
        chain = Chain(server)
        taken = in_rounds(2 if quick else 15, cairn=chain.delete_oldest,
                          peer=lambda: peer.milliseconds('delete_oldest', 1))
    report.add('delete-oldest/peer', f'delete the oldest of {CHAIN} snapshots',
               median(taken['cairn']), 'ms', median(taken['peer']), NAME, faster(30))
