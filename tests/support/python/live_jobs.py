"""What is done to a volume in use, with any kind of machine."""

import time
import uuid

from google.protobuf import duration_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, snapshot_service_pb2
from cairn.v1 import volume_service_pb2
from caller import ENDED, Refused
from live_case import MIB, QCOW2, RAW, SIZE, LiveCase
from model import Either, check_one_instant
from verify import NotAsRecorded, content_of_files, verify_chain

SNAPSHOTS_MAX = 10
SNAPSHOTS_MAX_IN_DANGER = 6
COPIES_MAX = 3


class Change:
    """A change of a disk, drawn at random: a call that can be repeated, and what is so after it."""

    def __init__(self, case, disk):
        self.disk = disk
        self.begin = case.clock.tick()
        held = sorted(disk.snapshots)
        draw = case.dice.random()
        if held and (len(held) >= SNAPSHOTS_MAX_IN_DANGER or draw < 0.4):
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


class LiveJobs(LiveCase):
    def new_id(self):
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

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

    def random_snapshots(self, kind, operations):
        """Snapshots are taken and deleted in any order."""
        disk = self.make_disk(QCOW2)
        machine = self.machine(kind)
        self.power_on(machine, disk)
        self.look_on(machine)
        self.write_to(disk, writes_per_second=500)
        for _ in range(operations):
            self.change_any(disk, self.snapshot, self.delete_snapshot)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()

    def change_any(self, disk, snapshot, delete):
        held = sorted(disk.snapshots)
        if held and (len(held) >= SNAPSHOTS_MAX or self.dice.random() < 0.5):
            delete(disk, self.dice.choice(held))
        else:
            snapshot(disk, snapshot_id=self.new_id())

    def export(self, kind):
        """What is downloaded of a disk in use is of one instant, and leaves nothing behind."""
        disk = self.make_disk(QCOW2)
        machine = self.machine(kind)
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

    def group(self, kind):
        """Three disks of one machine at one instant: a snapshot holds a prefix of the writes, of
        which each was issued when the one before it, on another disk, had been acknowledged."""
        disks = [self.make_disk(form) for form in (QCOW2, RAW, QCOW2)]
        machine = self.machine(kind)
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

    def kill_server(self, kind, form, kills, within=0.1):
        """Some time within so many seconds of each change. Operations are finished after the
        restart; the writers do not notice."""
        disk = self.make_disk(form)
        machine = self.machine(kind)
        self.power_on(machine, disk)
        self.look_on(machine)
        writer = self.write_to(disk)
        for number in range(kills):
            writer.wait_for_writes(10)
            change = Change(self, disk)
            with self.subTest(number, change=str(change)):
                call = self.caller.method(change.method).future(change.request, timeout=60)
                time.sleep(self.dice.random() * within)
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

    def kill_machines(self, machines, disk, kills, within=0.1):
        """Some time within so many seconds of each change. An operation is neither lost nor
        guessed: it waits until the volume is detached. What was flushed is there."""
        for number in range(kills):
            machine = self.dice.choice(machines)
            self.power_on(machine, disk)
            writer = self.write_to(disk, flush_every=4)
            change = Change(self, disk)
            with self.subTest(number, change=str(change)):
                self.kill_machine(machine, disk, writer, change, within)
            if number % 5 == 4 or number == kills - 1:
                self.assert_all_holds()

    def kill_machine(self, machine, disk, writer, change, within):
        operation = self.caller.begin(change.method, change.request)
        time.sleep(self.dice.random() * within)
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
            self.assertIn(refused.reason, ('HYPERVISOR_UNAVAILABLE', 'INTERRUPTED'), operation)
        self.wait_until_tidy(disk)
        volume = self.caller.full(disk.volume_id)
        verify_chain(volume, machine_died=True)
        values = disk.model.read(content_of_files(volume))
        after.check(values)
        disk.model.settle(values)
