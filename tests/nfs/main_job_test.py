"""The main job of the real server on two NFS 4.2 shares, every byte compared."""

import os

import cairn_on_nfs as nfs
from cairn_on_nfs import MIB, PLAIN, REFLINK
from cairn.v1 import pool_pb2, snapshot_service_pb2, volume_service_pb2

SIZE = 8 * MIB


class MainJobTest(nfs.NfsTest):
    def setUp(self):
        self.serve(REFLINK, PLAIN, options='vers=4.2')

    def test_shares_are_described(self):
        for address in (REFLINK, PLAIN):
            share = self.wait_for_state(address, pool_pb2.SHARE_STATE_ONLINE)
            mount_point = self.server.mount_point(address)
            self.assertEqual(share.mount_point, mount_point)
            self.assertEqual(share.nfs_version, '4.2')
            self.assertIn('vers=4.2', share.mount_options.split(','))
            self.assertIn('hard', share.mount_options.split(','))
            self.assertEqual(share.last_error, '')
            ((_, kind, source, _),) = nfs.mounts(mount_point)
            self.assertEqual((kind, source), ('nfs4', address))
            space = os.statvfs(mount_point)
            self.assertEqual(share.capacity.total_bytes, space.f_frsize * space.f_blocks)

    def test_qcow2(self):
        self.main_job(nfs.QCOW2)

    def test_raw_sparse(self):
        self.main_job(nfs.SPARSE)

    def test_raw_thick(self):
        self.main_job(nfs.THICK)

    def main_job(self, volume_format):
        volume = self.create(name='web', size_bytes=SIZE, format=volume_format, share=REFLINK)
        self.assertEqual(volume.share, REFLINK)
        now, held = bytearray(SIZE), {}
        self.write(volume.id, now, 0xa1, 0, 2 * MIB)
        self.write(volume.id, now, 0xa2, 5 * MIB + 512, 70 * 1024)
        first = self.snapshot(volume.id, name='first')
        held[first.id] = bytes(now)
        self.write(volume.id, now, 0xb1, MIB, 3 * MIB)
        second = self.snapshot(volume.id, name='second')
        held[second.id] = bytes(now)
        self.write(volume.id, now, 0xc1, 0, 512)
        third = self.snapshot(volume.id, name='third')
        held[third.id] = bytes(now)
        self.write(volume.id, now, 0xd1, 4096, 4096)
        self.assert_holds(volume.id, now, held)

        self.change(self.snapshots.RevertToSnapshot,
                    snapshot_service_pb2.RevertToSnapshotRequest(snapshot_id=third.id))
        now = bytearray(held[third.id])
        self.change(self.snapshots.DeleteSnapshot,
                    snapshot_service_pb2.DeleteSnapshotRequest(snapshot_id=second.id))
        del held[second.id]
        self.assert_holds(volume.id, now, held)

        self.change(self.volumes.ExtendVolume, volume_service_pb2.ExtendVolumeRequest(
            volume_id=volume.id, size_bytes=SIZE + MIB))
        now += bytes(MIB)
        self.write(volume.id, now, 0xe1, SIZE - 512, 1024)

        # All of it to the other share, which works in another way, and on from there.
        self.change(self.volumes.MigrateVolume, volume_service_pb2.MigrateVolumeRequest(
            volume_id=volume.id, share=PLAIN))
        self.assertEqual(self.full(volume.id).share, PLAIN)
        self.assert_holds(volume.id, now, held)
        self.assertEqual(self.volumes_on('reflink'), [])

        for share in (PLAIN, REFLINK):
            clone = self.create(source_volume_id=volume.id, share=share, format=volume_format)
            self.assertEqual(clone.share, share)
            self.assert_holds(clone.id, now)
            self.delete(clone.id)
        restored = self.create(source_snapshot_id=first.id, share=REFLINK, format=volume_format)
        self.assert_holds(restored.id, held[first.id])
        # A volume without snapshots is one file: it can be copied as such, on its share and across.
        for share in (REFLINK, PLAIN):
            clone = self.create(source_volume_id=restored.id, share=share, format=volume_format)
            self.assert_holds(clone.id, held[first.id])
            self.delete(clone.id)

        exported = os.path.join(self.server.root, 'exported.raw')
        self.server.ctl('volume', 'export', volume.id, exported)
        with open(exported, 'rb') as file:
            self.assertTrue(file.read() == now, 'wrong content in the export')
        name = f'imported-{volume_format}'
        self.server.ctl('volume', 'import', exported, '--name', name, '--format',
                        {nfs.QCOW2: 'qcow2', nfs.SPARSE: 'raw-sparse'}.get(volume_format,
                                                                          'raw-thick'))
        (imported,) = self.call(self.volumes.ListVolumes, volume_service_pb2.ListVolumesRequest(
            filter=f'name = "{name}"')).volumes
        self.assert_holds(imported.id, now)

        self.delete(imported.id)
        self.delete(restored.id)
        self.delete(volume.id, cascade=True)
        self.assertEqual(self.volumes_on('reflink') + self.volumes_on('plain'), [])

    @staticmethod
    def volumes_on(export):
        return sorted(name for name in os.listdir(os.path.join(nfs.EXPORTS, export))
                      if name.startswith('volume-'))


if __name__ == '__main__':
    nfs.main()
