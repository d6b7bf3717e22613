"""What cairnctl prints: all of it or an error, and nothing that steers a terminal.

    cairnctl_output_test.py --cairnd FILE --stubs DIR --cairnctl FILE [TEST]
"""

import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support', 'python'))

# It finds the stubs, which all that follows needs.
import setting

from cairn_server import CairnServer
from cairnctl import Cairnctl


class OutputCase(unittest.TestCase):
    def setUp(self):
        self.server = CairnServer(setting.CAIRND)
        self.addCleanup(self.server.close)
        self.cairnctl = Cairnctl(self.server)


class FullDiskTest(OutputCase):
    """A result that could not be written is an error, whatever printed it."""

    def lost(self, *words):
        with open('/dev/full', 'wb') as full:
            code, _, err = self.cairnctl.run(*words, stdout=full, limit=20)
        self.assertNotEqual(code, 0, words)
        self.assertIn('cannot write the result: No space left on device', err, words)

    def test_every_kind_of_result(self):
        volume, = self.cairnctl.make('volume', 'create', '--name', 'v', '--size', '1MiB')
        for form in ('table', 'json', 'yaml'):
            for words in (['volume', 'list'], ['volume', 'show', volume], ['operation', 'list'],
                          ['snapshot', 'list'], ['pool', 'list'], ['pool', 'show'], ['health']):
                self.lost('-o', form, *words)
        self.lost('volume', 'list', '--quiet')
        self.lost('snapshot', 'create', volume, '--quiet')
        self.lost('--help')
        self.lost('volume', 'list', '--help')
        self.lost('--version')
        self.lost('version')
        self.lost('completion', 'bash')
        self.lost('completion', 'values', 'volume')

    def test_streams_end(self):
        volume, = self.cairnctl.make('volume', 'create', '--size', '1MiB', '--format', 'qcow2')
        self.cairnctl.make('volume', 'attach', volume, '--instance', 'vm', '--assisted')
        operation, = self.cairnctl.make('snapshot', 'create', volume, '--no-wait')
        for form in ('table', 'json', 'yaml'):
            self.lost('-o', form, 'volume', 'watch')
            self.lost('-o', form, 'operation', 'watch', operation)

    def test_a_closed_stdout_is_an_error_too(self):
        self.cairnctl.make('volume', 'create', '--name', 'v', '--size', '1MiB')
        for words in ('volume list', 'volume list -o json', 'completion bash', '--help'):
            result = subprocess.run(['sh', '-c', f'exec "$0" {words} >&-', setting.CAIRNCTL],
                                    env=self.cairnctl.env, stdin=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, timeout=30, check=False)
            self.assertNotEqual(result.returncode, 0, words)
            self.assertIn(b'cannot write the result', result.stderr, words)


if __name__ == '__main__':
    unittest.main()
