"Training and retrieval as a user meets them: the guide's commands run as they stand, stage follows stage, and every mistake is one sentence."
import json, re, shlex, shutil
from dataclasses import replace
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.files import read_table, write_table
from physlearn.desk import known_values
from physlearn.spectra.files import read_spectrum
from physlearn.spectra.retrieve import posterior
from physlearn.runs import Run, sha256

TINY = '--train_samples 64 --val_samples 32 --epochs 1 --batch_size 32 --num_points 96 --encoder_variant xs --gpus 0'.split()

def cli(*words): return main([str(w) for w in words])

@pytest.fixture(autouse=True, scope='module')
def quick():
    "Figures cost two seconds a run: one test alone draws them."
    report, Run.report = Run.report, lambda run, found=None: None
    yield report
    Run.report = report

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

def write(path, y):
    write_table(path, dict(pixel=np.arange(len(y)), signal=y), dict(quantity='signal', axis='pixel'))
    return path

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
def test_guide(name, tmp_path, capsys, monkeypatch):
    "Its commands, with our command's name, few samples, and the smallest encoder for the large ones: test_physae trains each."
    from physlearn.spectra.train_physae import SpectraRecipe
    model = SpectraRecipe.model
    small = lambda self, sim: model(replace(self, encoder_variant='s' if self.encoder_variant == 's' else 'xs'), sim)
    monkeypatch.setattr(SpectraRecipe, 'model', small)
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

def test_stages_follow(quick, run, spectrum, tmp_path, capsys, monkeypatch):
    "A, B1, B2, DEN, POST: each begins with the weights of the one before and trains its own part; the last one is reported in full."
    before, parts = run, dict(B1=('refiners',), B2=('encoder', 'head', 'refiners'), DEN=('denoiser',), POST=('posterior',))
    for stage, moved in parts.items():
        out = tmp_path/stage
        if stage == 'POST': monkeypatch.setattr(Run, 'report', quick)
        assert cli('train', 'spectra', '--from', before, '--stage', stage, '--epochs', 1, '--lr', '1e-3', '--out', out) == 0
        a, b = Run.load(before).model.state_dict(), Run.load(out)
        o = b.recipe
        assert (o.stage, o.encoder_variant, o.num_points, o.train_samples, o.epochs) == (stage, 'xs', 96, 64, 1)      # options are the first run's
        changed = {k.split('.')[0] for k, v in b.model.state_dict().items() if k not in a or not torch.equal(v, a[k])}
        assert changed == set(moved), stage
        assert set(b.history['stage']) == {stage} and np.isfinite(b.history['valid_loss']).all()
        before = out
    page = (before/'report.html').read_text()
    assert '<h2>Losses</h2>' in page and page.count('data:image/png;base64,') == 8 and 'Coverage minus nominal' in page and 'bound' in (before/'README.md').read_text()
    assert cli('retrieve', before, spectrum, '--method', 'posterior', '--draws', 400, '--known', 'T=306±0.5K', '--out', tmp_path/'t.csv', '--corner', tmp_path/'c.png') == 0
    t = read_table(tmp_path/'t.csv', text=('file', 'misfit', 'method', *[f'{k}_flag' for k in Run.load(before).space]))
    # 96 points are less than a line: a third of the draws count, and one epoch of a flow must not take more than half of them
    last, x = Run.load(before), torch.tensor(read_spectrum(spectrum).y)[None,None]
    like, known = last.recipe.likelihood(None, x), known_values(last.sim.space, ['T=306±0.5K'])
    ess = {head: sum(posterior(last, x, like, known, 1000, head, ('ess', k))[0].ess.item() for k in range(4)) for head in (True, False)}
    assert ess[True] > .5*ess[False] > 100, ess
    assert 30 < t['effective_draws'][0] <= 400 and (tmp_path/'c.png').read_bytes()[1:4] == b'PNG'
    for k, p in Run.load(before).space.items(): assert t[f'{k}_low95'][0] < t[k][0] < t[f'{k}_high95'][0] and (k == 'T' or p.lo <= t[f'{k}_low95'][0] and t[f'{k}_high95'][0] <= p.hi), k
    assert capsys.readouterr().err == ''

def test_defaults_of_a_stage(run):
    "Epochs and rates of the guide, where none are given."
    from physlearn.desk import train_command
    from physlearn.spectra.desk import spectra
    TrainSpectra = train_command(spectra)
    for stage, want in dict(B1=(40, 1e-5), B2=(25, 1e-6), DEN=(30, 1e-4), POST=(10, 1e-3)).items():
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
    i, one = np.linspace(0, 799, 128), lambda v: torch.tensor([v], dtype=torch.float64)
    np.testing.assert_allclose(r.sim.grid(one(3085.4), one(.0015))[0], 3085.4 + .0015*i - 2.3614803e-07*i**2 + 1.2103413e-10*i**3 - 3.1617856e-14*i**4, rtol=1e-14)
    # a second run, from the first one's recipe.json
    assert cli('train', 'spectra', 'quick', '--recipe', tmp_path/'run/recipe.json', '--out', tmp_path/'again') == 0
    assert sha256(tmp_path/'run/model.safetensors') == sha256(tmp_path/'again/model.safetensors')

def test_rate_in_a_file(tmp_path):
    "A rate as the guide writes it."
    from physlearn.recipes import read_recipe
    from physlearn.spectra.train_physae import SpectraRecipe
    (tmp_path/'r.yaml').write_text('lr: 1e-4')
    assert read_recipe(tmp_path/'r.yaml', SpectraRecipe)['lr'] == 1e-4

@pytest.mark.parametrize('method', ['map', 'net'])
def test_retrieve(method, run, spectrum, tmp_path, capsys):
    "A table with a row for each file."
    assert cli('retrieve', run, spectrum, spectrum, '--method', method, '--known', 'T=306K', 'P=487mbar', '--out', tmp_path/'t.csv') == 0
    t = read_table(tmp_path/'t.csv', text=('file', 'misfit', 'method', *(f'{k}_flag' for k in Run.load(run).space)), missing=('row',))
    assert list(t['file']) == ['s.csv']*2 and t['mf_CH4'][0] == t['mf_CH4'][1] > 0 and set(t['T']) == {306.} and set(t['P_flag']) <= {'given', 'not trusted'}
    out, err = capsys.readouterr()
    assert 'mf_CH4' in out and err == ''

def test_evaluate(run, capsys):
    "The same measurements again."
    before = (run/'metrics.json').read_text()
    rms = lambda s: [[r[:8] for r in t['rows']] for t in json.loads(s)['tables'] if t['caption'].startswith('RMS')]
    assert cli('evaluate', run) == 0 and rms((run/'metrics.json').read_text()) == rms(before)
    assert 'RMS error' in capsys.readouterr().out

def spectrum_of(d, change, **meta):
    "A file beside the run's copy, its signal changed."
    y = change(read_table(d/'s.csv')['signal'])
    write_table(d/'x.csv', dict(pixel=np.arange(len(y)), signal=y), dict(quantity='signal', axis='pixel') | meta)
    return d/'x.csv'

def edit(file, f):
    d = json.loads(file.read_text())
    f(d)
    file.write_text(json.dumps(d))
def train(*words): return lambda d: ['train', 'spectra', 'quick', *TINY, '--out', d/'out', *words]
def retrieve(*words, **kw): return lambda d: ['retrieve', d/'run', d/'s.csv', *words]
def signal(y, *words, **meta): return lambda d: ['retrieve', d/'run', spectrum_of(d, y, **meta), *words]
def put(y, i, v):
    y = y.copy()
    y[i] = v
    return y

def on_run(verb, spoil):
    "A verb on the run's copy, spoilt."
    def words(d):
        spoil(d/'run')
        return [verb, d/'run', *([d/'s.csv'] if verb == 'retrieve' else [])]
    return words

def flip(run):
    b = bytearray((run/'model.safetensors').read_bytes())
    b[-100] ^= 1
    (run/'model.safetensors').write_bytes(b)
def system(run): edit(run/'recipe.json', lambda d: d.update(system='radar'))
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


def spoilt(spoil, words):
    "A command after the run's copy is spoilt."
    def make(d):
        spoil(d/'run')
        return words(d)
    return make

def begin(*words): return lambda d: ['train', 'spectra', '--from', d/'run', '--stage', 'B1', '--epochs', 1, '--out', d/'out', *words]
def unfinished(*more): return lambda run: [f(run) for f in (gone('manifest.json', 'model.safetensors'), *more)]
def to(name, *words): return lambda d: train('--out', d/name, *words)(d)
def options(**kw): return lambda run: edit(run/'recipe.json', lambda d: d['options'].update(kw))

BAD = dict(
    # train: words
    stage=(train('--stage', 'C'), "stage 'C': there are A, B1, B2, DEN"),
    encoder=(train('--encoder_variant', 'xl'), "unknown encoder_variant 'xl'; choose xs, s, m, l"),
    preset=(lambda d: ['train', 'spectra', 'quik', '--out', d/'out'], "no recipe 'quik': there are quick, default, high, bound, demo"),
    ranges=(train('--preset', 'refrence'), "no preset 'refrence'"),
    lines_needed=(train('--preset', 'leak'), 'needs the lines of'),
    option=(train('--epoch', 3), '--epoch'),
    number=(train('--epochs', 'many'), '--epochs many: expected a whole number'),
    no_value=(train('--lr'), '--lr'),
    epochs_0=(train('--epochs', 0), 'epochs=0'),
    epochs_negative=(train('--epochs', -3), 'epochs=-3'),
    lr_0=(train('--lr', 0), 'lr=0'),
    lr_negative=(train('--lr', '-1e-3'), 'lr=-0.001'),
    lr_nan=(train('--lr', 'nan'), 'lr=nan'),
    batch_0=(train('--batch_size', 0), '=0: expected 1 or more'),
    no_samples=(train('--train_samples', 0), '=0: expected 1 or more'),
    no_validation=(train('--val_samples', 0), '=0: expected 1 or more'),
    num_points=(train('--num_points', 10), 'num_points=10: at least 64'),
    precision=(train('--precision', '64'), "precision '64'"),
    optimizer=(train('--optimizer', 'sgd'), "optimizer 'sgd'"),
    noise=(train('--noise', 'loud'), "noise 'loud'"),
    noise_rms=(train('--noise_rms', '-1'), 'noise_rms=-1.0'),
    accumulate=(train('--accumulate', 0), 'accumulate=0'),
    gpus=(train('--gpus', -1), 'gpus=-1'),
    refiners=(train('--num_refiners', 6), 'num_cascade_refiners=6: expected 0 to 5'),
    refiner=(train('--refiner', 'magic'), "refiner 'magic'"),
    no_refiners=(train('--stage', 'B1', '--num_refiners', 0), 'stage B1 trains refiners'),
    scheduler=(train('--lr_scheduler', 'steps'), "lr_scheduler 'steps'"),
    track=(train('--track', 'abacus'), 'one of tensorboard, wandb, trackio'),
    known=(train('--known', 'Q'), '--given Q'),
    given=(train('--given', 'Q'), "no parameter 'Q'"),
    hide=(train('--hide', 2), 'hide=2.0'),
    range_unit=(train('--range', 'P=400..600K'), "unit 'K'"),
    range_form=(train('--range', 'P=400'), 'not of the form P=LO..HI'),
    range_reversed=(train('--range', 'P=600..400mbar'), 'lower end must be below'),
    range_name=(train('--range', 'Q=1..2'), 'Q'),
    range_of_sums=(train('--range', 'T=3..5000K'), 'beyond the partition sum'),
    path=(train('--path', '15'), 'no unit'),
    lines=(train('--lines', 'gone.par'), 'gone.par'),
    weight=(train('--lambda_params_mse', -1), 'lambda_params_mse=-1.0: expected 0 or more'),
    out_is_a_run=(to('run'), 'holds a run already'),
    out_is_a_file=(to('s.csv'), 'is a file'),
    # train: a recipe file
    recipe_missing=(train('--recipe', 'gone.yaml'), 'gone.yaml: cannot be opened'),
    recipe_yaml=(file('r.yaml', 'epochs: [1, 2'), 'is not YAML'),
    recipe_empty=(file('r.yaml', ''), 'r.yaml: is empty'),
    recipe_option=(file('r.yaml', 'epoch: 3'), "option 'epoch'"),
    recipe_text=(file('r.yaml', 'batch_size: many'), "r.yaml, batch_size: 'many'; expected a whole number"),
    recipe_range=(file('r.yaml', 'ranges:\n  P: 400 mbar'), 'ranges, P'),
    recipe_range_unit=(file('r.yaml', 'ranges:\n  P: 400..600 K'), "unit 'K'"),
    recipe_axes=(file('r.yaml', 'poly_frequency:\n  CH4: [1, 2]\n  H2O: [1, 3]'), 'different polynomials for CH4, H2O'),
    # train: another run's weights
    from_missing=(lambda d: ['train', 'spectra', '--from', d/'gone', '--stage', 'B1', '--out', d/'out'], 'there is no such folder'),
    from_no_run=(lambda d: ['train', 'spectra', '--from', d, '--stage', 'B1', '--out', d/'out'], 'holds no recipe.json'),
    from_other_size=(begin('--encoder_variant', 's'), 'start with the options of that run'),
    from_other_points=(begin('--num_points', 128), 'start with the options of that run'),
    from_other_system=(spoilt(system, begin()), "instrument 'radar'"),
    from_changed=(spoilt(flip, begin()), 'model.safetensors: was changed'),
    from_unfinished=(spoilt(gone('manifest.json'), begin()), 'not finished'),
    # a verb and a run
    resume_finished=(on_run('resume', lambda run: (run/'README.md').write_text('# measured')), 'is a finished run'),
    resume_nothing=(on_run('resume', unfinished(gone('state'))), 'holds no checkpoint'),
    resume_missing=(lambda d: ['resume', d/'gone'], 'there is no such folder'),
    resume_without=(lambda d: ['resume'], 'needs the folder of a run'),
    resume_instrument=(lambda d: ['resume', 'spectra'], 'resume spectra: expected the folder of a run, like runs/first'),
    resume_more=(lambda d: ['resume', d/'run', '--epochs'], '--epochs cannot change when a run goes on'),
    resume_other_system=(on_run('resume', unfinished(system)), "instrument 'radar'"),
    evaluate_no_run=(lambda d: ['evaluate', d], 'holds no recipe.json'),
    evaluate_file=(lambda d: ['evaluate', d/'s.csv'], 'is a file'),
    evaluate_other_system=(on_run('evaluate', system), "instrument 'radar'"),
    evaluate_changed=(on_run('evaluate', flip), 'model.safetensors: was changed'),
    evaluate_space=(on_run('evaluate', lambda run: (run/'space.json').write_text((run/'space.json').read_text().replace('600', '601'))), 'space.json: was changed'),
    evaluate_recipe=(on_run('evaluate', options(noise_rms=.1)), 'recipe.json: was changed'),
    evaluate_option=(on_run('evaluate', options(colour=1)), "option 'colour'"),
    evaluate_unfinished=(on_run('evaluate', gone('manifest.json')), 'not finished'),
    evaluate_no_weights=(on_run('evaluate', gone('model.safetensors')), 'model.safetensors: is missing'),
    evaluate_not_json=(on_run('evaluate', text('recipe.json', '{')), 'recipe.json, line 1'),
    retrieve_no_run=(lambda d: ['retrieve', d/'gone', d/'s.csv'], 'there is no such folder'),
    retrieve_other_system=(on_run('retrieve', system), "instrument 'radar'"),
    retrieve_changed=(on_run('retrieve', flip), 'model.safetensors: was changed'),
    retrieve_unfinished=(on_run('retrieve', gone('manifest.json')), 'not finished'),
    # retrieve: files and words
    nan=(signal(lambda y: put(y, 5, np.nan)), 'not finite'),
    length=(signal(lambda y: y[:90]), '90 samples; expected 96'),
    percent=(signal(lambda y: 100*y), 'outside the trained range'),
    wrong_way=(signal(lambda y: y[::-1]), 'direction of the axis'),
    quantity=(signal(lambda y: y, quantity='loudness'), "quantity 'loudness'"),
    axis=(retrieve('--axis', 'furlong'), "axis 'furlong'"),
    column=(retrieve('--y', 'z'), "a column 'z'"),
    known_name=(retrieve('--known', 'Q=3'), "no parameter 'Q'"),
    known_unit=(retrieve('--known', 'P=500K'), 'cannot become'),
    known_outside=(retrieve('--known', 'P=5atm'), 'outside its range'),
    known_form=(retrieve('--known', 'P'), 'NAME=VALUE'),
    known_twice=(retrieve('--known', 'P=500mbar', 'P=501mbar'), 'given twice'),
    known_uncertain=(retrieve('--known', 'P=500±1mbar', '--method', 'net'), 'take method map'),
    method=(retrieve('--method', 'magic'), "method 'magic'"),
    noise_text=(retrieve('--noise', 'loud'), "noise 'loud'"),
    noise_0=(retrieve('--noise', '0'), 'must be positive'),
    missing=(lambda d: ['retrieve', d/'run', d/'gone.csv'], 'gone.csv'),
    no_files=(lambda d: ['retrieve', d/'run'], 'no files to read'),
    out_there=(retrieve('--out', 's.csv'), 'already there'),
    out_suffix=(retrieve('--out', 't.txt'), 'ends in .csv or .h5'),
    out_no_folder=(retrieve('--out', 'no/t.csv'), 'no folder'),
    unmeasured=(spoilt(gone('metrics.json'), retrieve('--method', 'net')), 'physlearn evaluate'))

# not refused yet, or refused late, or in words nobody understands
BAD |= dict(
    lr_inf=(train('--lr', 'inf'), 'lr=inf'),
    keep=(train('--keep', 'some'), 'keep'),
    threads=(train('--threads', -1), 'threads'),
    seed=(train('--seed', -1), 'seed'),
    clip=(train('--gradient_clip_val', -1), 'gradient_clip_val'),
    warmup=(train('--warmup_epochs', -1), 'warmup_epochs=-1'),
    all_weights_0=(train('--lambda_params_mse', 0, '--lambda_spectral_angle', 0, '--lambda_peak_weighted_mse', 0), 'every weight is 0'),
    no_refiners_b2=(train('--stage', 'B2', '--num_refiners', 0), 'num_cascade_refiners is 0'),
    poly_nan=(train('--poly_frequency', 'nan'), 'poly_frequency'),
    out_empty=(train('--out', ''), 'out'),
    recipe_bool=(file('r.yaml', 'use_relobralo: maybe'), 'use_relobralo'),
    recipe_float=(file('r.yaml', 'batch_size: 32.5'), 'batch_size'),
    recipe_known=(file('r.yaml', 'known: P'), 'known'),
    recipe_ranges=(file('r.yaml', 'ranges: 5'), 'ranges'),
    recipe_poly=(file('r.yaml', 'poly_frequency:\n  CH4: 3'), 'poly_frequency'),
    recipe_other_system=(file('r.json', '{"system": "canopy", "options": {}}'), 'canopy'),
    recipe_options=(file('r.json', '{"options": 3}'), 'options'),
    resume_other_options=(on_run('resume', unfinished(options(encoder_variant='s'))), 'recipe'),
    evaluate_manifest=(on_run('evaluate', text('manifest.json', '[]')), 'manifest.json'),
    evaluate_number=(on_run('evaluate', text('recipe.json', '5')), 'recipe.json'),
    bad_metrics=(spoilt(text('metrics.json', '[]'), retrieve('--method', 'net')), 'metrics.json'))

@pytest.mark.parametrize('name', BAD)
def test_bad_input(name, run, spectrum, tmp_path, capsys, monkeypatch):
    "Exit code 2, one sentence, and everything is as it was."
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path/'run')
    shutil.copy(spectrum, tmp_path/'s.csv')
    make, says = BAD[name]
    words = make(tmp_path)
    state = lambda: {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')}
    before = state()
    assert cli(*words) == 2
    out, err = capsys.readouterr()
    assert says in err and err.startswith('physlearn: ') and err.count('\n') == 1 and 'Traceback' not in err, err
    assert (not out or words[0] == 'resume') and state() == before

def test_one_file_of_two_is_missing(run, spectrum, tmp_path, monkeypatch, capsys):
    "The other's rows are written, the missing one is named on stderr, and the exit code says that something is missing."
    monkeypatch.chdir(tmp_path)
    assert cli('retrieve', run, spectrum, 'gone.csv', '--out', 't.csv') == 2
    err = capsys.readouterr().err
    assert 'gone.csv' in err and 'Traceback' not in err
    assert sum(not line.startswith('#') for line in (tmp_path/'t.csv').read_text().splitlines()) == 2       # names, and one row
