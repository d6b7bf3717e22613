"""taking a snapshot of a volume that nobody uses"""

from cairn_under_test import CairnUnderTest, floor
from figures import faster, median, within
from peer import NAME, start_peer
from rounds import in_rounds

TITLE = 'take a snapshot'
CHAIN = 10  # snapshots of each volume, in all three


def run(report, quick):
    with CairnUnderTest() as server, start_peer() as peer:
        taken = in_rounds(
            2 if quick else 10,
            cairn=lambda: server.load('snapshot', '--count', CHAIN, '--volumes',
                                      1)['milliseconds'],
            floor=lambda: floor('snapshot', CHAIN),
            peer=lambda: peer.milliseconds('snapshot', CHAIN))
    with start_peer(rootwrap=True) as packaged:
        taken['packaged'] = packaged.milliseconds('snapshot', 1 if quick else 3)
    found = {name: median(values) for name, values in taken.items()}
    report.add('snapshot/peer', TITLE, found['cairn'], 'ms', found['peer'], NAME, faster(25))
    report.add('snapshot/peer-rootwrap', TITLE, found['cairn'], 'ms', found['packaged'],
               f'{NAME} with rootwrap', faster())
    report.add('snapshot/floor', TITLE, found['cairn'], 'ms', found['floor'], 'the floor',
               within(2.0))
