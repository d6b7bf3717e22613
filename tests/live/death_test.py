"""The server, or the machine, is killed at random instants while volumes in use are changed.

    death_test.py --cairnd FILE --stubs DIR [TEST]

CAIRN_SEED replays a run, as far as chance in the programs allows; CAIRN_LIVE_KILLS and
CAIRN_LIVE_MACHINE_KILLS say how often.
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(sys.path[0], '..', 'support', 'python'))

import setting  # noqa: F401  first: it finds the stubs
from live_case import QCOW2, RAW
from live_jobs import LiveJobs

KILLS = int(os.environ.get('CAIRN_LIVE_KILLS', '25'))
MACHINE_KILLS = int(os.environ.get('CAIRN_LIVE_MACHINE_KILLS', '15'))


class DeathTest(LiveJobs):
    def test_server_with_storage_daemon(self):
        self.kill_server('storage_daemon', QCOW2, KILLS)

    def test_server_with_qemu_system(self):
        self.kill_server('qemu_system', RAW, KILLS)

    def test_machine(self):
        self.kill_machines([self.machine('storage_daemon'), self.machine('qemu_system')],
                           self.make_disk(QCOW2), MACHINE_KILLS)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]])
