"""One server a share: a second one is kept away and told by whom; it takes over from a dead one."""

import datetime
import os
import re
import signal
import time

import cairn_on_nfs as nfs
from cairn_on_nfs import MIB, PLAIN, REFLINK
from cairn.v1 import pool_pb2, pool_service_pb2, volume_service_pb2

ONLINE = pool_pb2.SHARE_STATE_ONLINE
# A probe period, the lock, and what the machine needs.
TAKEN_OVER_SECONDS = 15
# When the host has died the NFS server gives its locks away with its lease, of 10 s.
LEASE_SECONDS = 10
# A server counts as started although none of its shares can be used.
STARTED = 'cairn.v1.PoolService'


class OwnerTest(nfs.NfsTest):
    @classmethod
    def setUpClass(cls):
        nfs.run(nfs.MACHINE, 'make', 'host', '2')

    def serve_elsewhere(self):
        """A server on another host."""
        address = REFLINK.replace('127.0.0.1', '10.99.2.1')
        return self.serve(address, options='vers=4.2', machine='host', awaited=STARTED), address

    def wait_for_pool(self):
        """The first word of the shares, whatever it is."""
        return nfs.wait_for(lambda: [share for share in self.call(
            self.pools.GetPool, pool_service_pb2.GetPoolRequest()).pool.shares
            if share.state != pool_pb2.SHARE_STATE_MOUNTING], 'a verdict on the shares')

    def assert_kept_away(self, address, holder, host, since):
        (share,) = self.wait_for_pool()
        self.assertNotIn(share.state, (ONLINE, pool_pb2.SHARE_STATE_DEGRADED))
        for text in self.refusal_of_create(address), share.last_error:
            self.assertIn(host, text)
            self.assertRegex(text, rf'\b{holder.process.pid}\b')
            (named,) = re.findall(r'since (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)', text)[-1:]
            named = datetime.datetime.fromisoformat(named).replace(tzinfo=datetime.timezone.utc)
            self.assertLess(abs(named.timestamp() - since), 20, text)

    def refusal_of_create(self, address):
        with self.assertRaises(nfs.Refused) as caught:
            self.create(size_bytes=MIB, share=address)
        self.assertEqual(caught.exception.info.reason, 'SHARE_OWNED')
        self.assertEqual(caught.exception.info.metadata['share'], address)
        return str(caught.exception)

    def assert_taken_over(self, address, volume_id, seconds):
        """The share works, and what the first server made is there to be adopted."""
        self.wait_for_state(address, ONLINE, seconds)
        self.create(size_bytes=MIB, share=address)
        adopted = self.adopt(share=address, file_name=f'volume-{volume_id}', format=nfs.SPARSE)
        self.assert_holds(adopted.id, bytes(MIB))

    def test_on_one_host(self):
        """One kernel, two servers: the lock is the process's, not the host's."""
        started = time.time()
        first = self.serve(REFLINK, options='vers=4.2')
        volume = self.create(size_bytes=MIB, share=REFLINK, format=nfs.SPARSE)
        # That one does not wait to become usable.
        second = self.serve(REFLINK, options='vers=4.2', awaited=STARTED)
        self.assert_kept_away(REFLINK, first, os.uname().nodename, started)
        first.stop(signal.SIGKILL)
        self.assert_taken_over(REFLINK, volume.id, TAKEN_OVER_SECONDS)
        # Come back, the first finds the tables turned.
        first.awaited = STARTED
        first.start()
        self.use(first)
        self.assert_kept_away(REFLINK, second, os.uname().nodename, time.time())
        # An orderly end gives the share away at once, too.
        second.stop()
        self.wait_for_state(REFLINK, ONLINE, TAKEN_OVER_SECONDS)

    def test_between_hosts(self):
        started = time.time()
        first = self.serve(REFLINK, PLAIN, options='vers=4.2')
        volume = self.create(size_bytes=MIB, share=REFLINK, format=nfs.SPARSE)
        second, address = self.serve_elsewhere()
        self.assert_kept_away(address, first, os.uname().nodename, started)
        # The first has not noticed.
        self.use(first)
        self.create(size_bytes=MIB, share=REFLINK)
        first.stop(signal.SIGKILL)
        self.use(second)
        self.assert_taken_over(address, volume.id, TAKEN_OVER_SECONDS)

    def test_when_the_whole_host_dies(self):
        first, address = self.serve_elsewhere()
        self.wait_for_state(address, ONLINE)
        volume = self.create(size_bytes=MIB, share=address, format=nfs.SPARSE)
        self.serve(REFLINK, options='vers=4.2', awaited=STARTED)
        self.assert_kept_away(REFLINK, first, 'host', time.time())
        nfs.run('ip', 'link', 'set', 'cable2', 'down')
        self.addCleanup(nfs.run, 'ip', 'link', 'set', 'cable2', 'up')
        first.process.kill()
        self.assert_taken_over(REFLINK, volume.id, TAKEN_OVER_SECONDS + 2 * LEASE_SECONDS)

    def test_the_lock_is_nobodys_volume(self):
        self.serve(REFLINK, options='vers=4.2')
        self.assertEqual(list(self.call(self.volumes.ListVolumes,
                                        volume_service_pb2.ListVolumesRequest()).volumes), [])
        self.call(self.pools.RescanPool, pool_service_pb2.RescanPoolRequest())
        self.assertEqual(self.share(REFLINK).capacity.allocated_bytes, 0)
        owner = os.path.join(self.server.mount_point(REFLINK), '.cairn', 'owner')
        with open(owner, encoding='utf-8') as file:
            content = nfs.json.load(file)
        self.assertEqual(content['host'], os.uname().nodename)
        self.assertEqual(content['pid'], self.server.process.pid)
        self.assertIn('since', content)


if __name__ == '__main__':
    nfs.main()
