"""choosing a share for a volume with 10,000 volumes there, against 10

A request is taken up to its reservation. Beside it what the peer does at each choice: du.
"""

import json
import subprocess
import tempfile

from cairn_under_test import path_of
from figures import within


def run(report, quick):
    with tempfile.NamedTemporaryFile(prefix='placement-') as found:
        subprocess.run([path_of('cairn_placement_bench'),
                        f'--benchmark_repetitions={2 if quick else 7}',
                        '--benchmark_report_aggregates_only=true',
                        '--benchmark_enable_random_interleaving=true',
                        f'--benchmark_out={found.name}', '--benchmark_out_format=json'],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        medians = {each['run_name']: each['real_time'] for each in json.load(found)['benchmarks']
                   if each['aggregate_name'] == 'median'}
    report.add('placement', 'choose a share beside 10,000 volumes', medians['Admission/10000'],
               'us', medians['Admission/10'], '10 volumes', within(1.2))
    report.add('placement/du', "the same in the peer's way, du", medians['Du/10000/real_time'],
               'us', medians['Du/10/real_time'], '10 volumes', within())
