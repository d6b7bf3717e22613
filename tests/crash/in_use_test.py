"""Kills the real server at every fail point of a change of a volume in use, under a writer that
never pauses, and starts it again; then the server and, a few writes later, the machine.

    in_use_test.py --cairnd FILE --stubs DIR [TEST]

After each death the record, the map, the headers and what the machine has open must agree, volume
and snapshots must hold what the model of the writes says, and no file may lie about. A scenario
names the fail points that its operation passes: one that is armed and not reached fails the test,
and one that is passed and not named makes the operation fail. Each point gets a volume and a
machine of its own.
"""

import contextlib
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from google.protobuf import duration_pb2

from cairn.v1 import operation_pb2, operation_service_pb2, snapshot_service_pb2
from cairn.v1 import volume_service_pb2
from assisted_case import AssistedCase
from caller import AT_ONCE, ENDED, Refused
from in_use_scenarios import (SIZE, AssistedMigrate, Clone, CreateSnapshot, DeleteMiddleSnapshot,
                              DeleteNewestByCommit, DeleteNewestByStream, ExtendQcow2, ExtendRaw,
                              GroupSnapshot, Migrate, new_id)
from live_case import LiveCase
from model import Either, check_one_instant
from verify import verify_headers, verify_map

FAIL_POINT_EXIT_CODE = 42
WRITES_BETWEEN_DEATHS = 40  # some of them flushed: the guest has not noticed the server's death
SUCCEEDED = operation_pb2.OPERATION_STATE_SUCCEEDED
FAILED = operation_pb2.OPERATION_STATE_FAILED
WAITING = operation_pb2.OPERATION_STATE_WAITING_FOR_CONSUMER


class InUseCase(LiveCase):
    """One campaign for a scenario: every point, with the machine alive or dead."""

    # Up to the death.

    def at_every_point(self, scenario, visit):
        for number, point in enumerate(scenario.points):
            with self.subTest(point), self.keeping_log(point):
                disks, machine, writer = self.started(scenario, number)
                scenario.prepare(self, disks, writer)
                visit(scenario, point, disks, machine)
                self.clear(disks, machine)

    @contextlib.contextmanager
    def keeping_log(self, point):
        try:
            yield
        except Exception:
            self.log += f'\n---- {point}:\n{self.server.log_tail()}'
            # What comes after it must not suffer from what is left of this one.
            self.start_afresh()
            raise

    def start_afresh(self):
        for writer in self.writers:
            writer.expect_death()
        for disk in self.disks:
            if disk.machine is not None:
                disk.machine.close()
        for writer in self.writers:
            writer.stop()
        self.writers.clear()
        self.disks.clear()
        self.end()
        self.server = type(self.server)(setting.CAIRND)
        self.caller = type(self.caller)(self.server)

    def started(self, scenario, number):
        formats = scenario.formats[number % len(scenario.formats)]
        disks = [self.make_disk(form, SIZE) for form in formats]
        machine = self.machine(scenario.machines[number // 2 % len(scenario.machines)])
        self.power_on(machine, *disks)
        return disks, machine, self.write_to(*disks, lanes=1 if len(disks) > 1 else 2,
                                             flush_every=4)

    def crash(self, scenario, point, request, machine_to_kill=None):
        """Begins the change, sees the server die at the point, and starts it again."""
        request.request_id = new_id()
        request.wait.CopyFrom(duration_pb2.Duration(seconds=30))
        self.server.stop()
        armed = [f'{point}=crash', *(f'{other}=error' for other in scenario.other_points)]
        self.server.start(';'.join(f'{scenario.kind}.{each}' for each in armed))
        self.caller.connect()
        call = self.caller.method(scenario.method).future(request, timeout=60)
        self.assertEqual(self.exit_code(call), FAIL_POINT_EXIT_CODE, f'{point} was not reached')
        if machine_to_kill is not None:
            for writer in self.writers:
                if point not in scenario.holding:
                    writer.wait_for_writes(WRITES_BETWEEN_DEATHS)
                writer.expect_death()
            machine_to_kill.kill()
        call.exception()
        self.restart()

    def exit_code(self, call):
        """Of the server; None when the operation has ended and the server has not."""
        give_up = time.monotonic() + 30
        while self.server.process.poll() is None:
            if call.done() and call.exception() is None and call.result().operation.state in ENDED:
                print(call.result().operation, flush=True)
                break
            self.assertLess(time.monotonic(), give_up, 'the server neither dies nor gets on')
            time.sleep(0.01)
        return self.server.process.poll()

    def restart(self):
        self.server.channel.close()
        self.server.start()
        self.caller.connect()

    # The server dies.

    def kill_server(self, scenario):
        self.at_every_point(scenario, self.server_dies)

    def server_dies(self, scenario, point, disks, machine):
        request = scenario.request(self, disks)
        begin = self.clock.tick()
        self.crash(scenario, point, request)
        # The same request again finds the operation, which start-up has taken up.
        operation = self.caller.call(scenario.method, request).operation
        self.finish(scenario, disks, machine, request, begin, operation)

    def finish(self, scenario, disks, machine, request, begin, operation):
        """The operation ends well, by itself."""
        self.caller.ended_well(self.caller.wait(operation.id))
        end = self.clock.tick()
        scenario.has_succeeded(self, disks, request,
                               lambda disk: disk.model.between(begin, end))
        scenario.go_on(self, disks)
        for writer in self.writers:
            writer.wait_for_writes(20)
        for disk in disks:
            self.assert_all_agree(disk)
        self.assert_wrote_well()
        self.power_off(machine, *disks)
        self.assert_all_holds()
        if len(disks) > 1:
            self.assert_one_instant(disks)

    def assert_all_agree(self, disk):
        """Record, map, headers and machine, while the disk is in use."""
        self.assert_open_as_recorded(disk)
        volume = self.caller.full(disk.volume_id)
        verify_headers(volume)
        verify_map(volume, self.caller.call(
            'snapshots.ListSnapshots', snapshot_service_pb2.ListSnapshotsRequest(
                volume_id=disk.volume_id, page_size=1000)).snapshots)

    def assert_one_instant(self, disks):
        newest = [(disk, list(disk.snapshots.items())[-1]) for disk in disks]
        check_one_instant([
            (expected, disk.model.read(self.caller.download(snapshot_id=snapshot)))
            for disk, (snapshot, expected) in newest])

    # The server and the machine die.

    def kill_both(self, scenario):
        self.at_every_point(scenario, self.both_die)

    def both_die(self, scenario, point, disks, machine):
        request = scenario.request(self, disks)
        begin = self.clock.tick()
        self.crash(scenario, point, request, machine_to_kill=machine)
        for writer in self.writers:
            writer.stop()
            self.assertEqual(writer.errors, [])
        self.writers.clear()
        request.wait.CopyFrom(AT_ONCE)
        operation = self.until_it_waits(self.caller.call(scenario.method, request).operation.id)
        before = operation.state
        if not scenario.needs_machine(point):
            self.assertEqual(before, SUCCEEDED, operation)
        elif self.cannot_fail_yet(scenario, point):
            self.assertNotIn(before, ENDED, operation)
        self.machine_died(machine, *disks)
        operation = self.caller.wait(operation.id, timeout=20)
        end = self.clock.tick()
        print(f'{point}: {operation_pb2.OperationState.Name(before)}, then '
              f'{operation_pb2.OperationState.Name(operation.state)}', flush=True)
        if operation.state == SUCCEEDED:
            scenario.has_succeeded(self, disks, request, lambda disk: Either(
                disk.model.between(begin, end), disk.model.after_death()))
        self.assertEqual(operation.state, SUCCEEDED if self.must_succeed(scenario, point)
                         else FAILED, operation)
        if operation.state == FAILED:
            self.assertEqual(Refused(operation.error).reason,
                             'INTERRUPTED' if point in scenario.interrupted
                             else 'HYPERVISOR_UNAVAILABLE', operation)
        self.assert_all_holds()

    def cannot_fail_yet(self, scenario, point):
        return scenario.has_crossed(point)

    def must_succeed(self, scenario, point):
        return scenario.has_crossed(point) and point not in scenario.interrupted

    def until_it_waits(self, operation_id):
        give_up = time.monotonic() + 20
        while True:
            operation = self.caller.get(operation_id)
            if operation.state in ENDED or operation.progress.step.startswith('waiting'):
                return operation
            self.assertLess(time.monotonic(), give_up, operation)
            time.sleep(0.02)

    # After it.

    def clear(self, disks, machine):
        machine.close()
        for disk in disks:
            for volume_id in (disk.volume_id, *disk.copies):
                self.caller.change('volumes.DeleteVolume', volume_service_pb2.DeleteVolumeRequest(
                    volume_id=volume_id, cascade=True))
        self.assertEqual(self.server.all_files(), set())
        self.disks.clear()


class InUseTest(InUseCase):
    def test_create_snapshot(self):
        self.kill_server(CreateSnapshot())

    def test_group_snapshot(self):
        self.kill_server(GroupSnapshot())

    def test_delete_middle_snapshot(self):
        self.kill_server(DeleteMiddleSnapshot())

    def test_delete_newest_by_commit(self):
        self.kill_server(DeleteNewestByCommit())

    def test_delete_newest_by_stream(self):
        self.kill_server(DeleteNewestByStream())

    def test_clone(self):
        self.kill_server(Clone())

    def test_extend_qcow2(self):
        self.kill_server(ExtendQcow2())

    def test_extend_raw(self):
        self.kill_server(ExtendRaw())

    def test_migrate(self):
        self.kill_server(Migrate())

    def test_create_snapshot_and_machine(self):
        self.kill_both(CreateSnapshot())

    def test_group_snapshot_and_machine(self):
        self.kill_both(GroupSnapshot())

    def test_delete_middle_snapshot_and_machine(self):
        self.kill_both(DeleteMiddleSnapshot())

    def test_delete_newest_by_commit_and_machine(self):
        self.kill_both(DeleteNewestByCommit())

    def test_delete_newest_by_stream_and_machine(self):
        self.kill_both(DeleteNewestByStream())

    def test_clone_and_machine(self):
        self.kill_both(Clone())

    def test_extend_qcow2_and_machine(self):
        self.kill_both(ExtendQcow2())

    def test_extend_raw_and_machine(self):
        self.kill_both(ExtendRaw())

    def test_migrate_and_machine(self):
        self.kill_both(Migrate())


class AssistedInUseTest(InUseCase, AssistedCase):
    """What the machine does is done by its consumer, a process that goes on when the server dies
    and reports again when it is back."""

    def started(self, scenario, number):
        disks, machine, writer = super().started(scenario, number)
        self.process = self.start_consumer(machine)
        return disks, machine, writer

    def clear(self, disks, machine):
        self.stop_consumer(self.process)
        super().clear(disks, machine)

    def start_afresh(self):
        self.stop_consumer(self.process)
        super().start_afresh()

    # Only the consumer knows the machine: nothing fails for its death, Cairn waits for an answer.

    def cannot_fail_yet(self, scenario, point):
        return True

    def must_succeed(self, scenario, point):
        return True

    def kill_while_waiting(self, scenario):
        """The server dies when it has asked, and again when the consumer has done it and has not
        reported that yet."""
        for number in range(len(scenario.formats)):
            with self.subTest(number), self.keeping_log(number):
                disks, machine, writer = self.started(scenario, number)
                scenario.prepare(self, disks, writer)
                self.stop_consumer(self.process)
                request = scenario.request(self, disks)
                begin = self.clock.tick()
                operation = self.caller.begin(scenario.method, request)
                for _ in scenario.disks:
                    operation = self.carry_out_between_deaths(operation, machine)
                self.finish(scenario, disks, machine, request, begin, operation)
                self.clear(disks, machine)

    def carry_out_between_deaths(self, operation, machine):
        before = self.caller.wait(operation.id, until=(WAITING, *ENDED))
        self.assertEqual(before.state, WAITING, before)
        self.kill_and_restart()
        operation = self.caller.wait(operation.id, until=(WAITING, *ENDED))
        self.assertEqual((operation.state, operation.hypervisor_step),
                         (WAITING, before.hypervisor_step))
        self.consumer(machine).carry_out(operation)
        self.kill_and_restart()
        self.caller.wait(operation.id, until=(WAITING, *ENDED))
        return self.consumer(machine).report(
            operation, done=operation_service_pb2.HypervisorStepDone())

    def kill_and_restart(self):
        self.server.process.kill()
        self.server.process.wait()
        self.restart()

    def test_create_snapshot(self):
        self.kill_server(CreateSnapshot())

    def test_delete_newest_by_commit(self):
        self.kill_server(DeleteNewestByCommit())

    def test_migrate(self):
        self.kill_server(AssistedMigrate())

    def test_create_snapshot_and_machine(self):
        self.kill_both(CreateSnapshot())

    def test_delete_newest_by_commit_and_machine(self):
        self.kill_both(DeleteNewestByCommit())

    def test_while_waiting(self):
        for scenario in (CreateSnapshot(), DeleteMiddleSnapshot(), DeleteNewestByCommit(),
                         DeleteNewestByStream(), Clone(), AssistedMigrate()):
            self.kill_while_waiting(scenario)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
