"""creating a raw volume of 1 GiB with all its space, against writing zeros as the peer does"""

import os
import subprocess

from cairn_under_test import CairnUnderTest
from figures import faster, median
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


def run(report, quick):
    with CairnUnderTest() as server:
        taken = in_rounds(
            2 if quick else 7,
            cairn=lambda: server.load('create', '--count', 5, '--format', 'raw-thick',
                                      '--delete')['milliseconds'],
            dd=lambda: write_zeros(server.root))
    report.add('thick/dd', 'create a thick volume of 1 GiB', median(taken['cairn']), 'ms',
               median(taken['dd']), 'dd of zeros', faster(50))
