"""a volume of 1 GiB, all of it written, as the copy of another

Against qemu-img on a file system that can only read and write, and on one that shares blocks
(XFS, in an image that is mounted for it) against a volume of a 64th of the size.
"""

import contextlib
import os
import subprocess
import tempfile

from cairn.v1 import volume_pb2, volume_service_pb2
from caller import Caller
from cairn_under_test import CairnUnderTest
from figures import faster, median, within
from rounds import in_rounds
from timing import milliseconds

GIB = 1 << 30
SMALL = GIB // 64
XFS_SIZE = 4 * GIB
FORMATS = {'qcow2': volume_pb2.VOLUME_FORMAT_QCOW2, 'raw': volume_pb2.VOLUME_FORMAT_RAW_SPARSE}


def quiet(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


class Source:
    """A volume whose every block is written, with nothing that could be taken for zeros."""

    def __init__(self, server, kind, size):
        self.kind = kind
        self.caller = Caller(server)
        volume = self._create(size_bytes=size)
        self.id = volume.id
        self.path = os.path.join(server.share, volume.active_file)
        with tempfile.NamedTemporaryFile(prefix='content-') as content:
            block = os.urandom(4 << 20)
            for _ in range(size // len(block)):
                content.write(block)
            content.flush()
            quiet('qemu-img', 'convert', '-n', '-f', 'raw', '-O', kind, content.name, self.path)
        os.sync()

    def _create(self, **fields):
        return self.caller.change('volumes.CreateVolume', volume_service_pb2.CreateVolumeRequest(
            format=FORMATS[self.kind], **fields)).volume

    def clone(self):
        made = []
        taken = milliseconds(lambda: made.append(self._create(source_volume_id=self.id)))
        self.caller.change('volumes.DeleteVolume',
                           volume_service_pb2.DeleteVolumeRequest(volume_id=made[0].id))
        os.sync()  # what is measured next is not to wait for this
        return [taken]

    def convert(self, durable):
        """As fast as qemu-img copies; `durable`: until the copy is on the disk."""
        copy = f'{self.path}.copy'

        def job():
            quiet('qemu-img', 'convert', '-W', '-m', '16', '-f', self.kind, '-O', self.kind,
                  self.path, copy)
            if durable:
                quiet('sync', copy)

        taken = milliseconds(job)
        os.unlink(copy)
        os.sync()
        return [taken]


@contextlib.contextmanager
def xfs():
    """A directory on a file system whose files can share blocks; None where there can be none."""
    with tempfile.TemporaryDirectory(prefix='xfs-') as directory:
        image, mount_point = (os.path.join(directory, name) for name in ('image', 'mounted'))
        os.mkdir(mount_point)
        try:
            quiet('truncate', '-s', str(XFS_SIZE), image)
            quiet('mkfs.xfs', '-q', '-m', 'reflink=1', image)
            quiet('mount', '-o', 'loop', image, mount_point)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f'  no file system that shares blocks: {error}')
            yield None
            return
        try:
            yield mount_point
        finally:
            quiet('umount', mount_point)


def copied(report, kind, rounds):
    with CairnUnderTest() as server:
        source = Source(server, kind, GIB)
        taken = in_rounds(rounds, cairn=source.clone,
                          durable=lambda: source.convert(durable=True),
                          cached=lambda: source.convert(durable=False))
    found = {name: median(values) for name, values in taken.items()}
    title = f'clone 1 GiB of data, {kind}'
    report.add(f'clone/{kind}', title, found['cairn'], 'ms', found['durable'],
               'qemu-img convert, then sync', faster(1.0))
    report.add(f'clone/{kind}-cached', title, found['cairn'], 'ms', found['cached'],
               'qemu-img convert, not on the disk', faster())


def shared(report, kind, rounds):
    with xfs() as directory:
        if directory is None:
            return
        with CairnUnderTest(share=directory) as server:
            large, small = (Source(server, kind, size) for size in (GIB, SMALL))
            taken = in_rounds(rounds, large=large.clone, small=small.clone)
    report.add(f'clone/{kind}-reflink', f'clone 1 GiB of data, {kind}, the share has reflink',
               median(taken['large']), 'ms', median(taken['small']),
               f'{SMALL >> 20} MiB', within(2.0))


def run(report, quick):
    rounds = 1 if quick else 5
    for kind in FORMATS:
        copied(report, kind, rounds)
    for kind in FORMATS:
        shared(report, kind, 2 * rounds)
