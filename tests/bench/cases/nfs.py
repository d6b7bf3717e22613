"""a copy of 1 GiB and a thick volume of 1 GiB on NFS 4.2

In a guest that is server and client, so nothing of it crosses a network: on an export that clones
file ranges, where the peer is qemu-img, and on one that cannot, where the server copies for cp as
well.
"""

import json
import os
import subprocess
import tempfile

import setting
from figures import faster, median

HERE = os.path.dirname(os.path.abspath(__file__))
IN_GUEST = os.path.join(HERE, '..', '..', 'guest', 'in_guest')
PROGRAM = os.path.join(HERE, '..', 'copies_on_nfs.py')
# A source and a copy fit, so that no program meets a cache that the one before it has emptied.
MEMORY = '3G'


def measured(rounds):
    # The guest has a /tmp of its own.
    with tempfile.TemporaryDirectory(prefix='nfs-') as directory:
        file = os.path.join(directory, 'taken.json')
        subprocess.run([IN_GUEST, '--memory', MEMORY, '--limit', '1800', '--writable', directory,
                        '/usr/bin/python3', '-B', PROGRAM,
                        '--cairnd', os.path.abspath(setting.CAIRND), '--cairnctl', '',
                        '--stubs', os.path.abspath(setting.STUBS), str(rounds), file], check=True)
        with open(file, encoding='utf-8') as results:
            return {name: median(values) for name, values in json.load(results).items()}


def run(report, quick):
    found = measured(1 if quick else 7)
    for name, ours, theirs, program, goal in (
            ('clone-reflink', 'clone', 'convert', 'qemu-img convert', faster(20)),
            ('clone-plain', 'clone', 'cp', 'cp', faster(0.95)),
            ('thick-reflink', 'thick', 'dd', 'dd', faster(50)),
            ('thick-plain', 'thick', 'dd', 'dd', faster(50))):
        export = name.rpartition('-')[2]
        title = 'clone 1 GiB of data' if ours == 'clone' else 'a thick volume of 1 GiB'
        report.add(f'nfs/{name}', f'{title} on NFS, {export} export', found[f'{ours}-{export}'],
                   'ms', found[f'{theirs}-{export}'], program, goal)
