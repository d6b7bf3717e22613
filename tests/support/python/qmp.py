"""A small client for QMP, QEMU's control protocol, and what is found out with it.

    with Qmp('/run/vm1/qmp.sock') as qmp:
        qmp.execute('block_resize', **{'node-name': 'disk0', 'size': 1 << 30})

One thread at a time. A socket of QEMU's serves one client at a time: close it when done.
"""

import json
import os
import socket
import time


class QmpError(Exception):
    """QEMU refused a command, or a job failed; in its own words."""


class Qmp:
    def __init__(self, path, timeout=30):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self.job_errors = {}
        try:
            self._socket.connect(path)
            self._lines = self._socket.makefile('rb')
            self._read()  # the greeting
            self.execute('qmp_capabilities')
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._lines.close()
        self._socket.close()

    def _read(self):
        line = self._lines.readline()
        if not line:
            raise ConnectionError('QEMU has closed the connection')
        return json.loads(line)

    def execute(self, command, **arguments):
        """The reply's `return`. Of the events that come before it, those are kept that say why a
        job has failed."""
        self._socket.sendall(json.dumps({'execute': command, 'arguments': arguments}).encode())
        while True:
            reply = self._read()
            if 'error' in reply:
                raise QmpError(f'{command}: {reply["error"]["desc"]}')
            if 'return' in reply:
                return reply['return']
            if reply.get('event') == 'BLOCK_JOB_COMPLETED' and 'error' in reply['data']:
                self.job_errors[reply['data']['device']] = reply['data']['error']

    # What is open.

    def nodes(self):
        """The open images: node name -> node, without the nodes of the files under them."""
        return {node['node-name']: node
                for node in self.execute('query-named-block-nodes', flat=True)
                if node['drv'] in ('qcow2', 'raw')}

    def node_of(self, path):
        """The name of the node that has the image open; None if there is none."""
        for name, node in self.nodes().items():
            if same_file(image_file(node['file']), path):
                return name
        return None

    def file_of(self, name):
        """The file that the node has open."""
        return image_file(self.nodes()[name]['file'])

    def chain_of(self, path):
        """The files of the image and of its backing images, as they are open now; the image's
        own first."""
        nodes = {image_file(node['file']): node for node in self.nodes().values()}
        chain = []
        while path:
            node = next((n for file, n in nodes.items() if same_file(file, path)), None)
            if node is None:
                break
            chain.append(image_file(node['file']))
            path = image_file(node.get('backing_file', ''))
        return chain

    def roots(self):
        """The names of the nodes that a guest's device or an export has as its disk."""
        nodes = {export['node-name'] for export in self.execute('query-block-exports')}
        commands = {command['name'] for command in self.execute('query-commands')}
        if 'query-block' in commands:  # qemu-storage-daemon has no devices
            nodes |= {device['inserted']['node-name'] for device in self.execute('query-block')
                      if 'inserted' in device}
        return nodes

    # Jobs. One that ends is gone, and what is open tells what it did; that is its default. (With
    # 'auto-dismiss' off, a block-stream that has ended and is not dismissed lets QEMU 7.2 crash on
    # query-named-block-nodes, whoever asks that.)

    def job(self, job_id):
        """The job; None if there is none, or none any more."""
        return next((job for job in self.execute('query-jobs') if job['id'] == job_id), None)

    def wait_for_job(self, job_id, until=None, progress=lambda done, total: None, timeout=600):
        """Waits until the job has ended, or is in that state. That it failed is told only to the
        connection on which QEMU said so."""
        give_up = time.monotonic() + timeout
        while True:
            job = self.job(job_id)
            if job_id in self.job_errors:
                raise QmpError(f'job {job_id}: {self.job_errors.pop(job_id)}')
            if job is None or job['status'] == until:
                return
            progress(job['current-progress'], job['total-progress'])
            if time.monotonic() > give_up:
                raise TimeoutError(f'job {job_id} is still {job["status"]}')
            time.sleep(0.05)


def image_file(name):
    """The path in what QEMU calls a node's file name: that, or the node's options as JSON."""
    if not name.startswith('json:'):
        return name
    options = json.loads(name[len('json:'):])
    while isinstance(options.get('file'), dict):
        options = options['file']
    return options.get('filename', options.get('file.filename', ''))


def same_file(one, other):
    return os.path.realpath(one) == os.path.realpath(other)
