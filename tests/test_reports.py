"Pages for people who were not there: the verdict first, and nothing that looks like a success without being one."
import re
from html.parser import HTMLParser
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from physlearn.pages import Judgement, html_table, plot_truth, run_page, run_pictures, verdicts
from physlearn.params import Param, ParamSpace
from physlearn.spectra.desk import FitSpectra
from physlearn.spectra.files import example_spectrum
from physlearn.spectra.fit import report
from physlearn.spectra.train_physae import spectra_recipe

class Text(HTMLParser):
    "The words of a page, with the level of its headings."
    def __init__(self, text):
        super().__init__()
        self.words, self.heads, self.at = [], [], ''
        self.feed(text)
    def handle_starttag(self, tag, attrs): self.at = tag
    def handle_data(self, data):
        data = data.replace('\xa0', ' ')
        self.words.append(data)
        if self.at in ('h1', 'h2'): self.heads.append(data)

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A spectrometer after one epoch, judged on a few spectra."
    recipe = spectra_recipe('quick', epochs=1, train_samples=64, val_samples=16, num_points=64)
    return recipe.fit(tmp_path_factory.mktemp('runs')/'one')

def test_a_run_begins_with_its_verdict(run):
    "What is determined and whether the error bars hold stand before any table or figure; then where the lines are from."
    page = Text((run.path/'report.html').read_text())
    assert page.heads[:2] == ['one', 'Verdict'] and page.heads.index('What it reaches') < page.heads.index('Losses')
    text = ' '.join(page.words)
    first = text[:text.index('What it reaches')]
    assert re.search(r'P and T given: .*determined .*mf_CH4', first) and 'error bars' in first.lower()
    assert 'Line data' in page.heads and 'I.E. Gordon et al., The HITRAN2020 molecular spectroscopic database' in text

def test_what_was_given_is_no_success(run):
    "Pressure and temperature were given: no panel shows how well they are found."
    figures = run.judged().figures
    for name in ('network', 'refined'):
        fig = Figure()
        figures[name].draw(fig)
        titles = [ax.get_title() for ax in fig.axes if ax.get_title()]
        assert len(titles) == len(run.space) - 2 and not any(t.startswith(('P ', 'T ')) for t in titles)

def test_a_spectrum_is_drawn_over_wavenumbers(run):
    fig = Figure()
    run.judged().figures['spectrum'].draw(fig)
    label, line = fig.axes[-1].get_xlabel(), fig.axes[0].lines[0].get_xdata()
    origin = int(re.fullmatch(r'wavenumber - (\d+) \[cm\$\^\{-1\}\$\]', label)[1])
    assert 3084 <= origin + line[0] < origin + line[-1] <= 3088

def test_the_loss_that_matters_is_named():
    "What chooses the epoch is drawn thick and said, also where it is no loss; epochs are whole numbers."
    history = dict(train_loss=np.array([3., 2.]), valid_loss=np.array([3., 2.5]), valid_a=np.array([1., 1.]), bound=np.array([5., 4.]))
    for monitor in ('valid_loss', 'bound'):
        sealed = dict(row=2, monitor=monitor)
        picture = run_pictures(Judgement(), history, sealed)['losses']
        assert f'{monitor} decides which epoch is kept' in picture.caption
        fig = Figure()
        picture.draw(fig)
        lines = {line.get_label(): line for line in fig.axes[0].lines}
        chosen = lines[f'{monitor} (decides)']
        others = [v.get_linewidth() for k, v in lines.items() if not k.startswith('_') and v is not chosen]
        assert chosen.get_linewidth() > max(others) and all(float(t).is_integer() for t in fig.axes[0].get_xticks())

def test_numbers_do_not_break():
    "A number, with its uncertainty or ends, stays on one line; a sentence may break; a wide table scrolls."
    words = 'a sentence that is long enough to be broken at the end of a line'
    text = html_table(dict(head=['a', 'b', 'c'], rows=[['3.4e-06', '0.1 .. 0.2', words], [1.23e-9, '(-3.63 ± 0.12)e-08', None]]))
    cells = re.findall(r"<td(.*?)>(.*?)</td>", text)
    assert {c: bool(a) for a, c in cells if c} == {'3.4e-06': True, '0.1 .. 0.2': True, words: False, '1.23e-09': True, '(-3.63 ± 0.12)e-08': True}
    page = run_page('r', Judgement([dict(caption='c', head=['a'], rows=[['1']])]), dict(losses=(b'', '')))
    assert 'white-space:nowrap' in page and 'overflow-x:auto' in page

def test_verdicts_of_tables():
    t = dict(caption='RMS error, 9 spectra', case='P given', head=['trait', 'verdict'], rows=[['a', 'determined'], ['b', 'not determined'], ['c', 'determined']])
    said = verdicts(Judgement([t], numbers=dict(calibration={'map': dict(sentence='all checks pass')})))
    assert said == ['P given: determined a, c; not determined b', 'Error bars, map: all checks pass']

def test_given_panels_are_left_out():
    space = ParamSpace(a=Param(0, 1), b=Param(0, 1), c=Param(0, 1), d=Param(0, 1))
    fig = Figure()
    plot_truth(fig, space, torch.rand(5, 4), torch.rand(5, 4), given=('b', 'd'))
    assert [ax.get_title() for ax in fig.axes if ax.get_title()] == ['a [-]', 'c [-]']

def test_a_fit_begins_with_its_verdict():
    (fit,) = FitSpectra(files=(str(example_spectrum()),), known=('T=306±0.5K', 'P=487mbar'), noise='0.002').fits().values()
    page = Text(report(fit, 'A spectrum'))
    assert page.heads[:2] == ['A spectrum', 'Verdict']
    text = ' '.join(page.words)
    first = text[text.index('Verdict'):text.index('What was found')]
    assert re.search(r'mf_CH4 = 3\.4\d+ ± 0\.0\d+ ppm', first) and 'not determined: mf_H2O, baseline0' in first and 'given: P, T' in first
    assert 'citation: I.E. Gordon' in text
