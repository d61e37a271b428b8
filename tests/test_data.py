"""A data set is a seed: rows, noise and order are the same whatever the batch size, the number of ranks, the restart or the reader."""
import json, math, os, pickle
import h5py, numpy as np, pytest, torch
import fastai.callback.hook, fastai.callback.schedule, fastai.callback.progress
from fastai.basics import Learner
from fastai.callback.progress import CSVLogger
from torch import nn
from physlearn.data import (Chain, Clip, Draws, Drift, FileSource, Flicker, Fringes, HDF5Rows, Rows, SeedDL, Shot, SimSource, Spikes,
                            TellEpoch, White, noise_from_dict, sim_dls, split)
from physlearn.files import FileError, read_npz, write_hdf5
from physlearn.params import Param, ParamSpace, normals, uniforms
from physlearn.spectra.simulate import preset

NOISE = Chain(White(), Flicker(), Drift(.5), Fringes(.5), Spikes(.5), Shot(), Clip())

class Bend(nn.Module):
    "A bent line through a random matrix product, the kind of arithmetic whose last bits depend on the number of rows."
    space = ParamSpace(height=Param(.5, 1.), slope=Param(1e-3, 1., '1/s', log=True), bend=Param(-1, 1, '1/s2'))
    cond = ParamSpace(exposure=Param(1, 10, 's'))
    def __init__(self, n=50):
        super().__init__()
        self.register_buffer('basis', torch.stack([torch.linspace(-1, 1, n)**k for k in range(3)]) + normals(3, n, 'basis'))
    def axis(self, theta, **cond): return torch.linspace(0, 1, self.basis.shape[1], dtype=torch.float64)
    def forward(self, theta, exposure): return (theta.float() @ self.basis*exposure.float()[:,None])[:,None]

@pytest.fixture(scope='module')
def spectra(): return preset('reference').simulator(method='table')

def rows(source, n=150, epoch=0, **kw):
    "All rows of one epoch, batches joined."
    dl = SeedDL(source, n=n, seed=42, **kw)
    dl.epoch = epoch
    got = [xb for xb, _ in dl]
    return {k: torch.cat([b[k] for b in got]) for k in got[0]}

def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

def test_batch_sizes(spectra):
    "Bits, not values: a matrix product of 1 row rounds differently from one of 32."
    for source in (SimSource(spectra, NOISE, ['P', 'T']), SimSource(Bend(), NOISE, ['slope'])):
        ref = rows(source, bs=150)
        assert all(same(rows(source, bs=bs), ref) for bs in (1, 7, 64, 100))
        assert ref['x'].dtype == ref['u'].dtype == ref['known'].dtype == torch.float32 and ref['theta'].dtype == torch.float64
    sim = Bend()
    theta = sim.space.sample(64, 1)
    ones = torch.ones(64)
    free = torch.cat([sim(t[None], ones[:1]) for t in theta])
    assert torch.allclose(free, sim(theta, ones), atol=1e-5)      # the values agree without blocks; nothing says that the bits do

@pytest.mark.parametrize('bs,world', [(64, 1), (64, 2), (64, 3), (7, 2), (7, 3), (100, 3)])
def test_ranks(bs, world):
    "The union over ranks is the global batch, row by row; nothing is shown twice."
    source = SimSource(Bend(), NOISE, ['slope'])
    alone = SeedDL(source, bs, 145, 42)
    ranks = [SeedDL(source, bs, 145, 42, rank=r, world=world) for r in range(world)]
    assert {len(dl) for dl in ranks} == {len(alone)}
    for b in range(len(alone)):
        parts = [dl.batch(b) for dl in ranks]
        assert max(map(len, (p['x'] for p in parts))) - min(map(len, (p['x'] for p in parts))) <= 1
        assert same({k: torch.cat([p[k] for p in parts]) for k in parts[0]}, alone.batch(b))

def test_restart():
    "A loader made anew continues in the middle of an epoch; so do one that was used for something else and one that was sent through pickle."
    source = SimSource(Bend(), NOISE)
    dl = SeedDL(source, 64, 300, 42)
    dl.epoch = 3
    late = [b for b, _ in dl][3]
    again = SeedDL(source, 64, 300, 42)
    again.epoch = 3
    assert same(again.batch(3), late)
    dl.epoch = 1
    dl.one_batch()
    dl.epoch = 3
    assert same(dl.batch(3), late) and same(dl.new(bs=16).batch(12), {k: v[:16] for k, v in late.items()})

def test_key():
    source = SimSource(Bend(), NOISE, ['bend'])
    ref = rows(source, bs=50)
    others = [rows(source, bs=50, epoch=1), rows(source, bs=50, split='valid')]
    got = [b for b, _ in SeedDL(source, 50, 150, seed=43)]
    others.append({k: torch.cat([b[k] for b in got]) for k in ref})
    for o in others: assert all((o[k] != ref[k]).float().mean() > .99 for k in ('clean', 'theta', 'exposure')) and not torch.equal(o['known'], ref['known'])
    dl = SeedDL(source, 32, 32)
    first = dl.batch(0)                                   # an epoch of a single block, kept from the epoch before
    dl.epoch = 1
    assert (dl.batch(0)['theta'] != first['theta']).all()
    assert same(rows(source, n=100, bs=50), {k: v[:100] for k, v in ref.items()})      # a shorter epoch is the beginning of a longer one

def test_not_spoilt_in_place():
    "A model that writes into its batch does not change what the next batch shows."
    dl = SeedDL(SimSource(Bend()), 8, 32)
    first = dl.batch(0)['x'].clone()
    dl.batch(0)['x'].zero_()
    assert torch.equal(dl.batch(0)['x'], first) and not torch.equal(dl.batch(0)['clean'], 0*first)

def test_noise_rows():
    "Noise of a row does not depend on its neighbours."
    x = torch.rand(40, 2, 90) + .5
    for model in (*NOISE.models, NOISE):
        y = model(x, Draws(40, 1))
        for i in (0, 7, 39):
            z = model(x[i:i+1], Draws([i], 1))
            assert torch.allclose(z, y[i:i+1], atol=2e-6), model
        assert noise_from_dict(json.loads(json.dumps(model.to_dict()))) == model
        assert y.dtype == torch.float32 and y.shape == x.shape and y.isfinite().all()

def test_channels_differ():
    x = torch.ones(4, 3, 500)
    for model in (White(.01), Drift(1, .01, 5.), Flicker(.01), Shot(1e4)):
        d = model(x, Draws(4)) - x
        assert abs(np.corrcoef(d[0].numpy()) - np.eye(3)).max() < .5 and (d[0,0] != d[0,1]).all()

def test_draws_are_those_of_params():
    r = torch.tensor([3, 0, 10**12, -5])
    assert torch.equal(Draws(r, 7, 'a').uniforms(5, 'b'), uniforms(r, 5, 7, 'a', 'b', 'uniforms'))
    assert torch.equal(Bend.space.quantile(Draws(r, 7).named(*Bend.space)), Bend.space.sample(r, 7))
    assert torch.equal(Draws(9, 7).normals(9, 'b')[4:], Draws(9, 7)[torch.arange(4, 9)].normals(9, 'b'))

def test_uniforms_and_normals_are_apart():
    "Of one name, neither is a function of the other."
    u, n = Draws(20_000, 1).uniforms(2, 'a'), Draws(20_000, 1).normals(2, 'a').double()
    radius, angle = n.norm(dim=1), torch.atan2(n[:,1], n[:,0])
    assert abs(np.corrcoef(torch.cat([u, radius[:,None], angle[:,None]], 1).T) - np.eye(4)).max() < .03

# ---- training

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(50, 16), nn.Tanh(), nn.Linear(16, 3))
    def forward(self, batch):
        h = self.net(batch['x'][:,0])
        return dict(u=h.sigmoid(), h=h)
def mse(out, batch, reduction='mean'): return ((out['u'] - batch['u'])**2).mean()

def learner(n_train=200, bs=32, cbs=(), **kw):
    torch.manual_seed(0)
    return Learner(sim_dls(Bend(), bs, n_train, 70, noise=White(.01, 0), seed=5, **kw), Net(), mse, cbs=[TellEpoch(), *cbs])

class Eye(fastai.callback.core.Callback):
    "What was shown, by (training?, epoch)."
    def __init__(self): self.seen = {}
    def before_batch(self): self.seen.setdefault((self.training, self.epoch), []).append(self.x['theta'][:,0].clone())

def quiet(f):
    learn = f if isinstance(f, Learner) else f()
    return learn, learn.no_bar(), learn.no_logging()

def test_epochs_differ_and_validation_stays():
    eye = Eye()
    learn, bar, log = quiet(lambda: learner(cbs=[eye]))
    with bar, log: learn.fit(3, 1e-3)
    seen = {k: torch.cat(v) for k, v in eye.seen.items()}
    assert len(torch.cat([seen[True, e] for e in range(3)]).unique()) == 600
    assert torch.equal(seen[False, 0], seen[False, 1]) and torch.equal(seen[False, 0], seen[False, 2]) and len(seen[False, 0]) == 70

def test_later_stage_sees_new_rows():
    eye = Eye()
    learn, bar, log = quiet(lambda: learner(cbs=[eye]))
    learn.remove_cbs([c for c in learn.cbs if isinstance(c, TellEpoch)])
    learn.add_cb(TellEpoch(start=3))
    with bar, log: learn.fit(1, 1e-3)
    dl = learner().dls.train
    dl.epoch = 3
    assert torch.equal(torch.cat(eye.seen[True, 0]), torch.cat([b['theta'][:,0] for b, _ in dl]))

def weights(learn): return torch.cat([p.detach().flatten() for p in learn.model.parameters()])

def test_lr_find_leaves_no_trace(tmp_path):
    def run(find):
        eye = Eye()
        learn, bar, log = quiet(lambda: learner(path=tmp_path))
        with bar, log:
            before = weights(learn)
            if find: learn.lr_find(show_plot=False, num_it=30)
            assert torch.equal(weights(learn), before)
            learn.add_cb(eye)
            learn.fit(2, 1e-3)
        return weights(learn), eye.seen
    (a, seen), (b, other) = run(False), run(True)
    assert torch.equal(a, b) and all(torch.equal(torch.cat(seen[k]), torch.cat(other[k])) for k in seen)

def test_fastai_verbs(tmp_path, capsys):
    learn, bar, log = quiet(lambda: learner(path=tmp_path))
    with bar, log:
        learn.fit_one_cycle(2, 1e-2, cbs=CSVLogger())
        loss, = learn.validate()
        out, batch = learn.get_preds()
        tout, tbatch = learn.get_preds(ds_idx=0)
    assert abs(((out['u'] - batch['u'])**2).mean().item() - loss) < 1e-6 and out['u'].shape == (70, 3) and len(tout['u']) == 200
    assert torch.equal(batch['theta'], torch.cat([b['theta'] for b, _ in learn.dls.valid]))
    assert len((tmp_path/'history.csv').read_text().splitlines()) == 3
    assert 'Linear' in str(learn.summary())
    assert learn.dls.n_inp == 1 and len(learn.dls.train_ds) == 200 and learn.dls.train.bs == 32

def test_shows():
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    learn, bar, log = quiet(learner)
    with bar, log:
        learn.dls.show_batch(max_n=2)
        title = plt.gcf().axes[0].get_title(loc='left')
        assert 'slope = ' in title and '1/s' in title and '→' not in title
        learn.show_results(max_n=2)
        assert plt.gcf().axes[0].get_title(loc='left').count('→') == 3
    plt.close('all')

def test_forgotten_epoch():
    "Without TellEpoch every epoch would show the same rows: said once, not learnt from a bad score."
    learn, bar, log = quiet(learner)
    learn.remove_cbs([c for c in learn.cbs if isinstance(c, TellEpoch)])
    with bar, log, pytest.warns(UserWarning, match='TellEpoch'): learn.fit(2, 1e-3)

# ---- files

@pytest.fixture
def stored(tmp_path):
    s = SimSource(Bend(), White())(torch.arange(110), 'file')
    write_hdf5(tmp_path/'s.h5', {'x': s['x'].numpy(), 'u': s['u'].numpy(), 'i': np.arange(110)}, compress=True)
    return tmp_path/'s.h5', s

def test_hdf5(stored):
    path, s = stored
    source = FileSource(HDF5Rows(path))
    ref = rows(source, n=110, bs=110)
    assert torch.equal(ref['i'].sort()[0], torch.arange(110)) and not torch.equal(ref['i'], torch.arange(110))
    assert torch.equal(ref['x'], s['x'][ref['i']]) and torch.equal(ref['u'], s['u'][ref['i']])
    for bs in (1, 7, 64, 100): assert same(rows(source, n=110, bs=bs), ref)
    for block in (5, 200): assert same(rows(source, n=110, bs=20, block=block), ref)      # no arithmetic, so blocks do not matter
    ranks = [SeedDL(source, 20, 110, 42, rank=r, world=3) for r in range(3)]
    assert torch.equal(torch.cat([torch.cat([dl.batch(b)['i'] for dl in ranks]) for b in range(6)]), ref['i'])
    other = rows(source, n=110, bs=20, epoch=1)['i']
    assert not torch.equal(other, ref['i']) and torch.equal(other.sort()[0], ref['i'].sort()[0])
    assert same(rows(FileSource(HDF5Rows(path)), n=110, bs=20, epoch=1), rows(source, n=110, bs=20, epoch=1))
    assert torch.equal(rows(FileSource(HDF5Rows(path), permute=False), n=110, bs=20)['i'], torch.arange(110))

def test_hdf5_elsewhere(stored):
    "A reader that is sent to another process, or is forked, opens the file for itself."
    r = HDF5Rows(stored[0], ['x', 'i'])
    sent = pickle.loads(pickle.dumps(r))
    assert set(sent[5]) == {'x', 'i'} and np.array_equal(sent[5]['x'], r[5]['x'])
    pid = os.fork()
    if pid == 0: os._exit(0 if np.array_equal(r[7]['x'], stored[1]['x'][7]) and r.pid == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def ragged_arrays(n=60):
    length = (uniforms(n, 1, 'length')[:,0]*9).long().numpy()
    offsets = np.r_[0, length.cumsum()]
    t = np.arange(offsets[-1], dtype=np.float64)
    return dict(t=t, xyz=np.stack([t, 2*t, 3*t], 1).astype('f4'), energy=np.arange(n), at=offsets), offsets

def test_ragged(tmp_path):
    arrays, offsets = ragged_arrays()
    write_hdf5(tmp_path/'r.h5', arrays)
    np.savez(tmp_path/'r.npz', **arrays)
    readers = (HDF5Rows(tmp_path/'r.h5', ['t', 'xyz', 'energy'], ['t', 'xyz'], 'at'), HDF5Rows(tmp_path/'r.h5', None, ['t', 'xyz'], 'at'),
               Rows(read_npz(tmp_path/'r.npz'), ['t', 'xyz'], 'at'))
    for reader in readers:
        assert len(reader) == 60 and set(reader[0]) == {'t', 'xyz', 'energy'}
        order = None
        for bs in (1, 7, 60):
            seen = []
            for b, _ in SeedDL(FileSource(reader), bs, seed=3):
                assert b['t'].shape == b['mask'].shape and b['xyz'].shape == (*b['t'].shape, 3) and b['mask'].dtype == torch.bool
                assert b['mask'].any(0).all() and (b['t'][~b['mask']] == 0).all()            # no longer than the longest of the batch
                for e, t, xyz, m in zip(b['energy'].tolist(), b['t'], b['xyz'], b['mask']):
                    assert m.sum() == offsets[e+1] - offsets[e] and m[:m.sum()].all()
                    assert np.array_equal(t[m], arrays['t'][offsets[e]:offsets[e+1]]) and np.array_equal(xyz[m], arrays['xyz'][offsets[e]:offsets[e+1]])
                    seen.append(e)
            if bs == 1: order = [*seen]
            assert seen == order and sorted(seen) == list(range(60))

def test_split(stored):
    reader = HDF5Rows(stored[0])
    a, b = split(reader, .3, seed=2)
    assert sorted([*a.items, *b.items]) == list(range(110)) and 15 < len(b) < 55
    assert np.array_equal(split(reader, .3, seed=2)[1].items, b.items) and not np.array_equal(split(reader, .3, seed=3)[1].items, b.items)
    assert set(rows(FileSource(b), n=len(b), bs=8)['i'].tolist()) == set(b.items.tolist())

# ---- hostile input

@pytest.mark.parametrize('make,word', [
    (lambda: SeedDL(SimSource(Bend()), 64), 'n=None'),
    (lambda: SeedDL(SimSource(Bend()), 64, 0), 'n=0'),
    (lambda: SeedDL(SimSource(Bend()), 6.4, 10), 'bs=6.4'),
    (lambda: SeedDL(SimSource(Bend()), 64, 128, rank=2, world=2), 'rank=2'),
    (lambda: SeedDL(SimSource(Bend()), 1, 128, world=2), '2 ranks'),
    (lambda: SeedDL(SimSource(Bend()), 64, 10, drop_last=True), 'no full batch'),
    (lambda: SeedDL(SimSource(Bend()), 8, 16).new(workers=3), "no 'workers'"),
    (lambda: SimSource(Bend(), known=['P'])(torch.arange(3)), "no parameter 'P'"),
    (lambda: SimSource(Bend(), hide=-.1), 'probability'),
    (lambda: SimSource(Bend(), space=ParamSpace(height=Param(0, 2))), 'range'),
    (lambda: SimSource(Bend(), cond=dict(exposure=torch.tensor([float('inf')])))(torch.arange(3)), 'not finite at height='),
    (lambda: SimSource(Bend(), cond=dict(x=1.)), 'rename'),
    (lambda: White('much'), 'number or a range'), (lambda: White((1, 2, 3)), '3 numbers'), (lambda: White(float('nan')), 'finite'),
    (lambda: White(-.1), 'negative'), (lambda: Drift(width=(0, 5)), 'logarithm'), (lambda: Fringes(count=1.5), 'whole'),
    (lambda: Fringes(p=1.5), 'probability'), (lambda: Clip(2, 1), 'below'), (lambda: Chain(White), 'noise models'), (lambda: Shot(0), 'no signal'),
    (lambda: noise_from_dict([1]), 'no noise'), (lambda: noise_from_dict(dict(kind='Noise')), 'no noise'),
    (lambda: noise_from_dict(dict(kind='White', rms=3)), "no 'rms'"),
    (lambda: noise_from_dict(dict(kind='Chain', models=[dict(kind='__import__')])), 'no noise')])
def test_said_in_a_sentence(make, word):
    with pytest.raises((ValueError, KeyError), match=word) as e: make()
    assert '\n' not in str(e.value)

class Bad(list): ragged = ()
@pytest.mark.parametrize('reader,ragged,word', [
    ([dict(x=np.zeros(3)), dict(y=np.zeros(3))], (), 'item 1 has y'),
    ([dict(x=np.zeros(3)), dict(x=np.zeros(4))], (), 'name it in ragged'),
    ([dict(x=np.zeros((3, 2))), dict(x=np.zeros((3, 1)))], ('x',), 'name it in ragged'),
    ([dict(x=np.zeros(3), y=np.zeros(2))]*2, ('x', 'y'), 'share a length'),
    ([dict(x=np.zeros(3), mask=np.zeros(3))]*2, ('x',), 'taken'),
    ([dict(x=np.array([0, np.nan]))]*2, (), 'item 0: x is not finite'),
    ([dict(x=np.array([None, 1]))]*2, (), 'expected numbers'),
    ([dict(x=1.)]*2, ('x',), 'no ragged array')])
def test_bad_items(reader, ragged, word):
    with pytest.raises(ValueError, match=word): SeedDL(FileSource(Bad(reader), ragged=ragged), 2).batch(0)

def test_odd_numbers_are_read():
    "Big-endian, read-only, half, boolean and single numbers."
    a = np.arange(4, dtype='>f8')
    a.flags.writeable = False
    b = SeedDL(FileSource([dict(a=a, h=np.float16([1, 2]), f=True, n=3)]*4), 4).batch(0)
    assert b['a'].tolist() == [[0, 1, 2, 3]]*4 and b['h'].dtype == torch.float16 and b['f'].dtype == torch.bool and b['n'].tolist() == [3]*4

def test_bad_files(tmp_path):
    def refused(word, *args, **kw):
        with pytest.raises(FileError, match=word): HDF5Rows(*args, **kw)[0]
    refused('cannot be opened', tmp_path/'none.h5')
    (tmp_path/'text.h5').write_text('x,y\n1,2\n')
    refused('HDF5', tmp_path/'text.h5')
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        f['x'] = np.zeros((4, 2))
        f['y'] = np.zeros(3)
        f['n'] = 7.
        f['o'] = np.array([0, 2, 1])
        f['big'] = np.zeros((2, 1000))
        f.create_dataset('words', data=['a', 'b', 'c', 'd'])
    p = tmp_path/'a.h5'
    with h5py.File(tmp_path/'link.h5', 'w') as f: f['x'] = h5py.ExternalLink('/etc/passwd', 'x')
    refused('link to another file', tmp_path/'link.h5')
    refused('one length', p, ['x', 'y'])
    refused("no 'z'", p, ['z'])
    refused('variable-length', p, ['words'])
    refused('single number', p, ['n'])
    refused('step back', p, ['y'], ['y'], 'o')
    refused('at most', p, ['big'], limit=100)
    raw = (tmp_path/'a.h5').read_bytes()
    for cut in (10, len(raw)//2, len(raw) - 100):
        (tmp_path/'cut.h5').write_bytes(raw[:cut])
        refused('cut.h5', tmp_path/'cut.h5', ['x'])

# ---- shapes, and simulators of one's own

@pytest.mark.parametrize('model', [White(.01), Shot(1e4), Clip(), Chain(White(.01), Clip()), Drift(1, .01, 5.), Flicker(.01), Fringes(1., 2), Spikes(1., 2), Chain(White(.01), Flicker(.01))], ids=str)
@pytest.mark.parametrize('shape', [(3, 2, 5, 7), (3, 1, 5, 5), (5, 5, 5, 5), (3, 8), (3,)])
def test_noise_on_other_shapes(model, shape):
    "Images, and signals without channels: the shape of the input, or a sentence that says which shape is needed."
    x = torch.ones(shape)
    try: y = model(x, Draws(len(x)))
    except ValueError as e: assert '(B,C,N)' in str(e) and str(shape) in str(e)
    else: assert y.shape == x.shape and y.dtype == x.dtype

def test_noise_of_ones_own_with_another_shape():
    class Camera(nn.Module):
        space = Bend.space
        def forward(self, theta): return torch.ones(len(theta), 1, 4, 6)
    with pytest.raises(ValueError, match=r'noise.*\(8, 1, 6\).*\(8, 1, 4, 6\)'): SimSource(Camera(), lambda x, draws: x.mean(2))(torch.arange(8), 1)
    assert SimSource(Camera(), White(.01))(torch.arange(8), 1)['x'].shape == (8, 1, 4, 6)
    with pytest.raises(ValueError, match=r'\(B,C,N\)'): SimSource(Camera(), Flicker(.01))(torch.arange(8), 1)

def test_white_has_no_hidden_part():
    x = torch.full((200, 1, 100), 1000.)
    assert abs((White(additive=1.)(x, Draws(200)) - x).std() - 1) < .02
    assert abs((White(multiplicative=.01)(x, Draws(200)) - x).std() - 10) < .2
    assert White(.5).to_dict() == dict(kind='White', additive=.5, multiplicative=0.) and White().additive == White().multiplicative == (0., .005)
    assert noise_from_dict(White(multiplicative=.1).to_dict()) == White(0., .1)

class Counter(nn.Module):
    "A simulator that is random itself."
    space = ParamSpace(rate=Param(50., 200., 's-1'))
    def axis(self, theta): return torch.arange(30.)
    def forward(self, theta, draws): return (theta + theta.sqrt()*draws.normals(30, 'counts'))[:,None].float()

def test_random_simulators():
    "They are handed draws: other ones for each row and epoch, the same whatever the batch."
    source = SimSource(Counter())
    ref = rows(source, bs=150)
    assert same(rows(source, bs=7), ref) and not torch.equal(rows(source, bs=150, epoch=1)['x'], ref['x'])
    scatter = (ref['x'][:,0] - ref['theta'])/ref['theta'].sqrt()
    assert abs(scatter.std() - 1) < .03 and abs(np.corrcoef(scatter[0], scatter[1])[0,1]) < .5
    class Plain:
        space = Counter.space
        def __call__(self, theta, draws=None, gain=1.): return gain*(theta + draws.normals(30, 'counts'))[:,None]
    assert torch.equal(SimSource(Plain(), cond=dict(gain=2.))(torch.arange(5), 1)['x'], 2*SimSource(Plain())(torch.arange(5), 1)['x'])

def test_z():
    "Coordinates in which the prior is N(0,1), for flows."
    b = SimSource(Bend())(torch.arange(2000), 1)
    assert b['z'].dtype == torch.float32 and torch.allclose(b['z'].double(), Bend.space.probit(b['theta']), atol=1e-6)
    assert abs(b['z'].mean(0)).max() < .1 and abs(b['z'].std(0) - 1).max() < .05
    narrow = SimSource(Bend(), space=dict(height=Param(.7, .8)))(torch.arange(50), 1)
    assert torch.allclose(narrow['z'].double(), Bend.space.probit(narrow['theta']), atol=1e-6) and narrow['z'].isfinite().all()

def test_ragged_signals_reach_a_network(tmp_path):
    "Items of different length, with a mask: their summary knows nothing of the padding, nor of the order; and it learns."
    from physlearn.layers import MaskedSummary
    rng = np.random.default_rng(0)
    n = rng.integers(5, 40, 200)
    offsets = np.r_[0, n.cumsum()]
    rate = rng.uniform(1, 3, 200).astype('float32')
    hits = np.concatenate([rng.exponential(r, k) for r, k in zip(rate, n)]).astype('float32')[:,None]
    source = FileSource(Rows(dict(x=hits, u=rate[:,None], offsets=offsets), ragged='x', offsets='offsets'), permute=False)
    dl = SeedDL(source, 50)
    torch.manual_seed(0)
    net = nn.Sequential()
    net.read, net.head = MaskedSummary(1, 16), nn.Linear(16, 1)
    batch = dl.batch(0)
    s = net.read(batch['x'], batch['mask'])
    assert s.shape == (50, 16)
    longer = torch.cat([batch['x'], torch.full((50, 9, 1), float('nan'))], 1)
    mask = torch.cat([batch['mask'], torch.zeros(50, 9, dtype=torch.bool)], 1)
    assert torch.allclose(net.read(longer, mask), s, atol=1e-6)
    assert torch.allclose(net.read(batch['x'][:1,:n[0]].flip(1), batch['mask'][:1,:n[0]]), s[:1], atol=1e-5)
    alone = net.read(batch['x'][:1], torch.zeros_like(batch['mask'][:1]))
    assert alone.isfinite().all()
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for i in range(200):
        b = dl.batch(i%4)
        loss = ((net.head(net.read(b['x'], b['mask'])) - b['u'])**2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    assert loss < .5*rate.var()
    with pytest.raises(ValueError, match=r'mask.*\(50, 7\)'): net.read(batch['x'], torch.ones(50, 7, dtype=torch.bool))
    with pytest.raises(ValueError, match=r'2 features.*1'): MaskedSummary(2, 16)(batch['x'], batch['mask'])

def test_flow_on_a_source():
    "What a source gives is what a flow takes: signals (B,1,N) and z make one density for each row."
    from physlearn.flows import NPE, FlowHead
    torch.manual_seed(0)
    dl = SeedDL(SimSource(Bend(20), White(.01)), 64, 640, 1)
    npe = NPE(FlowHead(3, 20))
    assert npe(dl.batch(0))['log_prob'].shape == (64,)


def test_noise_finer_than_float32():
    "A network told of 4.7e8 ± 50 by float64 and Standardise finds what is in it; without Standardise it is refused."
    from torch import nn
    from physlearn.flows import NPE, FlowHead, nll
    from physlearn.layers import Standardise
    class Height:
        space = ParamSpace(a=Param(-1e3, 1e3, 'um'))
        def __call__(self, theta): return (4.7e8 + theta[:,:1]*torch.linspace(0, 1, 20, dtype=torch.float64))[:,None]
    with pytest.warns(UserWarning, match='signals stay float64'):
        b = SimSource(Height(), White(additive=50.))(torch.arange(2000), 1)
    with pytest.raises(ValueError, match='layers.Standardise'): NPE(FlowHead(1, 20))(b)
    torch.manual_seed(0)
    npe = NPE(FlowHead(1, 8, width=16), nn.Sequential(Standardise(b['x']), nn.Flatten(), nn.Linear(20, 8)))
    before, opt = nll(npe(b), b).item(), torch.optim.Adam(npe.parameters(), 3e-2)
    for _ in range(300):
        loss = nll(npe(b), b)
        opt.zero_grad()
        loss.backward()
        opt.step()
    # the entropy of N(0,1) falls by ln(prior sd/posterior sd), 1000/sqrt(3) over 50/sqrt(sum x²), to a first approximation
    gain = math.log(1000/math.sqrt(3)/(50/math.sqrt((torch.linspace(0, 1, 20)**2).sum())))
    assert before - loss.item() > .7*gain, (before, loss.item(), gain)
