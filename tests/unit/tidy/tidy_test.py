#!/usr/bin/env python3
"""Each check of tidy.py finds what it is there for, and nothing in a tree that keeps the rules."""

import os
import shutil
import tempfile
import unittest

import tidy

GOOD_HEADER = '''// A size.
#ifndef CAIRN_LIB_OS_FILE_H_
#define CAIRN_LIB_OS_FILE_H_

#include <string>

#include "lib/base/size.h"

#endif  // CAIRN_LIB_OS_FILE_H_
'''


class TidyTest(unittest.TestCase):

    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        self.put('lib/os/file.h', GOOD_HEADER)

    def put(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)

    def found(self, check):
        return [(path, line) for path, line, _ in tidy.CHECKS[check](tidy.Tree(self.root))]

    def test_a_good_tree_has_no_violation(self):
        for check in tidy.CHECKS:
            if check != 'format':
                self.assertEqual(self.found(check), [], check)

    def test_an_include_upward_is_found(self):
        self.put('lib/base/a.cc', '#include "lib/os/file.h"\n')
        self.assertEqual(self.found('layers'), [('lib/base/a.cc', 1)])

    def test_an_include_beside_is_found(self):
        self.put('lib/image/a.cc', '\n#include "lib/share/share.h"\n')
        self.put('lib/chain/a.cc', '#include "lib/pool/pool.h"\n')
        self.assertEqual(self.found('layers'), [('lib/chain/a.cc', 1), ('lib/image/a.cc', 2)])

    def test_a_folder_without_a_place_is_found(self):
        self.put('lib/utils/a.cc', '#include "lib/base/size.h"\n')
        self.assertEqual(self.found('layers'), [('lib/utils/a.cc', 1)])

    def test_generated_code_in_lib_is_found(self):
        for include in ('<grpcpp/grpcpp.h>', '"cairn/v1/volume.pb.h"', '"google/rpc/status.pb.h"'):
            self.put('lib/engine/a.cc', f'#include {include}\n')
            self.assertEqual(self.found('layers'), [('lib/engine/a.cc', 1)], include)

    def test_lib_in_the_client_is_found(self):
        self.put('client/cairnctl/a.cc', '#include "lib/base/size.h"\n')
        self.assertEqual(self.found('layers'), [('client/cairnctl/a.cc', 1)])

    def test_the_server_may_include_the_engine_only(self):
        self.put('server/a.cc', '#include "lib/engine/engine.h"\n#include "lib/base/size.h"\n'
                 '#include "lib/image/qcow2.h"\n#include "lib/pool/pool.h"\n'
                 '#include "cairn/v1/volume.pb.h"\n')
        self.assertEqual(self.found('layers'), [('server/a.cc', 3)])

    def test_an_include_without_a_path_is_found(self):
        self.put('lib/os/file.cc', '#include "file.h"\n')
        self.assertEqual(self.found('layers'), [('lib/os/file.cc', 1)])

    def test_a_wrong_guard_is_found(self):
        self.put('lib/os/other.h', GOOD_HEADER)
        self.assertEqual(self.found('guards'), [('lib/os/other.h', 1)])

    def test_the_clients_guard_is_that_of_its_installed_path(self):
        self.assertEqual(tidy.guard_of('client/cairn/client/uuid.h'), 'CAIRN_CLIENT_UUID_H_')

    def test_a_long_file_is_found(self):
        self.put('lib/os/file.cc', '\n' * 601)
        self.assertEqual(self.found('length'), [('lib/os/file.cc', 601)])

    def test_a_look_at_the_wall_clock_is_found(self):
        self.put('lib/base/clock.cc', 'absl::Time now = absl::Now();\n')
        self.put('tests/unit/os/a.cc', 'absl::Time now = absl::Now();\n')
        self.assertEqual(self.found('clocks'), [])
        for number, line in enumerate((
                'absl::Time end = absl::Now() + limit;', 'std::chrono::system_clock::now();',
                'changed.wait_until(lock, end);', 'clock_gettime(CLOCK_REALTIME, &now);',
                'gpr_now(GPR_CLOCK_REALTIME);', 'time(nullptr);')):
            path = f'{("lib/os", "server", "client/cairn/client")[number % 3]}/a.cc'
            self.put(path, f'// No absl::Now() here.\n{line}\n')
            self.assertEqual(self.found('clocks'), [(path, 2)], line)
            self.put(path, 'steady_clock::now(); gpr_now(GPR_CLOCK_MONOTONIC);\n')

    def test_a_mark_is_found(self):
        self.put('server/a.cc', '\n// TO' 'DO: more\n')
        self.assertEqual(self.found('marks'), [('server/a.cc', 2)])

    def test_a_script_that_does_not_parse_is_found(self):
        self.put('deploy/start', '#!/usr/bin/env bash\nif true; then\n')
        self.assertIn('deploy/start', [path for path, _ in self.found('scripts')])
        self.put('tests/a.py', 'def f(:\n')
        self.assertIn('tests/a.py', [path for path, _ in self.found('scripts')])

    def test_a_dead_link_is_found(self):
        self.put('README.md', 'See [here](lib/os/file.h) and [there](lib/os/none.h#x).\n')
        self.assertEqual(self.found('links'), [('README.md', 1)])

    @unittest.skipUnless(shutil.which('clang-format-14'), 'no clang-format-14')
    def test_a_badly_formatted_file_is_found(self):
        self.put('.clang-format', 'BasedOnStyle: Google\n')
        self.put('lib/os/a.cc', 'int  f( ) {return 1 ;}\n')
        self.assertIn('lib/os/a.cc', [path for path, _ in self.found('format')])


if __name__ == '__main__':
    unittest.main()
