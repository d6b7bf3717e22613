"""The cairnd that is measured, and the programs that load it and show its floor.

Whatever they make stays until tests/bench/run ends and removes it.
"""

import json
import os
import signal
import subprocess
import tempfile
import time

import setting
from cairn_server import CairnServer


def path_of(name):
    """Of a program below tests/bench, in the build that the server is of."""
    return os.path.join(os.path.dirname(setting.CAIRND), '..', 'tests', 'bench', name)


def program(name, *arguments, errors=False):
    """The JSON object that it prints. Unless `errors` may be, they are all that there is to say."""
    run = subprocess.run([path_of(name), *map(str, arguments)], check=False,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    if run.returncode != 0 and not (errors and run.stdout):
        raise RuntimeError(f'{name} {" ".join(map(str, arguments))}: {run.stdout}{run.stderr}')
    return json.loads(run.stdout)


def floor(job, count):
    """The milliseconds of what no server can leave out, without any server."""
    share, state = (tempfile.mkdtemp(prefix=f'floor-{name}-') for name in ('share', 'state'))
    return program('floor/cairn_bench_floor', job, '--count', count, '--dir', share, '--state',
                   state)['milliseconds']


class CairnUnderTest(CairnServer):
    """With the configuration that the package has, but room for any number of volumes."""

    def __init__(self, share=None):
        self._given_share = share
        super().__init__(setting.CAIRND)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _write(self, name, text):
        if name == 'nfs_shares' and self._given_share:
            self.share = self._given_share
            text = f'file://{self.share}\n'
        if name == 'cairnd.yaml':
            text += '    max_over_subscription_ratio: 1000000\n'
        super()._write(name, text)

    def close(self):
        if self.process.poll() is None:
            self.stop()

    def load(self, command, *options, errors=False):
        """What a command of cairn_bench_load says."""
        return program('load/cairn_bench_load', command, '--server', f'unix:{self.socket}',
                       *options, errors=errors)

    def resident_bytes(self):
        with open(f'/proc/{self.process.pid}/status', encoding='utf-8') as file:
            for line in file:
                if line.startswith('VmRSS:'):
                    return int(line.split()[1]) * 1024
        raise RuntimeError('cairnd is gone')

    def restart(self):
        """The seconds from its process's start until it serves."""
        self.stop(signal.SIGTERM)
        begun = time.monotonic()
        self.start()
        return time.monotonic() - begun
