"""creating a raw volume of 1 GiB with all its space, against writing zeros as the peer does"""

import os
import subprocess

from cairn_under_test import CairnUnderTest
from figures import faster, median, within
from rounds import in_rounds
from timing import milliseconds


def write_zeros(directory):
    """The peer's command for it, which does not wait for the disk."""
    path = os.path.join(directory, 'zeros')
    try:
        return [milliseconds(subprocess.run, ['dd', 'if=/dev/zero', f'of={path}', 'bs=1M',
                                              'count=1024'],
                             check=True, stderr=subprocess.DEVNULL)]
    finally:
        os.unlink(path)
        os.sync()  # the next round is not to wait for what this one has left


def allocate(path):
    with open(path, 'xb') as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 30)
        os.fsync(file.fileno())


def floor(directory):
    """What the file system needs for the space: more, the more pieces its free space is in."""
    taken = []
    for number in range(5):
        path = os.path.join(directory, f'allocated-{number}')
        taken.append(milliseconds(allocate, path))
        os.unlink(path)
    return taken


def run(report, quick):
    with CairnUnderTest() as server:
        taken = in_rounds(
            2 if quick else 7,
            cairn=lambda: server.load('create', '--count', 5, '--format', 'raw-thick',
                                      '--delete')['milliseconds'],
            dd=lambda: write_zeros(server.root),
            floor=lambda: floor(server.root))
    title, value = 'create a thick volume of 1 GiB', median(taken['cairn'])
    report.add('thick/dd', title, value, 'ms', median(taken['dd']), 'dd of zeros', faster(50))
    report.add('thick/floor', title, value, 'ms', median(taken['floor']),
               'fallocate and fsync alone', within())
