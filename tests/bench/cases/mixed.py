"""64 clients for ten minutes: 70 % reads, 20 % volumes come and go, 10 % snapshots

CAIRN_BENCH_MIXED_SECONDS is how long; a tenth of it counts as the first minute.
"""

import os
import threading

from cairn_under_test import CairnUnderTest
from figures import none, under, within

CLIENTS = 64
MIB = 1 << 20


class Memory:
    """What a server has resident, once a second from the constructor to stop()."""

    def __init__(self, server):
        self.server = server
        self.samples = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            self.samples.append(self.server.resident_bytes() / MIB)
            if self._stopping.wait(1):
                return

    def stop(self):
        self._stopping.set()
        self._thread.join()
        return self.samples


def run(report, quick):
    seconds = 10 if quick else int(os.environ.get('CAIRN_BENCH_MIXED_SECONDS', 600))
    with CairnUnderTest() as server:
        memory = Memory(server)
        found = server.load('mixed', '--clients', CLIENTS, '--seconds', seconds, errors=True)
        samples = memory.stop()
    for kind, of_kind in found['kinds'].items():
        print(f'  {kind:<16} {of_kind["count"]:>9,} calls, {of_kind["errors"]} errors; ms: '
              + ', '.join(f'{name} {of_kind[f"{name}_milliseconds"]:.1f}'
                          for name in ('p50', 'p95', 'p99', 'max')))
    for message in found.get('messages', []):
        print(f'  error: {message}')
    print(f'  memory in MiB, ten times: '
          + ' '.join(f'{samples[i * (len(samples) - 1) // 10]:.0f}' for i in range(11)))
    title = f'{CLIENTS} clients at once for {seconds} s'
    report.add('mixed/errors', f'{title}, errors', found['errors'], 'errors', None, '', none())
    report.add('mixed/p99', f'{title}, 99 % of calls', found['p99_milliseconds'], 'ms', None, '',
               under(50, 'ms'))
    report.add('mixed/rate', f'{title}, calls', found['per_second'], '/s', None, '', within())
    report.add('mixed/memory', f'{title}, the most memory', max(samples), 'MiB',
               max(samples[:max(1, len(samples) // 10)]), 'in the first tenth', within(1.1))
