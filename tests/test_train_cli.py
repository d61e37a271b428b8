"Training and retrieval as a user meets them: the guide's commands run as they stand, stage follows stage, and every mistake is one sentence."
import json, re, shlex, shutil
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.files import read_table, write_table
from physlearn.runs import Run, sha256

TINY = '--train_samples 64 --val_samples 32 --epochs 1 --batch_size 32 --num_points 96 --encoder_variant xs --gpus 0'.split()

def cli(*words): return main([str(w) for w in words])

@pytest.fixture(autouse=True, scope='module')
def quick():
    "Figures cost two seconds a run: one test alone draws them."
    from physlearn.spectra import retrieve
    report, retrieve.report = retrieve.report, lambda run: 'not drawn'
    yield report
    retrieve.report = report

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A finished run."
    out = tmp_path_factory.mktemp('runs')/'run'
    assert cli('train', 'spectra', 'quick', *TINY, '--epochs', 2, '--lr', '1e-3', '--out', out) == 0
    return out

@pytest.fixture(scope='module')
def spectrum(run, tmp_path_factory):
    "A spectrum of the run's instrument, in a file that says what it is."
    r = Run.load(run)
    y = r.sim(r.space.sample(1, 'cli'))[0,0].numpy()
    return write(tmp_path_factory.mktemp('data')/'s.csv', y)

def write(path, y): write_table(path, dict(pixel=np.arange(len(y)), signal=y), dict(quantity='signal', axis='pixel')); return path

# the guide's examples, section 'Complete Configuration Examples', word for word
GUIDE = dict(
quick='''
    --train_samples 1000 \\
    --val_samples 100 \\
    --epochs 20 \\
    --batch_size 32 \\
    --encoder_variant s \\
    --lr 1e-4 \\
    --gpus 1''',
default='''
    --train_samples 10000 \\
    --val_samples 1000 \\
    --epochs 100 \\
    --batch_size 64 \\
    --encoder_variant s \\
    --num_refiners 3 \\
    --lr 1e-4 \\
    --optimizer adamw \\
    --gpus 1 \\
    --precision 32''',
high='''
    --train_samples 50000 \\
    --val_samples 5000 \\
    --epochs 150 \\
    --batch_size 128 \\
    --encoder_variant l \\
    --num_refiners 3 \\
    --lr 1e-4 \\
    --optimizer adamw \\
    --weight_decay 0.01 \\
    --gpus 1 \\
    --precision bf16 \\
    --num_workers 8''',
multi='''
    --train_samples 50000 \\
    --val_samples 5000 \\
    --epochs 100 \\
    --batch_size 256 \\
    --encoder_variant m \\
    --lr 1e-4 \\
    --gpus 4 \\
    --precision bf16 \\
    --num_workers 16''')
SMALL = dict(train_samples=16, val_samples=8, epochs=1, batch_size=8)

@pytest.mark.parametrize('name', GUIDE)
def test_guide(name, tmp_path, capsys):
    "Its commands, with our command's name and few samples."
    words = shlex.split(GUIDE[name].replace('\\\n', ' '))
    said = {k[2:]: v for k, v in zip(words[::2], words[1::2])}
    words = [str(SMALL.get(words[i-1][2:], w)) if i%2 else w for i, w in enumerate(words)]
    assert cli('train', 'spectra', *words, '--num_points', 96, '--out', tmp_path/'run') == 0
    out, err = capsys.readouterr()
    assert err == '' and len(re.findall('^training on ', out, re.M)) == 1
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        n = said['gpus']
        assert f"({n} GPU{'s'*(n != '1')} asked for, none found)" in out.split('\n')[0]
    o = Run.load(tmp_path/'run').recipe.to_dict()['options'] | dict(num_refiners=3)
    for k, v in said.items(): assert o[k] == SMALL.get(k, type(o[k])(v)), k
    shutil.rmtree(tmp_path/'run')                                             # l with its optimizer's state: two gigabytes

def test_stages_follow(quick, run, tmp_path, capsys, monkeypatch):
    "A, B1, B2, DEN: each begins with the weights of the one before and trains its own part; the last one is reported in full."
    before, parts = run, dict(B1=('refiners',), B2=('encoder', 'head', 'refiners'), DEN=('denoiser',))
    for stage, moved in parts.items():
        out = tmp_path/stage
        if stage == 'DEN': monkeypatch.setattr('physlearn.spectra.retrieve.report', quick)
        assert cli('train', 'spectra', '--from', before, '--stage', stage, '--epochs', 1, '--lr', '1e-3', '--out', out) == 0
        a, b = Run.load(before).model.state_dict(), Run.load(out)
        o = b.recipe
        assert (o.stage, o.encoder_variant, o.num_points, o.train_samples, o.epochs) == (stage, 'xs', 96, 64, 1)      # options are the first run's
        changed = {k.split('.')[0] for k, v in b.model.state_dict().items() if not torch.equal(v, a[k])}
        assert changed == set(moved), stage
        assert set(b.history['stage']) == {stage} and np.isfinite(b.history['valid_loss']).all()
        before = out
    page = (before/'report.html').read_text()
    assert '<h2>Losses</h2>' in page and page.count('data:image/png;base64,') == 4 and 'bound' in (before/'README.md').read_text()
    assert capsys.readouterr().err == ''

def test_defaults_of_a_stage(run):
    "Epochs and rates of the guide, where none are given."
    from physlearn.spectra.train_physae import TrainSpectra
    for stage, want in dict(B1=(40, 1e-5), B2=(25, 1e-6), DEN=(30, 1e-4)).items():
        d, rest = TrainSpectra.defaults(['--from', str(run), '--stage', stage])
        assert (d.stage, d.epochs, d.lr) == (stage, *want) and rest

def test_recipe_file(tmp_path, capsys):
    "Options, ranges with units, and the guide's calibration, from a file; flags count more."
    (tmp_path/'r.yaml').write_text("""
train_samples: 32
val_samples: 32
epochs: 7
batch_size: 16
encoder_variant: xs
num_points: 128
gpus: 0
lr_scheduler: null
ranges:
  P: 0.45..0.55 atm
  T: [300, 310, K]
  mf_CH4: 1..20 ppm
poly_frequency:
  CH4: [-2.3614803e-07, 1.2103413e-10, -3.1617856e-14]
""")
    assert cli('train', 'spectra', 'quick', '--recipe', tmp_path/'r.yaml', '--epochs', 1, '--out', tmp_path/'run') == 0
    assert capsys.readouterr().err == ''
    r = Run.load(tmp_path/'run')
    assert (r.recipe.epochs, r.recipe.train_samples, r.recipe.lr_scheduler, r.recipe.num_points) == (1, 32, None, 128)
    P, T, m = r.space['P'], r.space['T'], r.space['mf_CH4']
    np.testing.assert_allclose([P.lo, P.hi, T.lo, T.hi, m.lo, m.hi], [.45*1013.25, .55*1013.25, 300, 310, 1e-6, 2e-5], rtol=1e-12)
    assert P.unit == 'mbar' and m.log
    i, one = np.arange(128.), lambda v: torch.tensor([v], dtype=torch.float64)
    np.testing.assert_allclose(r.sim.grid(one(3085.4), one(.0015))[0], 3085.4 + .0015*i - 2.3614803e-07*i**2 + 1.2103413e-10*i**3 - 3.1617856e-14*i**4, rtol=1e-14)
    # a second run, from the first one's recipe.json
    assert cli('train', 'spectra', 'quick', '--recipe', tmp_path/'run/recipe.json', '--out', tmp_path/'again') == 0
    assert sha256(tmp_path/'run/model.safetensors') == sha256(tmp_path/'again/model.safetensors')

@pytest.mark.parametrize('method', ['map', 'net'])
def test_retrieve(method, run, spectrum, tmp_path, capsys):
    "A table with a row for each file."
    assert cli('retrieve', run, spectrum, spectrum, '--method', method, '--known', 'T=306K', 'P=487mbar', '--out', tmp_path/'t.csv') == 0
    t = read_table(tmp_path/'t.csv', text=('file', *(f'{k}_flag' for k in Run.load(run).space)), missing=('row',))
    assert list(t['file']) == ['s.csv']*2 and t['mf_CH4'][0] == t['mf_CH4'][1] > 0 and set(t['T']) == {306.} and set(t['P_flag']) <= {'given', 'not trusted'}
    out, err = capsys.readouterr()
    assert 'mf_CH4' in out and err == ''

def test_evaluate(run, capsys):
    "The same measurements again."
    before = (run/'metrics.json').read_text()
    rms = lambda s: [[r[:8] for r in t['rows']] for t in json.loads(s)['tables'] if t['caption'].startswith('RMS')]
    assert cli('evaluate', run) == 0 and rms((run/'metrics.json').read_text()) == rms(before)
    assert 'RMS error' in capsys.readouterr().out

def spectrum_of(d, y=None, **meta):
    "A file beside the run's copy."
    good = read_table(d/'s.csv')['signal']
    write_table(d/'x.csv', dict(pixel=np.arange(len(good if y is None else y)), signal=good if y is None else y(good)), dict(quantity='signal', axis='pixel') | meta)
    return d/'x.csv'

def edit(file, f): d = json.loads(file.read_text()); f(d); file.write_text(json.dumps(d))
def train(*words): return lambda d: ['train', 'spectra', 'quick', *TINY, '--out', d/'out', *words]
def retrieve(*words, **kw): return lambda d: ['retrieve', d/'run', d/'s.csv', *words]
def signal(y, *words, **meta): return lambda d: ['retrieve', d/'run', spectrum_of(d, y, **meta), *words]
def put(y, i, v): y = y.copy(); y[i] = v; return y

def on_run(verb, spoil):
    "A verb on the run's copy, spoilt."
    def words(d):
        spoil(d/'run')
        return [verb, d/'run', *([d/'s.csv'] if verb == 'retrieve' else [])]
    return words

def flip(run): b = bytearray((run/'model.safetensors').read_bytes()); b[-100] ^= 1; (run/'model.safetensors').write_bytes(b)
def system(run): edit(run/'recipe.json', lambda d: d.update(system='canopy'))
def gone(*names):
    def spoil(run):
        for n in names: shutil.rmtree(run/n) if (run/n).is_dir() else (run/n).unlink()
    return spoil
def text(file, s): return lambda run: (run/file).write_text(s)
def file(name, s, *words):
    def make(d):
        (d/name).write_text(s)
        return train('--recipe', d/name, *words)(d)
    return make

BAD = {}
