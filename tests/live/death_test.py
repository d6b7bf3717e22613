"""The server, or the machine, is killed at random instants while volumes in use are changed.

    death_test.py --cairnd FILE --stubs DIR [TEST]

CAIRN_SEED replays a run, as far as chance in the programs allows; CAIRN_LIVE_KILLS and
CAIRN_LIVE_MACHINE_KILLS say how often.
"""

import os
import sys
import time
import unittest
import uuid

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from google.protobuf import duration_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, snapshot_service_pb2
from cairn.v1 import volume_service_pb2
from caller import ENDED, Refused
from live_case import QCOW2, RAW, LiveCase
from model import Either
from verify import content_of_files, verify_chain

KILLS = int(os.environ.get('CAIRN_LIVE_KILLS', '25'))
MACHINE_KILLS = int(os.environ.get('CAIRN_LIVE_MACHINE_KILLS', '15'))
SNAPSHOTS_MAX = 6
COPIES_MAX = 3


class Change:
    """A change of a disk, drawn at random: a call that can be repeated, and what is so after it."""

    def __init__(self, case, disk):
        self.disk = disk
        self.begin = case.clock.tick()
        held = sorted(disk.snapshots)
        draw = case.dice.random()
        if held and (len(held) >= SNAPSHOTS_MAX or draw < 0.4):
            self.method = 'snapshots.DeleteSnapshot'
            self.victim = case.dice.choice(held)
            self.request = snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=self.victim)
        elif draw < 0.5 and len(disk.copies) < COPIES_MAX:
            self.method = 'volumes.CreateVolume'
            self.request = volume_service_pb2.CreateVolumeRequest(
                volume_id=case.new_id(), source_volume_id=disk.volume_id)
        elif draw < 0.6:
            here = case.caller.full(disk.volume_id).share
            self.method = 'volumes.MigrateVolume'
            self.request = volume_service_pb2.MigrateVolumeRequest(
                volume_id=disk.volume_id,
                share=case.share(1 if here == case.share(0) else 0))
        else:
            self.method = 'snapshots.CreateSnapshot'
            self.request = snapshot_service_pb2.CreateSnapshotRequest(
                volume_id=disk.volume_id, snapshot_id=case.new_id())
        self.request.request_id = case.new_id()

    def __str__(self):
        return f'{self.method} {self.request}'.replace('\n', ' ')

    def has_succeeded(self, expected):
        """`expected`: what was read in it, if anything was."""
        if self.method == 'snapshots.CreateSnapshot':
            self.disk.snapshots[self.request.snapshot_id] = expected
        elif self.method == 'snapshots.DeleteSnapshot':
            del self.disk.snapshots[self.victim]
        elif self.method == 'volumes.CreateVolume':
            self.disk.copies[self.request.volume_id] = expected


class DeathTest(LiveCase):
    def new_id(self):
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

    def test_server_with_storage_daemon(self):
        self.kill_server('storage_daemon', QCOW2)

    def test_server_with_qemu_system(self):
        self.kill_server('qemu_system', RAW)

    def kill_server(self, kind, form):
        """Operations are finished after the restart; the writers do not notice."""
        disk = self.make_disk(form)
        machine = self.machine(kind)
        self.power_on(machine, disk)
        self.look_on(machine)
        writer = self.write_to(disk)
        for number in range(KILLS):
            writer.wait_for_writes(10)
            change = Change(self, disk)
            with self.subTest(number, change=str(change)):
                call = self.caller.method(change.method).future(change.request, timeout=60)
                time.sleep(self.dice.random() * 0.1)
                self.server.process.kill()
                self.server.process.wait()
                call.exception()
                self.server.channel.close()
                self.server.start()
                self.caller.connect()
                # Whatever came of it, the same request again completes it, once.
                self.caller.ended_well(self.caller.wait(
                    self.caller.call(change.method, change.request).operation.id))
                change.has_succeeded(disk.model.between(change.begin, self.clock.tick()))
                self.assert_open_as_recorded(disk)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()

    def test_machine(self):
        """An operation is neither lost nor guessed: it waits until the volume is detached. What
        was flushed is there."""
        disk = self.make_disk(QCOW2)
        machines = [self.machine('storage_daemon'), self.machine('qemu_system')]
        for number in range(MACHINE_KILLS):
            machine = self.dice.choice(machines)
            self.power_on(machine, disk)
            writer = self.write_to(disk, flush_every=4)
            change = Change(self, disk)
            with self.subTest(number, change=str(change)):
                self.kill_machine(machine, disk, writer, change)
            if number % 5 == 4 or number == MACHINE_KILLS - 1:
                self.assert_all_holds()

    def kill_machine(self, machine, disk, writer, change):
        operation = self.caller.begin(change.method, change.request)
        time.sleep(self.dice.random() * 0.1)
        writer.expect_death()
        machine.kill()
        writer.stop()
        self.assertEqual(writer.errors, [])
        self.writers.clear()
        operation = self.caller.call('operations.WaitOperation',
                                     operation_service_pb2.WaitOperationRequest(
                                         operation_id=operation.id,
                                         timeout=duration_pb2.Duration(seconds=1))).operation
        if operation.state not in ENDED:
            self.assertEqual(operation.state, operation_pb2.OPERATION_STATE_RUNNING)
            self.assertNotEqual(operation.progress.step, '')
        before = operation.state
        self.machine_died(machine, disk)
        operation = self.caller.wait(operation.id)
        print(f'{change}: {operation_pb2.OperationState.Name(before)}, then '
              f'{operation_pb2.OperationState.Name(operation.state)}', flush=True)
        after = disk.model.after_death()
        if operation.state == operation_pb2.OPERATION_STATE_SUCCEEDED:
            change.has_succeeded(Either(disk.model.between(change.begin, self.clock.tick()),
                                        after))
        else:
            refused = Refused(operation.error)
            self.assertEqual(refused.reason, 'HYPERVISOR_UNAVAILABLE', operation)
        volume = self.caller.full(disk.volume_id)
        verify_chain(volume, machine_died=True)
        values = disk.model.read(content_of_files(volume))
        after.check(values)
        disk.model.settle(values)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
