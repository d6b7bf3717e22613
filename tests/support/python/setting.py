"""What every test program that has a server is started with. Import it before anything that needs
the stubs of the contract:

    PROGRAM --cairnd FILE --stubs DIR [--cairnctl FILE] [TEST]
"""

import os
import sys


def _option(name):
    at = sys.argv.index(name)
    value = sys.argv[at + 1]
    del sys.argv[at:at + 2]
    return value


CAIRND = _option('--cairnd')
STUBS = _option('--stubs')
CAIRNCTL = _option('--cairnctl') if '--cairnctl' in sys.argv else ''
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, STUBS)

# The stubs are on the path from here on; gRPC's own package must be told where to look for more.
# pylint: disable=wrong-import-position
import grpc

grpc.__path__.append(os.path.join(STUBS, 'grpc'))
