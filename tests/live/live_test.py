"""Changes of volumes in use: every kind of change, in every order, under writers that never pause.

    live_test.py --cairnd FILE --stubs DIR [TEST]

CAIRN_SEED replays a run; CAIRN_LIVE_OPERATIONS says how many changes the random test makes.
"""

import os
import sys
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from cairn.v1 import snapshot_service_pb2, volume_service_pb2
from live_case import MIB, QCOW2, RAW, SIZE, LiveCase
from machine import KINDS
from model import check_one_instant
from verify import NotAsRecorded

OPERATIONS = int(os.environ.get('CAIRN_LIVE_OPERATIONS', '200'))
SNAPSHOTS_MAX = 10


class LiveTest(LiveCase):
    def test_storage_daemon_raw(self):
        self.main_job('storage_daemon', RAW)

    def test_storage_daemon_qcow2(self):
        self.main_job('storage_daemon', QCOW2)

    def test_qemu_system_raw(self):
        self.main_job('qemu_system', RAW)

    def test_qemu_system_qcow2(self):
        self.main_job('qemu_system', QCOW2)

    def main_job(self, kind, form):
        disk = self.make_disk(form)
        machine = self.machine(kind)
        self.power_on(machine, disk)
        self.look_on(machine)
        writer = self.write_to(disk)
        first, second, third, fourth = (self.snapshot_after(writer, disk) for _ in range(4))
        self.delete_snapshot(disk, fourth)  # the newest
        self.delete_snapshot(disk, second)  # one in the middle
        self.delete_snapshot(disk, first)  # the oldest
        fifth = self.snapshot_after(writer, disk)
        self.clone(disk, format=QCOW2 if form == RAW else RAW)
        self.clone(disk, size_bytes=SIZE + MIB)
        self.clone_snapshot(disk, third)
        self.migrate(disk, self.share(1))
        sixth = self.snapshot_after(writer, disk)
        self.delete_snapshot(disk, fifth)
        self.assert_wrote_well()

        self.extend(disk, 2 * SIZE)
        writer = self.write_to(disk)  # beyond the old end as well
        self.snapshot_after(writer, disk)
        self.delete_snapshot(disk, sixth)
        self.delete_snapshot(disk, third)
        self.migrate(disk, self.share(0))
        writer.wait_for_writes(50)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()
        self.rest_offline(disk)

    def snapshot_after(self, writer, disk):
        writer.wait_for_writes(60)
        return self.snapshot(disk)

    def rest_offline(self, disk):
        """What was left by changes in use is no burden to those that follow."""
        for snapshot in list(disk.snapshots):
            self.caller.change('snapshots.DeleteSnapshot',
                               snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=snapshot))
            del disk.snapshots[snapshot]
            self.assert_all_holds()
        for volume in (disk.volume_id, *disk.copies):
            self.caller.change('volumes.DeleteVolume',
                               volume_service_pb2.DeleteVolumeRequest(volume_id=volume))
        self.assertEqual(self.server.all_files(), set())

    def test_export(self):
        """What is downloaded of a disk in use is of one instant, and leaves nothing behind."""
        disk = self.make_disk(QCOW2)
        machine = self.machine('qemu_system')
        self.power_on(machine, disk)
        writer = self.write_to(disk, writes_per_second=500)
        for _ in range(5):
            writer.wait_for_writes(self.dice.randint(10, 100))
            begin = self.clock.tick()
            data = self.caller.download(volume_id=disk.volume_id)
            expected = disk.model.between(begin, self.clock.tick())
            self.assertEqual(len(data), disk.model.size)
            expected.check(disk.model.read(data))
            self.wait_for_rest(disk)
            self.assert_open_as_recorded(disk)
            # At most one layer more, for the writes of the meantime.
            self.assertLessEqual(len(self.caller.full(disk.volume_id).chain), 2)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()

    def wait_for_rest(self, disk):
        """The temporary snapshot is still being deleted when the stream has ended."""
        give_up = time.monotonic() + 30
        while self.caller.full(disk.volume_id).current_operation:
            self.assertLess(time.monotonic(), give_up)
            time.sleep(0.02)

    def test_random(self):
        """Snapshots are taken and deleted in any order."""
        disk = self.make_disk(QCOW2)
        machine = self.machine('storage_daemon')
        self.power_on(machine, disk)
        self.look_on(machine)
        self.write_to(disk, writes_per_second=500)
        for _ in range(OPERATIONS):
            held = sorted(disk.snapshots)
            if held and (len(held) >= SNAPSHOTS_MAX or self.dice.random() < 0.5):
                self.delete_snapshot(disk, self.dice.choice(held))
            else:
                self.snapshot(disk, snapshot_id=self.new_id())
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()

    def test_random_attached_and_detached(self):
        """The same, with the volume in use and not in use by turns, on one chain."""
        disk = self.make_disk(RAW)
        for turn in range(max(1, OPERATIONS // 20)):
            machine = self.machine(self.dice.choice(sorted(KINDS)))
            self.power_on(machine, disk)
            self.write_to(disk)
            for _ in range(6):
                self.change_any(disk, self.snapshot, self.delete_snapshot)
            self.assert_wrote_well()
            self.power_off(machine, disk)
            for _ in range(4):
                self.change_any(disk, self.snapshot_offline, self.delete_offline)
            if turn % 3 == 0:
                self.assert_all_holds()
        self.assert_all_holds()

    def change_any(self, disk, snapshot, delete):
        held = sorted(disk.snapshots)
        if held and (len(held) >= SNAPSHOTS_MAX or self.dice.random() < 0.5):
            delete(disk, self.dice.choice(held))
        else:
            snapshot(disk, snapshot_id=self.new_id())

    def new_id(self):
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

    def snapshot_offline(self, disk, snapshot_id):
        begin = self.clock.tick()
        self.caller.change('snapshots.CreateSnapshot', snapshot_service_pb2.CreateSnapshotRequest(
            volume_id=disk.volume_id, snapshot_id=snapshot_id))
        disk.snapshots[snapshot_id] = disk.model.between(begin, self.clock.tick())

    def delete_offline(self, disk, snapshot_id):
        self.caller.change('snapshots.DeleteSnapshot',
                           snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id))
        del disk.snapshots[snapshot_id]

    def test_group(self):
        """Three disks of one machine at one instant: a snapshot holds a prefix of the writes, of
        which each was issued when the one before it, on another disk, had been acknowledged."""
        disks = [self.make_disk(form) for form in (QCOW2, RAW, QCOW2)]
        machine = self.machine('qemu_system')
        self.power_on(machine, *disks)
        writer = self.write_to(*disks, lanes=1, writes_per_second=1000)
        groups = []
        for _ in range(8):
            writer.wait_for_writes(self.dice.randint(10, 60))
            ids = [self.new_id() for _ in disks]
            begin = self.clock.tick()
            self.caller.change('snapshots.CreateSnapshot',
                               snapshot_service_pb2.CreateSnapshotRequest(
                                   volume_id=disks[0].volume_id, snapshot_id=ids[0],
                                   additional_volumes=[
                                       snapshot_service_pb2.SnapshotGroupMember(
                                           volume_id=disk.volume_id, snapshot_id=snapshot)
                                       for disk, snapshot in zip(disks[1:], ids[1:])]))
            end = self.clock.tick()
            for disk, snapshot in zip(disks, ids):
                disk.snapshots[snapshot] = disk.model.between(begin, end)
                self.assert_open_as_recorded(disk)
            groups.append(ids)
        for ids in groups[::3]:
            for disk, snapshot in zip(disks, ids):
                self.delete_snapshot(disk, snapshot)
            groups.remove(ids)
        self.assert_wrote_well()
        self.power_off(machine, *disks)
        self.assert_all_holds()
        for ids in groups:
            try:
                check_one_instant([
                    (disk.snapshots[snapshot],
                     disk.model.read(self.caller.download(snapshot_id=snapshot)))
                    for disk, snapshot in zip(disks, ids)])
            except AssertionError as problem:
                raise NotAsRecorded(f'group {ids}: {problem}') from problem


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
