"""The main job through HAProxy, as deploy/proxy configures it: it wants client certificates.

    proxy_test.py --cairnd FILE --stubs DIR [TEST]
"""

import os
import signal
import socket
import subprocess
import unittest

# It finds the stubs, which all that follows needs, and takes its part of the command line.
import main_job_test

import grpc
from cairn.v1 import volume_service_pb2, volume_service_pb2_grpc
from cairn_server import CairnServer

CONFIGURATION = os.path.join(main_job_test.HERE, '..', '..', '..', 'deploy', 'proxy', 'haproxy.cfg')
CERTIFICATES = os.path.join(os.path.dirname(CONFIGURATION), 'make-certificates')


class ProxiedServer(CairnServer):
    """Its channel goes through the proxy, with a certificate."""

    def __init__(self, program):
        self.proxy = None
        super().__init__(program)

    def start(self, fail_points=''):
        super().start(fail_points)
        self.channel.close()
        if self.proxy is None:
            self.start_proxy()
        self.channel = self.connect(with_certificate=True)

    def start_proxy(self):
        subprocess.run([CERTIFICATES, self.file('tls'), 'localhost'], check=True,
                       stdout=subprocess.DEVNULL)
        # Clients that come before it is ready wait at the socket.
        with socket.create_server(('127.0.0.1', 0)) as listening:
            self.port = listening.getsockname()[1]
            with open(self.file('haproxy.log'), 'ab') as log:
                self.proxy = subprocess.Popen(
                    ['haproxy', '-db', '-f', CONFIGURATION], stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log, pass_fds=[listening.fileno()], env={
                        **os.environ, 'CAIRN_LISTEN': f'fd@{listening.fileno()}',
                        'CAIRN_CERTIFICATE': self.file('tls/proxy.pem'),
                        'CAIRN_CLIENT_CA': self.file('tls/ca.crt'), 'CAIRN_SOCKET': self.socket})

    def file(self, name):
        return os.path.join(self.root, name)

    def read(self, name):
        with open(self.file(name), 'rb') as file:
            return file.read()

    def connect(self, with_certificate):
        own = {'private_key': self.read('tls/client.key'),
               'certificate_chain': self.read('tls/client.crt')} if with_certificate else {}
        return grpc.secure_channel(f'localhost:{self.port}', grpc.ssl_channel_credentials(
            self.read('tls/ca.crt'), **own), options=[
                ('grpc.initial_reconnect_backoff_ms', 20), ('grpc.max_reconnect_backoff_ms', 1000)])

    def log_tail(self):
        return super().log_tail() + self.read('haproxy.log').decode(errors='replace')

    def close(self):
        try:
            if self.proxy is not None:
                self.proxy.send_signal(signal.SIGTERM)
                self.proxy.wait(30)
        finally:
            super().close()


class ProxyTest(main_job_test.MainJobTest):
    def setUp(self):
        self.server = ProxiedServer(main_job_test.CAIRND)
        self.addCleanup(self.end)
        self.connect()

    def test_without_a_certificate(self):
        with self.server.connect(with_certificate=False) as channel:
            volumes = volume_service_pb2_grpc.VolumeServiceStub(channel)
            with self.assertRaises(grpc.RpcError) as caught:
                volumes.ListVolumes(volume_service_pb2.ListVolumesRequest(), timeout=60)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.call(self.volumes.ListVolumes, volume_service_pb2.ListVolumesRequest())


if __name__ == '__main__':
    unittest.main(verbosity=2)
