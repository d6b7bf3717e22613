"""What tests of volumes in use have in common: a server, machines, and disks under writers."""

import os
import random
import sys
import time
import unittest

from cairn.v1 import snapshot_pb2, snapshot_service_pb2, volume_pb2, volume_service_pb2
from caller import Caller, Refused, Server
from libvirt_machine import LIBVIRT_KINDS
from machine import KINDS
from model import Clock, DiskModel
from qmp import image_file
from setting import CAIRND
from verify import verify_disk, verify_shares
from writer import SLOW_SECONDS, Target, Writer

MIB = 1 << 20
SIZE = 64 * MIB
QCOW2 = volume_pb2.VOLUME_FORMAT_QCOW2
RAW = volume_pb2.VOLUME_FORMAT_RAW_SPARSE


class LiveDisk:
    """A volume, and all that is known about what it and its snapshots hold."""

    def __init__(self, volume_id, clock, size):
        self.volume_id = volume_id
        self.model = DiskModel(clock, size)
        self.snapshots = {}  # id -> what it may hold, oldest first
        self.copies = {}  # id of a volume that was made from it -> what it may hold
        self.attachment = None
        self.machine = None
        self.machine_died = False  # qcow2 images may have leaked clusters, which is harmless

    @property
    def target(self):
        return Target(self.model, self.machine.nbd_socket,
                      self.machine.disks[self.volume_id].export)


class LiveCase(unittest.TestCase):
    log = ''

    def setUp(self):
        self.seed = int(os.environ.get('CAIRN_SEED', random.randrange(1 << 32)))
        print(f'CAIRN_SEED={self.seed}', flush=True)
        self.dice = random.Random(self.seed)
        self.clock = Clock()
        self.writers = []
        self.writers_made = 0
        self.onlookers = []
        self.disks = []
        self.server = Server(CAIRND)
        self.addCleanup(self.end)
        self.caller = Caller(self.server)

    def end(self):
        self.log = self.server.log_tail() + self.log
        self.server.close()

    def close_machine(self, machine):
        self.log += f'{machine.state()}\n'
        machine.close()

    def run(self, result=None):
        bad = len(result.errors) + len(result.failures)
        super().run(result)
        if len(result.errors) + len(result.failures) > bad:
            print(f'The end of cairnd\'s log, and the machines:\n{self.log}', file=sys.stderr)
        return result

    def machine(self, kind):
        machine = {**KINDS, **LIBVIRT_KINDS}[kind]()
        self.addCleanup(self.close_machine, machine)
        return machine

    def share(self, number):
        return f'file://{self.server.shares[number]}'

    # Disks and machines.

    def make_disk(self, form, size=SIZE):
        volume = self.caller.change('volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
            size_bytes=size, format=form, share=self.share(0))).volume
        disk = LiveDisk(volume.id, self.clock, size)
        self.disks.append(disk)
        return disk

    def hypervisor(self, machine, disk):
        """How Cairn reaches the machine by itself. The assisted tests say otherwise."""
        return volume_pb2.Hypervisor(**machine.control(disk.volume_id))

    def attach(self, machine, disk, instance='machine-1', **fields):
        fields.setdefault('hypervisor', self.hypervisor(machine, disk))
        return self.caller.change('volumes.AttachVolume', volume_service_pb2.AttachVolumeRequest(
            volume_id=disk.volume_id, instance_id=instance, host='host-1', **fields)).attachment

    def detach(self, disk, **fields):
        return self.caller.change('volumes.DetachVolume', volume_service_pb2.DetachVolumeRequest(
            volume_id=disk.volume_id, **fields)).volume

    def power_on(self, machine, *disks):
        for disk in disks:
            disk.attachment = self.attach(machine, disk)
            disk.machine = machine
        machine.start({disk.volume_id: getattr(disk.attachment.connection, machine.blockdev)
                       for disk in disks})

    def look_on(self, machine):
        """Somebody else looks at the machine until it is switched off."""
        onlooker = machine.look_on()
        self.addCleanup(onlooker.stop)
        self.onlookers.append(onlooker)

    def power_off(self, machine, *disks):
        """As a user does: the machine closes its disks, then they are detached."""
        for onlooker in self.onlookers:
            onlooker.stop()
            self.assertIsNone(onlooker.error)
        self.onlookers.clear()
        machine.quit()
        for disk in disks:
            self.detach(disk)

    def machine_died(self, machine, *disks):
        """What whoever runs machines does after one has died."""
        for disk in disks:
            disk.machine_died = True
            self.detach(disk, force=True, reason='the machine has died')

    def write_to(self, *disks, **options):
        self.writers_made += 1
        writer = Writer([disk.target for disk in disks], f'{self.seed}/{self.writers_made}',
                        **options)
        self.writers.append(writer)
        self.addCleanup(writer.stop)
        writer.wait_for_writes(20)
        return writer

    def assert_wrote_well(self, may_be_slow=False):
        """Stops the writers: no write has failed, none has taken longer than a second."""
        for writer in self.writers:
            writer.stop()
            self.assertEqual(writer.errors, [])
        worst = max(writer.latency_max for writer in self.writers)
        slow = sum(writer.slow_writes for writer in self.writers)
        writes = sum(writer.writes for writer in self.writers)
        print(f'{writes} writes, the longest took {worst * 1000:.1f} ms, '
              f'{slow} longer than {SLOW_SECONDS} s', flush=True)
        if not may_be_slow:
            self.assertEqual(slow, 0)
        self.writers.clear()

    # Changes under the writers.

    def snapshot(self, disk, **fields):
        request = snapshot_service_pb2.CreateSnapshotRequest(volume_id=disk.volume_id, **fields)
        begin = self.clock.tick()
        snapshot = self.caller.change('snapshots.CreateSnapshot', request).snapshot
        disk.snapshots[snapshot.id] = disk.model.between(begin, self.clock.tick())
        self.assertEqual((snapshot.created_while, snapshot.size_bytes),
                         (snapshot_pb2.SNAPSHOT_CONDITION_IN_USE, disk.model.size))
        self.assert_open_as_recorded(disk)
        return snapshot.id

    def delete_snapshot(self, disk, snapshot_id):
        self.caller.change('snapshots.DeleteSnapshot',
                           snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=snapshot_id))
        del disk.snapshots[snapshot_id]
        self.assert_open_as_recorded(disk)

    def clone(self, disk, **fields):
        """From the volume in use."""
        begin = self.clock.tick()
        volume = self.caller.change('volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
            source_volume_id=disk.volume_id, **fields)).volume
        disk.copies[volume.id] = disk.model.between(begin, self.clock.tick())
        disk.copies[volume.id].size = volume.size_bytes  # zeros beyond the source's end
        self.assert_open_as_recorded(disk)
        return volume.id

    def clone_snapshot(self, disk, snapshot_id, **fields):
        volume = self.caller.change('volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
            source_snapshot_id=snapshot_id, **fields)).volume
        disk.copies[volume.id] = disk.snapshots[snapshot_id]
        return volume.id

    def extend(self, disk, size):
        """QEMU does not resize what it exports over NBD, so the writers are stopped meanwhile."""
        node = disk.machine.remove_export(disk.volume_id)
        volume = self.caller.change('volumes.ExtendVolume', volume_service_pb2.ExtendVolumeRequest(
            volume_id=disk.volume_id, size_bytes=size)).volume
        self.assertEqual(volume.size_bytes, size)
        disk.machine.add_export(disk.volume_id, node)
        disk.model.size = size

    def migrate(self, disk, share):
        volume = self.caller.change(
            'volumes.MigrateVolume', volume_service_pb2.MigrateVolumeRequest(
                volume_id=disk.volume_id, share=share)).volume
        self.assertEqual(volume.share, share)
        self.assert_open_as_recorded(disk)

    # What must hold.

    def assert_open_as_recorded(self, disk):
        """The machine has the files open that Cairn says, and no file of the volume besides."""
        volume = self.caller.full(disk.volume_id)
        share = volume.share[len('file://'):]
        recorded = [os.path.join(share, file.file) for file in reversed(volume.chain)]
        self.assertEqual(disk.machine.open_chain(disk.volume_id), recorded)
        with disk.machine.qmp() as qmp:
            files = map(image_file, (node['file'] for node in qmp.nodes().values()))
            held = {path for path in files if disk.volume_id in path}
        self.assertEqual(held - set(recorded), set())

    def assert_all_holds(self):
        """Every disk, detached, with its snapshots and copies; and nothing else on the shares."""
        for disk in self.disks:
            self.wait_until_tidy(disk)
            verify_disk(self.caller, disk)
        verify_shares(self.caller, self.server,
                      [v for disk in self.disks for v in (disk.volume_id, *disk.copies)])

    def wait_until_tidy(self, disk):
        """What no snapshot needs of its chain is merged by the server itself."""
        give_up = time.monotonic() + 60
        while True:
            volume = self.caller.brief(disk.volume_id)
            if not volume.surplus_layers and not volume.current_operation:
                return
            self.assertLess(time.monotonic(), give_up, volume)
            time.sleep(0.02)

    def facts(self, disk):
        """What must be the same after a change that did not take place."""
        volume = self.caller.full(disk.volume_id)
        snapshots = self.caller.call('snapshots.ListSnapshots',
                                     snapshot_service_pb2.ListSnapshotsRequest(
                                         volume_id=disk.volume_id, page_size=1000)).snapshots
        maps = {}
        for path in sorted(self.server.all_files()):
            if path.endswith('.info'):
                with open(path, encoding='utf-8') as file:
                    maps[path] = file.read()
        return {'state': volume.state, 'share': volume.share, 'size': volume.size_bytes,
                'active': volume.active_file, 'chain': [file.file for file in volume.chain],
                'attachments': [(a.id, a.instance_id, a.hypervisor) for a in volume.attachments],
                'snapshots': {(s.id, s.state, s.file) for s in snapshots},
                'files': self.server.all_files(), 'maps': maps}

    def assert_facts(self, disk, expected):
        """What a change that did not take place had prepared is swept in the background."""
        give_up = time.monotonic() + 15
        while self.facts(disk) != expected and time.monotonic() < give_up:
            time.sleep(0.1)
        self.assertEqual(self.facts(disk), expected)
        if disk.machine is not None and disk.machine.running:
            self.assert_open_as_recorded(disk)

    def assert_refused(self, reason, function, *arguments, **fields):
        with self.assertRaises(Refused) as caught:
            function(*arguments, **fields)
        self.assertEqual((caught.exception.reason, caught.exception.info.domain),
                         (reason, 'cairn'), caught.exception)
        return caught.exception
