"""What cairnctl prints: all of it or an error, and nothing that steers a terminal.

    cairnctl_output_test.py --cairnd FILE --stubs DIR --cairnctl FILE [TEST]
"""

import json
import os
import re
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support', 'python'))

# It finds the stubs, which all that follows needs.
import setting

from cairn_server import CairnServer
from cairnctl import Cairnctl

# C0 (but for line ends), DEL, C1, marks and overrides of the direction, separators.
STEERING = re.compile('[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]')
BIDI = 'a\u202eX\u2066\u2028'


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


class GroupTest(OutputCase):
    def setUp(self):
        super().setUp()
        self.volumes = [self.cairnctl.make('volume', 'create', '--size', '1MiB', '--format',
                                           'qcow2')[0] for _ in range(3)]

    def test_all_snapshots_of_a_group_are_printed(self):
        ids = self.cairnctl.make('snapshot', 'create', *self.volumes, '--name', 'g')
        self.assertEqual(len(ids), 3)
        self.assertCountEqual(ids, self.cairnctl.make('snapshot', 'list'))
        made = self.cairnctl.show('snapshot', 'create', *self.volumes)['snapshots']
        self.assertCountEqual([one['volume_id'] for one in made], self.volumes)
        code, out, _ = self.cairnctl.run('snapshot', 'create', *self.volumes)
        self.assertEqual((code, len(re.findall(r'^volume: ', out, re.M))), (0, 3), out)

    def test_also_by_whoever_waits_for_it(self):
        operation, = self.cairnctl.make('snapshot', 'create', *self.volumes, '--no-wait')
        self.assertEqual(len(self.cairnctl.make('operation', 'wait', operation)), 3)

    def test_a_single_one_is_as_it_was(self):
        made = self.cairnctl.show('snapshot', 'create', self.volumes[0])
        self.assertEqual(made['volume_id'], self.volumes[0])
        group = made['id']
        for _ in range(2):  # the second is of another instant
            made = self.cairnctl.show('snapshot', 'create', self.volumes[0], '--group', group)
            self.assertEqual(made['group_id'], group)


class TextTest(OutputCase):
    def test_control_characters_are_refused(self):
        volume, = self.cairnctl.make('volume', 'create', '--size', '1MiB', '--format', 'qcow2')
        for text in ('a\x1b[31m', 'a\u009b31m', 'a\u0085b'):
            for words in (['volume', 'create', text, '--size', '1MiB'],
                          ['volume', 'create', '--size', '1MiB', '--label', f'k={text}'],
                          ['volume', 'update', volume, '--name', text],
                          ['volume', 'attach', volume, '--instance', text],
                          ['snapshot', 'create', volume, '--name', text]):
                code, _, err = self.cairnctl.run(*words)
                self.assertEqual(code, 2, words)
                self.assertIn('control character', err, words)
                self.assertIsNone(STEERING.search(err), words)

    def test_nothing_that_is_printed_steers_the_terminal(self):
        volume, = self.cairnctl.make('volume', 'create', BIDI, '--size', '1MiB', '--format',
                                     'qcow2', '--label', f'k={BIDI}')
        self.cairnctl.make('snapshot', 'create', volume, '--name', BIDI)
        for form in ('table', 'json', 'yaml'):
            for words in (['volume', 'list'], ['volume', 'show', volume], ['snapshot', 'list'],
                          ['snapshot', 'show', BIDI], ['operation', 'list'],
                          ['--timeout', '500ms', 'volume', 'watch']):
                code, out, err = self.cairnctl.run('-o', form, *words)
                self.assertIn(code, (0, 6), err)
                self.assertIsNone(STEERING.search(out + err), (form, words, out, err))
        # Programs get the text itself.
        self.assertEqual(self.cairnctl.show('volume', 'show', volume)['name'], BIDI)
        _, out, _ = self.cairnctl.run('-o', 'json', 'volume', 'show', volume)
        self.assertEqual(json.loads(out)['labels']['k'], BIDI)

    def test_errors_do_not_repeat_them(self):
        for words in (['volume', 'show', BIDI], ['volume', 'list', '--state', BIDI], [BIDI],
                      ['volume', 'list', BIDI], ['volume', 'create', '--size', BIDI]):
            code, _, err = self.cairnctl.run(*words)
            self.assertIn(code, (2, 3), words)
            self.assertIsNone(STEERING.search(err), words)

    def test_the_log_does_not_repeat_them(self):
        self.cairnctl.run('volume', 'create', '--size', '1MiB', '--request-id', BIDI + '\u009b')
        self.cairnctl.run('volume', 'create', '--size', '1MiB', '--request-id', BIDI)
        self.server.stop()
        with open(self.server.log, encoding='utf-8') as log:
            for line in log.read().split('\n'):
                self.assertIsNone(STEERING.search(line), line)

    def test_text_that_is_no_utf8_is_wrong_usage(self):
        wrong = b'caf\xe9'
        for words in (['volume', 'create', wrong, '--size', '1MiB'],
                      ['volume', 'create', '--size', '1MiB', '--label', b'k=' + wrong],
                      ['volume', 'list', '--filter', wrong], ['volume', 'show', wrong],
                      ['--request-id', wrong, 'volume', 'create', '--size', '1MiB']):
            code, _, err = self.cairnctl.run(*words)
            self.assertEqual(code, 2, words)
            self.assertIn('not valid UTF-8', err, words)

    def test_files_may_be_called_anything(self):
        volume, = self.cairnctl.make('volume', 'create', '--size', '1MiB')
        path = os.fsencode(self.server.root) + b'/caf\xe9'
        code, _, err = self.cairnctl.run('volume', 'export', volume, path)
        self.assertEqual(code, 0, err)
        self.assertEqual(os.path.getsize(path), 1 << 20)


if __name__ == '__main__':
    unittest.main()
