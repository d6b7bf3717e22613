"""The pieces of this level by themselves, without a server: machines, writers, models, and what the
consumer does over QMP, on chains that qemu-img makes.

    pieces_test.py --cairnd FILE --stubs DIR [TEST]
"""

import json
import os
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock
import uuid

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # first: it finds the stubs
import grpc

from cairn.v1 import operation_pb2, volume_pb2
from consumer import Consumer
from machine import KINDS
from model import BLOCK, Clock, DiskModel, WrongContent, check_one_instant
from qmp import Qmp, QmpError
from writer import Target, Writer

SIZE = 16 << 20
NAME = '01234567-89ab-4cde-8f01-23456789abcd'
NODE = f'cairn-{NAME[:13]}'
QCOW2 = volume_pb2.FILE_FORMAT_QCOW2


class LocalConsumer(Consumer):
    """Of one disk, whose files the test has made."""

    def __init__(self, machine, directory, files):
        super().__init__(grpc.insecure_channel('unix:/dev/null'), 'machine-1', machine.cairn_socket)
        self.directory = directory
        self.files = files
        self.reports = []

    def directory_of(self, instruction):
        return self.directory

    def volume(self, volume_id):
        return types.SimpleNamespace(
            chain=[types.SimpleNamespace(file=file) for file in self.files])

    def report(self, operation, **outcome):
        self.reports.append(outcome)

    @staticmethod
    def operation(**action):
        return operation_pb2.Operation(
            id=str(uuid.uuid4()), hypervisor_step=operation_pb2.HypervisorStep(
                number=1,
                instructions=[operation_pb2.HypervisorInstruction(volume_id=NAME, **action)]))

    def step(self, **action):
        """Carries an instruction out, twice: the second time it is done already."""
        operation = self.operation(**action)
        assert not self.is_done(operation)
        self.carry_out(operation)
        assert self.is_done(operation)
        self.carry_out(operation)


class Killed(BaseException):
    """Nothing catches it."""


class KillingQmp(Qmp):
    """The connection of a consumer that is killed when QEMU has answered so many commands."""

    def __init__(self, path, commands):
        self.commands_left = commands + 1  # the first one is of the connection itself
        super().__init__(path)

    def execute(self, command, **arguments):
        answer = super().execute(command, **arguments)
        self.commands_left -= 1
        if self.commands_left == 0:
            raise Killed
        return answer


class PiecesTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='cairn-pieces-')
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.clock = Clock()
        self.model = DiskModel(self.clock, SIZE)

    def path(self, name):
        return os.path.join(self.directory, name)

    def create(self, name, form='qcow2', backing=None):
        arguments = ['-b', os.path.basename(backing[0]), '-F', backing[1]] if backing else []
        subprocess.run(['qemu-img', 'create', '-q', '-f', form, *arguments, self.path(name),
                        str(SIZE)], check=True)

    def blockdev(self, name, form, node=NODE):
        return json.dumps({'driver': form, 'node-name': node, 'read-only': False,
                           'cache': {'direct': True},
                           'file': {'driver': 'file', 'filename': self.path(name)}})

    def machine(self, kind, file, form):
        machine = KINDS[kind]()
        self.addCleanup(machine.close)
        machine.start({NAME: self.blockdev(file, form)})
        return machine

    def write_to(self, machine, **options):
        writer = Writer([Target(self.model, machine.nbd_socket, machine.disks[NAME].export)],
                        'pieces', **options)
        self.addCleanup(writer.stop)
        writer.wait_for_writes(50)
        return writer

    def content(self, name, form='qcow2'):
        raw = self.path('content')
        subprocess.run(['qemu-img', 'convert', '-f', form, '-O', 'raw', self.path(name), raw],
                       check=True)
        with open(raw, 'rb') as file:
            return self.model.read(file.read())

    def now(self):
        now = self.clock.tick()
        return self.model.between(now - 1, now)

    def assert_open(self, machine, *files):
        self.assertEqual(machine.open_chain(NAME), [self.path(file) for file in files])
        with machine.qmp() as qmp:
            self.assertEqual({qmp.file_of(node) for node in qmp.nodes()},
                             {self.path(file) for file in files})

    def test_storage_daemon_raw(self):
        self.steps('storage_daemon', 'raw')

    def test_storage_daemon_qcow2(self):
        self.steps('storage_daemon', 'qcow2')

    def test_qemu_system_raw(self):
        self.steps('qemu_system', 'raw')

    def test_qemu_system_qcow2(self):
        self.steps('qemu_system', 'qcow2')

    def steps(self, kind, form):
        self.create('base', form)
        machine = self.machine(kind, 'base', form)
        onlooker = machine.look_on()
        self.addCleanup(onlooker.stop)
        writer = self.write_to(machine)
        consumer = LocalConsumer(machine, self.directory, ['base', 'one', 'two', 'three'])
        file_format = QCOW2 if form == 'qcow2' else volume_pb2.FILE_FORMAT_RAW

        # Three snapshots.
        instants = {}
        below = 'base'
        for name in ('one', 'two', 'three'):
            self.create(name, backing=(below, form if below == 'base' else 'qcow2'))
            begin = self.clock.tick()
            consumer.step(switch_to_layer=operation_pb2.SwitchToLayer(
                file_name=name, file_format=QCOW2, backing_file_name=below,
                backing_file_format=file_format if below == 'base' else QCOW2))
            instants[below] = self.model.between(begin, self.clock.tick())
            writer.wait_for_writes(50)
            below = name
        self.assert_open(machine, 'three', 'two', 'one', 'base')

        # Two goes down into one, then one goes up into three.
        consumer.step(merge_layers=operation_pb2.MergeLayers(
            direction=operation_pb2.MERGE_DIRECTION_COMMIT, top_file_name='two',
            base_file_name='one', rebased_file_name='three', backing_file_name_after='one',
            backing_file_format_after=QCOW2, active_file_name_after='three',
            active_file_format_after=QCOW2))
        self.assert_open(machine, 'three', 'one', 'base')
        writer.wait_for_writes(20)
        consumer.step(merge_layers=operation_pb2.MergeLayers(
            direction=operation_pb2.MERGE_DIRECTION_STREAM, top_file_name='three',
            base_file_name='one', rebased_file_name='three', backing_file_name_after='base',
            backing_file_format_after=file_format, active_file_name_after='three',
            active_file_format_after=QCOW2))
        self.assert_open(machine, 'three', 'base')
        writer.wait_for_writes(20)

        # To another share.
        target = self.path('share2')
        os.makedirs(target, exist_ok=True)
        subprocess.run(['cp', self.path('base'), target], check=True)
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', form,
                        'three', str(SIZE)], cwd=target, check=True)
        consumer.step(move_disk=operation_pb2.MoveDisk(
            file_name='three', target=volume_pb2.ConnectionInfo(
                mount_point=target, file_name='three', file_format=QCOW2, size_bytes=SIZE,
                qemu_blockdev_json=self.blockdev('share2/three', 'qcow2'))))
        self.assert_open(machine, 'share2/three', 'share2/base')
        consumer.directory = target
        writer.wait_for_writes(20)

        # Larger.
        writer.stop()
        self.assertEqual(writer.errors, [])
        self.assertLess(writer.latency_max, 10)
        resize = operation_pb2.ResizeDisk(file_name='three', size_bytes=2 * SIZE)
        with self.assertRaisesRegex(QmpError, 'resize'):  # it is exported
            consumer.step(resize_disk=resize)
        machine.remove_export(NAME)
        consumer.step(resize_disk=resize)
        self.model.size = 2 * SIZE
        onlooker.stop()
        self.assertIsNone(onlooker.error)
        machine.quit()

        instants['base'].check(self.content('base', form))
        self.now().check(self.content('share2/three'))
        with self.assertRaises(WrongContent):
            instants['base'].check(self.content('share2/three'))

    def test_killed_consumer(self):
        """A consumer is killed after each command that it gives to QEMU; another one carries the
        step out, and the writer does not notice."""
        self.create('layer0')
        os.mkdir(self.path('share2'))
        machine = self.machine('storage_daemon', 'layer0', 'qcow2')
        writer = self.write_to(machine)
        here, there = self.directory, self.path('share2')
        below, number, survived = 'layer0', 0, set()
        while len(survived) < 4:
            number += 1
            self.assertLess(number, 100)
            top = f'layer{number}'
            self.create(os.path.relpath(os.path.join(here, top), self.directory),
                        backing=(below, 'qcow2'))
            switch = operation_pb2.SwitchToLayer(
                file_name=top, file_format=QCOW2, backing_file_name=below,
                backing_file_format=QCOW2)
            self.killed_at(number, machine, here, [below], survived, switch_to_layer=switch)
            writer.wait_for_writes(10)
            if number % 2:  # below goes up into top, so that again there is one file
                merge = operation_pb2.MergeLayers(
                    direction=operation_pb2.MERGE_DIRECTION_STREAM, top_file_name=top,
                    base_file_name=below, rebased_file_name=top, active_file_name_after=top)
            else:  # above goes down into below, with another one on top
                above, top = top, f'{top}a'
                self.create(os.path.relpath(os.path.join(here, top), self.directory),
                            backing=(above, 'qcow2'))
                LocalConsumer(machine, here, []).step(
                    switch_to_layer=operation_pb2.SwitchToLayer(
                        file_name=top, file_format=QCOW2, backing_file_name=above,
                        backing_file_format=QCOW2))
                writer.wait_for_writes(10)
                merge = operation_pb2.MergeLayers(
                    direction=operation_pb2.MERGE_DIRECTION_COMMIT, top_file_name=above,
                    base_file_name=below, rebased_file_name=top, backing_file_name_after=below,
                    active_file_name_after=top)
            self.killed_at((number + 1) // 2, machine, here, [], survived, merge_layers=merge)
            if number % 2 == 0:
                LocalConsumer(machine, here, []).step(merge_layers=operation_pb2.MergeLayers(
                    direction=operation_pb2.MERGE_DIRECTION_STREAM, top_file_name=top,
                    base_file_name=below, rebased_file_name=top, active_file_name_after=top))
            moved = os.path.relpath(os.path.join(there, top), self.directory)
            self.create(moved)
            self.killed_at(number, machine, here, [top], survived, move_disk=operation_pb2.MoveDisk(
                file_name=top, target=volume_pb2.ConnectionInfo(
                    mount_point=there, file_name=top, file_format=QCOW2, size_bytes=SIZE,
                    qemu_blockdev_json=self.blockdev(moved, 'qcow2'))))
            self.assert_open(machine, moved)
            here, there, below = there, here, top
        writer.stop()
        self.assertEqual(writer.errors, [])
        machine.quit()
        self.now().check(self.content(moved))

    def killed_at(self, command, machine, directory, files, survived, **action):
        """Kills a consumer after that many commands. `survived`: the directions and actions for
        which it has given all its commands before that."""
        kind = next(iter(action))
        if kind == 'merge_layers':
            kind = action[kind].direction
        first = LocalConsumer(machine, directory, files)
        operation = first.operation(**action)
        with unittest.mock.patch('consumer.Qmp', lambda path: KillingQmp(path, command)):
            try:
                first.carry_out(operation)
                survived.add(kind)
            except Killed:
                pass
        second = LocalConsumer(machine, directory, files)
        second.carry_out(operation)
        self.assertTrue(second.is_done(operation))

    def test_death(self):
        """What was flushed is there after a machine's death, in spite of qcow2's cached tables."""
        self.create('base')
        for _ in range(5):
            machine = self.machine('storage_daemon', 'base', 'qcow2')
            writer = self.write_to(machine, flush_every=8, writes_per_second=1000)
            writer.expect_death()
            machine.kill()
            writer.stop()
            self.assertEqual(writer.errors, [])
            content = self.content('base')
            self.model.after_death().check(content)
            self.model.settle(content)
            machine.close()

    def test_model(self):
        """Two disks, and writes by turns: only a prefix is one instant."""
        models = [DiskModel(self.clock, SIZE) for _ in range(2)]
        begin = self.clock.tick()
        for turn in range(4):
            _, write = models[turn % 2].issue(first=turn // 2, count=1)
            models[turn % 2].acknowledge(write)
        end = self.clock.tick()
        instants = [model.between(begin, end) for model in models]
        for count, (one, other) in enumerate((({}, {}), ({0: 1}, {}), ({0: 1}, {0: 1}),
                                              ({0: 1, 1: 2}, {0: 1}),
                                              ({0: 1, 1: 2}, {0: 1, 1: 2}))):
            with self.subTest(count):
                check_one_instant(list(zip(instants, (one, other))))
        for one, other in (({}, {0: 1}), ({0: 1, 1: 2}, {}), ({0: 1}, {0: 1, 1: 2}),
                           ({1: 2}, {0: 1})):
            with self.subTest(one=one, other=other), self.assertRaises(WrongContent):
                check_one_instant(list(zip(instants, (one, other))))

        data, _ = models[0].issue(7, 2)
        self.assertEqual(models[0].read(bytes(7 * BLOCK) + data), {7: 3, 8: 3})
        for torn in (data[:BLOCK - 1] + b'x', data[BLOCK:]):
            with self.assertRaises(WrongContent):
                models[0].read(bytes(7 * BLOCK) + torn + bytes(-len(torn) % BLOCK))
        with self.assertRaises(WrongContent):
            models[1].read(bytes(7 * BLOCK) + data)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
