"""What NFS 4.2 does by itself: the client asks for it, and sends no data. What time that saves is
for tests/bench to say.
"""

import os

import cairn_on_nfs as nfs
import mount_statistics
from cairn_on_nfs import MIB, PLAIN, REFLINK

SIZE = 64 * MIB
# Records of Cairn's own on the share, and pages that a map or a header shares with nothing.
LITTLE = MIB


class ServerSideTest(nfs.NfsTest):
    def setUp(self):
        self.serve(REFLINK, PLAIN, options='vers=4.2')

    def asked_by(self, share, job):
        asked = mount_statistics.asked_by(self.server.mount_point(share), job)
        print(f'{self.id().rpartition(".")[2]}, {share}: {asked.written} bytes, {dict(asked)}')
        return asked

    def assert_cloned(self, share, kind):
        """Copies a volume, each of whose blocks is written, and none is zeros."""
        source = self.create(size_bytes=SIZE, share=share, format=nfs.SPARSE)
        content = os.urandom(SIZE)
        with open(self.path(source, source.active_file), 'r+b') as file:
            file.write(content)
        made = []
        asked = self.asked_by(share, lambda: made.append(
            self.create(source_volume_id=source.id, share=share, format=nfs.SPARSE)))
        self.assertGreaterEqual(asked[kind], 1)
        self.assertLess(asked.written, LITTLE)
        self.assert_file(self.path(made[0], made[0].active_file), 'raw', content)

    def test_clone_where_the_server_clones(self):
        self.assert_cloned(REFLINK, 'CLONE')

    def test_clone_where_it_copies(self):
        self.assert_cloned(PLAIN, 'COPY')

    def test_thick_volume(self):
        for share in (REFLINK, PLAIN):
            made = []
            asked = self.asked_by(share, lambda: made.append(  # pylint: disable=cell-var-from-loop
                self.create(size_bytes=SIZE, share=share, format=nfs.THICK)))
            self.assertGreaterEqual(asked['ALLOCATE'], 1)
            self.assertLess(asked.written, LITTLE)
            file = os.stat(self.path(made[0], made[0].active_file))
            self.assertEqual(file.st_size, SIZE)
            self.assertGreaterEqual(file.st_blocks * 512, SIZE, 'not allocated')


if __name__ == '__main__':
    nfs.main()
