"""What cairnctl says to wrong words, and what it asks before something is lost.

    cairnctl_words_test.py --cairnd FILE --stubs DIR --cairnctl FILE [TEST]
"""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support', 'python'))

# It finds the stubs, which all that follows needs.
import setting

from cairn_server import CairnServer
from cairnctl import Cairnctl

NO_SUCH = '00000000-0000-4000-8000-000000000000'


class WordsCase(unittest.TestCase):
    def setUp(self):
        self.server = CairnServer(setting.CAIRND)
        self.addCleanup(self.server.close)
        self.cairnctl = Cairnctl(self.server)

    def refused(self, said, *words, code=2):
        got, out, err = self.cairnctl.run(*words)
        self.assertEqual(got, code, (words, err))
        self.assertEqual(out, '', words)
        self.assertIn(said, err, words)
        return err

    def create(self, name):
        return self.cairnctl.make('volume', 'create', name, '--size', '1MiB', '--format',
                                  'qcow2')[0]

    def volumes(self):
        return self.cairnctl.make('volume', 'list')


class WrongWordsTest(WordsCase):
    def test_the_wrong_word_is_named(self):
        self.refused('"volumes" is no command; there are: volume, snapshot', 'volumes', 'list')
        self.refused('"ls" is no command of "volume"; there are: create', 'volume', 'ls')
        self.refused('"zsh" is no command of "completion"; there are: bash\n', 'completion', 'zsh')
        self.refused('"--sizee" is no option of "volume create"', 'volume', 'create', 'x',
                     '--sizee', '1')
        self.refused('"extra" was not expected by "volume list"', 'volume', 'list', 'extra')
        self.refused('"volume" needs a command: create', 'volume')
        self.refused('give a command: volume, snapshot')
        self.assertIn('cairnctl volume list --help', self.refused('"-A"', 'volume', 'list', '-A'))

    def test_values_that_cannot_be_are_told_in_words(self):
        for words in (['volume', 'list'], ['operation', 'list']):
            self.refused('"0" is no whole number from 1 on', *words, '--limit', '0')
            self.refused('"x" is no whole number from 1 on', *words, '--limit', 'x')
        self.refused('"-1" is no whole number from 0 on', 'volume', 'watch', '--from-revision=-1')
        self.refused('--size', 'volume', 'create', 'x')
        self.refused('"raw" is none of qcow2, raw-sparse, raw-thick', 'volume', 'create', 'x',
                     '--size', '1MiB', '--format', 'raw')
        self.refused('"DONE" is none of QUEUED', 'operation', 'list', '--state', 'DONE')
        self.refused('"wide" is none of table, json, yaml', 'volume', 'list', '-o', 'wide')

    def test_the_hint_for_a_filter_names_the_commands_own_help(self):
        for noun in ('volume', 'snapshot', 'operation'):
            err = self.refused('INVALID_FILTER', noun, 'list', '--filter', 'nope = nope')
            self.assertIn(f'cairnctl {noun} list --help', err)

    def test_the_version_is_told_either_way(self):
        for words in (['--version'], ['version']):
            code, out, _ = self.cairnctl.run(*words)
            self.assertEqual(code, 0)
            self.assertRegex(out, r'^cairnctl \d+\.\d+')

    def test_options_that_need_another_are_refused_without_it(self):
        volume = self.create('v')
        attach = ['volume', 'attach', volume, '--instance', 'vm']
        self.cairnctl.make(*attach, '--assisted')
        for words, needed in (
                ([*attach, '--qmp-node', 'disk0'], '--qmp'),
                ([*attach, '--libvirt-domain', 'd'], '--libvirt'),
                ([*attach, '--libvirt-target', 'vda'], '--libvirt'),
                (['volume', 'create', '--size', '1MiB', '--image-format', 'raw'], '--from-image'),
                (['volume', 'detach', volume, '--reason', 'it is dead'], '--force'),
                (['operation', 'report', NO_SUCH, '--step', '1', '--done', '--begun'],
                 '--failed')):
            self.refused(f'requires {needed}', *words)
        # What was recorded is still there.
        attachment, = self.cairnctl.show('volume', 'show', volume)['attachments']
        self.assertIn('assisted', attachment['hypervisor'])


class ConfirmTest(WordsCase):
    def test_without_a_terminal_yes_is_required(self):
        volume = self.create('v')
        snapshot, = self.cairnctl.make('snapshot', 'create', volume, '--name', 's')
        for words in (['volume', 'delete', 'v', '--cascade'], ['snapshot', 'delete', 's'],
                      ['snapshot', 'revert', 's'],
                      ['pool', 'accept', f'file://{self.server.share}']):
            self.refused('give --yes', *words)
        self.assertEqual(self.volumes(), [volume])
        self.assertEqual(self.cairnctl.make('snapshot', 'list'), [snapshot])
        self.assertEqual(self.cairnctl.run('volume', 'delete', 'v', '--cascade', '--yes')[0], 0)
        self.assertEqual(self.volumes(), [])

    def test_it_asks_on_the_terminal_wherever_the_streams_lead(self):
        volume = self.create('v')
        for answer in ('n', '', 'yy', 'no'):
            code, shown = self.cairnctl.ask(answer, 'volume', 'delete', 'v')
            self.assertEqual(code, 7, shown)
            self.assertIn('Delete volume v? The data is lost. [y/N]', shown)
        self.assertEqual(self.volumes(), [volume])
        self.assertEqual(self.cairnctl.ask('y', 'volume', 'delete', 'v')[0], 0)
        self.assertEqual(self.volumes(), [])

    def test_a_dry_run_asks_nothing_and_loses_nothing(self):
        volume = self.create('v')
        self.cairnctl.make('snapshot', 'create', volume, '--name', 's')
        for words in (['volume', 'delete', 'v', '--cascade'], ['snapshot', 'delete', 's'],
                      ['snapshot', 'revert', 's']):
            code, _, err = self.cairnctl.run(*words, '--dry-run')
            self.assertEqual(code, 0, err)
            code, shown = self.cairnctl.ask('y', *words, '--dry-run')
            self.assertEqual((code, shown), (0, ''))
        self.assertEqual(self.volumes(), [volume])

    def test_what_has_no_dry_run_refuses_it(self):
        volume = self.create('v')
        self.cairnctl.make('volume', 'attach', volume, '--instance', 'vm', '--assisted')
        operation, = self.cairnctl.make('snapshot', 'create', volume, '--no-wait')
        for words in (['operation', 'cancel', operation],
                      ['operation', 'abandon', operation, '--reason', 'r', '--yes'],
                      ['operation', 'report', operation, '--step', '1', '--failed', 'no'],
                      ['pool', 'accept', f'file://{self.server.share}', '--yes'],
                      ['pool', 'rescan']):
            self.refused('no --dry-run', *words, '--dry-run')
        state = self.cairnctl.show('operation', 'show', operation)['state']
        self.assertEqual(state, 'OPERATION_STATE_WAITING_FOR_CONSUMER')


class DeleteTest(WordsCase):
    def test_all_names_are_looked_up_before_the_first_is_deleted(self):
        one, two = self.create('one'), self.create('two')
        self.cairnctl.make('snapshot', 'create', one, '--name', 's')
        for wrong in ('three', NO_SUCH):
            self.refused('', 'volume', 'delete', '--yes', 'two', wrong, code=3)
            self.refused('', 'snapshot', 'delete', '--yes', 's', wrong, code=3)
        self.create('two')
        self.refused('several volumes', 'volume', 'delete', '--yes', '--cascade', 'one', 'two')
        self.assertIn(one, self.volumes())
        self.assertIn(two, self.volumes())
        self.assertEqual(len(self.cairnctl.make('snapshot', 'list')), 1)

    def test_what_is_missing_may_be_allowed(self):
        self.create('one')
        code, _, err = self.cairnctl.run('volume', 'delete', '--yes', '--allow-missing', 'three',
                                         'one', NO_SUCH)
        self.assertEqual(code, 0, err)
        self.assertEqual(self.volumes(), [])

    def test_one_that_is_named_twice_is_deleted_once(self):
        one = self.create('one')
        code, _, err = self.cairnctl.run('volume', 'delete', '--yes', 'one', one, 'one')
        self.assertEqual(code, 0, err)


if __name__ == '__main__':
    unittest.main()
