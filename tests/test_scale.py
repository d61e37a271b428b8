"""Work in pieces: several processes write what one writes, to the bit; what breaks costs its own piece. Workers are real processes of
one Dask cluster; what kills one is the piece itself, at its first trial, which a file remembers."""
import json, os, subprocess, sys, textwrap
from pathlib import Path
import numpy as np
import pytest
from physlearn.cli import main
from physlearn.desk import PIECE, Results, command_of, ranges
from physlearn.files import join_hdf5
from physlearn.instruments import find
from physlearn.scale import BEGUN, STAMP, in_words, from_words, is_done, stamps, work

distributed = pytest.importorskip('distributed')

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

def test_a_bad_file_costs_itself(folder, cluster, capsys):
    Path('died').touch()
    assert cli(*FIT, 'b.npy', 'once.npy', '--noise', .05, '--out', 'good.csv') == 0
    assert cli(*FIT, 'b.npy', 'cut.npy', 'once.npy', '--out', 'alone.csv') == 2                # as one process has it
    shared = *FIT, 'b.npy', 'cut.npy', 'once.npy', '--noise', .05, '--out', 'bad.csv', '--scheduler', cluster
    assert cli(*shared) == 2
    assert 'not read: cut.npy: ends too early' in capsys.readouterr().err
    assert Path('bad.csv').read_bytes() == Path('good.csv').read_bytes() and Path('bad.csv.parts').is_dir()
    Path('mended').touch()                                          # what stood against it is gone, and the file is the same
    assert cli(*shared, '--overwrite') == 0
    out = capsys.readouterr().out
    assert 'done already' not in out and len(Path('bad.csv').read_text().splitlines()) == 341 + 1

def test_a_fault_costs_its_piece(folder, cluster, capsys):
    "A fault in the reader is told as it is, with its place, when the others are done."
    Path('died').touch()
    assert cli(*FIT, 'a.npy', 'boom.npy', '--noise', .05, '--out', 'boom.csv', '--scheduler', cluster) == 2
    said = capsys.readouterr()
    assert 'RuntimeError: boom' in said.err and '1 of 2 pieces were finished' in said.out and not Path('boom.csv').exists()
    assert {p.name for p in Path('boom.csv.parts').glob('0*')} == {'000000'}

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
