"""creating a qcow2 volume of 1 GiB, on an empty share and on one with 10,000 volumes

By one client, against the floor and the peer, and by 16 at a time against the peer's rate: it does
one after the other.
"""

from cairn_under_test import CairnUnderTest, floor
from figures import as_many, faster, median, within
from peer import NAME, start_peer
from population import populate
from rounds import in_rounds

TITLE = 'create a qcow2 volume of 1 GiB'
THERE = 10_000
CLIENTS = 16


def create(server):
    return lambda: server.load('create', '--count', 10)['milliseconds']


def run(report, quick):
    rounds, there = (2, 500) if quick else (10, THERE)
    with CairnUnderTest() as server, CairnUnderTest() as full, CairnUnderTest() as busy, \
            start_peer() as peer, start_peer(prefill=there) as full_peer:
        populate(full, there)
        taken = in_rounds(
            rounds, cairn=create(server), floor=lambda: floor('create', 10),
            peer=lambda: peer.milliseconds('create', 5), full=create(full),
            full_peer=lambda: full_peer.milliseconds('create', 5),
            many=lambda: [busy.load('create', '--count', 25 * CLIENTS, '--clients',
                                    CLIENTS)['per_second']])
    with start_peer(rootwrap=True) as packaged:
        taken['packaged'] = packaged.milliseconds('create', 1 if quick else 3)
    found = {name: median(values) for name, values in taken.items()}
    report.add('create/peer', TITLE, found['cairn'], 'ms', found['peer'], NAME, faster(20))
    report.add('create/peer-rootwrap', TITLE, found['cairn'], 'ms', found['packaged'],
               f'{NAME} with rootwrap', faster())
    report.add('create/floor', TITLE, found['cairn'], 'ms', found['floor'], 'the floor',
               within(2.0))
    title = f'{TITLE} beside {there:,} others'
    report.add('create/many-volumes', title, found['full'], 'ms', found['cairn'],
               'an empty share', within(1.2))
    report.add('create/many-volumes-peer', title, found['full'], 'ms', found['full_peer'], NAME,
               faster())
    report.add(f'create/{CLIENTS}-clients', f'{TITLE}, {CLIENTS} clients', found['many'], '/s',
               1e3 / found['peer'] if found['peer'] else None, NAME, as_many(100))
