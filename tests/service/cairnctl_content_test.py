"""cairnctl's downloads and uploads: what is written where, what is taken for a disk's content, and
for how long.

    cairnctl_content_test.py --cairnd FILE --stubs DIR --cairnctl FILE [TEST]
"""

import gzip
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support', 'python'))

# It finds the stubs, which all that follows needs.
import setting

from cairn_server import CairnServer
from cairnctl import Cairnctl

MIB = 1 << 20
CONTENT = b'start' + bytes(MIB - 10) + b'.end.'


class ContentCase(unittest.TestCase):
    def setUp(self):
        self.server = CairnServer(setting.CAIRND)
        self.addCleanup(self.server.close)
        self.cairnctl = Cairnctl(self.server)

    def path(self, name):
        return os.path.join(self.server.root, name)

    def write(self, name, data):
        with open(self.path(name), 'wb') as file:
            file.write(data)
        return self.path(name)

    def read(self, path):
        with open(path, 'rb') as file:
            return file.read()


class ExportTest(ContentCase):
    def setUp(self):
        super().setUp()
        source = self.write('source', CONTENT)
        self.volume, = self.cairnctl.make('volume', 'import', source, '--name', 'disk')

    def export(self, path, *words, **options):
        return self.cairnctl.run('volume', 'export', self.volume, path, *words, **options)

    def test_a_link_stays_a_link(self):
        real = self.write('real', b'old')
        link = self.path('link')
        os.symlink('real', link)
        self.assertEqual(self.export(link, '--force')[0], 0)
        self.assertTrue(os.path.islink(link))
        self.assertEqual(self.read(real), CONTENT)

    def test_a_fifo_is_written(self):
        fifo = self.path('fifo')
        os.mkfifo(fifo)
        got = []
        reader = threading.Thread(target=lambda: got.append(self.read(fifo)))
        reader.start()
        self.assertEqual(self.export(fifo, '--force')[0], 0)
        reader.join(30)
        self.assertEqual(got, [CONTENT])
        self.assertTrue(stat.S_ISFIFO(os.lstat(fifo).st_mode))

    def test_a_device_is_written_only_with_force_and_stays(self):
        device = self.path('full')
        try:
            os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 7))
        except PermissionError:
            self.skipTest('devices cannot be made here')
        code, _, err = self.export(device)
        self.assertEqual(code, 4)
        self.assertIn('--force writes into it', err)
        # It is always full: the error tells that it was written to.
        code, _, err = self.export(device, '--force')
        self.assertEqual(code, 5, err)
        self.assertTrue(stat.S_ISCHR(os.lstat(device).st_mode))

    def test_a_directory_is_refused_before_anything_else(self):
        os.mkdir(self.path('d'))
        # The server cannot be asked, and need not be.
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            code, _, err = self.export(self.path('d'), '--force', limit=10)
        finally:
            self.server.process.send_signal(signal.SIGCONT)
        self.assertEqual(code, 4)
        self.assertIn('is a directory', err)

    def test_what_does_not_get_through_stdout_is_an_error(self):
        with open('/dev/full', 'wb') as full:
            self.assertNotEqual(self.export('-', stdout=full)[0], 0)
        code, out, _ = self.cairnctl.run('volume', 'export', self.volume, '-')
        self.assertEqual((code, out.encode('utf-8', 'surrogateescape')), (0, CONTENT))


class ImportTest(ContentCase):
    def refused(self, what, *words, **options):
        code, _, err = self.cairnctl.run('volume', 'import', *words, '--size', '16MiB', **options)
        self.assertEqual(code, 2, err)
        self.assertIn(f'is in the format {what}', err)
        self.assertIn('--raw-content', err)

    def image(self, image_format):
        path = self.path(f'image.{image_format}')
        subprocess.run(['qemu-img', 'create', '-q', '-f', image_format, path, '1M'], check=True)
        return path

    def test_images_are_refused_from_a_file_and_from_a_pipe(self):
        for image_format in ('qcow2', 'qed', 'vmdk', 'vhdx', 'vpc', 'vdi', 'parallels'):
            with self.subTest(image_format):
                path = self.image(image_format)
                self.refused(image_format, path)
                self.refused(image_format, '-', input=self.read(path))
        self.refused('gzip', '-', input=gzip.compress(CONTENT))
        self.assertEqual(self.cairnctl.make('volume', 'list'), [])

    def test_raw_content_is_taken_as_it_is(self):
        path = self.image('qcow2')
        volume, = self.cairnctl.make('volume', 'import', path, '--size', '16MiB', '--raw-content')
        out = self.path('out')
        self.cairnctl.make('volume', 'export', volume, out)
        image = self.read(path)
        self.assertEqual(self.read(out)[:len(image)], image)

    def test_what_comes_through_a_pipe_arrives_whole(self):
        code, out, err = self.cairnctl.run('volume', 'import', '-', '--size', '1MiB', '--quiet',
                                           input=CONTENT)
        self.assertEqual(code, 0, err)
        target = self.path('out')
        self.cairnctl.make('volume', 'export', out.strip(), target)
        self.assertEqual(self.read(target), CONTENT)

    def test_a_directory_is_no_content(self):
        code, _, err = self.cairnctl.run('volume', 'import', self.server.root, '--size', '1MiB')
        self.assertEqual(code, 4)
        self.assertIn(f'{self.server.root}: the content is a directory', err)


class TimeoutTest(ContentCase):
    """--timeout holds for the whole command."""

    def ends_in_time(self, *words, **options):
        begun = time.monotonic()
        code, _, err = self.cairnctl.run('--timeout', '1s', *words, limit=20, **options)
        self.assertEqual(code, 6, err)
        self.assertLess(time.monotonic() - begun, 10, words)
        return err

    def test_while_the_server_says_nothing(self):
        volume, = self.cairnctl.make('volume', 'create', '--size', '1MiB')
        source = self.write('source', CONTENT)
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            self.ends_in_time('volume', 'export', volume, self.path('out'))
            self.ends_in_time('volume', 'import', source)
            self.ends_in_time('volume', 'list')
        finally:
            self.server.process.send_signal(signal.SIGCONT)
        self.assertEqual(os.listdir(self.server.root).count('out.part'), 0)

    def test_while_a_pipe_brings_nothing(self):
        reader, writer = os.pipe()
        try:
            self.ends_in_time('volume', 'import', '-', '--size', '1MiB', stdin=reader)
        finally:
            os.close(reader)
            os.close(writer)

    def test_while_nobody_reads(self):
        volume, = self.cairnctl.make('volume', 'create', '--size', '4MiB')
        reader, writer = os.pipe()
        try:
            self.ends_in_time('volume', 'export', volume, '-', stdout=writer)
        finally:
            os.close(reader)
            os.close(writer)

    def test_while_nothing_changes(self):
        self.assertIn('--timeout', self.ends_in_time('volume', 'watch'))


if __name__ == '__main__':
    unittest.main()
