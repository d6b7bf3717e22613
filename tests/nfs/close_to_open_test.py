"""What one host wrote another reads. The other host is a client of its own to the NFS server; what
it has mounted is seen here too.
"""

import json
import os
import time
import uuid

import cairn_on_nfs as nfs
from cairn_on_nfs import MIB, REFLINK
from cairn.v1 import pool_service_pb2, snapshot_service_pb2, volume_service_pb2

OTHER_HOST = '/run/other-host'
SAME_HOST = '/run/same-host'


class CloseToOpenTest(nfs.NfsTest):
    @classmethod
    def setUpClass(cls):
        nfs.run(nfs.MACHINE, 'make', 'host', '2')
        os.mkdir(OTHER_HOST)
        os.mkdir(SAME_HOST)

    def setUp(self):
        self.server_directory = self.serve(REFLINK, options='vers=4.2').mount_point(REFLINK)
        nfs.run(nfs.MACHINE, 'run', 'host', 'mount', '-t', 'nfs', '-o', 'vers=4.2',
                REFLINK.replace('127.0.0.1', '10.99.2.1'), OTHER_HOST)
        self.addCleanup(nfs.run, 'umount', OTHER_HOST)
        self.assertNotEqual(os.stat(OTHER_HOST).st_dev, os.stat(self.server_directory).st_dev,
                            'both mounts share one cache')

    def qemu_io(self, directory, name, form, *commands):
        arguments = [part for command in commands for part in ('-c', command)]
        return nfs.run('qemu-io', '-f', form, *arguments, os.path.join(directory, name))

    @staticmethod
    def info_of(directory, volume_id):
        # Until it has looked at the directory, a client may open the file that had the name before.
        os.listdir(directory)
        with open(os.path.join(directory, f'volume-{volume_id}.info'), encoding='utf-8') as file:
            return json.load(file)

    def replace_info(self, volume_id, info, directory=OTHER_HOST):
        """As Cinder's driver writes it, on the other host."""
        path = os.path.join(directory, f'volume-{volume_id}.info')
        with open(path + '.new', 'w', encoding='utf-8') as file:
            json.dump(info, file, indent=1, sort_keys=True)
        os.rename(path + '.new', path)

    def assert_other_host_reads(self, volume_id, content, snapshots):
        """Not through qemu alone: the map and each layer, at once and from their beginning."""
        volume = self.full(volume_id)
        self.assertEqual(sorted(file.file for file in volume.chain),
                         sorted(name for name in os.listdir(OTHER_HOST)
                                if volume_id in name and not name.endswith('.info')))
        info = self.info_of(OTHER_HOST, volume_id)
        self.assertEqual(info.pop('active'), volume.active_file)
        self.assertEqual(info, {file.snapshot_id: after.file for file, after in
                                zip(volume.chain, volume.chain[1:])})
        formats = {file.file: nfs.FILE_FORMATS[file.format] for file in volume.chain}
        self.assert_file(os.path.join(OTHER_HOST, volume.active_file),
                         formats[volume.active_file], content)
        by_id = {file.snapshot_id: file.file for file in volume.chain}
        for snapshot_id, held in snapshots.items():
            self.assert_file(os.path.join(OTHER_HOST, by_id[snapshot_id]),
                             formats[by_id[snapshot_id]], held)

    def test_another_host_reads_what_cairn_wrote(self):
        for form in (nfs.QCOW2, nfs.SPARSE):
            volume = self.create(size_bytes=4 * MIB, format=form)
            content, held = bytearray(4 * MIB), {}
            # The other host knows each state, and must not be content with that.
            for number in range(1, 4):
                self.write(volume.id, content, number, (number - 1) * MIB, MIB + 512)
                held[self.snapshot(volume.id).id] = bytes(content)
                self.assert_other_host_reads(volume.id, content, held)
            middle = list(held)[1]
            self.change(self.snapshots.DeleteSnapshot,
                        snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=middle))
            del held[middle]
            self.assert_other_host_reads(volume.id, content, held)
            newest = list(held)[-1]
            self.write(volume.id, content, 0x77, 512, 4096)
            self.change(self.snapshots.RevertToSnapshot,
                        snapshot_service_pb2.RevertToSnapshotRequest(snapshot_id=newest))
            self.assert_other_host_reads(volume.id, held[newest], held)
            self.change(self.volumes.ExtendVolume, volume_service_pb2.ExtendVolumeRequest(
                volume_id=volume.id, size_bytes=5 * MIB))
            self.assert_other_host_reads(volume.id, held[newest] + bytes(MIB), held)
            self.delete(volume.id, cascade=True)
            self.assertEqual([name for name in os.listdir(OTHER_HOST) if volume.id in name], [])

    def test_cairn_reads_the_map_that_another_host_replaced(self):
        volume = self.create(size_bytes=4 * MIB, format=nfs.QCOW2)
        content, held = bytearray(4 * MIB), {}
        for pattern in (1, 2, 3):
            self.write(volume.id, content, pattern, pattern * 65536, 65536)
            held[self.snapshot(volume.id).id] = bytes(content)
            info = self.info_of(OTHER_HOST, volume.id)
            # A chain that another system has changed is nothing to work on: seen at once.
            self.replace_info(volume.id, {**info, 'active': f'volume-{volume.id}'})
            self.assert_refused(nfs.grpc.StatusCode.DATA_LOSS, 'MAP_CORRUPT', self.snapshot,
                                volume.id)
            # So is that the map is right again.
            self.replace_info(volume.id, info)
            held[self.snapshot(volume.id).id] = bytes(content)
            self.assert_holds(volume.id, content, held)
            self.assert_other_host_reads(volume.id, content, held)

    def test_cairn_adopts_what_another_host_has_just_made(self):
        for number in range(5):
            volume_id = str(uuid.uuid4())
            name = f'volume-{volume_id}'
            # Now the client of cairnd's host has it in its cache that there is no such file.
            self.assert_refused(nfs.grpc.StatusCode.NOT_FOUND, 'FILE_NOT_FOUND', self.adopt,
                                share=REFLINK, file_name=name, format=nfs.QCOW2)
            self.assertFalse(os.path.exists(os.path.join(self.server_directory, name)))
            nfs.run('qemu-img', 'create', '-q', '-f', 'qcow2', name, str(MIB), cwd=OTHER_HOST)
            self.qemu_io(OTHER_HOST, name, 'qcow2', f'write -P {number + 1} 0 65536')
            adopted = self.adopt(share=REFLINK, file_name=name, format=nfs.QCOW2)
            self.assertEqual(adopted.id, volume_id)
            self.assert_holds(volume_id, bytes([number + 1]) * 65536 + bytes(MIB - 65536))

    def test_cairn_reads_the_file_that_took_anothers_place(self):
        self.replace_files(OTHER_HOST)

    def test_a_stale_handle_is_opened_again(self):
        """This client has a delegation for the file, which its own other mount does not take from
        it. So it opens the old file without asking, and is then told that there is none."""
        nfs.run('mount', '-t', 'nfs', '-o', 'vers=4.2,nosharecache', REFLINK, SAME_HOST)
        self.addCleanup(nfs.run, 'umount', SAME_HOST)
        self.replace_files(SAME_HOST)

    def replace_files(self, directory):
        """The map and the base file, by rename: same name, another inode."""
        volume = self.create(size_bytes=MIB, format=nfs.SPARSE)
        content = bytearray(MIB)
        for pattern in (5, 6, 7):
            self.write(volume.id, content, pattern + 16, 0, 4096)
            content = bytearray([pattern]) * MIB
            with open(os.path.join(directory, 'new'), 'wb') as file:
                file.write(content)
            os.rename(os.path.join(directory, 'new'), os.path.join(directory, volume.active_file))
            clone = self.create(source_volume_id=volume.id, format=nfs.SPARSE)
            self.assert_holds(clone.id, content)
            exported = os.path.join(self.server.root, f'exported-{pattern}')
            self.server.ctl('volume', 'export', volume.id, exported)
            with open(exported, 'rb') as file:
                self.assertTrue(file.read() == content, 'old content')
        held = {}
        for _ in range(3):
            held[self.snapshot(volume.id).id] = bytes(content)
            self.full(volume.id)
            self.replace_info(volume.id, self.info_of(directory, volume.id), directory)
        self.assert_holds(volume.id, content, held)

    def test_a_deleted_file_that_is_held_open_is_no_volume(self):
        volume = self.create(size_bytes=MIB, format=nfs.SPARSE)
        content = bytearray(MIB)
        self.write(volume.id, content, 9, 0, 65536)
        with open(os.path.join(self.server_directory, f'volume-{volume.id}'), 'rb') as held:
            self.delete(volume.id)
            left = [name for name in os.listdir(self.server_directory) if name.startswith('.nfs')]
            self.assertEqual(len(left), 1)
            self.assertEqual(held.read(4), b'\x09' * 4)
            self.call(self.pools.RescanPool, pool_service_pb2.RescanPoolRequest())
            listed = self.call(self.volumes.ListVolumes,
                               volume_service_pb2.ListVolumesRequest()).volumes
            self.assertEqual(list(listed), [])
            share = self.share(REFLINK)
            self.assertEqual(share.last_error, '')
            # It takes room as long as it is there.
            self.assertGreaterEqual(share.capacity.allocated_bytes, MIB)
            self.server.stop()
            self.server.start()
            self.connect()
            self.assertEqual(list(self.call(self.volumes.ListVolumes,
                                            volume_service_pb2.ListVolumesRequest()).volumes), [])
            self.assertNotIn(' error ', self.server.log_tail())
            self.assertEqual(held.read(4), b'\x09' * 4)
            self.create(size_bytes=MIB)
        give_up = time.monotonic() + 5
        while any(name.startswith('.nfs') for name in os.listdir(self.server_directory)):
            self.assertLess(time.monotonic(), give_up, 'the client did not clean up')
            time.sleep(0.1)


if __name__ == '__main__':
    nfs.main()
