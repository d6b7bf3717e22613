"""Changes of volumes in use that the consumer carries out: by consumer.py, a program of its own
that has Cairn's stubs and a QMP socket.

    assisted_test.py --cairnd FILE --stubs DIR [TEST]
"""

import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from cairn.v1 import operation_pb2, operation_service_pb2, snapshot_service_pb2
from cairn.v1 import volume_pb2, volume_service_pb2
from assisted_case import AssistedCase
from caller import ENDED
from consumer import Consumer
from live_case import QCOW2, RAW, SIZE

WAITING = operation_pb2.OPERATION_STATE_WAITING_FOR_CONSUMER
CANCELLING = operation_pb2.OPERATION_STATE_CANCELLING
SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
CANCELLED = operation_pb2.OPERATION_STATE_CANCELLED
DONE = {'done': operation_service_pb2.HypervisorStepDone()}
NOT_DONE = {'failed': operation_service_pb2.HypervisorStepFailed(message='the guest is busy')}


class AssistedTest(AssistedCase):
    def started(self, kind, form):
        disk = self.make_disk(form)
        machine = self.machine(kind)
        self.power_on(machine, disk)
        return disk, machine, self.write_to(disk)

    def begin_waiting(self, method, request):
        """The operation has come to the point where it waits for the consumer."""
        operation = self.caller.wait(self.caller.begin(method, request).id,
                                     until=(WAITING, SUCCEEDED, FAILED, CANCELLED))
        self.assertEqual(operation.state, WAITING, operation)
        self.assertTrue(operation.hypervisor_step.instructions)
        return operation

    def begin_snapshot(self, disk):
        return self.begin_waiting('snapshots.CreateSnapshot',
                                  snapshot_service_pb2.CreateSnapshotRequest(
                                      volume_id=disk.volume_id))

    def begin_deletion(self, snapshot_id):
        return self.begin_waiting('snapshots.DeleteSnapshot',
                                  snapshot_service_pb2.DeleteSnapshotRequest(
                                      snapshot_id=snapshot_id))

    def report(self, operation, step=None, **outcome):
        return self.caller.call('operations.ReportHypervisorStep',
                                operation_service_pb2.ReportHypervisorStepRequest(
                                    operation_id=operation.id,
                                    step_number=step or operation.hypervisor_step.number,
                                    **outcome)).operation

    def cancel(self, operation):
        return self.caller.call('operations.CancelOperation',
                                operation_service_pb2.CancelOperationRequest(
                                    operation_id=operation.id)).operation

    def serve_to_the_end(self, machine, operation):
        """By a consumer that is told, step by step."""
        while operation.state == WAITING:
            self.consumer(machine).serve(operation)
            operation = self.caller.wait(operation.id,
                                         until=(WAITING, SUCCEEDED, FAILED, CANCELLED))
        return operation

    def finish(self, machine, disk):
        self.assert_open_as_recorded(disk)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()

    def test_storage_daemon(self):
        self.main_job('storage_daemon', RAW)

    def test_qemu_system(self):
        self.main_job('qemu_system', QCOW2)

    def main_job(self, kind, form):
        disk, machine, writer = self.started(kind, form)
        self.start_consumer(machine)
        snapshots = []
        for _ in range(4):
            writer.wait_for_writes(60)
            snapshots.append(self.snapshot(disk))
        self.delete_snapshot(disk, snapshots[3])
        self.delete_snapshot(disk, snapshots[1])
        self.delete_snapshot(disk, snapshots[0])
        self.clone(disk)
        self.clone_snapshot(disk, snapshots[2])
        self.migrate(disk, self.share(1))
        writer.wait_for_writes(60)
        self.assert_wrote_well()
        self.extend(disk, 2 * SIZE)
        writer = self.write_to(disk)
        self.snapshot(disk)
        writer.wait_for_writes(60)
        self.finish(machine, disk)

    def test_group(self):
        """One step with an instruction for each disk."""
        disks = [self.make_disk(form) for form in (QCOW2, RAW)]
        machine = self.machine('qemu_system')
        self.power_on(machine, *disks)
        self.write_to(*disks, lanes=1)
        begin = self.clock.tick()
        operation = self.begin_waiting(
            'snapshots.CreateSnapshot', snapshot_service_pb2.CreateSnapshotRequest(
                volume_id=disks[0].volume_id,
                additional_volumes=[snapshot_service_pb2.SnapshotGroupMember(
                    volume_id=disks[1].volume_id)]))
        self.assertEqual({i.volume_id for i in operation.hypervisor_step.instructions},
                         {disk.volume_id for disk in disks})
        self.assertEqual(self.serve_to_the_end(machine, operation).state, SUCCEEDED)
        for disk in disks:
            snapshot, = self.caller.call('snapshots.ListSnapshots',
                                         snapshot_service_pb2.ListSnapshotsRequest(
                                             volume_id=disk.volume_id)).snapshots
            disk.snapshots[snapshot.id] = disk.model.between(begin, self.clock.tick())
            self.assert_open_as_recorded(disk)
        self.assert_wrote_well()
        self.power_off(machine, *disks)
        self.assert_all_holds()

    def test_consumer_dies_before_it_reports(self):
        self.consumer_dies('end')

    def test_consumer_dies_during_a_job(self):
        self.consumer_dies('progress')

    def consumer_dies(self, when):
        """Another consumer goes on where it died; nothing is done twice."""
        disk, machine, writer = self.started('storage_daemon', QCOW2)
        deaths = 0
        for change in ('snapshot', 'snapshot', 'snapshot', 'newest', 'oldest', 'migrate'):
            writer.wait_for_writes(40)
            victim = None
            begin = self.clock.tick()
            if change == 'snapshot':
                operation = self.begin_snapshot(disk)
            elif change == 'migrate':
                operation = self.begin_waiting(
                    'volumes.MigrateVolume', volume_service_pb2.MigrateVolumeRequest(
                        volume_id=disk.volume_id, share=self.share(1)))
            else:
                victim = list(disk.snapshots)[-1 if change == 'newest' else 0]
                operation = self.begin_deletion(victim)
            first = self.start_consumer(machine, when)
            died = self.dies_or_finishes(first, operation)
            deaths += died
            # A switch is no job, so it has no progress.
            self.assertTrue(died or when == 'progress', change)
            self.stop_consumer(first)
            second = self.start_consumer(machine)
            operation = self.caller.ended_well(self.caller.wait(operation.id))
            self.stop_consumer(second)
            if victim:
                del disk.snapshots[victim]
            elif change == 'snapshot':
                disk.snapshots[operation.snapshot.id] = disk.model.between(begin,
                                                                           self.clock.tick())
            self.assert_open_as_recorded(disk)
        self.assertGreater(deaths, 0)
        self.finish(machine, disk)

    def dies_or_finishes(self, consumer, operation):
        """Whether the consumer has died over the operation."""
        give_up = time.monotonic() + 60
        while consumer.poll() is None:
            if self.caller.get(operation.id).state in ENDED:
                return False
            self.assertLess(time.monotonic(), give_up, 'the consumer does nothing')
            time.sleep(0.02)
        self.assertEqual(consumer.returncode, -signal.SIGKILL)
        self.assertEqual(self.caller.get(operation.id).state, WAITING)
        return True

    def test_late_answer(self):
        """The server is away when the step is carried out; it is told afterwards, twice."""
        disk, machine, writer = self.started('qemu_system', RAW)
        writer.wait_for_writes(40)
        begin = self.clock.tick()
        operation = self.begin_snapshot(disk)
        self.server.stop()
        self.server.start()
        self.caller.connect()
        self.assertEqual(self.caller.get(operation.id).state, WAITING)
        listed = self.consumer(machine).waiting()
        self.assertEqual([found.id for found in listed], [operation.id])
        self.assertEqual(listed[0].hypervisor_step, operation.hypervisor_step)
        self.consumer(machine).carry_out(operation)
        self.server.stop()
        self.server.start()
        self.caller.connect()
        self.report(operation, **DONE)
        operation = self.caller.wait(operation.id)
        self.assertEqual(operation.state, SUCCEEDED, operation)
        disk.snapshots[operation.snapshot.id] = disk.model.between(begin, self.clock.tick())
        self.assert_open_as_recorded(disk)
        again = self.report(operation, step=1, **DONE)
        self.assertEqual(again.state, SUCCEEDED)
        self.assert_refused('OPERATION_NOT_WAITING', self.report, operation, step=1, **NOT_DONE)
        self.finish(machine, disk)

    def changes(self, disk):
        snapshot = next(iter(disk.snapshots))
        return [('snapshots.CreateSnapshot', snapshot_service_pb2.CreateSnapshotRequest(
                    volume_id=disk.volume_id)),
                ('snapshots.DeleteSnapshot', snapshot_service_pb2.DeleteSnapshotRequest(
                    snapshot_id=snapshot)),
                ('volumes.ExtendVolume', volume_service_pb2.ExtendVolumeRequest(
                    volume_id=disk.volume_id, size_bytes=2 * SIZE)),
                ('volumes.MigrateVolume', volume_service_pb2.MigrateVolumeRequest(
                    volume_id=disk.volume_id, share=self.share(1))),
                ('volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
                    source_volume_id=disk.volume_id))]

    def with_snapshots(self):
        disk, machine, writer = self.started('storage_daemon', QCOW2)
        for _ in range(2):
            begin = self.clock.tick()
            operation = self.serve_to_the_end(machine, self.begin_snapshot(disk))
            self.assertEqual(operation.state, SUCCEEDED, operation)
            disk.snapshots[operation.snapshot.id] = disk.model.between(begin, self.clock.tick())
            writer.wait_for_writes(40)
        return disk, machine, writer

    def test_failed(self):
        """The consumer could not do it: the operation has failed, and nothing has changed."""
        disk, machine, _ = self.with_snapshots()
        for method, request in self.changes(disk):
            with self.subTest(method):
                before = self.facts(disk)
                operation = self.begin_waiting(method, request)
                self.report(operation, **NOT_DONE)
                operation = self.caller.wait(operation.id)
                self.assertEqual(operation.state, FAILED, operation)
                self.assertIn('the guest is busy', operation.error.message)
                self.assert_facts(disk, before)
        self.finish(machine, disk)

    def test_cancelled(self):
        """Cancelling needs the consumer's word that the step was not carried out."""
        disk, machine, _ = self.with_snapshots()
        for method, request in self.changes(disk):
            with self.subTest(method):
                before = self.facts(disk)
                operation = self.begin_waiting(method, request)
                cancelled = self.cancel(operation)
                self.assertEqual((cancelled.state, cancelled.hypervisor_step),
                                 (CANCELLING, operation.hypervisor_step))
                self.assertEqual([o.id for o in self.consumer(machine).waiting()], [operation.id])
                self.consumer(machine).serve(cancelled)  # it was not begun
                operation = self.caller.wait(operation.id)
                self.assertEqual(operation.state, CANCELLED, operation)
                self.assert_facts(disk, before)
        # Too late: it was carried out, so it is finished.
        begin = self.clock.tick()
        operation = self.begin_snapshot(disk)
        self.consumer(machine).carry_out(operation)
        self.consumer(machine).serve(self.cancel(operation))
        operation = self.caller.wait(operation.id)
        self.assertEqual(operation.state, SUCCEEDED, operation)
        disk.snapshots[operation.snapshot.id] = disk.model.between(begin, self.clock.tick())
        self.finish(machine, disk)

    def test_merge_is_broken_off(self):
        """The base has been written to: there is no way back, so the step is asked for again."""
        disk, machine, writer = self.with_snapshots()
        third = self.serve_to_the_end(machine, self.begin_snapshot(disk)).snapshot.id
        writer.wait_for_writes(40)
        begin = self.clock.tick()
        fourth = self.serve_to_the_end(machine, self.begin_snapshot(disk)).snapshot.id
        disk.snapshots[fourth] = disk.model.between(begin, self.clock.tick())
        operation = self.begin_deletion(third)
        merge = operation.hypervisor_step.instructions[0].merge_layers
        self.assertEqual(merge.direction, operation_pb2.MERGE_DIRECTION_COMMIT, operation)
        before = self.facts(disk)
        self.report(operation, failed=operation_service_pb2.HypervisorStepFailed(
            message='no space', begun=True))
        after = self.facts(disk)
        for fact in ('size', 'share', 'active', 'chain', 'maps', 'files', 'snapshots'):
            self.assertEqual(after[fact], before[fact], fact)
        operation = self.caller.get(operation.id)
        self.assertFalse(operation.cancellable)
        self.assertNotIn(operation.state, ENDED, operation)
        self.assert_refused('SNAPSHOT_STATE', self.caller.change, 'volumes.CreateVolume',
                            volume_service_pb2.CreateVolumeRequest(source_snapshot_id=third))
        operation = self.caller.wait(operation.id, until=(WAITING, SUCCEEDED, FAILED, CANCELLED))
        operation = self.serve_to_the_end(machine, operation)
        self.assertEqual(operation.state, SUCCEEDED, operation)
        self.finish(machine, disk)

    def test_wrong_answers(self):
        """What is reported as done is looked at; answers to other steps are refused."""
        disk, machine, _ = self.with_snapshots()
        victim = next(iter(disk.snapshots))
        operation = self.begin_deletion(victim)
        self.assertEqual(operation.hypervisor_step.number, 1)
        refused = self.assert_refused('IMAGE_MISMATCH', self.report, operation, **DONE)
        self.assertEqual(refused.code, 9)
        self.assertEqual(self.caller.get(operation.id).state, WAITING)
        self.assert_refused('INVALID_FIELD', self.report, operation, step=7, **DONE)
        self.assert_refused('INVALID_FIELD', self.report, operation)
        self.assertEqual(self.caller.get(operation.id).state, WAITING)
        stranger = Consumer(self.server.channel, 'machine-2', machine.cairn_socket)
        self.assertEqual(stranger.waiting(), [])
        self.report(operation, progress=operation_service_pb2.HypervisorStepProgress(
            done_bytes=10, total_bytes=20))
        progress = self.caller.get(operation.id).progress
        self.assertEqual((progress.done_bytes, progress.total_bytes), (10, 20))
        operation = self.serve_to_the_end(machine, operation)
        self.assertEqual(operation.state, SUCCEEDED, operation)
        del disk.snapshots[victim]
        self.finish(machine, disk)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
