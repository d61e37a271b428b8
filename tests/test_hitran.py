"""Line lists and partition sums: damaged files are refused by name, real ones agree with an independent reader, and that
comparison notices a planted mistake."""
import gzip, os
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from physlearn.files import FileError
from physlearn.spectra import hitran
from physlearn.spectra.hitran import (LineList, PartitionSums, demo_lines, demo_partition_sums, isotopologues, line_strength, lorentz_hwhm,
                                      pressure_shift, read_lines, read_lines_csv, read_par, read_partition_sums)

DATA = os.environ.get('PHYSLEARN_DATA')
needs_data = pytest.mark.skipif(not DATA, reason='needs the files of PHYSLEARN_DATA')
RECORD = (' 61 3085.832219 1.693E-19 2.739E+01.05970.078  219.94510.73-.007120    0 0 1 1 1F2    0 0 0 0 1A1    7F2  3         6F1  1     '
          '565343332329 1 1 1    45.0   39.0\n')
TABLE = 'molec_id,local_iso_id,nu,sw,elower,gamma_air,gamma_self,n_air,delta_air\n6,1,3085.832219,1.693E-19,219.9451,.0597,.078,.73,-.00712\n'

def put(folder, name, text):
    (folder/name).write_text(text)
    return folder/name

@pytest.mark.parametrize('text,word', [
    (RECORD + RECORD[:80], 'line 2: 80 characters'), (RECORD[1:], 'line 1: 159 characters'), (RECORD.rstrip('\n') + ' \n', '161 characters'),
    (RECORD + '\n' + RECORD, 'line 2: 0 characters'), (RECORD.replace('1.693E-19', '1.6X3E-19'), 'columns 16-25'), (RECORD.replace('219.9451', '219,9451'), 'columns 46-55'),
    (RECORD.replace('3085.832219', '  -5.832219'), 'nu, columns 4-15'), (RECORD.replace(' 61', ' 60'), 'isotopologue 10'), (RECORD.replace('565343', '56?343'), 'column 130'),
    ('', 'empty'), ('not lines\n', '9 characters')])
def test_damaged_par(text, word, tmp_path):
    with pytest.raises(FileError, match=word): read_par(put(tmp_path, 'x.par', text))

@pytest.mark.parametrize('text,word', [
    (TABLE.replace('elower', 'energy'), "no column 'elower'"), (TABLE.replace('gamma_air', 'width'), 'gamma_air or gamma0_air'), (TABLE.replace('219.9451', 'low'), 'line 2, column elower'),
    (TABLE.replace('.0597', 'wide'), "'wide'"), (TABLE.replace('6,1,', '6,9,'), 'isotopologue 9'), (TABLE.replace('1.693E-19', '-1'), 'sw, line 2'), (TABLE + '6,1,3086\n', '3 cells')])
def test_damaged_table(text, word, tmp_path):
    with pytest.raises(FileError, match=word): read_lines_csv(put(tmp_path, 'x.csv', text))

def test_content_decides(tmp_path):
    "A wrong suffix does not matter, compression neither; what is no line list is refused."
    for name in ('a.txt', 'a.par', 'a.csv'): assert read_lines(put(tmp_path, name, RECORD)).nu[0] == 3085.832219
    assert read_lines(put(tmp_path, 'b.tsv', TABLE.replace(',', '\t'))).nu[0] == 3085.832219
    (tmp_path/'c.par.gz').write_bytes(gzip.compress(RECORD.encode()))
    assert read_lines(tmp_path/'c.par.gz').sw[0] == 1.693e-19
    for name, data in (('d.par', TABLE.encode()), ('d.csv', b'\x80\x04pickle'), ('d.txt', b'hello\n')):
        (tmp_path/name).write_bytes(data)
        with pytest.raises(FileError): read_lines(tmp_path/name)

@pytest.mark.parametrize('name', ['32.QTpy', 'q.pkl', 'q32.txt'])
def test_pickled_sums_are_refused(name, tmp_path):
    import pickle
    (tmp_path/name).write_bytes(pickle.dumps({296: 590.5}))
    with pytest.raises(FileError, match='pickle|not text'): read_partition_sums(tmp_path/name)

def test_missing_sum():
    with pytest.raises(KeyError, match=r'\(12C\)\(16O\)2'): PartitionSums()[2, 1]
    with pytest.raises(KeyError, match='tips'): line_strength(demo_lines(), torch.tensor([296.]), PartitionSums())
    with pytest.raises(ValueError, match='T = 900 K'): line_strength(demo_lines(), torch.tensor([296., 900.]), demo_partition_sums())

def test_demo_tables_are_whole():
    lines, Q = demo_lines(), demo_partition_sums()
    assert set(zip(lines.molec_id.tolist(), lines.local_iso_id.tolist())) == set(Q) and lines.molecules == ['CH4', 'H2O']
    assert 'JQSRT 277' in lines.meta['citation'] and (lines.select('CH4', 3085.8, 3086.1, strongest=6).sw_uncertainty() == .05).all()
    assert len(isotopologues()) > 150

def test_isotopologues_agree_with_hapi():
    hapi = hitran._hapi()
    for k, v in isotopologues().items():
        g, formula, abundance, mass, molecule = hapi.ISO[k][:5]
        assert v == (molecule, formula, abundance, mass, g)

def test_derivatives_have_the_right_sign_and_size():
    "Strength, width and shift against central differences, for every line and every state of the gas."
    lines, Q = demo_lines(), demo_partition_sums()
    P, T, x = (torch.tensor(v, dtype=torch.float64) for v in ([.05, .5, 1.], [180., 296., 330.], [1e-5, .03, .2]))
    lines = LineList(**{**{k: getattr(lines, k) for k in hitran._NEEDED}, 'deltap_air': 1e-5, 'delta_self': -.01, 'n_self': .6})
    for f, args, steps in ((lambda T: line_strength(lines, T, Q)/torch.tensor(lines.sw), (T,), (1e-3,)),
                           (lambda *a: lorentz_hwhm(lines, *a), (P, T, x), (1e-5, 1e-3, 1e-5)), (lambda *a: pressure_shift(lines, *a), (P, T, x), (1e-5, 1e-3, 1e-5))):
        for j, h in enumerate(steps):
            e = torch.ones_like(args[j])
            slope = torch.func.jvp(lambda v: f(*args[:j], v, *args[j+1:]), (args[j],), (e,))[1]
            ref = (f(*args[:j], args[j] + h, *args[j+1:]) - f(*args[:j], args[j] - h, *args[j+1:]))/(2*h)
            assert torch.allclose(slope, ref, rtol=1e-6, atol=1e-9*ref.abs().max()), j

# --- real files, read by pandas at the columns of the HITRAN documentation

FIELDS = dict(molec_id=(0, 2), local_iso_id=(2, 3), nu=(3, 15), sw=(15, 25), gamma_air=(35, 40), gamma_self=(40, 45), elower=(45, 55), n_air=(55, 59), delta_air=(59, 67))

def differs(lines, path):
    "Fields in which `lines` is not what pandas reads."
    ref = pd.read_fwf(path, colspecs=list(FIELDS.values()), names=list(FIELDS), header=None)
    return [k for k in FIELDS if not np.array_equal(getattr(lines, k), ref[k].values)]

@needs_data
@pytest.mark.parametrize('name', ['ch4_3035_3136', 'h2o_3035_3136', 'ch4_6047_6067'])
def test_par_agrees_with_pandas(name, monkeypatch):
    path = Path(DATA)/'hitran'/f'{name}.par'
    assert differs(read_par(path), path) == []
    monkeypatch.setitem(hitran._PAR, 'gamma_air', (41, 45))     # planted: the two widths exchanged
    monkeypatch.setitem(hitran._PAR, 'gamma_self', (36, 40))
    assert differs(read_par(path), path) == ['gamma_air', 'gamma_self']

@needs_data
def test_every_cut_of_a_real_file_is_refused(tmp_path):
    raw = (Path(DATA)/'hitran'/'ch4_6047_6067.par').read_bytes()
    for n in np.random.default_rng(0).integers(1, len(raw) - 2, 60):
        (tmp_path/'x.par').write_bytes(raw[:n])
        if n % 161 in (0, 160): assert len(read_par(tmp_path/'x.par')) == (n + 1)//161
        else:
            with pytest.raises(FileError, match=f'line {n//161 + 1}'): read_par(tmp_path/'x.par')

@needs_data
def test_two_roads_to_one_list():
    "The same near-infrared lines from .par and from a table whose centres were rounded at their source."
    par, table = read_lines(Path(DATA)/'hitran'/'ch4_6047_6067.par'), read_lines(Path(DATA)/'hitran'/'ch4_5952_6097_f32.csv')
    table = table.select(numin=6047.27, numax=6066.995)
    assert len(par) == len(table) and np.abs(par.nu - table.nu).max() < 6e-4
    for k in ('sw', 'gamma_air', 'gamma_self', 'n_air', 'delta_air'): assert np.allclose(getattr(par, k), getattr(table, k), rtol=1e-3), k
