"""Changes of volumes in use: every kind of change, in every order, under writers that never pause.

    live_test.py --cairnd FILE --stubs DIR [TEST]

CAIRN_SEED replays a run; CAIRN_LIVE_OPERATIONS says how many changes the random test makes.
"""

import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from cairn.v1 import operation_service_pb2, snapshot_service_pb2, volume_pb2
from live_case import QCOW2, RAW
from live_jobs import LiveJobs
from machine import KINDS
from verify import path_of

THICK = volume_pb2.VOLUME_FORMAT_RAW_THICK

OPERATIONS = int(os.environ.get('CAIRN_LIVE_OPERATIONS', '200'))


class LiveTest(LiveJobs):
    def test_storage_daemon_raw(self):
        self.main_job('storage_daemon', RAW)

    def test_storage_daemon_qcow2(self):
        self.main_job('storage_daemon', QCOW2)

    def test_qemu_system_raw(self):
        self.main_job('qemu_system', RAW)

    def test_qemu_system_qcow2(self):
        self.main_job('qemu_system', QCOW2)

    def test_export(self):
        self.export('qemu_system')

    def test_random(self):
        self.random_snapshots('storage_daemon', OPERATIONS)

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

    def snapshot_offline(self, disk, snapshot_id):
        begin = self.clock.tick()
        self.caller.change('snapshots.CreateSnapshot', snapshot_service_pb2.CreateSnapshotRequest(
            volume_id=disk.volume_id, snapshot_id=snapshot_id))
        disk.snapshots[snapshot_id] = disk.model.between(begin, self.clock.tick())

    def delete_offline(self, disk, snapshot_id):
        self.caller.change('snapshots.DeleteSnapshot',
                           snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id))
        del disk.snapshots[snapshot_id]

    def test_detached(self):
        """Its newest snapshot is deleted in use. What then lies on the share is a chain as that of
        Cinder's driver: the base, and one layer for each snapshot that the map names."""
        for kind, form in (('storage_daemon', THICK), ('qemu_system', QCOW2)):
            disk = self.make_disk(form)
            machine = self.machine(kind)
            self.power_on(machine, disk)
            writer = self.write_to(disk)
            writer.wait_for_writes(200)
            kept = [] if form == THICK else [self.snapshot(disk)]
            writer.wait_for_writes(200)
            newest = self.snapshot(disk)  # its layer has less to move than the file below
            self.delete_snapshot(disk, newest)
            writer.wait_for_writes(50)
            self.assert_wrote_well()
            volume = self.caller.full(disk.volume_id)
            self.assertEqual(list(volume.surplus_layers), [volume.active_file])
            self.power_off(machine, disk)
            self.assert_all_holds()
            volume = self.caller.full(disk.volume_id)
            self.assertFalse(volume.surplus_layers)
            files = [file.file for file in volume.chain]
            with open(path_of(volume, f'volume-{volume.id}.info'), encoding='utf-8') as file:
                written = json.load(file)
            self.assertEqual(written.pop('active'), files[-1])
            self.assertEqual(sorted(written), sorted(kept))
            self.assertEqual(sorted(written.values()), sorted(files[1:]))
            merges = self.caller.call(
                'operations.ListOperations', operation_service_pb2.ListOperationsRequest(
                    filter=f'kind = MERGE_LAYERS AND volume_id = {volume.id}')).operations
            self.assertEqual(len(merges), 1)
            self.caller.ended_well(merges[0])

    def test_group(self):
        self.group('qemu_system')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
