"""Work in pieces: several processes write what one writes, to the bit; what breaks costs its own piece. Workers are real processes of
one Dask cluster; what kills one is the piece itself, at its first trial, which a file remembers."""
import json, os, resource, subprocess, sys, textwrap
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PATIENCE
from physlearn.cli import main
from physlearn.desk import PIECE, Results, command_of, ranges
from physlearn.files import join_hdf5
from physlearn.instruments import find
from physlearn.scale import BEGUN, STAMP, cluster_of, in_words, from_words, is_done, stamps, work

distributed = pytest.importorskip('distributed')
h5py = pytest.importorskip('h5py')

LAB = '''
import os
from dataclasses import dataclass
from pathlib import Path
import numpy as np
import torch
from physlearn.desk import Instrument, Reader, Setup, Signals
from physlearn.files import FileError
from physlearn.params import Param, ParamSpace

class Line(torch.nn.Module):
    space = ParamSpace(slope=Param(.1, 10., 'V'), offset=Param(-5., 5., 'V'))
    def forward(self, theta):
        return (theta[:,:1]*torch.linspace(0, 1, 8, dtype=theta.dtype) + theta[:,1:])[:,None]

@dataclass(kw_only=True)
class LineSetup(Setup):
    def simulator(self): return Line()

@dataclass(kw_only=True)
class Rows(Reader):
    "Signals as numpy arrays; some files do harm where they are read."
    def rows_in(self, file, run): return 1 if 'cut' in file else len(np.load(file, mmap_mode='r'))
    def read(self, file, run):
        if 'once' in file and not Path('died').exists():
            Path('died').touch()
            os._exit(9)
        if 'always' in file: os._exit(9)
        if 'scheduler' in file: os.kill(int(Path('pid').read_text()), 9)
        if 'boom' in file: raise RuntimeError('boom')
        if 'cut' in file and Path('mended').exists():
            return Signals(torch.from_numpy(np.load('b.npy')[:1])[:,None], dict(file=[file]))
        if 'cut' in file: raise FileError(file, 'ends too early')
        return Signals(torch.from_numpy(np.load(file))[:,None], dict(file=[file]*len(np.load(file, mmap_mode='r'))))

line = Instrument('lab_of_lines.desk', setup=LineSetup, read=Rows)
'''

def cli(*words): return main([str(w) for w in words])

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "An instrument of one's own, and files of it; everything happens here."
    d, here = tmp_path_factory.mktemp('lab'), os.getcwd()
    (d/'lab_of_lines').mkdir()
    (d/'lab_of_lines'/'__init__.py').touch()
    (d/'lab_of_lines'/'desk.py').write_text(LAB)
    g = np.random.default_rng(0)
    for name, n in dict(a=4120, b=300, once=40, scheduler=30, always=20, boom=20).items():
        y = g.uniform(.1, 10, (n, 1))*np.linspace(0, 1, 8) + g.uniform(-5, 5, (n, 1))
        np.save(d/f'{name}.npy', y + .05*g.normal(size=y.shape))
    os.chdir(d)
    (d/'cut.npy').write_bytes(b'cut')
    yield d
    os.chdir(here)

@pytest.fixture(scope='module')
def cluster(folder):
    "Two processes of one thread."
    from physlearn.scale import _distributed
    _distributed()
    how = dict(threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0, silence_logs=50)
    with distributed.LocalCluster(2, **how) as c: yield c.scheduler_address

@pytest.fixture
def short(folder, cluster, monkeypatch):
    "Pieces of 64 rows, here and in the workers, so that a table of some hundred rows has several."
    from physlearn import desk
    def of(n):
        def change():
            from physlearn import desk
            desk.PIECE = n
        return change
    with distributed.Client(cluster, set_as_default=False) as client:
        client.run(of(64))
        monkeypatch.setattr(desk, 'PIECE', 64)
        yield
        client.run(of(PIECE))

FIT = 'fit', 'lab_of_lines.desk'

def tries(out):
    "How often each piece was begun by the last command."
    return {p.name: len(p.read_text().splitlines()) for p in sorted(Path(f'{out}.parts', BEGUN).iterdir())}

def test_a_worker_dies_and_only_its_piece_is_done_again(folder, cluster, capsys):
    Path('died').touch()
    assert cli(*FIT, 'a.npy', 'once.npy', 'b.npy', '--noise', .05, '--out', 'one.csv') == 0
    Path('died').unlink()
    shared = *FIT, 'a.npy', 'once.npy', 'b.npy', '--noise', .05, '--out', 'two.csv', '--scheduler', cluster, '--keep-parts'
    assert cli(*shared) == 0 and Path('died').exists()
    assert Path('one.csv').read_bytes() == Path('two.csv').read_bytes()
    assert tries('two.csv') == {'000000': 1, '000001': 2}
    part = Results.of_part('two.csv.parts/000001/rows.parquet')
    assert len(part) == 4460 - PIECE and set(part.signals['file']) == {'a.npy', 'once.npy', 'b.npy'}
    # what is finished is not done again, unless it is of other input or options
    capsys.readouterr()
    assert cli(*shared, '--overwrite') == 0
    assert '2 pieces, 2 done already' in capsys.readouterr().out and tries('two.csv') == {}
    os.utime('b.npy')
    assert cli(*shared, '--overwrite') == 0
    assert '1 done already, 1 of other input or options' in capsys.readouterr().out
    assert tries('two.csv') == {'000001': 1} and Path('one.csv').read_bytes() == Path('two.csv').read_bytes()

def test_as_many_workers_as_are_asked_for(folder):
    "Whatever the number of cores is."
    for n in (1, 3):
        with cluster_of(SimpleNamespace(workers=n, scheduler=None)) as client: assert len(client.scheduler_info()['workers']) == n

def test_a_bad_file_costs_itself(folder, cluster, capsys):
    Path('died').touch()
    assert cli(*FIT, 'b.npy', 'once.npy', '--noise', .05, '--out', 'good.csv') == 0
    shared = *FIT, 'b.npy', 'cut.npy', 'once.npy', '--noise', .05, '--out', 'bad.csv', '--scheduler', cluster
    assert cli(*shared) == 2
    assert capsys.readouterr().err == 'physlearn: not read: cut.npy: ends too early\n'
    assert Path('bad.csv').read_bytes() == Path('good.csv').read_bytes() and Path('bad.csv.parts').is_dir()
    Path('mended').touch()                                          # what stood against it is gone, and the file is the same
    assert cli(*shared, '--overwrite') == 0
    out = capsys.readouterr().out
    assert 'done already' not in out and len(Path('bad.csv').read_text().splitlines()) == 341 + 1

def test_a_bad_file_in_one_process(folder, cluster, short, capsys):
    "It is named, the code is 2, and the table is that of several processes, where pieces begin in the file and behind it."
    Path('died').touch()
    Path('mended').unlink(missing_ok=True)
    alone = *FIT, 'b.npy', 'cut.npy', 'once.npy', '--noise', .05
    assert cli(*alone, '--out', 'alone.csv') == 2
    assert capsys.readouterr().err == 'physlearn: not read: cut.npy: ends too early\n'
    assert cli(*alone, '--out', 'together.csv', '--scheduler', cluster) == 2
    assert Path('alone.csv').read_bytes() == Path('together.csv').read_bytes()
    capsys.readouterr()

def test_a_bad_row_costs_itself(folder, cluster, short, capsys):
    "NaN, Inf, zeros and a saturated detector in a table of several pieces: rows without values, the bytes of one process."
    y = np.load('b.npy')
    y[7], y[63,3], y[64,2], y[65], y[66], y[128:192] = np.nan, np.inf, -np.inf, 0., 5., np.nan          # and a whole piece
    np.save('rows.npy', y)
    assert cli(*FIT, 'rows.npy', '--noise', .05, '--out', 'rows1.csv') == 0
    assert cli(*FIT, 'rows.npy', '--noise', .05, '--out', 'rows2.csv', '--scheduler', cluster) == 0
    assert cli(*FIT, 'b.npy', '--noise', .05, '--out', 'rows0.csv') == 0
    assert Path('rows1.csv').read_bytes() == Path('rows2.csv').read_bytes()
    bad, good = (pd.read_csv(f'rows{k}.csv', comment='#') for k in (1, 0))
    lost = [7, 63, 64, *range(128, 192)]
    assert np.flatnonzero(bad['slope [V]'].isna()).tolist() == lost and 'values are not finite' in Path('rows1.csv').read_text()
    same = np.setdiff1d(np.arange(len(y)), [*lost, 65, 66])
    assert np.allclose(bad['slope [V]'][same], good['slope [V]'][same], rtol=1e-9)

def test_a_fault_costs_its_piece(folder, cluster, capsys):
    "A fault in the reader is told as it is, with its place, when the others are done."
    Path('died').touch()
    assert cli(*FIT, 'a.npy', 'boom.npy', '--noise', .05, '--out', 'boom.csv', '--scheduler', cluster) == 2
    said = capsys.readouterr()
    assert 'RuntimeError: boom' in said.err and '1 of 2 pieces were finished' in said.out and not Path('boom.csv').exists()
    assert {p.name for p in Path('boom.csv.parts').glob('0*')} == {'000000'}

def test_what_is_finished_is_not_done_twice(folder):
    "A worker may die with the answer of a piece that is on the disk already: another then reads it there."
    c = command_of('fit', find('lab_of_lines.desk', here=True))(files=('b.npy',), out='twice.csv')
    mark, = stamps(in_words('fit', c), c, c.pieces())
    Path('twice.csv.parts', BEGUN).mkdir(parents=True)
    first, again = (work(in_words('fit', c), '000000', mark, 'twice.csv.parts') for _ in range(2))
    assert first == again and first['said']['rows'] == 300 and tries('twice.csv') == {'000000': 1}
    Path('twice.csv.parts', BEGUN, '000001').write_text('a\nb\nc\n')
    assert work(in_words('fit', c), '000001', mark, 'twice.csv.parts') == dict(error='ended its process 3 times')

def test_no_room(folder):
    "A worker that cannot write says where; with room again the piece is done."
    c = command_of('fit', find('lab_of_lines.desk', here=True))(files=('b.npy',), out='full.csv')
    mark, = stamps(in_words('fit', c), c, c.pieces())
    Path('full.csv.parts', BEGUN).mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, hard))                       # bytes of a file
    try: said = work(in_words('fit', c), '000000', mark, 'full.csv.parts')
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 'too large' in said['error'] and 'full.csv.parts' in said['error']
    assert work(in_words('fit', c), '000000', mark, 'full.csv.parts')['said']['rows'] == 300

def test_a_worker_sees_the_folder(folder, monkeypatch):
    c = command_of('fit', find('lab_of_lines.desk', here=True))(files=('b.npy',), out='w.csv')
    mark, = stamps(in_words('fit', c), c, c.pieces())
    monkeypatch.setattr(os, 'getcwd', lambda: '/nowhere')
    assert 'same file system' in work(in_words('fit', c), '000000', mark, 'none.parts')['error']

def test_a_piece_that_ends_its_process_is_named(folder, cluster, capsys):
    Path('died').touch()
    assert cli(*FIT, 'a.npy', 'always.npy', '--noise', .05, '--out', 'killed.csv', '--scheduler', cluster) == 2
    said = capsys.readouterr().err
    assert '1 of 2 pieces failed, the first is 000001' in said and 'always.npy' in said and 'ended its process 3 times' in said
    assert tries('killed.csv') == {'000000': 1, '000001': 3} and not Path('killed.csv').exists()
    assert Path('killed.csv.parts/000000/rows.parquet').exists()

def test_the_scheduler_is_lost(folder, capsys):
    "One sentence, and what is done stays."
    start = """
        import time
        from distributed import LocalCluster
        if __name__ == '__main__':
            c = LocalCluster(1, threads_per_worker=1, processes=False, protocol='tcp://', dashboard_address=None,
                             memory_limit=0)
            print(c.scheduler_address, flush=True)
            time.sleep(600)"""
    Path('start.py').write_text(textwrap.dedent(start))
    p = subprocess.Popen([sys.executable, 'start.py'], stdout=subprocess.PIPE, text=True)
    try:
        address = p.stdout.readline().strip()
        Path('pid').write_text(str(p.pid))
        assert cli(*FIT, 'b.npy', 'scheduler.npy', '--noise', .05, '--out', 'lost.csv', '--scheduler', address) == 2
        said = capsys.readouterr().err
        assert 'the scheduler is lost' in said and 'lost.csv.parts; the same command goes on' in said
        assert cli(*FIT, 'b.npy', '--out', 'never.csv', '--scheduler', address) == 2
        assert 'cannot be reached' in capsys.readouterr().err
    finally:
        p.kill()
        p.wait()

def started(*words): # module and options of a command of Dask
    "A process of a cluster that somebody else has."
    return subprocess.Popen([sys.executable, '-m', f'distributed.cli.{words[0]}', *words[1:], '--no-dashboard'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def test_a_cluster_of_somebody_else(folder, capsys, monkeypatch):
    """A scheduler and a worker, started as commands with Dask's own settings. The worker keeps a command as long as nothing that all its pieces
    depend on changes; a piece that ends it three times is named, and the cluster goes on. A worker that begins again is waited for."""
    def looked():
        from physlearn.scale import from_words
        return tuple(from_words.cache_info())[:2]                    # found there, made anew
    Path('died').touch()
    processes = [started('dask_scheduler', '--host', '127.0.0.1', '--port', '0', '--scheduler-file', 's.json')]
    try:
        processes.append(started('dask_worker', '--scheduler-file', 's.json', '--nthreads', '1', '--death-timeout', str(PATIENCE)))
        with distributed.Client(scheduler_file='s.json', set_as_default=False, timeout=PATIENCE) as client:
            client.wait_for_workers(1)
            address = json.loads(Path('s.json').read_text())['address']
            words = *FIT, 'b.npy', '--noise', .05, '--scheduler', address
            assert cli(*words, '--out', 'kept.csv') == 0
            os.utime('b.npy')                                        # the input is another, what the command is made of is not
            assert cli(*words, '--out', 'kept.csv', '--overwrite') == 0
            assert [*client.run(looked).values()] == [(1, 1)]
            assert cli(*words, '--out', 'other.csv') == 0            # another command is made anew
            assert [*client.run(looked).values()] == [(1, 2)]
            capsys.readouterr()
            monkeypatch.setattr('physlearn.scale.LOOK', .1)           # the only worker is away for longer than that, each time
            assert cli(*FIT, 'b.npy', 'always.npy', '--noise', .05, '--out', 'theirs.csv', '--scheduler', address) == 2
            assert 'always.npy' in (said := capsys.readouterr().err) and 'ended its process 3 times' in said
            assert tries('theirs.csv') == {'000000': 3}
            assert cli(*words, '--out', 'kept.csv', '--overwrite') == 0
            processes[1].terminate()
            processes[1].wait()
            monkeypatch.setattr('physlearn.scale.AWAY', 1.)
            assert cli(*words, '--out', 'kept.csv', '--overwrite') == 2 and 'it has no workers' in capsys.readouterr().err
    finally:
        for p in reversed(processes): p.terminate()
        for p in processes:
            try: p.wait(60)
            except subprocess.TimeoutExpired: p.kill()             # a worker without a scheduler waits for one

def test_simulated_signals(folder, cluster):
    "The union of shards, one or seven of them, is what one process writes; so is the work of a cluster."
    cls = command_of('simulate', find('lab_of_lines.desk', here=True))
    whole = cls(out='s.h5', n=6*64 + 10, noise=.01)
    whole.run()
    for size in (1000, 64):
        parts = ranges(whole.n, size)
        assert len(parts) == (1 if size == 1000 else 7)
        for i, (a, b) in enumerate(parts): whole.written(f's{i}.h5', *whole.drawn(a, b))
        join_hdf5('joined.h5', [f's{i}.h5' for i in range(len(parts))])
        assert Path('joined.h5').read_bytes() == Path('s.h5').read_bytes()
    assert cli('simulate', 'lab_of_lines.desk', 'm1.h5', '--n', 5000) == 0
    assert cli('simulate', 'lab_of_lines.desk', 'm2.h5', '--n', 5000, '--scheduler', cluster) == 0
    assert Path('m1.h5').read_bytes() == Path('m2.h5').read_bytes() and not Path('m2.h5.parts').exists()

@pytest.mark.parametrize('n', [1, 64, 65, 128, 130])
def test_ranges(n):
    "They cover the rows, begin where blocks begin, and the last one is shorter."
    r = ranges(n, 64)
    assert [i for a, b in r for i in range(a, b)] == list(range(n)) and all(a % 32 == 0 for a, _ in r)
    assert len(r) == 1 or r[-1][1] - r[-1][0] < r[0][1] - r[0][0]

def test_words_and_stamps(folder):
    "A command comes back from its words; a stamp tells options, input and run, and damage is no stamp."
    Path('died').touch()
    cls = command_of('fit', find('lab_of_lines.desk', here=True))
    c = cls(files=('b.npy',), out='w.csv', known=('slope=1±.1V',), workers=3)
    again = from_words(in_words('fit', c))
    assert again.files == c.files and again.known == c.known and again.workers is None
    before, = stamps(in_words('fit', c), c, c.pieces())
    assert before['inputs']['b.npy'][0] == os.path.getsize('b.npy')
    other = cls(files=('b.npy',), out='w.csv', known=('slope=2±.1V',))
    assert stamps(in_words('fit', other), other, other.pieces()) != [before]
    Path('w.csv.parts', BEGUN).mkdir(parents=True)
    assert work(in_words('fit', c), '000000', before, 'w.csv.parts')['said']['rows'] == 300
    done = Path('w.csv.parts/000000')
    assert is_done(done, before) and not is_done(done, before | dict(version='0'))
    (done/STAMP).write_text((done/STAMP).read_text()[:50])
    assert not is_done(done, before)
    assert 'install one version' in work(json.dumps(json.loads(in_words('fit', c)) | dict(version='0')), '000000', before,
                                         'w.csv.parts')['error']

@pytest.mark.parametrize('words, says', [
    (['--workers', 0, '--out', 'x.csv'], 'expected 1 or more'), (['--workers', 2], 'name a file, --out'),
    (['--workers', 2, '--scheduler', 'tcp://a:1', '--out', 'x.csv'], 'give one of them')])
def test_what_cannot_be(folder, capsys, words, says):
    assert cli(*FIT, 'b.npy', *words) == 2 and says in capsys.readouterr().err

def test_without_the_extra(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'distributed', None)
    assert cli(*FIT, 'b.npy', '--workers', 2, '--out', 'x2.csv') == 2
    assert "pip install 'physlearn[scale]'" in capsys.readouterr().err

def test_a_folder_of_somebody_else(folder, capsys):
    Path('x3.csv.parts').mkdir()
    Path('x3.csv.parts/thesis.tex').touch()
    assert cli(*FIT, 'b.npy', '--workers', 2, '--out', 'x3.csv') == 2
    assert 'holds thesis.tex, which is no piece' in capsys.readouterr().err and Path('x3.csv.parts/thesis.tex').exists()

# --- other kinds of work, in which a worker is killed at the second piece, once

def dies_once(module, name):
    "What a worker does to itself: the second piece of a command ends it, unless that has happened already."
    def plant():
        cls = getattr(import_module(module), name)
        whole = cls.part
        def part(self, piece, folder):
            if str(folder).endswith('000001') and not Path('gone').exists():
                Path('gone').touch()
                os._exit(9)
            return whole(self, piece, folder)
        cls.part = part
    return plant

def killed(cluster, where, words, out):
    "How often each piece was begun, of a command whose second piece kills a worker."
    Path('gone').unlink(missing_ok=True)
    with distributed.Client(cluster, set_as_default=False) as client: client.run(dies_once(*where))
    assert cli(*words, '--out', out, '--scheduler', cluster, '--keep-parts') == 0 and Path('gone').exists()
    return list(tries(out).values())

def test_a_scene(folder, cluster, monkeypatch):
    "A map of six windows has the bytes of one process, and only the window that was lost is done twice."
    rasterio = pytest.importorskip('rasterio')
    import physlearn.canopy.retrieve as maps
    from physlearn.canopy.reflectance import BANDS
    from physlearn.canopy.train_physvae import canopy_recipe
    recipe = canopy_recipe('quick', width=16, pretrain_samples=256, val_samples=64, epochs_pretrain=1, epochs=1, kl_warmup_epochs=1, batch_size=64, gpus=0, threads=1)
    run = recipe.fit('wood', quiet=True, evaluate=False)
    maps.head_of(run, rows=4096, say=lambda *a: None)
    x = run.recipe.simulated(run.sim).source(torch.arange(6144), 'scene', 0)['x'][:,0].numpy()
    how = dict(tiled=True, blockxsize=16, blockysize=16, crs='EPSG:32633', transform=rasterio.Affine(10, 0, 6e5, 0, -10, 5.3e6))
    with rasterio.open('scene.tif', 'w', driver='GTiff', width=96, height=64, count=11, dtype='uint16', nodata=0, **how) as f:
        v = np.round(1e4*x + 1000).astype('uint16').T.reshape(11, 64, 96)
        v[:,32:,64:] = 0                                                     # the last window is without data
        f.write(v)
        f.descriptions = BANDS
    windows = maps.windows
    monkeypatch.setattr(maps, 'windows', lambda h, w, block: windows(h, w, block, most=1024))
    words = 'retrieve', 'wood', 'scene.tif', '--method', 'moments', '--scale', 10000, '--offset', -1000, '--tts', 40
    assert cli(*words, '--out', 'map1.tif') == 0
    begun = killed(cluster, ('physlearn.canopy.retrieve', 'ByWindows'), words, 'map2.tif')
    assert Path('map1.tif').read_bytes() == Path('map2.tif').read_bytes()
    assert len(begun) > 3 and sorted(begun) == [1]*(len(begun) - 1) + [2] and begun[1] == 2
    with rasterio.open('map1.tif') as f: there = ~np.isnan(f.read())
    assert not there[:,32:,64:].any() and there[:,:32].all() and there[:,:,:64].all()

def test_a_catalogue(folder, cluster, monkeypatch):
    "So has a catalogue of sources, in two pieces for variability and anomalies each."
    from physlearn.lightcurve import xray_scores
    from physlearn.lightcurve.train_lightcurve import lightcurve_recipe
    from physlearn.lightcurve.xray_simulate import simulate
    tiny = dict(epochs=1, gpus=0, batch_size=64)
    lightcurve_recipe('quick', sources=80, test_size=.3, hidden=8, latent_size=2, **tiny).fit('xray', quiet=True, evaluate=False)
    Path('survey').mkdir()
    simulate(520, 9).write(Path('survey'))
    batches = xray_scores.whole_batches
    monkeypatch.setattr(xray_scores, 'whole_batches', lambda lengths, most: batches(lengths, most, least=1))
    words = 'score', 'lightcurve', 'xray', 'survey'
    assert cli(*words, '--out', 'odd1.csv') == 0
    begun = killed(cluster, ('physlearn.lightcurve.xray_scores', 'ScoreLightCurves'), words, 'odd2.csv')
    assert Path('odd1.csv').read_bytes() == Path('odd2.csv').read_bytes() and begun == [1, 2]

def test_light_curves_in_one_process_and_in_two(folder, cluster, capsys):
    "A file that cannot be read, and one with too few steps, are named, and the others are fitted."
    from physlearn.lightcurve.xray_simulate import simulate
    Path('few').mkdir()
    files = simulate(2, 3).write(Path('few'))
    Path('few/torn.fits').write_bytes(files[0].read_bytes()[:4000])
    words = 'fit', 'lightcurve', 'few/torn.fits', *files, '--draws', 64, '--bands', 2
    said = []
    for more in (['--out', 'light1.csv'], ['--out', 'light2.csv', '--scheduler', cluster]):
        assert cli(*words, *more) == 2
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] and said[0].startswith('physlearn: not fitted: few/torn.fits') and said[0].count('\n') == 1
    assert Path('light1.csv').read_bytes() == Path('light2.csv').read_bytes()

def test_spectra_without_a_run(folder, cluster, capsys):
    "Fits in blocks, on two axes, one file without data: the table of one process; a folder gets a result for each."
    from physlearn.files import write_table
    assert cli('simulate', 'spectra', 'fits.h5', '--n', 5, '--num-points', 64, '--noise', .002) == 0
    with h5py.File('fits.h5') as f: nu, y = f['wavenumber'][:], f['signal'][:]
    for i in range(5): write_table(f'fit{i}.csv', dict(wavenumber=nu[0] + .01*(i == 4), signal=y[i]), dict(quantity='signal', axis='wavenumber', unit='1/cm'))
    Path('fit5.csv').write_text('wavenumber,signal\n1,2\n')
    words = 'fit', 'spectra', *(f'fit{i}.csv' for i in (0, 5, 4, 1, 2, 3)), '--quantity', 'signal', '--axis', 'wavenumber', '--known', 'P=500mbar', 'T=305K', '--noise', .002
    said = []
    for more in (['--out', 'spec1.csv'], ['--out', 'spec2.csv', '--scheduler', cluster]):
        assert cli(*words, *more) == 2
        said.append(capsys.readouterr().err)
    assert said[0] == said[1] and said[0].startswith('physlearn: not fitted: fit5.csv') and said[0].count('\n') == 1
    assert Path('spec1.csv').read_bytes() == Path('spec2.csv').read_bytes() and len(pd.read_csv('spec1.csv', comment='#')) == 6
    assert cli(*words[:3], *words[8:], '--out', 'each', '--scheduler', cluster) == 0
    assert {p.name for p in Path('each').iterdir()} == {'fit0.json', 'fit0.png'}
    assert cli(*words, '--out', 'spec1.csv', '--resume', '--workers', 2) == 2 and 'leave --workers' in capsys.readouterr().err

def test_tiles(folder, cluster, capsys):
    "Simulated and refined: each file has the bytes of one process; a scene is not cut, and says so."
    from physlearn.sar.train_grounding import grounding_recipe
    def same(a, b):
        files = [{p.relative_to(d): p.read_bytes() for p in Path(d).rglob('*') if p.is_file()} for d in (a, b)]
        return files[0] == files[1] and len(files[0])
    for out, more in (('tiles1', []), ('tiles2', ['--scheduler', cluster])):
        assert cli('simulate', 'sar', out, '--n', 66, '--size', 48, *more) == 0
    assert same('tiles1', 'tiles2') == 132
    grounding_recipe('quick', data_dir='tiles1', epochs=1, max_samples=8, gpus=0).fit('land', quiet=True, evaluate=False)
    for out, more in (('fine1', []), ('fine2', ['--scheduler', cluster])):
        assert cli('ground', 'land', 'tiles1', '--damage', 'holes', '--max-samples', 9, '--out', out, *more) == 0
    assert same('fine1', 'fine2') > 40
    assert cli('simulate', 'sar', 'scene', '--scene', '--workers', 2) == 2 and 'leave --workers' in capsys.readouterr().err

@pytest.mark.parametrize('words', [
    'fit lab_of_lines.desk b.npy --workers x', 'simulate lab_of_lines.desk n.h5 --n 3.5', 'train spectra demo --gpus x', 'fit canopy x.csv --draws 1e3',
    'fit lightcurve a.fits --bands 1 x', 'fit lightcurve a.fits --table=1.5', 'simulate sar t --size big', 'simulate icecube e.h5 --n -', 'train canopy quick --epochs 2.0'])
def test_whole_numbers(folder, capsys, words):
    "A word that is no whole number: what was said, what is expected, and nothing of the parser."
    assert cli(*words.split()) == 2
    said = capsys.readouterr().err
    assert 'expected a whole number' in said or 'expected whole numbers' in said
    assert said.count('\n') == 1 and not any(w in said for w in ('INT', 'None', 'literal', 'parse', 'Got errors'))

# --- what the page says

ROOT = Path(__file__).resolve().parents[1]

def on_the_page():
    "Rows of its table: what, how many, measured rows a second, projected seconds of one core and of 64."
    cells = json.loads((ROOT/'nbs/tasks/larger_than_one_machine.ipynb').read_text(encoding='utf-8'))['cells']
    lines = [line for c in cells for line in ''.join(c['source']).splitlines() if line.startswith('|') and line.count('|') == 7]
    number, unit = lambda v: float(v.replace(',', '')), dict(s=1, min=60, h=3600)
    rows = [[w.strip() for w in line.strip('|').split('|')] for line in lines[2:]]
    return {what.split()[0]: (number(n), number(rate), *(float(t.split()[0])*unit[t.split()[1]] for t in times)) for what, n, _, rate, *times in rows}

def test_the_page_projects_what_was_measured():
    "Rows over the measured rate, to the digits that are shown; and the rates are those of the stored benchmark, where there is one."
    page = on_the_page()
    assert set(page) == {'spectra', 'pixels', 'sources', 'events'}
    for n, rate, one, many in page.values(): assert abs(n/rate/one - 1) < .03 and abs(n/rate/64/many - 1) < .06
    stored = ROOT/'benchmarks/results/scale.json'
    measured = json.loads(stored.read_text(encoding='utf-8'))['raw']['rate'] if stored.exists() else {}
    for what, rate in measured.items(): assert abs(page[what][1]/rate - 1) < .01, f'{what}: the page says {page[what][1]:,.0f}, measured was {rate:,.0f}'
