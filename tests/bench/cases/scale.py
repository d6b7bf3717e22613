"""a page of 1,000 volumes, with 100,000 volumes there and with 10,000"""

from cairn_under_test import CairnUnderTest
from figures import median, under, within
from population import populate
from rounds import in_rounds

PAGES = 9  # at each place, a round


def run(report, quick):
    many, few = (4_000, 2_000) if quick else (100_000, 10_000)
    page = 200 if quick else 1000
    found = {'start': [], 'middle': [], 'end': []}

    def of_many():
        pages = large.load('list', '--page-size', page, '--pages', PAGES)
        for place, values in found.items():
            values.extend(pages[f'{place}_milliseconds'])
        return pages['middle_milliseconds']

    def of_few():
        pages = small.load('list', '--page-size', page, '--pages', PAGES)
        return pages['middle_milliseconds']

    with CairnUnderTest() as large, CairnUnderTest() as small:
        populate(large, many)
        populate(small, few)
        taken = in_rounds(2 if quick else 10, few=of_few, many=of_many)
    title = f'a page of {page:,} volumes of {many:,}'
    middle = median(taken['many'])
    report.add('scale/page', title, middle, 'ms', None, '', under(5, 'ms'))
    report.add('scale/total', title, middle, 'ms', median(taken['few']), f'{few:,} volumes',
               within(1.2))
    report.add('scale/last-page', f'{title}, the last', median(found['end']), 'ms',
               median(found['start']), 'the first page', within(1.2))
