"""Volumes in use by the domains of a real libvirtd, under writers that never pause.

    libvirt_test.py --cairnd FILE --stubs DIR [TEST]

CAIRN_SEED replays a run, as far as chance in the programs allows. CAIRN_LIVE_OPERATIONS says how
many changes the random test makes, CAIRN_LIVE_LIBVIRT_KILLS how often the server is killed,
CAIRN_LIVE_LIBVIRT_MACHINE_KILLS how often the machine, CAIRN_LIVE_LIBVIRT_RESTARTS how often
libvirtd is restarted.
"""

import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from cairn.v1 import operation_pb2, snapshot_service_pb2
from live_case import QCOW2, RAW
from live_jobs import LiveJobs

OPERATIONS = int(os.environ.get('CAIRN_LIVE_OPERATIONS', '200'))
KILLS = int(os.environ.get('CAIRN_LIVE_LIBVIRT_KILLS', '10'))
MACHINE_KILLS = int(os.environ.get('CAIRN_LIVE_LIBVIRT_MACHINE_KILLS', '5'))
RESTARTS = int(os.environ.get('CAIRN_LIVE_LIBVIRT_RESTARTS', '4'))


class LibvirtTest(LiveJobs):
    def test_raw(self):
        self.main_job('libvirt', RAW)

    def test_qcow2(self):
        self.main_job('libvirt_transient', QCOW2)

    def test_export(self):
        self.export('libvirt')

    def test_random(self):
        self.random_snapshots('libvirt', OPERATIONS)

    def test_group(self):
        self.group('libvirt')

    def test_by_turns(self):
        """What one kind of machine leaves, the other goes on with."""
        disk = self.make_disk(QCOW2)
        for kind in ('libvirt', 'storage_daemon', 'libvirt_transient', 'qemu_system', 'libvirt'):
            machine = self.machine(kind)
            self.power_on(machine, disk)
            self.write_to(disk)
            for _ in range(5):
                self.change_any(disk, self.snapshot, self.delete_snapshot)
            self.assert_wrote_well()
            self.power_off(machine, disk)
            self.assert_all_holds()

    def test_server_dies(self):
        self.kill_server('libvirt', QCOW2, KILLS, within=0.5)

    def test_machine_dies(self):
        self.kill_machines([self.machine('libvirt'), self.machine('libvirt_transient')],
                           self.make_disk(QCOW2), MACHINE_KILLS, within=0.5)

    def test_libvirtd_restarts(self):
        """In the middle of a deletion, killed and ended by turns. The operation waits, and goes on
        with the job that QEMU has gone on with."""
        disk = self.make_disk(RAW)
        machine = self.machine('libvirt')
        self.power_on(machine, disk)
        for number in range(RESTARTS):
            older = self.snapshot(disk)
            self.fill(disk)
            self.snapshot(disk)
            writer = self.write_to(disk)
            with self.subTest(number):
                operation = self.caller.begin(
                    'snapshots.DeleteSnapshot',
                    snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=older))
                self.wait_for_a_job(machine, operation)
                machine.daemon.end(signal.SIGTERM if number % 2 else signal.SIGKILL)
                time.sleep(self.dice.random() * 1.0)
                operation = self.caller.get(operation.id)
                print(f'without libvirtd: {operation_pb2.OperationState.Name(operation.state)} '
                      f'{operation.progress.step}', flush=True)
                machine.daemon.start()
                self.caller.ended_well(self.caller.wait(operation.id))
                del disk.snapshots[older]
                self.assert_open_as_recorded(disk)
                writer.wait_for_writes(20)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()

    def fill(self, disk):
        """A layer that takes a while to merge."""
        self.write_to(disk, writes_per_second=4000, blocks_max=16).wait_for_writes(1500)
        self.assert_wrote_well()

    def wait_for_a_job(self, machine, operation):
        give_up = time.monotonic() + 30
        with machine.qmp() as qmp:
            while not qmp.execute('query-jobs'):
                self.assertLess(time.monotonic(), give_up, self.caller.get(operation.id))


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
