"""What is refused while volumes are in use, what is said about it, and that nothing changes then.

    errors_test.py --cairnd FILE --stubs DIR [TEST]
"""

import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from cairn.v1 import snapshot_service_pb2, volume_pb2, volume_service_pb2
from live_case import MIB, QCOW2, RAW, SIZE, LiveCase
from qmp import Qmp
from verify import path_of

FAILED_PRECONDITION = 9
UNAVAILABLE = 14


class ErrorsTest(LiveCase):
    def started(self, kind, form):
        disk = self.make_disk(form)
        machine = self.machine(kind)
        self.power_on(machine, disk)
        return disk, machine, self.write_to(disk)

    def take_snapshot(self, disk):
        self.caller.change('snapshots.CreateSnapshot', snapshot_service_pb2.CreateSnapshotRequest(
            volume_id=disk.volume_id))

    def change_functions(self, disk):
        """A change of each kind that needs the hypervisor; there is a snapshot."""
        snapshot = next(iter(disk.snapshots))
        yield 'snapshot', lambda: self.take_snapshot(disk)
        yield 'delete', lambda: self.caller.change(
            'snapshots.DeleteSnapshot',
            snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=snapshot))
        yield 'clone', lambda: self.caller.change(
            'volumes.CreateVolume',
            volume_service_pb2.CreateVolumeRequest(source_volume_id=disk.volume_id))
        yield 'extend', lambda: self.caller.change(
            'volumes.ExtendVolume', volume_service_pb2.ExtendVolumeRequest(
                volume_id=disk.volume_id, size_bytes=2 * SIZE))
        yield 'migrate', lambda: self.caller.change(
            'volumes.MigrateVolume', volume_service_pb2.MigrateVolumeRequest(
                volume_id=disk.volume_id, share=self.share(1)))
        yield 'export', lambda: self.caller.download(volume_id=disk.volume_id)

    def assert_all_refused(self, disk, reason, code, **metadata):
        """Each change is, with these metadata, and changes nothing."""
        for name, change in self.change_functions(disk):
            with self.subTest(name):
                before = self.facts(disk)
                refused = self.assert_refused(reason, change)
                self.assertEqual(refused.code, code)
                found = {key: refused.info.metadata[key] for key in metadata}
                self.assertEqual(found, metadata)
                self.assert_facts(disk, before)

    def finish(self, machine, disk):
        self.assert_open_as_recorded(disk)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        self.assert_all_holds()

    def test_nobody_answers(self):
        """The address is wrong: it is said which, and nothing has changed."""
        disk, machine, writer = self.started('storage_daemon', QCOW2)
        self.snapshot(disk)
        writer.wait_for_writes(20)
        for address in (f'unix:{machine.directory}/nobody.qmp', 'tcp:127.0.0.1:1'):
            self.attach(machine, disk, hypervisor=volume_pb2.Hypervisor(
                qmp=volume_pb2.QmpHypervisor(address=address,
                                             node_or_device=machine.disk_id(disk.volume_id))))
            self.assert_all_refused(disk, 'HYPERVISOR_UNAVAILABLE', UNAVAILABLE,
                                    address=address)
        # With the right one again, all is well.
        self.attach(machine, disk)
        self.snapshot(disk)
        self.finish(machine, disk)

    def test_another_machine_answers(self):
        """It has no such disk, or other files open."""
        disk, machine, _ = self.started('storage_daemon', QCOW2)
        self.snapshot(disk)
        other, other_machine = self.make_disk(RAW), self.machine('qemu_system')
        other.attachment = self.attach(other_machine, other, instance='machine-2')
        other.machine = other_machine
        other_machine.start({
            other.volume_id: other.attachment.connection.qemu_blockdev_json})
        held = self.facts(other)['chain']
        for name in (machine.disk_id(disk.volume_id), other_machine.disk_id(other.volume_id)):
            self.attach(machine, disk, hypervisor=volume_pb2.Hypervisor(
                qmp=volume_pb2.QmpHypervisor(address=f'unix:{other_machine.cairn_socket}',
                                             node_or_device=name)))
            self.assert_all_refused(disk, 'HYPERVISOR_MISMATCH', FAILED_PRECONDITION,
                                    address=f'unix:{other_machine.cairn_socket}')
        self.assertEqual(self.facts(other)['chain'], held)
        self.assert_open_as_recorded(other)
        self.power_off(other_machine, other)
        self.attach(machine, disk)
        self.snapshot(disk)
        self.finish(machine, disk)

    def test_no_hypervisor(self):
        """Nobody can be asked, so nothing is changed that would need it."""
        disk = self.make_disk(QCOW2)
        machine = self.machine('storage_daemon')
        self.power_on(machine, disk)
        self.write_to(disk)
        self.snapshot(disk)
        self.attach(machine, disk, hypervisor=volume_pb2.Hypervisor())
        self.assert_all_refused(disk, 'VOLUME_IN_USE', FAILED_PRECONDITION, instance='machine-1')
        self.finish(machine, disk)

    def test_qemu_refuses(self):
        """QEMU does not resize a disk that it exports over NBD."""
        disk, machine, _ = self.started('exporting_daemon', RAW)
        before = self.facts(disk)
        refused = self.assert_refused(
            'HYPERVISOR_FAILED', self.caller.change, 'volumes.ExtendVolume',
            volume_service_pb2.ExtendVolumeRequest(volume_id=disk.volume_id, size_bytes=2 * SIZE))
        self.assertIn('resize', refused.message)
        self.assertEqual(refused.code, FAILED_PRECONDITION)
        self.assert_facts(disk, before)
        self.snapshot(disk)
        self.finish(machine, disk)

    def test_detach_while_open(self):
        disk, machine, _ = self.started('qemu_system', QCOW2)
        before = self.facts(disk)
        refused = self.assert_refused('VOLUME_IN_USE', self.detach, disk)
        self.assertEqual((refused.info.metadata['volume'], refused.info.metadata['attachment'],
                          refused.info.metadata['instance'], refused.info.metadata['host']),
                         (disk.volume_id, disk.attachment.id, 'machine-1', 'host-1'))
        self.assert_refused('INVALID_FIELD', self.detach, disk, force=True)
        self.assert_refused('VOLUME_IN_USE', self.caller.change, 'volumes.DeleteVolume',
                            volume_service_pb2.DeleteVolumeRequest(volume_id=disk.volume_id))
        self.assert_facts(disk, before)
        volume = self.detach(disk, force=True, reason='the test is sure')
        self.assertEqual((volume.state, list(volume.attachments)),
                         (volume_pb2.VOLUME_STATE_AVAILABLE, []))
        # It was not so sure after all.
        self.attach(machine, disk)
        self.snapshot(disk)
        self.finish(machine, disk)

    def test_one_writer_or_many_readers(self):
        disk, machine, _ = self.started('storage_daemon', RAW)
        for access in (volume_pb2.ACCESS_MODE_READ_WRITE, volume_pb2.ACCESS_MODE_READ_ONLY):
            refused = self.assert_refused('VOLUME_IN_USE', self.attach, machine, disk,
                                          instance='machine-2', access=access)
            self.assertEqual((refused.info.metadata['attachment'],
                              refused.info.metadata['instance'], refused.info.metadata['host']),
                             (disk.attachment.id, 'machine-1', 'host-1'))
            self.assertIn('machine-1', refused.message)
        self.assert_wrote_well()
        self.power_off(machine, disk)
        for instance in ('machine-2', 'machine-3'):
            attachment = self.attach(machine, disk, instance=instance,
                                     access=volume_pb2.ACCESS_MODE_READ_ONLY)
            self.assertIn('"read-only":true',
                          attachment.connection.qemu_blockdev_json.replace(' ', ''))
        self.assert_refused('VOLUME_IN_USE', self.attach, machine, disk)
        for attachment in self.caller.full(disk.volume_id).attachments:
            self.detach(disk, attachment_id=attachment.id, force=True, reason='it never opened it')
        self.assert_all_holds()

    def test_tampered_header(self):
        """What a guest may have written into its disk decides nothing."""
        for case, arguments, reason in (
                ('backing', ['rebase', '-u', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw'],
                 'IMAGE_UNSAFE'),
                ('size', ['resize', '-q', '-f', 'qcow2'], 'IMAGE_MISMATCH')):
            with self.subTest(case):
                disk = self.make_disk(QCOW2)
                volume = self.caller.full(disk.volume_id)
                path = path_of(volume, volume.active_file)
                subprocess.run(['qemu-img', *arguments, path] +
                               ([str(2 * SIZE)] if case == 'size' else []), check=True)
                refused = self.assert_refused(reason, self.attach, self.machine('storage_daemon'),
                                              disk)
                self.assertEqual(refused.code, FAILED_PRECONDITION)
                self.assertEqual(refused.info.metadata['file'], volume.active_file)
                self.assertEqual(self.caller.brief(disk.volume_id).state,
                                 volume_pb2.VOLUME_STATE_AVAILABLE)
        # A raw disk may hold anything, also the header of an image that refers to another file.
        disk = self.make_disk(RAW)
        volume = self.caller.full(disk.volume_id)
        path = path_of(volume, volume.active_file)
        trap = os.path.join(self.server.root, 'trap')
        subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd',
                        '-F', 'raw', trap, str(SIZE)], check=True)
        with open(trap, 'rb') as source, open(path, 'r+b') as target:
            header = source.read()
            target.write(header)
        machine = self.machine('storage_daemon')
        self.power_on(machine, disk)
        self.assertEqual(disk.attachment.connection.file_format, volume_pb2.FILE_FORMAT_RAW)
        self.take_snapshot(disk)
        copy = self.caller.change('volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
            source_volume_id=disk.volume_id)).volume
        self.assert_open_as_recorded(disk)
        for source in ({'volume_id': disk.volume_id}, {'volume_id': copy.id}):
            self.assertEqual(self.caller.download(**source)[:len(header)], header)
        self.power_off(machine, disk)

    def test_guest_has_moved(self):
        """The same instance attaches with another address: the attachment stays, and from then on
        the new address is used."""
        disk, machine, writer = self.started('qemu_system', QCOW2)
        self.snapshot(disk)
        writer.wait_for_writes(20)
        same = self.attach(machine, disk)
        self.assertEqual(same.id, disk.attachment.id)
        moved = self.caller.change('volumes.AttachVolume', volume_service_pb2.AttachVolumeRequest(
            volume_id=disk.volume_id, instance_id='machine-1', host='host-2',
            hypervisor=volume_pb2.Hypervisor(qmp=volume_pb2.QmpHypervisor(
                address=f'unix:{machine.spare_socket}',
                node_or_device=machine.disk_id(disk.volume_id))))).attachment
        self.assertEqual((moved.id, moved.host, moved.create_time),
                         (disk.attachment.id, 'host-2', disk.attachment.create_time))
        self.assertEqual(moved.hypervisor.qmp.address, f'unix:{machine.spare_socket}')
        listed = self.caller.full(disk.volume_id).attachments
        self.assertEqual([(a.id, a.host) for a in listed], [(moved.id, 'host-2')])
        # A monitor of QEMU's serves one client at a time, so the old address is dead now.
        with Qmp(machine.cairn_socket):
            first = next(iter(disk.snapshots))
            self.snapshot(disk)
            writer.wait_for_writes(20)
            self.delete_snapshot(disk, first)
            self.clone(disk, size_bytes=SIZE + MIB)
        self.finish(machine, disk)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
