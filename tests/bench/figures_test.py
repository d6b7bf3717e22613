"""What becomes of figures: ratios, goals that are met, missed or open, README's table."""

import unittest

import readme_table
from figures import Report, amount, as_many, faster, median, none, percentile, under, within


def added(value, reference, goal, unit='ms'):
    report = Report()
    report.add('name', 'a title', value, unit, reference, 'a reference', goal)
    return report.figures[0]


class FiguresTest(unittest.TestCase):
    def test_ratios_and_goals(self):
        for value, reference, goal, ratio, met in (
                (2.0, 50.0, faster(20), 25.0, True),
                (2.0, 38.0, faster(20), 19.0, False),
                (800.0, 1000.0, as_many(0.8), 0.8, True),
                (790.0, 1000.0, as_many(0.8), 0.79, False),
                (6.0, 3.0, within(2.0), 2.0, True),
                (6.3, 3.0, within(2.0), 2.1, False),
                (4.9, 1.0, under(5, 'ms'), 4.9, True),
                (5.0, 1.0, under(5, 'ms'), 5.0, False),
                (4.0, None, under(5, 'ms'), None, True),
                (0, None, none(), None, True),
                (1, None, none(), None, False),
        ):
            with self.subTest(value=value, goal=goal.text):
                figure = added(value, reference, goal)
                self.assertEqual(figure['met'], met)
                if ratio is None:
                    self.assertIsNone(figure['ratio'])
                else:
                    self.assertAlmostEqual(figure['ratio'], ratio)

    def test_without_a_peer_a_goal_is_neither_met_nor_missed(self):
        figure = added(3.0, median([]), faster(20))
        self.assertIsNone(figure['reference'])
        self.assertIsNone(figure['ratio'])
        self.assertIsNone(figure['met'])
        self.assertEqual(figure['goal'], 'at least 20 times faster')

    def test_without_a_goal_there_is_a_ratio(self):
        figure = added(3.0, 6.0, faster())
        self.assertEqual((figure['ratio'], figure['goal'], figure['met']), (2.0, '', None))

    def test_amounts_show_what_counts(self):
        self.assertEqual([amount(value) for value in (0, 0.123, 3.14159, 48.76, 1153.9)],
                         ['0', '0.12', '3.14', '48.8', '1,154'])

    def test_percentiles(self):
        values = list(range(100, 0, -1))
        self.assertEqual([percentile(values, percent) for percent in (0, 50, 99, 100)],
                         [1, 51, 100, 100])


class ReadmeTableTest(unittest.TestCase):
    def test_the_table_stands_between_its_marks(self):
        figures = [added(3.0, 60.0, faster(20)), added(9.0, 3.0, within(2.0)),
                   added(3.0, None, faster(20))]
        text = 'before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n'
        written = readme_table.with_table(text, figures)
        lines = written.splitlines()
        self.assertEqual(lines[4:7], [
            '| a title | 3.00 ms | a reference: 60.0 ms | 20.0 | at least 20 times faster |',
            '| a title | 9.00 ms | a reference: 3.00 ms | 3.00 | **missed**: at most 2 times |',
            '| a title | 3.00 ms |  |  | at least 20 times faster |'])
        self.assertEqual((lines[:2], lines[-2:]), (['before', '<!-- benchmarks -->'],
                                                   ['<!-- /benchmarks -->', 'after']))
        self.assertNotIn('old', lines)
        self.assertEqual(readme_table.with_table(written, figures), written)

    def test_a_readme_without_marks_is_not_written(self):
        self.assertIsNone(readme_table.with_table('no place\n', []))


if __name__ == '__main__':
    unittest.main()
