"""Servers with many volumes."""

CLIENTS = 16


def populate(server, volumes, snapshots=0):
    """Sparse volumes: as much to remember as of any other, and next to nothing on the disk."""
    server.load('populate', '--volumes', volumes, '--snapshots', snapshots, '--clients', CLIENTS,
                '--format', 'raw-sparse')
