"""Cuts the power of a whole machine, again and again: Cairn, its catalog's disk, a share and an NFS
server that runs there too. What it has told is there when it is up again, nothing is there by
halves, and what was written into a file since it was told is in it.

    power_cut_test.py --guest IN_GUEST --cairnd FILE --stubs DIR

The machine is a user-mode-linux, whose memory is gone when its process is killed. It lives
CAIRN_POWER_CUTS times (4), and once more to be looked at.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
MACHINE = os.path.join(HERE, 'guest', 'power_cut.py')
CUTS = int(os.environ.get('CAIRN_POWER_CUTS', '4'))
SEED = int(os.environ.get('CAIRN_SEED', '0')) or random.SystemRandom().randrange(1, 1 << 32)
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))


def children_of(process):
    found = []
    try:
        for thread in os.listdir(f'/proc/{process}/task'):
            with open(f'/proc/{process}/task/{thread}/children', encoding='utf-8') as children:
                found += map(int, children.read().split())
    except FileNotFoundError:
        pass  # it has ended
    return found


def tree_of(process):
    return [process, *(below for child in children_of(process) for below in tree_of(child))]


def name_of(process):
    try:
        with open(f'/proc/{process}/comm', encoding='utf-8') as name:
            return name.read()
    except FileNotFoundError:
        return ''


class PowerCutTest(unittest.TestCase):
    def setUp(self):
        self.random = random.Random(SEED)
        self.directory = tempfile.TemporaryDirectory(prefix='cairn-power-')
        self.addCleanup(self.directory.cleanup)
        self.told = os.path.join(self.directory.name, 'told')
        self.facts = []

    def boot(self, *arguments):
        with open(self.told, 'w', encoding='utf-8') as file:
            file.writelines(json.dumps(fact) + '\n' for fact in self.facts)
        return subprocess.Popen(
            [options['--guest'], '--memory', '1G', '--limit', '200', '--writable',
             self.directory.name, '--disks', self.directory.name, '/usr/bin/python3', '-B', MACHINE,
             '--cairnd', options['--cairnd'], '--stubs', options['--stubs'], self.told, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def hear(self, machine, count, last=''):
        """The next facts, up to `count` of what was changed, and on to one of the kind `last`;
        fewer when the machine has ended."""
        changed = 0
        for line in machine.stdout:
            fact = json.loads(line)
            self.facts.append(fact)
            changed += 'checked' not in fact and 'found' not in fact
            if 0 < count <= changed and (not last or last in fact):
                return

    def cut_power(self, machine):
        """At one instant: the kernel first, then those that run its processes for it."""
        kernels = [child for child in children_of(machine.pid)
                   if name_of(child).startswith('linux')]
        if not kernels:
            self.fail(f'it has ended by itself\n{machine.communicate()[1]}')
        for process in tree_of(kernels[0]):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def test_what_was_told_is_there(self):
        print(f'CAIRN_SEED={SEED}', file=sys.stderr)
        for _ in range(CUTS):
            machine = self.boot()
            # At any instant; or right after what was written into a file that is new, before the
            # catalog has synced that there is one.
            if self.random.random() < 0.7:
                self.hear(machine, self.random.randrange(1, 40), last='written')
            else:
                self.hear(machine, self.random.randrange(1, 40))
                time.sleep(self.random.uniform(0, 0.1))
            self.cut_power(machine)
            self.hear(machine, -1)
            _, errors = machine.communicate()
            self.assertEqual(machine.returncode, 125, errors)  # not by itself
        machine = self.boot('--check')
        self.hear(machine, -1)
        _, errors = machine.communicate()
        self.assertEqual(machine.returncode, 0, errors)
        checked = [fact for fact in self.facts if 'checked' in fact]
        self.assertEqual(len(checked), CUTS + 1, checked)
        self.assertGreater(checked[-1]['checked'], 0)
        print(checked[-1], file=sys.stderr)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
