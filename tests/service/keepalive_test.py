"""Clients may ping every ten seconds, however punctual their pings are.

    keepalive_test.py --cairnd FILE --stubs DIR [TEST]
"""

import os
import socket
import struct
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'support', 'python'))

# It finds the stubs, which the server's health check needs.
import setting

from cairn_server import CairnServer

# Much sooner than is promised, and not as soon as is refused. gRPC bears with two.
PERIOD_SECONDS = 5.2
PINGS = 5
SETTINGS, PING, GOAWAY, ACK = 4, 6, 7, 1


def frame(kind, flags=0, payload=b''):
    return struct.pack('>I', len(payload))[1:] + bytes([kind, flags]) + bytes(4) + payload


class KeepaliveTest(unittest.TestCase):
    def setUp(self):
        self.server = CairnServer(setting.CAIRND)
        self.addCleanup(self.server.close)
        self.connection = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.connection.close)
        self.connection.connect(self.server.socket)
        self.received = b''

    def next_frame(self):
        """Kind, flags and payload."""
        while True:
            length = int.from_bytes(self.received[:3], 'big') if len(self.received) >= 9 else 0
            if len(self.received) >= 9 + length:
                head, payload = self.received[:9], self.received[9:9 + length]
                self.received = self.received[9 + length:]
                return head[3], head[4], payload
            part = self.connection.recv(4096)
            self.assertTrue(part, 'the server has closed the connection')
            self.received += part

    def test_pings_are_taken(self):
        self.connection.settimeout(30)
        self.connection.sendall(b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(SETTINGS))
        for number in range(PINGS):
            payload = struct.pack('>Q', number)
            sent = time.monotonic()
            self.connection.sendall(frame(PING, payload=payload))
            while True:
                kind, flags, got = self.next_frame()
                self.assertNotEqual(kind, GOAWAY, got)
                if kind in (SETTINGS, PING) and not flags & ACK:
                    self.connection.sendall(frame(kind, ACK, got if kind == PING else b''))
                if kind == PING and flags & ACK and got == payload:
                    break
            # The period is what is tested.
            time.sleep(max(0.0, sent + PERIOD_SECONDS - time.monotonic()))


if __name__ == '__main__':
    unittest.main()
