"""attaching a volume: what a machine has to open

Attaching is recorded durably; the peer only says how to connect, which Cairn says again of what is
attached.
"""

from cairn_under_test import CairnUnderTest
from figures import faster, median
from peer import NAME, start_peer
from rounds import in_rounds


def run(report, quick):
    connection = []

    def attach():
        found = server.load('attach', '--count', 20)
        connection.extend(found['connection_milliseconds'])
        return found['milliseconds']

    with CairnUnderTest() as server, start_peer() as peer:
        taken = in_rounds(2 if quick else 10, cairn=attach,
                          peer=lambda: peer.milliseconds('attach', 5))
    with start_peer(rootwrap=True) as packaged:
        taken['packaged'] = packaged.milliseconds('attach', 1 if quick else 3)
    found = {name: median(values) for name, values in taken.items()}
    report.add('attach/peer', 'attach a volume', found['cairn'], 'ms', found['peer'], NAME,
               faster(50))
    report.add('attach/peer-rootwrap', 'attach a volume', found['cairn'], 'ms', found['packaged'],
               f'{NAME} with rootwrap', faster())
    report.add('attach/connection', 'ask how to open an attached volume', median(connection), 'ms',
               found['peer'], NAME, faster())
