"""What NFS 4.2 does by itself, measured against programs that move the data: ratios of one run."""

import os
import statistics
import time

import cairn_on_nfs as nfs
from cairn_on_nfs import MIB, PLAIN, REFLINK

SIZE = 1024 * MIB
RUNS = 3
# The server copies in both cases, so that the difference is small.
RUNS_AGAINST_CP = 6


class SpeedTest(nfs.NfsTest):
    @classmethod
    def setUpClass(cls):
        cls.table = []

    @classmethod
    def tearDownClass(cls):
        print('\n1 GiB, seconds (median of the runs)')
        for what, seconds in cls.table:
            runs = '  '.join(f'{value:.3f}' for value in seconds)
            print(f'  {what:44} {statistics.median(seconds):8.3f}   {runs}')

    def setUp(self):
        self.serve(REFLINK, PLAIN, options='vers=4.2')

    def measure(self, what, job, runs=1, after=lambda result: None):
        """The median of the seconds that `job` takes; `after` removes what it made."""
        seconds = []
        for _ in range(runs):
            begun = time.monotonic()
            result = job()
            seconds.append(time.monotonic() - begun)
            after(result)
        self.table.append((what, seconds))
        return statistics.median(seconds)

    def fast_enough(self, what, ours, theirs, times):
        ratio = theirs / ours
        self.table.append((f'{what}: {ratio:.2f} times faster, at least {times}', [ours]))
        self.assertGreaterEqual(ratio, times, what)

    def written_volume(self, share):
        """A raw volume, each of its blocks written, none of them zeros."""
        volume = self.create(size_bytes=SIZE, share=share, format=nfs.SPARSE)
        block = os.urandom(4 * MIB)
        with open(self.path(volume, volume.active_file), 'r+b') as file:
            for _ in range(SIZE // len(block)):
                file.write(block)
            os.fsync(file.fileno())
        return volume, block

    def clone(self, volume):
        return self.create(source_volume_id=volume.id, share=volume.share, format=nfs.SPARSE)

    def assert_same(self, volume, block):
        """Some blocks, everywhere in it: reading all of it would take longer than the rest."""
        path = self.path(volume, volume.active_file)
        self.assertEqual(os.stat(path).st_size, SIZE)
        with open(path, 'rb') as file:
            for number in range(0, SIZE // len(block), 15):
                file.seek(number * len(block))
                self.assertTrue(file.read(len(block)) == block, f'block {number}')

    def test_clone_where_the_server_clones(self):
        volume, block = self.written_volume(REFLINK)
        made = []
        ours = self.measure('clone, reflink export', lambda: self.clone(volume), RUNS, made.append)
        for clone in made:
            self.assert_same(clone, block)
            self.delete(clone.id)
        source = self.path(volume, volume.active_file)
        copy = self.path(volume, 'copy')
        theirs = self.measure('qemu-img convert -O raw, reflink export', lambda: nfs.run(
            'qemu-img', 'convert', '-f', 'raw', '-O', 'raw', source, copy))
        os.remove(copy)
        self.fast_enough('clone', ours, theirs, 20)

    def test_clone_where_it_cannot(self):
        volume, block = self.written_volume(PLAIN)
        source = self.path(volume, volume.active_file)
        copy = self.path(volume, 'copy')
        ours, theirs, durable = [], [], []

        def clone():
            begun = settle()
            made = self.clone(volume)
            ours.append(time.monotonic() - begun)
            self.assert_same(made, block)
            self.delete(made.id)

        def cp():
            begun = settle()
            nfs.run('cp', source, copy)
            theirs.append(time.monotonic() - begun)
            file = os.open(copy, os.O_RDONLY)
            os.fsync(file)
            os.close(file)
            durable.append(time.monotonic() - begun)
            os.remove(copy)

        def settle():
            os.sync()
            return time.monotonic()

        # By turns, so that a slow moment of the machine meets both.
        for run in range(1 + RUNS_AGAINST_CP):
            for job in (clone, cp) if run % 2 else (cp, clone):
                job()
        for seconds in (ours, theirs, durable):
            del seconds[0]  # the caches were cold
        self.table += [('clone, plain export', ours), ('cp, plain export', theirs),
                       ('cp and fsync, plain export', durable)]
        # The best runs, which noise can only have made slower; it leaves some five percent in them.
        self.fast_enough('clone, plain export', min(ours), min(theirs), 0.95)

    def test_thick_volume(self):
        for name, share in (('reflink', REFLINK), ('plain', PLAIN)):
            made = []
            ours = self.measure(f'thick volume, {name} export', lambda: self.create(
                size_bytes=SIZE, share=share, format=nfs.THICK), RUNS, made.append)
            for volume in made:
                path = self.path(volume, volume.active_file)
                self.assertEqual(os.stat(path).st_size, SIZE)
                self.assertGreaterEqual(os.stat(path).st_blocks * 512, SIZE, 'not allocated')
                self.delete(volume.id)
            zeros = os.path.join(self.server.mount_point(share), 'zeros')
            theirs = self.measure(f'dd if=/dev/zero, {name} export', lambda: nfs.run(
                'dd', 'if=/dev/zero', f'of={zeros}', 'bs=1M', 'count=1024'))
            self.measure(f'dd if=/dev/zero conv=fsync, {name} export', lambda: nfs.run(
                'dd', 'if=/dev/zero', f'of={zeros}', 'bs=1M', 'count=1024', 'conv=fsync'))
            os.remove(zeros)
            self.fast_enough(f'thick volume, {name} export', ours, theirs, 50)


if __name__ == '__main__':
    nfs.main()
