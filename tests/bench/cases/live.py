"""snapshots of a volume in use: what they take, and what a guest's writes notice of them

A real server on a directory, a real machine (qemu-system-x86_64 under TCG, virtio-blk), and one
writer that writes 4 KiB at a time through the machine. Nothing else should run meanwhile.
"""

import random
import threading
import time

import nbd

from cairn.v1 import snapshot_service_pb2, volume_pb2, volume_service_pb2
from cairn_under_test import CairnUnderTest
from caller import Caller
from figures import median, percentile, under
from machine import QemuSystem

MIB = 1 << 20
SIZE = 256 * MIB
BLOCK = 4096
WRITES_PER_SECOND = 500
SNAPSHOTS = 50
TEN = 10  # the first and the last are shown apart: it takes longer the longer the chain is
DELETIONS = 20  # of the newest, and of the oldest
OFFLINE = 20
WINDOW = 0.2  # seconds, with a snapshot at its middle or with none
GOAL_MS = 100


class Guest:
    """Writes until it is stopped, and keeps when each write began and how long it took."""

    def __init__(self, socket, export):
        self.handle = nbd.NBD()
        self.handle.set_export_name(export)
        self.handle.connect_unix(socket)
        self.writes = []
        self.error = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        dice = random.Random(1)
        data = [dice.randbytes(BLOCK) for _ in range(64)]
        due = time.monotonic()
        try:
            while not self._stopping.is_set():
                block = dice.randrange(SIZE // BLOCK)
                began = time.monotonic()
                self.handle.pwrite(data[block % len(data)], block * BLOCK)
                self.writes.append((began, time.monotonic() - began))
                due = max(due + 1 / WRITES_PER_SECOND, time.monotonic() - 1 / WRITES_PER_SECOND)
                time.sleep(max(0.0, due - time.monotonic()))
        except nbd.Error as error:
            self.error = error

    def stop(self):
        self._stopping.set()
        self._thread.join()
        if self.error is not None:
            raise RuntimeError(f'a write has failed: {self.error}')
        self.handle.shutdown()

    def longest(self, begin, end):
        """The longest write that was under way at any time between these."""
        return max((took for began, took in self.writes if began < end and began + took > begin),
                   default=0.0)


class Bench:
    def __init__(self, server, snapshots):
        self.server = server
        self.caller = Caller(server)
        self.snapshots = snapshots

    def make_volume(self):
        return self.caller.change('volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
            size_bytes=SIZE, format=volume_pb2.VOLUME_FORMAT_QCOW2,
            share=f'file://{self.server.share}')).volume.id

    def timed(self, name, request):
        """The operation, what the call took, what the server says that the operation took, and the
        middle of the call; in seconds."""
        begin = time.monotonic()
        operation = self.caller.change(name, request)
        end = time.monotonic()
        server = (operation.end_time.ToNanoseconds() - operation.start_time.ToNanoseconds()) / 1e9
        return operation, end - begin, server, (begin + end) / 2

    def snapshot(self, volume):
        return self.timed('snapshots.CreateSnapshot',
                          snapshot_service_pb2.CreateSnapshotRequest(volume_id=volume))

    def offline(self):
        """What the server says that a snapshot takes of a volume that nobody uses."""
        volume = self.make_volume()
        return [self.snapshot(volume)[2] for _ in range(OFFLINE)]

    def in_use(self):
        volume = self.make_volume()
        machine = QemuSystem()
        try:
            attachment = self.caller.change(
                'volumes.AttachVolume', volume_service_pb2.AttachVolumeRequest(
                    volume_id=volume, instance_id='machine', host='host',
                    hypervisor=volume_pb2.Hypervisor(qmp=volume_pb2.QmpHypervisor(
                        address=f'unix:{machine.cairn_socket}',
                        node_or_device=machine.disk_id(volume))))).attachment
            machine.start({volume: attachment.connection.qemu_blockdev_json})
            guest = Guest(machine.nbd_socket, machine.disks[volume].export)
            found = self.under(guest, volume)
            guest.stop()
            machine.quit()
        finally:
            machine.close()
        return found

    def under(self, guest, volume):
        """Windows without a snapshot and with one, by turns; then deletions."""
        time.sleep(1)  # not the first writes into a new file
        snapshots, calls, server, quiet, pauses = [], [], [], [], []
        for _ in range(self.snapshots):
            time.sleep(1.5 * WINDOW)
            end = time.monotonic()
            quiet.append((end - WINDOW, end))
            operation, call, seconds, middle = self.snapshot(volume)
            snapshots.append(operation.snapshot.id)
            calls.append(call)
            server.append(seconds)
            time.sleep(WINDOW)
            # A call that took longer than a window widens it.
            half = max(WINDOW, call) / 2
            pauses.append((middle - half, middle + half))
        found = {'calls': calls, 'server': server,
                 'quiet': [guest.longest(*window) for window in quiet],
                 'pauses': [guest.longest(*window) for window in pauses]}
        for name, position in (('newest', -1), ('oldest', 0)):
            found[name] = []
            for _ in range(DELETIONS):
                time.sleep(WINDOW)
                request = snapshot_service_pb2.DeleteSnapshotRequest(
                    snapshot_id=snapshots.pop(position))
                found[name].append(self.timed('snapshots.DeleteSnapshot', request)[2])
        return found


def row(name, seconds):
    print(f'  {name:<48} {median(seconds) * 1e3:10.1f} '
          f'{percentile(seconds, 99) * 1e3:10.1f} {max(seconds) * 1e3:10.1f}')


def run(report, quick):
    snapshots = 2 * TEN + DELETIONS if quick else SNAPSHOTS
    with CairnUnderTest() as server:
        bench = Bench(server, snapshots)
        offline = bench.offline()
        found = bench.in_use()
    print(f'  {f"{snapshots} snapshots, in milliseconds":<48} {"median":>10} {"p99":>10} '
          f'{"longest":>10}')
    row('the call', found['calls'])
    row("Cairn's time for it", found['server'])
    for first, last in ((0, TEN), (snapshots - TEN, snapshots)):
        row(f'  with {first} to {last - 1} snapshots there', found['server'][first:last])
    row('  the same for a volume that nobody uses', offline)
    row(f'the longest write in {WINDOW * 1e3:.0f} ms around it', found['pauses'])
    for first, last in ((0, TEN), (snapshots - TEN, snapshots)):
        row(f'  with {first} to {last - 1} snapshots there', found['pauses'][first:last])
    row(f'  the same in {WINDOW * 1e3:.0f} ms without a snapshot', found['quiet'])
    row("Cairn's time to delete the newest", found['newest'])
    row("Cairn's time to delete the oldest", found['oldest'])
    for name, title, measured, reference, reference_name in (
            ('snapshot', 'take a snapshot of a volume in use', 'server', offline,
             'a volume that nobody uses'),
            ('pause', "the longest pause of a machine's writes, at a snapshot", 'pauses',
             found['quiet'], 'without a snapshot')):
        report.add(f'live/{name}', title, median(found[measured]) * 1e3, 'ms',
                   median(reference) * 1e3, reference_name, under(GOAL_MS, 'ms'))
