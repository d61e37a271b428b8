"""Canopies on the command line: simulate, fit, train, retrieve from tables and images; and every mistake is one sentence,
exit code 2, nothing written. The plots are simulated, so that the truth is known; no part of the way is replaced by another."""
import json, shutil, sys
import numpy as np
import pytest
import torch
from physlearn.canopy.reflectance import BANDS, complete, read_reflectance
from physlearn.cli import main
from physlearn.files import read_table, write_table
from physlearn.runs import Run, sha256

TINY = '--epochs 3 --epochs-pretrain 1 --kl-warmup-epochs 1 --pretrain-samples 512 --val-samples 128 --batch-size 64 --width 16 --posterior full --gpus 0 --threads 1'.split()
TRAITS = 'N', 'cab', 'cw', 'cm', 'LAI', 'LAIu', 'fc', 'LAI_total', 'CCC'
MASKED = (1, 2), (4, 0)         # pixels of the scene without data

def cli(*words): return main([str(w) for w in words])

@pytest.fixture(autouse=True, scope='module')
def quick():
    "Figures cost seconds a run, and so do the look-up table and 2,000 spectra: one test alone wants them."
    evaluate, Run.evaluate = Run.evaluate, lambda run, say=print: {}
    yield evaluate
    Run.evaluate = evaluate

@pytest.fixture(scope='module')
def plots(tmp_path_factory):
    "120 simulated stands, 2 % noise, all sun angles."
    f = tmp_path_factory.mktemp('plots')/'plots.csv'
    assert cli('simulate', 'canopy', f, '--n', 120, '--noise', .02, '--seed', 5) == 0
    return f

@pytest.fixture(scope='module')
def run(plots, tmp_path_factory):
    "A finished run."
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp('runs')/'run'
    assert cli('train', 'canopy', 'quick', '--table', plots, *TINY, '--out', out) == 0
    return out

def tif(path, v, descriptions=BANDS, nodata=0):
    "An image (bands,height,width) in UTM 33N, 20 m pixels."
    rasterio = pytest.importorskip('rasterio')
    with rasterio.open(path, 'w', driver='GTiff', width=v.shape[2], height=v.shape[1], count=len(v), dtype=v.dtype.name, nodata=nodata, crs='EPSG:32633', transform=rasterio.Affine(20, 0, 600000, 0, -20, 5340000)) as f:
        f.write(v)
        if descriptions: f.descriptions = descriptions
    return path

def scene(plots):
    "The first 35 stands as 5 x 7 pixels, reflectance x 10,000 plus 1,000."
    r = read_reflectance(plots)
    v = np.round(1e4*r.x[:35] + 1000).astype('uint16').T.reshape(11, 5, 7)
    for i, j in MASKED: v[:,i,j] = 0
    return v

STATED = '--scale', 10000, '--offset', -1000, '--tts', 40

# --- the good ways

def test_simulate(tmp_path, capsys):
    "The reader takes it as it is; a row is a function of seed and number; units stand above; what is set is set."
    for n in (2, 300): assert cli('simulate', 'canopy', tmp_path/f'{n}.csv', '--n', n, '--seed', 7, '--noise', .02) == 0
    assert cli('simulate', 'canopy', tmp_path/'set.csv', '--n', 4, '--set', 'cab=0.4g/m2', 'fc=0.5', '--tts', 30, '--tto', 8, '--psi', 20, '--understorey', 3, '--sensor', 'S2B') == 0
    out, err = capsys.readouterr()
    assert err == '' and 'wrote 300 stands' in out
    a, b, c = (complete(read_reflectance(tmp_path/f'{k}.csv')) for k in (2, 300, 'set'))
    assert (a.x == b.x[:2]).all() and (a.others['truth_LAI'] == b.others['truth_LAI'][:2]).all() and (a.angles['tts'] == b.angles['tts'][:2]).all()
    assert b.mask.all() and len(b) == 300 and 15 <= b.angles['tts'].min() < 20 and 70 < b.angles['tts'].max() <= 75 and set(b.angles['tto']) == {0.}
    for k, lo, hi in (('cab', 10, 80), ('fc', .1, 1), ('LAIu', .01, 1)):
        v = b.others[f'truth_{k}']
        assert lo <= v.min() < lo + .1*(hi - lo) and hi - .1*(hi - lo) < v.max() <= hi
    np.testing.assert_allclose(c.others['truth_cab'], 40, rtol=1e-12)                        # 0.4 g on a square metre of leaf
    assert set(c.others['truth_fc']) == {.5} and [set(c.angles[k]) for k in ('tts', 'tto', 'psi')] == [{30.}, {8.}, {20.}]
    meta = read_table(tmp_path/'set.csv').meta
    assert (meta['unit_truth_cab'], meta['unit_tts'], meta['scale'], meta['offset']) == ('ug/cm2', 'deg', '1', '0')

def test_more_understorey(tmp_path):
    "Its range is what was asked for, and the red of an open forest shows it: more leaves hide more of a bright ground."
    for u in (.5, 5): assert cli('simulate', 'canopy', tmp_path/f'{u}.csv', '--n', 200, '--understorey', u, '--set', 'fc=0.1', '--tts', 30) == 0
    a, b = (read_reflectance(tmp_path/f'{u}.csv') for u in (.5, 5))
    assert .45 < a.others['truth_LAIu'].max() <= .5 and 4.5 < b.others['truth_LAIu'].max() <= 5
    assert b.x[:,2].mean() < .8*a.x[:,2].mean()

def test_few_draws_are_said():
    "Intervals of few particles are too short (benchmarks/few_draws.py), and the method of the table says so."
    from physlearn.canopy.inform import Inform
    from physlearn.canopy.traits import fit_traits
    from physlearn.canopy.reflectance import Reflectance
    sim = Inform()
    with torch.no_grad(): x = sim(sim.space.sample(1, 'one'), tts=40.)[:,0].numpy()
    one = Reflectance(x, tuple(sim.bands.names), {k: np.full(1, 40.*(k == 'tts')) for k in sim.cond}, {})
    assert [('few draws' in fit_traits(sim, one, draws=n).method) for n in (64, 511, 512)] == [True, True, False]

def test_fit(tmp_path, capsys):
    "From a simulated table to traits whose error bars hold the truth; the truth is kept beside them."
    assert cli('simulate', 'canopy', tmp_path/'s.csv', '--n', 16, '--noise', '2%', '--tts', 40) == 0
    assert cli('fit', 'canopy', tmp_path/'s.csv', '--noise', .02, '--floor', 0, '--draws', 256, '--out', tmp_path/'t.csv') == 0
    out, err = capsys.readouterr()
    assert err == '' and '16 rows, ' in out and 'CCC' in out
    t = read_table(tmp_path/'t.csv', text=('flag', 'method'))
    total = t['truth_LAI']*t['truth_fc'] + t['truth_LAIu']
    for k, truth in (('cab', t['truth_cab']), ('LAI_total', total), ('CCC', .01*t['truth_cab']*total)):
        z = (t[k] - truth)/t[f'{k}_sd']
        assert (np.abs(z) < 4).all() and np.sqrt((z**2).mean()) < 1.8, (k, z)
        assert (t[f'{k}_low95'] < t[k]).all() and (t[k] < t[f'{k}_high95']).all()
    assert t['cab_sd'].mean() < .6*70/12**.5 and t.meta['unit_CCC'] == 'g/m2' and 'reflectance = (value +0)/1' in t['method'][0]
    assert cli('fit', 'canopy', tmp_path/'s.csv', '--draws', 16, '--out', tmp_path/'t.csv', '--overwrite') == 0

def test_identifiable(capsys):
    "A table with units; a trait that is told is not asked for."
    assert cli('identifiable', 'canopy', '--noise', .02, '--tts', 40, '--n', 8, '--draws', 64, '--known', 'cab=40±5ug/cm2', 'cw=0.1mm') == 0
    out, err = capsys.readouterr()
    rows = {l.split()[0]: l for l in out.split('\n')[2:] if l}
    assert all(line.startswith('identifiable canopy') for line in err.splitlines())        # where it is slow
    assert set(rows) == {*TRAITS[:7]} and rows['cw'].endswith('given') and rows['cab'].split()[1:3] == ['ug/cm2', '5'] and '2 % noise' in out
    assert rows['cab'].endswith(('improved', 'given')) and float(rows['fc'].split()[7]) > 1.2*float(rows['cm'].split()[7]) and rows['cm'].endswith(' determined')

def test_evaluate(quick, run, tmp_path, capsys, monkeypatch):
    "Tables beside rivals, and a page with its figures."
    monkeypatch.setattr(Run, 'evaluate', quick)
    shutil.copytree(run, tmp_path/'run')
    assert cli('evaluate', tmp_path/'run') == 0
    out, err = capsys.readouterr()
    assert err == '' and 'look-up table' in out and 'six principal components' in out
    figures = {p.stem for p in (tmp_path/'run/figures').iterdir()}
    assert figures >= {'losses', 'traces', 'truth', 'calibration_0', 'bands'} and (tmp_path/'run/report.html').read_text().count('<img') == len(figures)
    tables = json.loads((tmp_path/'run/metrics.json').read_text())['tables']
    assert len(tables) >= 3 and 'Simulated truth' in tables[0]['caption'] and all(t['caption'] in (tmp_path/'run/README.md').read_text() for t in tables)

def test_retrieve_table(run, plots, tmp_path, capsys):
    "A row for each row; what was there is kept."
    assert cli('retrieve', run, plots, '--draws', 64, '--out', tmp_path/'t.csv') == 0
    assert capsys.readouterr().err == ''
    t = read_table(tmp_path/'t.csv', text=('flag', 'method'))
    assert len(t['cab']) == 120 and t['truth_cab'].tolist() == read_reflectance(plots).others['truth_cab'].tolist()
    lo = dict(N=1, cab=10, cw=.001, cm=.005, LAI=.01, LAIu=.01, fc=.1)
    hi = dict(N=3, cab=80, cw=.02, cm=.05, LAI=5, LAIu=1, fc=1)
    for k in lo: assert ((t[f'{k}_low95'] >= lo[k]) & (t[f'{k}_low95'] < t[k]) & (t[k] < t[f'{k}_high95']) & (t[f'{k}_high95'] <= hi[k])).all(), k

@pytest.mark.parametrize('way', ['retrieve', 'fit'])
def test_image(way, run, plots, tmp_path, capsys):
    "An image becomes an image in the same place, or a table of its pixels."
    rasterio = pytest.importorskip('rasterio')
    v = scene(plots)
    v[:,4,4] = v[::-1,4,4]                                                                      # a spectrum of nothing
    f = tif(tmp_path/'scene.tif', v)
    begin = ['retrieve', run, f, '--draws', 64] if way == 'retrieve' else ['fit', 'canopy', f, '--draws', 32]
    for out in ('t.tif', 't.csv'): assert cli(*begin, *STATED, '--out', tmp_path/out) == 0
    assert capsys.readouterr().err == ''
    t = read_table(tmp_path/'t.csv', text=('flag', 'method'))
    assert len(t['row']) == 33 and not set(MASKED) & set(zip(t['row'].astype(int).tolist(), t['column'].astype(int).tolist()))
    with rasterio.open(f) as a, rasterio.open(tmp_path/'t.tif') as b:
        assert a.crs == b.crs and a.transform == b.transform and (b.height, b.width) == (5, 7) and set(b.dtypes) == {'float32'} and np.isnan(b.nodata)
        names, v = list(b.descriptions), b.read()
        assert names[:4] == ['N [-]', 'N_sd [-]', 'cab [ug/cm2]', 'cab_sd [ug/cm2]'] and names[-4:] == ['CCC [g/m2]', 'CCC_sd [g/m2]', 'p [-]', 'flag [-]'] and len(names) == 2*len(TRAITS) + 2
        assert b.units[2] == 'ug/cm2' and '(value -1000)/10000' in b.tags()['made by'] and b.tags()['flag'].startswith('sum of: 1 no state')
    for i, j in MASKED: assert np.isnan(v[:,i,j]).all()
    assert np.isfinite(v).all(0).sum() == 33
    at = t['row'].astype(int), t['column'].astype(int)
    for k in ('cab', 'CCC_sd', 'p'): np.testing.assert_allclose(v[[n.split(' [')[0] for n in names].index(k)][at], t[k], rtol=1e-6, atol=1e-30)
    told = [sum(n for n, word in ((1, 'suspect'), (2, 'missing'), (16, 'effective')) if word in str(w)) for w in t['flag']]
    assert v[-1][at].tolist() == told and v[-1,4,4] % 2 == 1 and (way == 'retrieve' or len({*told}) > 1)
    assert np.ptp(t['cab']) > 0                                                               # not one answer for all

def test_bands_that_are_not_there(run, plots, tmp_path, capsys):
    "Ten bands in an image without names, B09 not among them; the day tells where the sun is."
    ten = [b for b in BANDS if b != 'B09']
    f = tif(tmp_path/'ten.tif', np.delete(scene(plots), 8, 0), None)
    assert cli('retrieve', run, f, *STATED[:4], '--date', '2018-07-02', '--draws', 32, '--bands', *ten, '--out', tmp_path/'t.csv') == 0
    assert all('1 band missing' in w for w in read_table(tmp_path/'t.csv', text=('flag', 'date', 'method'))['flag']) and capsys.readouterr().err == ''

def test_recipe_file(run, plots, tmp_path, capsys):
    "Words win over the file, the file over the run that is begun with, the run over the preset; a run's recipe makes it again."
    (tmp_path/'r.yaml').write_text(f"table: {plots}\nlr: 3e-3\nepochs: 9\nnoise: null\n")
    from physlearn.canopy.desk import canopy
    from physlearn.canopy.train_physvae import PRESETS
    from physlearn.desk import train_command
    TrainCanopy = train_command(canopy)
    a, _ = TrainCanopy.defaults(['quick', '--recipe', str(tmp_path/'r.yaml')])
    assert (a.table, a.lr, a.epochs, a.noise, a.width, a.out) == (str(plots), 3e-3, 9, None, PRESETS['quick'].width, 'runs/canopy-quick')
    b, _ = TrainCanopy.defaults(['--from', str(run), '--recipe', str(tmp_path/'r.yaml')])
    assert (b.lr, b.epochs, b.width, b.epochs_pretrain, b.out) == (3e-3, 9, 16, 1, 'runs/canopy-run')
    assert cli('train', 'canopy', '--recipe', run/'recipe.json', '--out', tmp_path/'again') == 0
    assert sha256(run/'model.safetensors') == sha256(tmp_path/'again/model.safetensors')
    assert cli('train', 'canopy', '--from', run, '--recipe', tmp_path/'r.yaml', '--epochs', 1, '--epochs-pretrain', 0, '--residual', 'none', '--out', tmp_path/'more') == 0
    o = Run.load(tmp_path/'more').recipe
    assert (o.epochs, o.lr, o.noise, o.residual, o.posterior) == (1, 3e-3, None, 'none', 'full') and capsys.readouterr().err == ''

# --- every mistake

def table(d, change=lambda c: c, name='x.csv', **meta):
    "Four of the plots, some columns changed, None to leave one out."
    r = read_reflectance(d/'plots.csv')
    c = dict(zip(BANDS, r.x[:4].T.astype(float))) | dict(tts=np.full(4, 40.))
    write_table(d/name, {k: v for k, v in (c | change(c)).items() if v is not None}, meta)
    return d/name

def put(v, i, x):
    v = v.copy()
    v[i] = x
    return v
def into(**kw): return lambda c: {k: put(c.get(k, np.zeros(4)), 2, x) for k, x in kw.items()}
def edit(file, f):
    d = json.loads(file.read_text())
    f(d)
    file.write_text(json.dumps(d))
def image(change=lambda v: v, words=STATED, **kw): return lambda d: [tif(d/'a.tif', change(scene(d/'plots.csv')), **kw), *words]
def broken(d):
    f = tif(d/'a.tif', scene(d/'plots.csv'))
    f.write_bytes(f.read_bytes()[:300])
    return [f, *STATED]
def no_tif(d):
    (d/'a.tif').write_text('B02,B03\n1,2\n')
    return [d/'a.tif', *STATED]
def all_gaps(d):
    f = table(d)
    rows = f.read_text().split('\n')
    f.write_text('\n'.join([rows[0], *[','.join(['']*11 + ['40'])]*4, '']))
    return [f]
def there(d):
    (d/'t.csv').write_text('mine')
    return [table(d), '--out', d/'t.csv']
def to(name, *words): return lambda d: [table(d), '--out', d/name, *words]
def of(change=lambda c: c, *words, **meta): return lambda d: [table(d, change, **meta), *words]

READ = dict(
    missing_band=(of(lambda c: dict(B05=None)), 'no column of band B05'),
    no_bands=(of(lambda c: dict.fromkeys(BANDS) | dict(x=c['B02'])), 'call them B02 ... B12'),
    times_10000=(of(lambda c: {b: 1e4*c[b] for b in BANDS}), '--scale 10000'),
    no_offset=(of(lambda c: {b: 1e4*c[b] for b in BANDS}, '--scale', 10000), '--offset -1000'),
    offset_not_there=(of(lambda c: {b: 1e4*c[b] for b in BANDS}, '--scale', 10000, '--offset', -1000), 'values below 0'),
    scale_twice=(of(lambda c: c, '--scale', 10000, scale=100), 'says scale 100'),
    scale_0=(of(lambda c: c, '--scale', 0), 'scale 0'),
    negative=(of(into(B04=-.01)), 'line 4, B04'),
    bright=(of(into(B8A=1.6)), 'line 4, B8A'),
    text=(lambda d: [(lambda f: (f.write_text(f.read_text().replace(',40.0', ',high', 1)), f)[1])(table(d))], "'high'"),
    all_gaps=(all_gaps, 'no band of any row has a value'),
    sun_low=(of(lambda c: dict(tts=np.full(4, 78.))), 'the sun is too low: zenith 78.0 deg'),
    sun_set=(of(lambda c: dict(tts=np.full(4, 95.))), 'the sun is too low'),
    sun_radians=(of(lambda c: dict(tts=np.full(4, .7))), 'radians'),
    view=(of(lambda c: dict(tto=np.full(4, 70.))), 'view zenith 70 deg; expected 0 to 60'),
    no_angle=(of(lambda c: dict(tts=None)), 'zenith angle of the sun is not known'),
    no_place=(of(lambda c: dict(tts=None), '--date', '2018-07-02', '--lat', 48.2), 'zenith angle of the sun is not known'),
    night=(of(lambda c: dict(tts=None), '--date', '2018-12-21', '--lat', 78, '--lon', 16), 'too low'),
    day=(of(lambda c: dict(tts=None), '--date', 'soon', '--lat', 48.2, '--lon', 16.2), "'soon'"),
    angle_twice=(of(lambda c: c, '--tts', 30), 'one of them'),
    outside=(of(lambda c: c, '--outside', 'clip'), "'refuse' or 'missing'"),
    unknown_band=(of(lambda c: c, '--bands', 'B99'), "no band 'B99'"),
    aerosol=(of(lambda c: dict(B01=c['B02']), '--bands', 'B01', 'B02'), 'band B01'),
    gone=(lambda d: [d/'gone.csv'], 'gone.csv'),
    empty=(lambda d: [(lambda f: (f.write_text(''), f)[1])(d/'e.csv')], 'is empty'),
    option=(of(lambda c: c, '--understory', 2), '--understory'),
    number=(of(lambda c: c, '--tts', 'high'), 'high'),
    there=(there, 'is already there'),
    no_folder=(to('no/t.csv'), 'there is no folder'),
    input=(lambda d: [table(d), '--out', table(d), '--overwrite'], 'an input'),
    a_folder=(lambda d: [table(d), '--out', (d/'f.csv', (d/'f.csv').mkdir())[0], '--overwrite'], 'is a folder'),
    suffix=(to('t.txt'), 'ends in .csv or .tif'),
    image_of_a_table=(to('t.tif'), 'an image needs the grid of one'),
    broken=(broken, 'is damaged'),
    no_tif=(no_tif, 'is damaged'),
    few_bands=(image(lambda v: v[:4], descriptions=BANDS[:4]), 'no column of band B06'),
    few_unnamed=(image(lambda v: v[:4], descriptions=None), '4 bands without names'),
    image_unscaled=(image(words=('--tts', 40)), '--scale 10000'),
    image_unlit=(image(words=STATED[:4]), 'zenith angle of the sun is not known'),
    image_empty=(image(lambda v: 0*v), 'no band of any row has a value'))

def words(*w): return lambda d: list(w)
def trains(*w, name='quick'): return lambda d: ['train', 'canopy', name, '--table', d/'plots.csv', *TINY, '--out', d/'out', *w]
def recipe(text, name='r.yaml'): return lambda d: [(d/name).write_text(text), trains('--recipe', d/name)(d)][1]
def spoilt(spoil, make): return lambda d: [spoil(d/'run'), make(d)][1]
def simulate(*w): return lambda d: ['simulate', 'canopy', d/'x.csv', *w]
def identifiable(*w): return lambda d: ['identifiable', 'canopy', *w]
def fits(*w): return lambda d: ['fit', 'canopy', table(d), *w]

BAD = dict(
    preset=(trains(name='quik'), "no recipe 'quik': there are default, quick, guide, physics_only, no_physics"),
    option=(trains('--epoch', 3), '--epoch'),
    number=(trains('--epochs', 'many'), '--epochs many: expected a whole number'),
    posterior=(trains('--posterior', 'round'), 'round'),
    residual=(trains('--residual', 'big'), 'big'),
    epochs=(trains('--epochs', 0), 'epochs=0'),
    all_pretraining=(trains('--epochs', 1), 'nothing is left'),
    no_table=(trains('--table', 'gone.csv'), 'gone.csv'),
    scale=(lambda d: ['train', 'canopy', 'quick', '--table', table(d, lambda c: {b: 1e4*c[b] for b in BANDS}), *TINY, '--out', d/'out'], '--scale 10000'),
    out_is_a_run=(lambda d: trains('--out', d/'run')(d), 'holds a run already'),
    out_is_a_file=(lambda d: trains('--out', d/'plots.csv')(d), 'is a file'),
    recipe_gone=(trains('--recipe', 'gone.yaml'), 'gone.yaml'),
    recipe_yaml=(recipe('epochs: [1'), 'is not YAML'),
    recipe_empty=(recipe(''), 'is empty'),
    recipe_list=(recipe('- 3'), 'holds no options'),
    recipe_option=(recipe('epoch: 3'), "option 'epoch'; expected options of `physlearn train canopy`"),
    recipe_ranges=(recipe('ranges: {cab: 10..40}'), "option 'ranges'"),
    recipe_text=(recipe('width: wide'), "r.yaml, width: 'wide'; expected a whole number"),
    recipe_bool=(recipe('physics: maybe'), 'true or false'),
    recipe_true=(recipe('epochs: true'), 'a whole number'),
    recipe_inf=(recipe('lr: .inf'), 'a number'),
    recipe_system=(recipe('{"system": "spectra", "options": {}}', 'r.json'), "system 'canopy'"),
    from_gone=(trains('--from', 'gone'), 'there is no such folder'),
    from_nothing=(lambda d: trains('--from', d)(d), 'holds no recipe.json'),
    from_unfinished=(spoilt(lambda run: (run/'manifest.json').unlink(), lambda d: trains('--from', d/'run')(d)), 'not finished'),
    from_other_width=(lambda d: trains('--from', d/'run', '--width', 32)(d), 'start with the options of that run'),
    from_other_system=(spoilt(lambda run: (run/'recipe.json').write_text('{"system": "spectra", "options": {}}'), lambda d: trains('--from', d/'run')(d)), 'is a run of spectra'),
    resume_finished=(spoilt(lambda run: (run/'README.md').write_text('# measured'), lambda d: ['resume', d/'run']), 'is a finished run'),
    retrieve_nothing=(lambda d: ['retrieve', d/'run'], 'no files to read'),
    retrieve_draws=(lambda d: ['retrieve', d/'run', d/'plots.csv', '--draws', 3], '16 or more'),
    retrieve_oblique=(lambda d: ['retrieve', d/'run', table(d, lambda c: dict(tto=np.full(4, 20.)))], 'view zenith 20 deg; expected 0 to 15'),
    retrieve_changed=(spoilt(lambda run: edit(run/'recipe.json', lambda r: r['options'].update(width=32)), lambda d: ['retrieve', d/'run', d/'plots.csv']), 'was changed after the run'),
    simulate_folder=(words('simulate', 'canopy', 'no/x.csv'), 'there is no folder'),
    simulate_suffix=(words('simulate', 'canopy', 'x.h5'), 'ends in .csv'),
    simulate_there=(words('simulate', 'canopy', 'plots.csv'), 'already there'),
    simulate_n=(simulate('--n', 0), 'n=0'),
    simulate_noise=(simulate('--noise', .5), 'below zero'),
    simulate_nan=(simulate('--noise', 'nan'), 'noise nan must be positive'),
    simulate_name=(simulate('--set', 'chl=40'), "no parameter 'chl'"),
    simulate_form=(simulate('--set', 'cab'), 'NAME=VALUE'),
    simulate_unit=(simulate('--set', 'cab=40K'), "unit 'K'"),
    simulate_range=(simulate('--set', 'cab=400'), 'outside its range'),
    simulate_sd=(simulate('--set', 'cab=40±5'), 'uncertainty'),
    simulate_sun=(simulate('--tts', 78), 'tts = 78 deg lies outside'),
    simulate_view=(simulate('--tto', 70), 'tto = 70 deg lies outside'),
    simulate_sensor=(simulate('--sensor', 'modis'), "no sensor 'modis'"),
    simulate_understorey=(simulate('--understorey', 0), 'understorey=0'),
    identifiable_noise=(identifiable('--noise', 0), 'between 0 and 1'),
    identifiable_known=(identifiable('--known', 'Q=1'), "no parameter 'Q'"),
    identifiable_range=(identifiable('--known', 'cab=5'), 'outside its range'),
    identifiable_sun=(identifiable('--tts', 78), 'outside its range'),
    identifiable_sensor=(identifiable('--sensor', 'modis'), "no sensor 'modis'"),
    identifiable_n=(identifiable('--n', 0), 'n=0'),
    fit_noise=(fits('--noise', 2), 'noise=2.0'),
    fit_floor=(fits('--floor', -1), 'floor=-1.0'),
    fit_understorey=(fits('--understorey', 20), 'understorey=20'),
    fit_draws=(fits('--draws', 2), 'draws=2'),
    fit_nothing=(words('fit', 'canopy'), 'no files to read'),
    instrument=(words('windows', 'canopy'), "not 'canopy'"))
ALL = {**{f'{way}_{k}': (way, v) for k, v in READ.items() for way in ('retrieve', 'fit')}, **{k: (None, v) for k, v in BAD.items()}}

@pytest.mark.parametrize('name', ALL)
def test_bad_input(name, run, plots, tmp_path, capsys, monkeypatch):
    "Exit code 2, one sentence, and everything is as it was."
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path/'run')
    shutil.copy(plots, tmp_path/'plots.csv')
    way, (make, says) = ALL[name]
    got = make(tmp_path)
    if way: got = [*(['fit', 'canopy'] if way == 'fit' else ['retrieve', tmp_path/'run']), *got, *(['--out', tmp_path/'new.csv'] if '--out' not in got else [])]
    state = lambda: {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')}
    before = state()
    assert cli(*got) == 2
    out, err = capsys.readouterr()
    assert says in err and err.startswith('physlearn: ') and err.count('\n') == 1 and 'Traceback' not in err, err
    assert not out and state() == before

@pytest.mark.parametrize('way', ['retrieve', 'fit'])
def test_values_that_make_no_sense_may_be_gaps(way, run, plots, tmp_path, capsys):
    shutil.copy(plots, tmp_path/'plots.csv')
    f = table(tmp_path, into(B04=-.01, B8A=1.6))
    assert cli(*(['fit', 'canopy'] if way == 'fit' else ['retrieve', run]), f, '--draws', 32, '--outside', 'missing', '--out', tmp_path/'t.csv') == 0
    assert ['2 bands missing' in w for w in read_table(tmp_path/'t.csv', text=('flag', 'method'))['flag']] == [False, False, True, False]

def test_image_without_rasterio(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    (tmp_path/'a.tif').write_bytes(b'II*\0')
    assert cli('retrieve', run, tmp_path/'a.tif', *STATED, '--out', tmp_path/'t.tif') == 2
    assert 'pip install rasterio' in capsys.readouterr().err and not (tmp_path/'t.tif').exists()

def test_help(run, capsys):
    "Every option with its meaning; of a run, those of its instrument."
    for words, says in ((['fit', 'canopy'], '--floor'), (['simulate', 'canopy'], '--understorey'), (['identifiable', 'canopy'], '--known'), (['train', 'canopy'], '--recipe'), (['retrieve', run], '--draws')):
        assert cli(*words, '--help') == 0
        out = ' '.join(capsys.readouterr().out.split())
        assert says in out and (words[0] not in ('fit', 'retrieve') or '--outside' in out and 'what stands for reflectance 1' in out)
        if words[0] == 'train': assert 'run whose weights and options' in out and 'YAML or JSON file' in out
