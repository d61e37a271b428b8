"""Results while an instrument still writes: whatever way it writes and whenever the follower is killed, every spectrum has its row, and only one."""
import os, random, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
import pytest
import torch
from conftest import PATIENCE
from physlearn.files import read_table, write_hdf5, write_table
from physlearn.runs import Run
from physlearn.spectra.follow import follow
from physlearn.spectra.retrieve import validation
from physlearn.spectra.train_physae import spectra_recipe

WRITER = '''
import sys, time, h5py, numpy as np
path, how, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
rows = np.load(sys.argv[4])
def allowed():
    "How many rows may be written, where somebody says so."
    try: return int(open(path + '.allowed').read() or 0)
    except FileNotFoundError: return len(rows)
def begin(f):
    f.attrs['quantity'] = np.bytes_(b'signal')
    return f.create_dataset('signal', (0, rows.shape[1]), 'f8', maxshape=(None, rows.shape[1]), chunks=(4, rows.shape[1]))
if how == 'close':
    with h5py.File(path, 'w') as f: begin(f)
    for i, y in enumerate(rows):
        while allowed() <= i: time.sleep(.01)
        with h5py.File(path, 'a') as f: d = f['signal']; d.resize(len(d) + 1, 0); d[-1] = y
        time.sleep(pause)
else:
    f = h5py.File(path, 'w', **(dict(libver='latest') if how == 'swmr' else {}))
    d = begin(f)
    if how == 'swmr': f.swmr_mode = True
    for i, y in enumerate(rows):
        d.resize(len(d) + 1, 0)
        if how == 'halves': d[-1,:40] = y[:40]; f.flush(); time.sleep(pause/2); d[-1,40:] = y[40:]
        else: d[-1] = y
        d.flush() if how == 'swmr' else f.flush()
        time.sleep(pause)
    f.close()
'''

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A small run, and 20 signals with noise."
    torch.set_num_threads(1)
    r = spectra_recipe('quick', encoder_variant='xs', train_samples=64, val_samples=32, epochs=1, batch_size=32, num_points=96, threads=1, gpus=0).fit(tmp_path_factory.mktemp('follow')/'run', quiet=True, evaluate=False)
    np.save(r.path.parent/'rows.npy', validation(r, 20, 'follow')[1][:,0].double().numpy())
    return r

def rows(run): return np.load(run.path.parent/'rows.npy')
def write(run, path, how, pause=.05): return subprocess.Popen([sys.executable, '-c', WRITER, str(path), how, str(pause), str(run.path.parent/'rows.npy')])
def read(path): return read_table(path, ('row', 'chi2'), text=('file',))

@pytest.mark.parametrize('how', ['close', 'flush', 'halves', 'swmr'])
def test_writers(how, run, tmp_path):
    "Another process writes, in each way that is promised to work; no row is read half."
    w, said = write(run, tmp_path/'g.h5', how), []
    while not (tmp_path/'g.h5').exists(): time.sleep(.01)
    looks = []
    for g in follow(run, tmp_path/'g.h5', tmp_path/'t.csv', every=.02, idle=300., batch=6, say=said.append):
        looks.append(len(g))
        if sum(looks) == 20: break
    assert w.wait() == 0 and said == [] and list(follow(run, tmp_path/'g.h5', tmp_path/'t.csv', idle=0.)) == []
    t = read(tmp_path/'t.csv')
    assert t['row'].tolist() == list(range(20)) and set(t['file']) == {'g.h5'} and len(looks) > 2
    once = list(follow(run, tmp_path/'g.h5', tmp_path/'once.csv', idle=0.))
    np.testing.assert_allclose(t['chi2'], read(tmp_path/'once.csv')['chi2'], rtol=1e-3)      # the same signals, whole
    assert len(once) == 1

def kill_thrice(folder, path, out):
    "Follow in a process that is killed at random, three times; each time six rows more are there to be read."
    run, rng, allowed = Run.load(folder), random.Random(5), Path(f'{path}.allowed')
    def size(): return os.path.getsize(out) if os.path.exists(out) else 0
    for i in range(3):
        allowed.write_text(str(6*(i + 1)))
        pid, had, begun = os.fork(), size(), time.monotonic()
        if pid == 0:
            for got in follow(run, path, out, every=.02, batch=2): pass
            os._exit(0)
        while size() <= had and time.monotonic() - begun < PATIENCE: time.sleep(.01)
        time.sleep(rng.uniform(0, .1))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert size() > had
        if i % 2:                                                  # as if the disk had taken a part of the last line
            with open(out, 'rb') as f: last = f.readlines()[-1]
            with open(out, 'r+b') as f: f.truncate(size() - rng.randrange(1, len(last)))

@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_killed(run, tmp_path, fork):
    "Killed three times at random while the file grows, and a line cut: every row once."
    (tmp_path/'g.h5.allowed').write_text('0')
    w = write(run, tmp_path/'g.h5', 'close')
    p = fork(kill_thrice, run.path, tmp_path/'g.h5', tmp_path/'t.csv')
    p.join(3*PATIENCE)
    (tmp_path/'g.h5.allowed').unlink()
    assert w.wait() == 0 and p.exitcode == 0, p.log.read_text()
    assert 0 < len(read(tmp_path/'t.csv')['row']) < 20
    list(follow(run, tmp_path/'g.h5', tmp_path/'t.csv', idle=0., batch=20))
    assert read(tmp_path/'t.csv')['row'].tolist() == list(range(20))

def test_bad_rows(run, tmp_path):
    "A row that is no spectrum is named and passed over, once; a dead detector's zeros at the end wait, and are named when the time is up."
    y = rows(run)[:6].copy()
    y[1,5], y[3], y[5] = np.nan, 100*y[3], 0.
    write_hdf5(tmp_path/'g.h5', dict(signal=y), dict(quantity='signal'))
    said = []
    list(follow(run, tmp_path/'g.h5', tmp_path/'t.csv', every=.01, idle=.1, say=said.append))
    assert read(tmp_path/'t.csv')['row'].tolist() == [0, 2, 4]
    assert [s.split(': ')[0].split(', ')[-1] for s in said] == ['row 1', 'row 3', 'row 5'] and 'not finite' in said[0] and 'comes near' in said[1]

def csv(path, y): write_table(path, dict(pixel=np.arange(len(y)), signal=y), dict(quantity='signal', axis='pixel'))

def test_folder(run, tmp_path):
    "Files that arrive, one of them slowly, one holding many spectra, one broken and mended later."
    (tmp_path/'in').mkdir()
    y, said = rows(run), []
    csv(tmp_path/'in/a.csv', y[0])
    (tmp_path/'in/notes.txt').write_text('not a spectrum')
    whole = (tmp_path/'in/a.csv').read_bytes()
    write_hdf5(tmp_path/'in/many.h5', dict(signal=y[1:6]), dict(quantity='signal'))
    (tmp_path/'in/slow.csv').write_bytes(whole[:len(whole)//2])
    steps = iter([lambda: None, lambda: (tmp_path/'in/slow.csv').write_bytes(whole), lambda: csv(tmp_path/'in/late.csv', y[7]), *[lambda: None]*9])
    for got in follow(run, tmp_path/'in', tmp_path/'t.csv', every=.05, idle=.3, batch=4, say=lambda s: (said.append(s), (tmp_path/'in/slow.csv').write_bytes(whole))): next(steps)()
    t = read(tmp_path/'t.csv')
    assert sorted(zip(t['file'].tolist(), t['row'].tolist())) == [('a.csv', -1), ('late.csv', -1), *(('many.h5', i) for i in range(5)), ('slow.csv', -1)]
    assert len(said) <= 1
    assert list(follow(run, tmp_path/'in', tmp_path/'t.csv', every=.01, idle=0., batch=4)) == []
    got = list(follow(run, str(tmp_path/'in/*a*.csv'), tmp_path/'u.csv', every=.01, idle=.1))
    assert sorted(read(tmp_path/'u.csv')['file']) == ['a.csv', 'late.csv'] and sum(map(len, got)) == 2

def test_continued_in_the_middle_of_a_file(run, tmp_path):
    "A file of many spectra of which only some rows were written."
    (tmp_path/'in').mkdir()
    write_hdf5(tmp_path/'in/many.h5', dict(signal=rows(run)[:6]), dict(quantity='signal'))
    next(f := follow(run, tmp_path/'in', tmp_path/'t.csv', every=.01, idle=.1, batch=2))
    f.close()
    assert read(tmp_path/'t.csv')['row'].tolist() == [0, 1]
    list(follow(run, tmp_path/'in', tmp_path/'t.csv', every=.01, idle=.1, batch=3))
    assert read(tmp_path/'t.csv')['row'].tolist() == list(range(6))

def test_auto_noise_does_not_depend_on_company(run, tmp_path):
    write_hdf5(tmp_path/'g.h5', dict(signal=rows(run)[:4]), dict(quantity='signal'))
    write_hdf5(tmp_path/'one.h5', dict(signal=rows(run)[2:3]), dict(quantity='signal'))
    for n in ('g', 'one'): list(follow(run, tmp_path/f'{n}.h5', tmp_path/f'{n}.csv', idle=0., noise='auto'))
    assert abs(read(tmp_path/'g.csv')['chi2'][2]/read(tmp_path/'one.csv')['chi2'][0] - 1) < 1e-6

BAD = dict(gone=(dict(path='gone'), 'is not there'), file=(dict(path='t.txt'), 'is no folder'), suffix=(dict(out='o.h5'), 'ends in .csv'), folder=(dict(out='no/o.csv'), 'no folder'),
           every=(dict(every=-1), 'every=-1'), idle=(dict(idle=-1), 'idle=-1'), method=(dict(method='magic'), 'magic'), known=(dict(known=dict(Q='3')), "no parameter 'Q'"),
           noise=(dict(noise='0'), 'must be positive'), other=(dict(out='t.txt.csv'), 'no table of followed'), quantity=(dict(quantity='absorption'), 'the file says quantity signal'),
           name=(dict(y='spectra'), "no 'spectra'"), axis=(dict(axis='wavenumber'), 'axis has no meaning'), flat=(dict(path='flat.h5'), 'shape (rows, samples)'), length=(dict(path='short.h5', idle=0.), None))

@pytest.mark.parametrize('name', BAD)
def test_bad_input(name, run, tmp_path, monkeypatch):
    "One sentence; nothing is written."
    monkeypatch.chdir(tmp_path)
    y = rows(run)[:3]
    write_hdf5('g.h5', dict(signal=y), dict(quantity='signal'))
    write_hdf5('flat.h5', dict(signal=y[0]), dict(quantity='signal'))
    write_hdf5('short.h5', dict(signal=y[:,:50]), dict(quantity='signal'))
    Path('t.txt').write_text('nothing')
    Path('t.txt.csv').write_text('a,b\n1,2\n')
    before, said = {p: p.read_bytes() for p in tmp_path.iterdir()}, []
    kw, says = BAD[name]
    kw = dict(path='g.h5', out='o.csv', every=.01, idle=.05, say=said.append) | kw
    if says is None:
        assert list(follow(run, **kw)) == [] and len(said) == 3 and '50 samples' in said[0]
    else:
        with pytest.raises((ValueError, KeyError)) as e: list(follow(run, **kw))
        assert says in str(e.value) and '\n' not in str(e.value)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
