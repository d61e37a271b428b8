"""What people bring as events of a neutrino telescope, kind by kind: each row of the list of kinds has a test here. A row: the
kind, as the list calls it; the test that keeps it."""
import os, pickle, shutil, zlib
from dataclasses import replace
from pathlib import Path
import h5py
import numpy as np
import pytest
import torch
from physlearn.diffusion import RowNoise, Schedule, Straight, ddim, ddpm, dpm_solver, guided, heun
from physlearn.files import FileError, read_hdf5
from physlearn.icecube.desk import generated, outside
from physlearn.icecube.detector import SURFACE, Geometry, check_frame
from physlearn.icecube.event_files import (EventFiles, GuideFile, make_dataloader, read_geo, read_graphnet,
                                           read_guide, write_graphnet, write_guide)
from physlearn.icecube.event_judge import FREE, copied_share, features, frechet, frechet_floor
from physlearn.icecube.event_simulate import simulate
from physlearn.icecube.events import (Events, PowerLaw, Pulses, event_weights, joint_weights, kind_of, labels_of,
                                      split_events)
from physlearn.icecube.train_genesis import event_recipe, ranges_of
from physlearn.processes import Tell
from physlearn.runs import Run

KINDS = [
    ('direction: travel or origin, range of azimuth', 'test_directions'),
    ('vertex and sensors in different frames', 'test_frames'), ('time zero', 'test_time_zero'),
    ('generation weights', 'test_weights'), ('HLC and SLC flags', 'test_hlc'),
    ('saturated, bright, bad sensors', 'test_unobserved'), ('several PMTs a module', 'test_several_pmts'),
    ('empty events, one hit', 'test_small_events'), ("GraphNeT's Parquet", 'test_graphnet_by_position'),
    ('huge events', 'test_huge'), ('float16', 'test_half_precision'), ('missing labels', 'test_missing_labels'),
    ('which energy, which type', 'test_energy_and_type'), ('many files, event ids', 'test_ids'),
    ('HDF5 workers', 'test_workers'), ('ragged Parquet', 'test_slices'),
    ('sampler ends noisy or NaN; steps', 'test_steps_of_samplers'), ('hidden clamp to +-1', 'test_no_hidden_clamp'),
    ('guidance scale', 'test_guidance'), ('seed and batch size', 'test_an_event_is_not_of_its_batch'),
    ('EMA, resume', 'test_resumed_to_the_bit'), ('floor of the Frechet distance', 'test_frechet_floor'),
    ('memorisation', 'test_copies'), ('labels outside of training', 'test_labels_outside'),
]

def test_every_kind_has_its_test():
    for _, name in KINDS: assert callable(globals().get(name)), name
    listed = Path(os.environ.get('PHYSLEARN_DATA', ''))/'../spec/kinds.md'
    if not listed.exists(): pytest.skip('the list is not here')
    part = listed.read_text().split('## icecube')[1].split('What users wish')[0]
    rows = [line.split('|')[1].strip().strip('*') for line in part.splitlines() if line.startswith('|')][2:]
    assert set(rows) == {k for k, _ in KINDS}

TOY = Geometry.hexagonal(7, 6)

def made(hits, seed=0, detector=TOY, **kw):
    "Events with so many pulses each."
    rng, n, offset = np.random.default_rng(seed), len(hits), np.concatenate([[0], np.cumsum(hits)])
    p = offset[-1]
    time, charge = rng.uniform(9e3, 2e4, p), rng.uniform(.2, 3, p).astype('f4')
    pulses = Pulses(offset, rng.integers(0, len(detector), p), time, charge, rng.uniform(size=p) < .5)
    angles, vertex = rng.uniform(0, 3, (2, n)), rng.uniform(-90, 90, (3, n))
    label = np.stack([10**rng.uniform(2, 6, n), *angles, *vertex], 1)
    return Events.of_pulses(detector, pulses, **dict(label=label, more=dict(event=np.arange(n))) | kw)

def same(a, b):
    "Hits, pulses, labels and times zero, to the last bit."
    for k in ('offsets', 'sensor', 'charge', 'time', 'label', 't0'):
        np.testing.assert_array_equal(getattr(a, k), getattr(b, k))
    assert (a.pulses is None) == (b.pulses is None)
    for v, w in zip(a.pulses or (), b.pulses or ()): assert v is w is None or np.array_equal(v, w)

def formats(e, folder):
    "Events written and read in every format."
    yield Events.load(e.save(folder/'own.h5'))
    yield read_guide(write_guide(e, folder/'guide.h5'))
    shutil.rmtree(folder/'net', ignore_errors=True)
    yield read_graphnet(write_graphnet(e, folder/'net'), e.geometry)

# ------------------------------------------------------------------------------------------------ kinds

def test_directions(tmp_path):
    "One event in both conventions; azimuths below 0 and above 2 pi."
    e = made([3, 3])
    write_guide(e, tmp_path/'origin.h5')
    with h5py.File(write_guide(e, tmp_path/'travel.h5'), 'r+') as f:
        del f['told'], f['label']
        away = e.label.copy()
        away[:,1], away[:,2] = np.pi - e.label[:,1], e.label[:,2] - np.pi          # from -pi to pi
        f['label'] = away
    one, two = read_guide(tmp_path/'origin.h5'), read_guide(tmp_path/'travel.h5', direction='travel')
    np.testing.assert_allclose(one.travel, two.travel, atol=1e-12)
    assert (two.label[:,2] >= 0).all() and (two.label[:,2] < 2*np.pi).all()
    assert one.notes == [] and 'the file does not say' in read_guide(tmp_path/'travel.h5').notes[0]
    np.testing.assert_allclose(labels_of([[1, 1, 7., 0, 0, 0]])[0,2], 7 - 2*np.pi)

def test_frames(tmp_path):
    e = made([3, 3])
    low = replace(e, label=e.label - [0, 0, 0, 0, 0, SURFACE])
    with pytest.raises(FileError, match='below all sensors.*1948.07'): read_guide(write_guide(low, tmp_path/'a.h5'))
    same(read_guide(write_guide(e, tmp_path/'a.h5')), read_guide(tmp_path/'a.h5', shift_vertices=0.))
    back = read_guide(write_guide(low, tmp_path/'a.h5'), shift_vertices=SURFACE)
    np.testing.assert_allclose(back.vertex, e.vertex)
    with pytest.raises(ValueError, match='add 1948.07 m'): check_frame(replace(TOY, xyz=TOY.xyz - [0, 0, SURFACE]))
    rows = [f'{x} {y} {z - SURFACE} {s} {d}' for (x, y, z), s, d in zip(TOY.xyz, TOY.string, TOY.dom)]
    (tmp_path/'a.geo').write_text('### Metadata ###\n### Modules ###\n' + '\n'.join(rows))
    with pytest.raises(FileError, match='shift_z=1948.07'): read_geo(tmp_path/'a.geo')
    np.testing.assert_allclose(read_geo(tmp_path/'a.geo', SURFACE).xyz, TOY.xyz, atol=1e-9)

def test_time_zero():
    e = made([30, 1, 0]).estimate_t0()
    late = e.shifted(9900.)
    np.testing.assert_allclose(late.since_t0(), e.since_t0(), atol=1e-8)
    np.testing.assert_allclose(late.estimate_t0().since_t0(), e.since_t0(), atol=1e-8)
    assert e.t0_how == 'estimated' and np.isnan(e.t0[2])

def test_weights():
    "Two sets of 1/E and 1/E2 give the flux back; a factor of 2 where the flux is that of one type."
    rng, sets = np.random.default_rng(2), [PowerLaw(9000, 1, 1e2, 1e5), PowerLaw(9000, 2, 1e3, 1e6)]
    a, b = rng.uniform(size=(2, 9000))
    drawn = [1e2*1e3**a, 1/(1e-3 - b*(1e-3 - 1e-6))]
    E, which = np.concatenate(drawn), np.repeat([0, 1], 9000)
    one_weight = np.concatenate([1/s.density(v) for s, v in zip(sets, drawn)])
    w = joint_weights(E**-2., one_weight, E, which, sets, 'type')/2
    for lo, hi in ((1e2, 1e3), (1e3, 1e4), (1e4, 1e5), (1e5, 1e6)):
        inside = (E > lo) & (E < hi)
        assert abs(w[inside].sum() - (1/lo - 1/hi)) < 5*np.sqrt((w[inside]**2).sum())
    assert event_weights(3., 4., 2, 10, 'sum') == .6 and event_weights(3., 4., 2, 10, 'type') == 1.2

def test_hlc(tmp_path):
    "SLC 100 ns, HLC 120 ns: first 100, HLC only 120, from each format."
    sensor, time, hlc = np.array([5, 5]), np.array([100., 120]), np.array([False, True])
    pulses = Pulses(np.array([0, 2]), sensor, time, np.ones(2, 'f4'), hlc)
    for e in formats(Events.of_pulses(TOY, pulses), tmp_path):
        assert e.time.tolist() == [100] and e.charge.tolist() == [2] and e.pulses.hlc.tolist() == [False, True]
        assert Events.of_pulses(TOY, e.pulses, 'hlc').time.tolist() == [120]
    assert read_graphnet(tmp_path/'net', TOY, use='hlc').time.tolist() == [120]

def test_unobserved(tmp_path):
    "A string that is off: whatever it holds, what is seen is the same, before and after files."
    e, string = made([40, 40]), TOY.string == 2
    x = e.dense(no_hit=0.)
    x[:,:,string] = np.random.default_rng(1).uniform(1, 9, (2, 2, string.sum()))
    one, two = (Events.of_dense(TOY, v).without(string, rows=[1]) for v in (e.dense(), x))
    assert (one.states()[1][string] == 2).all() and not (one.states()[0] == 2).any()
    np.testing.assert_array_equal(one.seen().dense(1), two.seen().dense(1))
    assert not np.array_equal(one.dense(1), two.dense(1))
    files = Events.load(one.save(tmp_path/'a.h5')), read_guide(write_guide(one, tmp_path/'b.h5'))
    for back in (*files, one[[1, 0]][[1, 0]]):
        np.testing.assert_array_equal(back.states(), one.states())

def test_several_pmts(tmp_path):
    "2 strings x 3 modules x 4 photomultipliers at one place: charge is conserved when pooled by module."
    optical = Geometry.hexagonal(2, 3, pmts=4)
    e = made([50, 1], detector=optical)
    module = np.unique(optical.key[:,:2], axis=0, return_inverse=True)[1].ravel()
    assert module.max() == 5
    for back in formats(e, tmp_path):
        same(back, e)
        pooled = np.bincount(module[back.sensor], back.charge)
        np.testing.assert_allclose(pooled.sum(), e.pulses.charge.sum(), rtol=1e-6)
    with h5py.File(tmp_path/'guide.h5', 'r+') as f: del f['sensor']                 # positions alone
    np.testing.assert_array_equal(GuideFile(tmp_path/'guide.h5').geometry.key, optical.key)

@pytest.mark.parametrize('hits', [[0], [0, 0, 0], [1], [2, 0], [0, 1, 2, 0], [0, 7, 0, 0, 1, 0]])
def test_small_events(tmp_path, hits):
    e = made(hits).estimate_t0()
    for back in formats(e, tmp_path): same(back, e)
    for back in formats(replace(e, pulses=None), tmp_path): same(back, replace(e, pulses=None))

def test_graphnet_by_position(tmp_path):
    "Its reader groups pulses by event and takes rows of truth by position: the middle event is empty."
    pd = pytest.importorskip('pandas')
    pytest.importorskip('pyarrow')
    e = made([4, 0, 5])
    write_graphnet(e, tmp_path/'net')
    truth, rows = (pd.read_parquet(tmp_path/f'net/{k}/{k}_0.parquet') for k in ('truth', 'pulses'))
    groups = rows.sort_values('event_no', kind='stable').groupby('event_no').charge.sum().to_numpy()
    total = np.bincount(e.event, e.charge, minlength=3)
    assert len(groups) == len(truth) == 2
    np.testing.assert_allclose(groups, total[[0, 2]], rtol=1e-6)
    np.testing.assert_array_equal(truth.energy, e.energy[[0, 2]])
    np.testing.assert_array_equal(read_graphnet(tmp_path/'net', TOY).energy, e.energy)

def test_huge(tmp_path):
    "One event of 1e5 pulses among small ones: none is cut."
    e = made([10, 100_000, 0, 10])
    for back in formats(e, tmp_path): same(back, e)
    assert os.path.getsize(tmp_path/'own.h5') < 3_000_000

def test_half_precision(tmp_path):
    e = made([3])
    late = replace(e, time=np.full(len(e.time), 70_000.), pulses=None)
    batch = next(iter(make_dataloader(write_guide(late, tmp_path/'a.h5'), 1)))[0]
    assert (batch[0,1][batch[0,0] > 0] == 70_000).all()
    with pytest.raises(ValueError, match='half precision'): Events(TOY, [0, 1], [3], [1.], np.array([7.], 'f2'))

def test_missing_labels(tmp_path):
    label = np.full((4, 6), -1.)
    label[:,1:3] = .5
    e = replace(made([1, 2, 3, 4]), label=labels_of(label, pad=-1))
    loader = make_dataloader(write_guide(e, tmp_path/'a.h5'), 4)
    assert next(iter(loader))[2].isnan().sum(0).tolist() == [4, 0, 0, 4, 4, 4]
    assert e.conditions(('zenith', 'azimuth')).shape == (4, 2)
    with pytest.raises(ValueError, match=r'energy unknown \(NaN\) in 4 of 4 events'): e.conditions(('energy', 'zenith'))
    with pytest.raises(ValueError, match='pad=-1'): labels_of(label)

def test_energy_and_type():
    assert kind_of([-14], ['CC']).tolist() == [1] and kind_of([-14, 16, 12], [2, 1, 1]).tolist() == [0, 0, 0]
    e = made([1, 1], energy_of='primary')
    replace(e, more=dict(deposited=e.energy*.3))
    with pytest.raises(ValueError, match='event 1: deposits'): replace(e, more=dict(deposited=e.energy*[1, 2]))
    with pytest.raises(ValueError, match='one kind of energy'): Events.of([e, replace(e, energy_of='deposited')])

def test_ids(tmp_path):
    "Equal numbers in two files are different events; subevents of one are on one side."
    paths = [tmp_path/'a.h5', tmp_path/'b.h5']
    more = dict(run=np.ones(30, int), event=np.arange(30)//3)
    for k, p in enumerate(paths): write_guide(made([1]*30, k, more=more), p)
    parents = EventFiles(paths).parents()
    assert len(set(parents)) == 20
    sides = [set(parents[rows]) for rows in split_events(parents, seed=1)]
    assert [len(s) for s in sides] == [16, 2, 2] and len(set.union(*sides)) == 20
    both = read_guide(paths)
    np.testing.assert_array_equal(both.parents(), parents)
    named = {(f, r, n) for f, r, n in zip(*(both.more[k].tolist() for k in ('file', 'run', 'event')))}
    assert len(named) == 20

def test_workers(tmp_path):
    "0 and 4 workers: same checksum, also where this process has the file open, or sends its reader away."
    paths = [tmp_path/'a.h5', tmp_path/'b.h5']
    for k, p in enumerate(paths): write_guide(made(np.arange(40) % 6, k), p)
    def checksums(workers):
        loader = make_dataloader(paths, 8, num_workers=workers)
        loader.dataset[3]
        return [zlib.crc32(b''.join(v.contiguous().numpy().tobytes() for v in b)) for b in loader]
    assert checksums(0) == checksums(4)
    files = EventFiles(paths)
    same(pickle.loads(pickle.dumps(files)).read([70, 3]), files.read([70, 3]))

def test_slices(tmp_path):
    "Events[1:] written and read back equal, in every format."
    e = made([5, 0, 3, 0, 1])
    for part in (e[1:], e[2:4], e[::-1], e[[3]]):
        for back in formats(part, tmp_path): same(back, part)

# ------------------------------------------------------------------------------------------------ hostile files

def changed(name, f=lambda v: v, rename=None):
    "Replace a data set by a function of it."
    def change(file):
        v = file[name][()]
        del file[name]
        if f is not None: file[rename or name] = f(v)
    return change

def hit(charge, time):
    "A hit of this charge and time in event 1, sensor 3."
    def change(v):
        v[1,:,3] = charge, time
        return v
    return changed('input', change)

def link(f):
    del f['input']
    f['input'] = h5py.ExternalLink('good.h5', 'input')

def soft(f):
    f['other'] = f['input'][()]
    del f['input']
    f['input'] = h5py.SoftLink('/other')

HOSTILE = dict(
    name=(changed('input', rename='signal'), "no 'input'.*names=dict"),
    no_label=(changed('label', None), "no 'label'.*label=None"),
    axes=(changed('input', lambda v: v.transpose(0, 2, 1)), 'axes exchanged'),
    flat=(changed('input', lambda v: v[:,0]), r'expected shape \(events, 2, sensors\)'),
    three=(changed('input', lambda v: np.repeat(v, 2, 1)), r'expected shape \(events, 2, sensors\)'),
    label=(changed('label', lambda v: v[:,:5]), r'shape \(4, 6\)'),
    rows=(changed('label', lambda v: v[1:]), r'shape \(4, 6\)'),
    length=(changed('zpmt', lambda v: v[1:]), r'shape \(42,\)'),
    places=(changed('xpmt', lambda v: v*np.nan), 'finite positions'),
    half=(changed('input', lambda v: v.astype('f2')), 'float16'),
    text=(changed('input', lambda v: v.astype('S9')), 'float32'),
    integers=(changed('input', lambda v: np.nan_to_num(v, posinf=0).astype(int)), 'int64'),
    inf=(hit(2, np.inf), 'event 1, sensor 3: found inf'), nan=(hit(2, np.nan), 'finite time'),
    negative=(hit(-2, 5), 'positive charge'), charge=(hit(np.nan, 5), 'found nan'),
    infinite=(hit(np.inf, 5), 'found inf'), depth=(changed('zpmt', lambda v: v - SURFACE), '1948.07'),
    pad=(changed('label', lambda v: v*0 - 1), 'pad=-1'),
    degrees=(changed('label', lambda v: v*[1, 60, 1, 1, 1, 1]), 'degrees'),
    link=(link, 'link to another file'), soft=(soft, 'soft link'),
    told=(changed('told', lambda v: np.bytes_(b'{')), 'damaged'),
    told_list=(changed('told', lambda v: np.bytes_(b'[1]')), 'damaged'),
    empty=(lambda f: [changed(k, lambda v: v[:0])(f) for k in ('input', 'label', 't0')], 'holds no events'),
    pulses=(changed('pulse_offset', lambda v: v[1:]), r'shape \(5,\)'),
    begins=(changed('pulse_offset', lambda v: v[::-1]), 'pulses'),
    sensors=(changed('pulse_dom', lambda v: v + 90), 'sensor'),
    more=(changed('more/event', lambda v: v[1:]), 'shape'),
)

@pytest.fixture(scope='module')
def good(tmp_path_factory):
    return write_guide(made([3, 4, 0, 5]).estimate_t0(), tmp_path_factory.mktemp('good')/'good.h5')

@pytest.mark.parametrize('how', HOSTILE)
def test_hostile(good, tmp_path, how):
    change, said = HOSTILE[how]
    path = shutil.copy(good, tmp_path/'bad.h5')
    with h5py.File(path, 'r+') as f: change(f)
    with pytest.raises(FileError, match=said) as e: read_guide(path)
    assert 'bad.h5' in str(e.value)

def test_broken(good, tmp_path):
    data, bad = Path(good).read_bytes(), tmp_path/'bad.h5'
    for cut in (len(data)*2//3, len(data)//2, 2000, 8):
        bad.write_bytes(data[:cut])
        with pytest.raises(FileError, match='bad.h5'): read_guide(bad)
    bad.write_text('x,y,z\n')
    with pytest.raises(FileError, match='does not start like an HDF5 file'): read_guide(bad)
    with pytest.raises(FileError, match='cannot be opened'): read_guide(tmp_path/'nowhere.h5')
    with pytest.raises(ValueError, match='no files'): read_guide([])

def test_other_names(good, tmp_path):
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        for k, v in read_hdf5(good).items():
            if '/' not in k and k != 'told': f[k.replace('input', 'signal').replace('pmt', '_dom')] = v
    e = read_guide(tmp_path/'a.h5', names=dict(input='signal', x='x_dom', y='y_dom', z='z_dom'))
    same(e, read_guide(good))
    assert np.isnan(read_guide(good, names=dict(label=None)).label).all()
    with pytest.raises(ValueError, match="'signal' is none of input"): read_guide(good, names=dict(signal='input'))

def test_two_detectors(good, tmp_path):
    other = write_guide(made([1], detector=Geometry.hexagonal(7, 5)), tmp_path/'b.h5')
    with pytest.raises(FileError, match='different detectors'): read_guide([good, other])
    with pytest.raises(FileError, match='42 sensors; expected 35'): read_guide(good, geometry=Geometry.hexagonal(7, 5))
    with pytest.raises(FileError, match='shift_sensors=5.00'):
        read_guide(good, geometry=replace(TOY, xyz=TOY.xyz + [0, 0, 5]))

# ------------------------------------------------------------------------------------------------ real files

DATA = Path(os.environ.get('PHYSLEARN_DATA', ''))/'icecube'

@pytest.mark.skipif(not DATA.exists(), reason='PHYSLEARN_DATA is unset')
def test_real_events(tmp_path):
    "86 strings of 60; 378, 333 and 762 hit sensors of the three bright events; every format keeps them."
    array = Geometry.load(DATA/'geometry.csv')
    assert np.bincount(array.string)[1:].tolist() == [60]*86
    e = read_guide(DATA/'events.h5', geometry=array, more=dict(name='event_name'), direction='origin')
    assert e.hits[:3].tolist() == [378, 333, 762]
    for back in formats(e[:3], tmp_path):
        assert back.hits.tolist() == [378, 333, 762]
        np.testing.assert_array_equal(back.time, e[:3].time)
        np.testing.assert_array_equal(back.pulses.time, e[:3].pulses.time)
    with h5py.File(DATA/'events.h5') as f: np.testing.assert_array_equal(e.dense(), f['input'][:])

# ------------------------------------------------------------------------------------------------ what generators get wrong

def gaussian(path, sd, seen):
    "The exact denoiser of N(0, sd^2), and how often it was asked."
    levels = dict(x0=lambda x, a, s: sd*sd*a/(a*a*sd*sd + s*s)*x)
    def said(x, t, **kw):
        seen.append(len(x))
        level = path.at(t)
        a, s = (v.view(-1, *[1]*(x.ndim - 1)).to(x) for v in (level.alpha, level.sigma))
        x0 = levels['x0'](x, a, s)
        if path.predicts == 'x0': return x0
        return (x - a*x0)/s if path.predicts == 'eps' else (x - a*x0)/s - x0
    return said

@pytest.mark.parametrize('steps', [1, 2, 11])
def test_steps_of_samplers(steps):
    "Any number of steps ends in finite numbers without noise, by as many calls as the method has."
    for path, draw, calls in ((Schedule(), ddim, steps), (Schedule(), ddpm, steps), (Schedule(), dpm_solver, steps),
                              (Straight(), heun, 2*steps - 1)):
        seen = []
        x = draw(gaussian(path, 1., seen), path.levels(steps), RowNoise(500, (4,), 'steps', dtype=torch.float64))
        assert torch.isfinite(x).all() and len(seen) == calls, (type(path), draw, len(seen))

def test_no_hidden_clamp():
    "N(0, 3^2) keeps its deviation."
    for path, draw in ((Schedule(), ddim), (Straight(), heun)):
        x = draw(gaussian(path, 3., []), path.levels(200), RowNoise(20_000, (2,), 'wide', dtype=torch.float64))
        assert x.std() == pytest.approx(3., rel=.015) and x.abs().max() > 9

def test_guidance():
    "Scale 1 is the conditional answer and 0 the one without label, to the bit."
    def net(x, t, label=None): return x*torch.where(label.isnan(), 2., label)
    x, t, null = torch.randn(5, 3), torch.ones(5), dict(label=torch.full((1, 1), torch.nan))
    label = torch.rand(5, 1)
    assert torch.equal(guided(net, null, 1.)(x, t, label=label), net(x, t, label=label))
    assert torch.equal(guided(net, null, 0.)(x, t, label=label), 2.*x)
    two = guided(net, null, 2.)(x, t, label=label)
    assert torch.allclose(two, 2.*x + 2*(label*x - 2.*x))

MANY = dict(geometry=Geometry.hexagonal(12, 12), energy=(1e3, 1e5))

@pytest.fixture(scope='module')
def trainings(tmp_path_factory):
    "A generator of hits, trained at once, and one that was interrupted after its second epoch."
    home = tmp_path_factory.mktemp('kinds')
    write_guide(simulate(120, 3, **MANY), home/'events.h5')
    recipe = event_recipe('hits', data=(str(home/'events.h5'),), epochs=4, batch_size=16)
    whole = recipe.fit(home/'whole', quiet=True, evaluate=False)
    def stop(self, rows):
        if len(rows) == 2: raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as m:
        m.setattr(Tell, '__call__', stop)
        with pytest.raises(KeyboardInterrupt): replace(recipe).fit(home/'part', evaluate=False)
    assert not (home/'part'/'manifest.json').exists()
    return whole, Run.resume(home/'part', quiet=True)

def test_resumed_to_the_bit(trainings):
    "Two epochs and two more are four: weights, validation losses, events. What EMA averages is kept beside the raw weights by the core's own callback."
    whole, part = trainings
    a, b = whole.model.state_dict(), part.model.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a) and whole.history['valid_loss'].tolist() == part.history['valid_loss'].tolist()

def test_an_event_is_not_of_its_batch(trainings):
    "Event 37 alone is event 37 of 64."
    run, e = trainings[0], simulate(64, 9, **MANY)
    many = generated(run, e.label, e.more['kind'], e.geometry, seed=4)
    one = generated(run, e.label[37:38], e.more['kind'][37:38], e.geometry, seed=4, number=[37])
    assert np.array_equal(many[37].sensor, one.sensor) and np.allclose(many[37].time, one.time, atol=.01) and np.allclose(many[37].charge, one.charge, rtol=1e-4)

def test_frechet_floor():
    "Two sets of 10,000 unit Gaussians of 20 dimensions are 0.025 apart, not 0."
    rng = np.random.default_rng(0)
    found = np.mean([frechet(*rng.normal(size=(2, 10_000, 20))) for _ in range(8)])
    assert found == pytest.approx(.0252, abs=.0015) and frechet_floor(20, 10_000) == pytest.approx(found, abs=.0015)

def test_copies():
    "Ten in a hundred copies are a share of 0.55; honest events 0.50, within three errors."
    train, held, honest = (features(simulate(600, s, **MANY)).only(*FREE, 'neighbours') for s in (21, 22, 23))
    copied = honest.copy()
    copied[:60] = train[:60]
    (fair, error), (more, _) = copied_share(honest, train, held), copied_share(copied, train, held)
    assert abs(fair - .5) < 3*error and more - fair == pytest.approx(.05, abs=.015)

def test_labels_outside(trainings):
    "Trained on 1 to 100 TeV: an event of 1 PeV is outside and marked, one of 10 TeV is not (the command refuses it: test_icecube_desk)."
    run = trainings[0]
    ranges = ranges_of(run.recipe.sides()[0])
    label = np.tile([1e4, 1.5, 1., 0., 0., 0.], (2, 1))
    label[1,0] = 1e6
    assert outside(label, np.ones(2), ranges).tolist() == [False, True]
    assert generated(run, label, np.ones(2)).more['outside'].tolist() == [False, True]
