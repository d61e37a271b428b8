"Three instruments that nobody has seen, each on one page: they train, judge, retrieve, report, go on, and stand on the command line."
import html, json, re, shutil, sys
from pathlib import Path
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.desk import command_of
from physlearn.files import read_hdf5, read_table, write_hdf5, write_table
from physlearn.instruments import INSTRUMENTS, find
from physlearn.params import normals
from physlearn.runs import Run

HERE = Path(__file__).parent
NAMES = 'my_lab.volcano', 'my_lab.toy', 'my_lab.blackbox'

def cli(*words): return main([str(w) for w in words])

@pytest.fixture(scope='module', autouse=True)
def one_thread(): torch.set_num_threads(1)

@pytest.fixture(scope='module')
def data(tmp_path_factory):
    "What each instrument reads: a volcano at 6 km that grew by five million cubic metres, peaks with labels, four resonances."
    d = tmp_path_factory.mktemp('data')
    mogi, resonance = find('my_lab.volcano').recipe().simulator(), find('my_lab.blackbox').recipe().simulator()
    moved = mogi(torch.tensor([[1., 2., 6., 5.]], dtype=torch.float64))[0] + 1.7*normals(3, 12, 'stations', dtype=torch.float64)
    write_table(d/'volcano.csv', dict(zip(('east', 'north', 'up'), moved.numpy())))
    height = np.random.default_rng(0).uniform(0, 1, 256)
    peak = height[:,None]*np.exp(-((np.arange(16) - 8)/2)**2) + .02*normals(256, 16, 'peaks', dtype=torch.float64).numpy()
    write_hdf5(d/'toy.h5', dict(x=peak, height=height))
    theta = torch.tensor([[-.2, .3], [0., .2], [.1, .5], [.3, .4]], dtype=torch.float64)
    write_hdf5(d/'blackbox.h5', dict(signal=resonance(theta)[:,0] + .01*normals(4, 40, 'four resonances', dtype=torch.float64).numpy()))
    return d

@pytest.fixture(scope='module', params=NAMES)
def run(request, data, tmp_path_factory):
    "A finished run, trained on the command line."
    short = request.param.split('.')[1]
    out = tmp_path_factory.mktemp('runs')/short
    assert cli('train', request.param, '--out', out, *(['--table', data/'toy.h5'] if short == 'toy' else [])) == 0
    return out

def measured(run, data): return next(data.glob(f'{run.name}.*'))

@pytest.mark.parametrize('name', NAMES)
def test_on_one_page(name): assert len((HERE/f"{name.replace('.', '/')}.py").read_text().splitlines()) < 150

def test_judged(run):
    "The network is better than somebody who knows nothing, and the page and the card say so."
    r = Run.load(run)
    assert r.history['sealed'].nonzero()[0].tolist() == [r.sealed['row'] - 1]
    table = r.metrics['tables'][0]
    if run.name == 'toy': assert table['rows'][0][1] < .5*table['rows'][1][1]
    else: assert np.mean([row[2] for row in table['rows']]) < .6 and all(row[4] > .8 for row in table['rows'])
    page = (run/'report.html').read_text()
    assert page.count('<img') == (1 if run.name == 'toy' else 2) and html.escape(table['caption']) in page and table['caption'] in (run/'README.md').read_text()

def test_evaluate_report_card(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path/'run')
    (tmp_path/'run/report.html').unlink()
    assert cli('report', tmp_path/'run') == 0 and (tmp_path/'run/report.html').exists()
    assert cli('evaluate', tmp_path/'run') == 0 and json.loads((tmp_path/'run/metrics.json').read_text()) == json.loads((run/'metrics.json').read_text())
    assert cli('card', tmp_path/'run') == 0
    out, err = capsys.readouterr()
    assert err == '' and 'What it reaches' in out

def test_retrieve(run, data, tmp_path, capsys):
    "The truth lies where the intervals say."
    assert cli('retrieve', run, measured(run, data), '--out', tmp_path/'t.json', '--level', .99) == 0
    assert capsys.readouterr().err == ''
    d = json.loads((tmp_path/'t.json').read_text())
    found = [{q['name']: q for q in row['quantities']} for row in d['results']]
    if run.name == 'volcano': truth = [dict(xcen=1., ycen=2., depth=6., dV=5.)]
    elif run.name == 'blackbox': truth = [dict(centre=c, width=w) for c, w in ((-.2, .3), (0., .2), (.1, .5), (.3, .4))]
    else: truth = [dict(height=h) for h in read_hdf5(data/'toy.h5')['height'][:5]]
    for t, row in zip(truth, found):
        for k, v in t.items(): assert abs(row[k]['value'] - v) < 4*row[k]['sd'] and row[k]['low'] < row[k]['high'] and row[k]['level'] == .99, (k, row[k])

def test_resume(run, tmp_path):
    "Killed after the second epoch, it ends in the same bytes."
    Run.load(run)
    shutil.copytree(run, tmp_path/'cut')
    for f in ('manifest.json', 'model.safetensors', 'history.csv', 'metrics.json'): (tmp_path/'cut'/f).unlink()
    for s in (tmp_path/'cut/state').glob('*-end'): shutil.rmtree(s)
    for s in (tmp_path/'cut/state').glob('00003'): shutil.rmtree(s)
    assert any((tmp_path/'cut/state').glob('0000[12]')) and cli('resume', tmp_path/'cut') == 0
    assert (tmp_path/'cut/model.safetensors').read_bytes() == (run/'model.safetensors').read_bytes()

def test_before_training(tmp_path, data, capsys):
    "simulate, identifiable and fit, with the options of the set-up; an instrument without a simulator says that it has none."
    for name in ('my_lab.volcano', 'my_lab.blackbox'):
        assert cli('simulate', name, tmp_path/'s.h5', '--n', 3, '--noise', .1, '--overwrite') == 0
        assert cli('identifiable', name, '--noise', .1) == 0
    assert cli('fit', 'my_lab.blackbox', data/'blackbox.h5', '--noise', .01, '--out', tmp_path/'t.csv') == 0
    t = read_table(tmp_path/'t.csv', text=('file', 'centre_flag', 'width_flag', 'method'))
    np.testing.assert_allclose(t['centre'], [-.2, 0., .1, .3], atol=.05)
    assert capsys.readouterr().err == '' and set(t['centre_flag']) == {'determined'}
    for verb in ('simulate', 'identifiable', 'fit'):
        assert cli(verb, 'my_lab.toy', *([] if verb == 'identifiable' else [tmp_path/'x.h5'])) == 2
        assert 'my_lab.toy has no simulator' in capsys.readouterr().err

def test_level_and_words(run, data, tmp_path, capsys):
    for words, says in ((['--level', 2], 'level=2.0'), (['--method', 'magic'], "method 'magic'"), (['--out', measured(run, data)], 'already there, and is an input')):
        assert cli('retrieve', run, measured(run, data), *words) == 2
        assert says in capsys.readouterr().err

def test_a_stranger(run, tmp_path, capsys):
    "A run whose instrument is not there says so in one sentence."
    shutil.copytree(run, tmp_path/'run')
    text = (tmp_path/'run/recipe.json').read_text()
    (tmp_path/'run/recipe.json').write_text(re.sub(r'my_lab\.\w+', 'their_lab.scope', text))
    assert cli('evaluate', tmp_path/'run') == 2
    err = capsys.readouterr().err
    assert "there is no module 'their_lab'" in err and err.count('\n') == 1

def test_code_of_verbs():
    "What an instrument adds to the shared verbs stays small, counted by tools/verbs.py."
    sys.path.insert(0, str(HERE.parent/'tools'))
    import verbs
    for system, most in verbs.LIMITS.items(): assert sum(verbs.count(system).values()) <= most, verbs.count(system)

@pytest.mark.parametrize('name', INSTRUMENTS)
def test_a_refused_verb_names_those_that_work(name):
    instrument = find(name)
    def refused(verb):
        try: command_of(verb, instrument)
        except ValueError as e: return str(e)
    named = refused('fly').partition('it has ')[2].split(', ')
    everything = {'train', 'fit', 'retrieve', 'simulate', 'identifiable'}.union(*(find(k).own for k in INSTRUMENTS))
    assert len(set(named)) == len(named) and {v for v in everything if not refused(v)} <= set(named)
