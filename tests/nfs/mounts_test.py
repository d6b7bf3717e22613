"""The life of mounts: taken over, lost and restored, refused, added, removed."""

import os
import signal

import cairn_on_nfs as nfs
from cairn_on_nfs import MIB, PLAIN, REFLINK
from cairn.v1 import pool_pb2

ONLINE = pool_pb2.SHARE_STATE_ONLINE
# The slowest that the test waits for: a probe period, and the attempts of a mount.
PROBED = 20


class MountsTest(nfs.NfsTest):
    def create_on(self, address, **fields):
        """A volume, whose file is seen on the server's side."""
        volume = self.create(size_bytes=MIB, share=address, **fields)
        export = os.path.join(nfs.EXPORTS, address.rpartition('/')[2])
        self.assertIn(f'volume-{volume.id}', os.listdir(export))
        return volume

    @staticmethod
    def lose(directory):
        """Somebody unmounts it by hand; lazily, since the server has files open there."""
        nfs.run('umount', '--lazy', directory)

    def test_a_mount_is_taken_over(self):
        class Mounted(nfs.Server):
            """Whose share somebody has mounted before it starts, in another way than it would."""
            before = None

            def prepare(self):
                directory = self.mount_point(REFLINK)
                os.makedirs(directory)
                nfs.run('mount', '-t', 'nfs', '-o', 'vers=4.1', REFLINK, directory)
                self.before = nfs.mounts(directory)

        server = self.serve(REFLINK, options='vers=4.2', server=Mounted)
        self.create_on(REFLINK)
        self.assertEqual(nfs.mounts(server.mount_point(REFLINK)), server.before)
        share = self.wait_for_state(REFLINK, ONLINE)
        self.assertEqual(share.nfs_version, '4.1')

    def test_mounts_stay_from_one_server_to_the_next(self):
        server = self.serve(REFLINK, options='vers=4.2')
        volume = self.create_on(REFLINK)
        before = nfs.mounts(server.mount_point(REFLINK))
        self.assertEqual(len(before), 1)
        for how in (signal.SIGTERM, signal.SIGKILL):
            server.stop(how)
            server.start()
            self.connect()
            self.assertEqual(nfs.mounts(server.mount_point(REFLINK)), before)
            self.assert_holds(volume.id, bytes(MIB))
            self.create_on(REFLINK)

    def test_a_lost_mount_is_restored_by_the_next_request(self):
        server = self.serve(REFLINK, PLAIN, options='vers=4.2')
        directory = server.mount_point(REFLINK)
        volume = self.create_on(REFLINK)
        for _ in range(2):
            self.lose(directory)
            self.create_on(REFLINK)
            self.assertEqual(len(nfs.mounts(directory)), 1)
            self.assert_holds(volume.id, bytes(MIB))
        # Nothing was written where the share was not.
        server.stop()
        nfs.run('umount', directory)
        self.assertEqual(os.listdir(directory), [])

    def test_a_lost_mount_is_restored_without_a_request(self):
        server = self.serve(REFLINK, options='vers=4.2')
        directory = server.mount_point(REFLINK)
        self.lose(directory)
        nfs.wait_for(lambda: nfs.mounts(directory), 'mounted again', PROBED)
        self.wait_for_state(REFLINK, ONLINE)

    def test_a_share_that_does_not_exist_leaves_the_other(self):
        missing = REFLINK + '-missing'
        directory = os.path.join(nfs.EXPORTS, 'reflink-missing')
        self.addCleanup(self.withdraw, directory)
        self.serve(missing, REFLINK, options='vers=4.2',
                   pool_keys='    nfs_mount_attempts: 1\n')
        self.create_on(REFLINK)
        share = self.wait_for_state(missing, pool_pb2.SHARE_STATE_UNREACHABLE)
        self.assertIn('mount', share.last_error)
        self.assertTrue(share.HasField('since'))
        self.assertEqual((share.mount_options, share.nfs_version), ('', ''))
        refused = self.assert_refused(nfs.grpc.StatusCode.UNAVAILABLE, 'SHARE_UNAVAILABLE',
                                      self.create, size_bytes=MIB, share=missing)
        self.assertEqual(refused.info.metadata['share'], missing)
        self.assertEqual(self.create(size_bytes=MIB).share, REFLINK)
        # It appears one day.
        os.mkdir(directory)
        nfs.run('mount', os.environ['CAIRN_NFS_OTHER_DISK'], directory)
        nfs.run('exportfs', '-o', 'rw,no_root_squash,no_subtree_check', f'*:{directory}')
        self.wait_for_state(missing, ONLINE, PROBED)
        self.create(size_bytes=MIB, share=missing)

    @staticmethod
    def withdraw(directory):
        if nfs.mounts(directory):
            nfs.run('exportfs', '-u', f'*:{directory}')
            nfs.run('umount', directory)

    def test_shares_are_unmounted_at_the_end_where_that_is_configured(self):
        for configured in True, False:
            server = self.serve(REFLINK, PLAIN, options='vers=4.2',
                                pool_keys=f'    nfs_unmount_on_exit: {str(configured).lower()}\n')
            for address in REFLINK, PLAIN:
                self.wait_for_state(address, ONLINE)
            self.create_on(REFLINK)
            server.stop()
            for address in REFLINK, PLAIN:
                self.assertEqual(not nfs.mounts(server.mount_point(address)), configured)

    def test_what_a_server_can_do_is_found_out(self):
        present, absent = pool_pb2.SUPPORT_PRESENT, pool_pb2.SUPPORT_ABSENT
        v3 = os.environ['CAIRN_NFS_V3_REFLINK']
        # One export by two versions is one share: one after the other.
        for lines, shares in (((REFLINK, PLAIN), ((REFLINK, present, present),
                                                  (PLAIN, absent, present))),
                              ((f'{v3} -o vers=3,nolock',), ((v3, absent, absent),))):
            server = self.serve(*lines, options='vers=4.2')
            for address, clone, rest in shares:
                can = self.wait_for_state(address, ONLINE, PROBED).capabilities
                self.assertEqual((can.clone, can.copy, can.allocate, can.seek),
                                 (clone, rest, rest, rest), address)
            server.stop()

    def test_one_export_under_two_addresses_serves_once(self):
        v3 = os.environ['CAIRN_NFS_V3_REFLINK']
        self.serve(REFLINK, f'{v3} -o vers=3,nolock', options='vers=4.2')
        # No lock keeps them apart: the identity on it does, at the next probe at the latest.
        nfs.wait_for(lambda: {self.share(REFLINK).state, self.share(v3).state} == {
            ONLINE, pool_pb2.SHARE_STATE_UNREACHABLE}, 'one serves', PROBED)
        share, other = self.share(REFLINK), self.share(v3)
        if share.state == ONLINE:
            share, other = other, share
        self.assertIn(other.address, share.last_error)

    def test_the_shares_file_is_read_again(self):
        server = self.serve(REFLINK, options='vers=4.2')
        volume = self.create_on(REFLINK)
        self.assertIsNone(self.share(PLAIN))
        # Told to.
        server.list_shares('# one more', REFLINK, f'{PLAIN} -o acregmax=17')
        server.process.send_signal(signal.SIGHUP)
        share = nfs.wait_for(lambda: self.share(PLAIN), 'the new share is known', 5)
        share = self.wait_for_state(PLAIN, ONLINE)
        self.assertIn('acregmax=17', share.mount_options)
        other = self.create_on(PLAIN)
        # By itself. What lies on a share that is no longer listed goes on working.
        server.list_shares(PLAIN)
        self.wait_for_state(REFLINK, pool_pb2.SHARE_STATE_DRAINING, PROBED)
        self.assertEqual(self.create(size_bytes=MIB).share, PLAIN)
        content = bytearray(MIB)
        self.write(volume.id, content, 0x11, 0, 65536)
        snapshot = self.snapshot(volume.id)
        self.assert_holds(volume.id, content, {snapshot.id: bytes(content)})
        # It is left once nothing needs it.
        self.delete(volume.id, cascade=True)
        directory = server.mount_point(REFLINK)
        nfs.wait_for(lambda: not nfs.mounts(directory), 'unmounted', PROBED)
        self.assert_holds(other.id, bytes(MIB))
        # And back.
        server.list_shares(REFLINK, PLAIN)
        self.wait_for_state(REFLINK, ONLINE, PROBED)
        self.create_on(REFLINK)


if __name__ == '__main__':
    nfs.main()
