"""What one host wrote another reads: a second mount of the same export, which shares nothing with cairnd's,
stands for the other host."""

import json
import os
import time
import uuid

import cairn_on_nfs as nfs
from cairn_on_nfs import MIB, REFLINK
from cairn.v1 import pool_service_pb2, snapshot_service_pb2, volume_service_pb2

OTHER_HOST = '/run/other-host'


class CloseToOpenTest(nfs.NfsTest):
    def setUp(self):
        self.server_directory = self.serve(REFLINK, options='vers=4.2').mount_point(REFLINK)
        os.makedirs(OTHER_HOST, exist_ok=True)
        nfs.run('mount', '-t', 'nfs', '-o', 'vers=4.2,nosharecache', REFLINK, OTHER_HOST)
        self.addCleanup(nfs.run, 'umount', OTHER_HOST)
        self.assertNotEqual(os.stat(OTHER_HOST).st_dev, os.stat(self.server_directory).st_dev,
                            'both mounts share one cache')

    def qemu_io(self, directory, name, form, *commands):
        arguments = [part for command in commands for part in ('-c', command)]
        return nfs.run('qemu-io', '-f', form, *arguments, os.path.join(directory, name))

    def info_of(self, directory, volume_id):
        with open(os.path.join(directory, f'volume-{volume_id}.info'), encoding='utf-8') as file:
            return json.load(file)

    def replace_info(self, volume_id, info):
        """As Cinder's driver writes it, on the other host."""
        path = os.path.join(OTHER_HOST, f'volume-{volume_id}.info')
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
        content = bytearray(4 * MIB)
        self.write(volume.id, content, 1, 0, MIB)
        snapshot = self.snapshot(volume.id)
        held = {snapshot.id: bytes(content)}
        self.full(volume.id)  # cairnd has read the map
        for pattern in (2, 3, 4):
            # One more snapshot, taken over there while cairnd looked away.
            made = str(uuid.uuid4())
            info = self.info_of(OTHER_HOST, volume.id)
            below, layer = info['active'], f'volume-{volume.id}.{made}'
            nfs.run('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', below,
                    layer, cwd=OTHER_HOST)
            held_there = bytes(content)
            self.qemu_io(OTHER_HOST, layer, 'qcow2', f'write -P {pattern} {pattern * 65536} 65536')
            content[pattern * 65536:(pattern + 1) * 65536] = bytes([pattern]) * 65536
            self.replace_info(volume.id, {**info, 'active': layer, made: layer})
            # cairnd works on the chain as it is now, at once.
            ours = self.snapshot(volume.id)
            held[ours.id] = bytes(content)
            info = self.info_of(self.server_directory, volume.id)
            self.assertEqual(set(info), {'active', made, *held} | set(info) & set(info))
            self.assertEqual(info[made], layer)
            chain = [file.file for file in self.full(volume.id).chain]
            self.assertIn(layer, chain)
            self.assert_file(os.path.join(self.server_directory, below), 'qcow2', held_there)
            self.assert_file(os.path.join(self.server_directory, chain[-1]), 'qcow2', content)

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

    def test_cairn_sees_the_file_that_took_anothers_place(self):
        """A base file that was replaced by rename: same name, another inode, another size."""
        volume = self.create(size_bytes=MIB, format=nfs.SPARSE)
        content = bytearray(MIB)
        self.write(volume.id, content, 5, 0, MIB)
        name = f'volume-{volume.id}'
        for pattern in (6, 7):
            with open(os.path.join(OTHER_HOST, 'new'), 'wb') as file:
                file.write(bytes([pattern]) * MIB)
            os.rename(os.path.join(OTHER_HOST, 'new'), os.path.join(OTHER_HOST, name))
            clone = self.create(source_volume_id=volume.id, format=nfs.SPARSE)
            self.assert_holds(clone.id, bytes([pattern]) * MIB)
            exported = os.path.join(self.server.root, f'exported-{pattern}')
            self.server.ctl('volume', 'export', volume.id, exported)
            with open(exported, 'rb') as file:
                self.assertTrue(file.read() == bytes([pattern]) * MIB, 'old content')

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
