"""Hostile files: sixty damaged copies for each reader, those that once broke one, and the kinds that were named. Each gives
valid data or a FileError in one line, in little memory. `benchmarks/mutants.py` reads 10,000 for each."""
import gzip, os, sys, time
from contextlib import nullcontext
from pathlib import Path
import h5py
import numpy as np
import pytest
from physlearn import files
from physlearn.files import FileError, read_columns, read_hdf5, read_json, read_npz, read_table, read_yaml
from physlearn.recipes import read_mapping
from physlearn.spectra.files import read_spectrum
from test_readers import Y, jcamp

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='children are forked, and their memory is asked of Linux')
sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'benchmarks'))

@pytest.fixture(scope='module')
def readers():
    if 'PHYSLEARN_DATA' not in os.environ: pytest.skip('PHYSLEARN_DATA is not set')
    for package in ('rasterio', 'pyarrow', 'astropy', 'jcamp', 'spc_io', 'brukeropus'): pytest.importorskip(package)
    import mutants
    found = mutants.readers(os.environ['PHYSLEARN_DATA'])
    return mutants, found

FAMILIES = ('hdf5', 'fits', 'text', 'curves', 'weights', 'reflectance', 'bands', 'lines', 'sums', 'continuum', 'spectrum', 'events', 'sensors',
            'labels', 'tile', 'scene', 'adapter', 'table', 'columns', 'npz', 'json', 'mapping', 'setup', 'recipe', 'results')

def failures(mutants, name, reader, seeds):
    got = mutants.run(name, reader, seeds)
    assert len(got) == len(seeds)
    return [g for g in got if g[1] in mutants.BAD and g[1] != 'slow']         # 2 s are for the benchmark to judge

@pytest.mark.parametrize('family', FAMILIES)
def test_mutants(readers, family):
    "Neither another error, nor data that cannot be right, nor a long wait."
    mutants, found = readers
    mine = {k: r for k, r in found.items() if k.split('/')[0] == family}
    assert mine
    for name, reader in mine.items(): assert not failures(mutants, name, reader, range(60)), name

def test_every_family_is_asked(readers): assert {k.split('/')[0] for k in readers[1]} == set(FAMILIES)

# mutants of the benchmark that gave another error, wrong data, or took too long, once
BROKE = {'hdf5/all': (128,), 'fits/catalogue': (17, 23, 29, 54, 60, 1097, 5805, 9469), 'fits/own': (17, 25, 123), 'fits/curve': (3773,), 'text/ecsv': (7, 35, 178, 756),
         'text/votable': (0, 12, 21, 67, 100, 264), 'text/table': (204, 757, 897), 'text/qdp': (16, 84, 892), 'text/maxi': (61,), 'curves': (11, 216, 393),
         'reflectance/field': (27,), 'reflectance/tif': (444,), 'bands': (18,), 'lines/physae': (98, 243, 590), 'spectrum/npz': (69,), 'spectrum/opus': (180,),
         'events/own': (6,), 'events/guide': (297, 354), 'events/graphnet': (58, 61, 94, 108, 115, 144), 'events/prometheus': (1, 499), 'adapter': (49,),
         'columns': (76,), 'setup': (7, 85), 'recipe': (65, 921), 'results': (537,)}

@pytest.mark.parametrize('name', BROKE)
def test_mutants_that_broke_a_reader(readers, name):
    mutants, found = readers
    assert not failures(mutants, name, found[name], BROKE[name])

PLANTED = dict(foreign=('npz', 'parsing', lambda path, kind: nullcontext()), comments=('table', '_late_comment', lambda *args: None),
               numbers=('table', '_numbers', lambda path, name, cells, lines, gaps: np.array([float(c or 'nan') for c in cells])))

@pytest.mark.parametrize('kind', PLANTED)
def test_an_error_that_is_planted_is_seen(kind, readers, monkeypatch):
    "A check that is taken away, or a foreign error that is let through, is found among the copies."
    mutants, found = readers
    name, what, instead = PLANTED[kind]
    monkeypatch.setattr(files, what, instead)
    assert failures(mutants, name, found[name], range(300))

# --- the kinds that were named

def make(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path

def soon(read, path, says=None, most=30.):
    "What is read, or the sentence of the refusal. These took minutes once; the time is a bound for ever, not a measurement."
    start = time.process_time()
    try: found = read(path)
    except FileError as e:
        found = str(e)
        assert '\n' not in found and says and says in found, found
    else: assert says is None, found
    assert time.process_time() - start < most
    return found

TABLE = 'nu,y\n' + ''.join(f'{3000 + i},0.5\n' for i in range(30))

@pytest.mark.parametrize('read', [read_table, read_columns])
@pytest.mark.parametrize('line', ['# a' + ' '*300_000 + 'b', '#'*300_000, '# a: ' + ' '*300_000 + 'x', '# a' + ' :'*150_000, '# ' + 'a '*150_000],
                         ids=('blanks', 'marks', 'value', 'colons', 'words'))
def test_a_long_comment(read, line, tmp_path):
    "The time of an expression grew with the square of its length."
    assert soon(read, make(tmp_path/'a.csv', f'{line}\n{TABLE}'))['nu'][-1] == 3029

@pytest.mark.parametrize('read', [read_table, read_columns])
def test_many_columns(read, tmp_path):
    n = 100_000
    found = soon(read, make(tmp_path/'a.csv', ','.join(f'a{i}' for i in range(n)) + '\n' + ','.join('1' for _ in range(n)) + '\n'))
    assert len(found) == n and len(repr(found)) < 1000
    soon(read, make(tmp_path/'a.csv', ','.join('a' for _ in range(n)) + '\n' + ','.join('1' for _ in range(n)) + '\n'), "'a' appears twice")

def test_many_lines_above(tmp_path):
    assert len(soon(read_table, make(tmp_path/'a.csv', ''.join(f'# k{i}: {i}\n' for i in range(500_000)) + TABLE)).meta) == 500_000

def test_long_digits(tmp_path):
    for n in (5000, 100_000): soon(read_columns, make(tmp_path/'a.csv', TABLE + '5'*n + 'x,1\n'), 'column nu: found')
    soon(read_spectrum, make(tmp_path/'a.dx', jcamp(Y).replace(b'##END', b'1'*300_000 + b'\n##END')), 'a.dx')

@pytest.mark.parametrize('read', [read_table, read_columns, read_json, read_mapping])
def test_text_that_unpacks_to_too_much(read, tmp_path):
    "A small file that claims to hold a lot."
    soon(read, make(tmp_path/'a.csv.gz', gzip.compress(b'nu,y\n' + b'3000.5,0.25\n'*4_000_000, 6)), 'unpacks to more than')

@pytest.mark.parametrize('fill', [0., np.nan])
def test_hdf5_that_unpacks_to_too_much(fill, tmp_path):
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        d = f.create_dataset('a', (2**27,), 'f8', chunks=(2**22,), compression='gzip', fillvalue=fill)
        if fill == 0: d[:2**22] = 0.
    soon(read_hdf5, tmp_path/'a.h5', 'unpacks to more than 64 MiB')

def test_npz_that_unpacks_to_too_much(tmp_path):
    np.savez_compressed(tmp_path/'a.npz', a=np.zeros(2**24))
    soon(read_npz, tmp_path/'a.npz', 'unpacks to 128 MiB')

def test_an_endless_loop_ends_soon(tmp_path, monkeypatch):
    "In CPU time, which a process that waits for a slow disk does not use."
    files.write_hdf5(tmp_path/'a.h5', dict(a=np.arange(3)))
    loop = "import signal\nsignal.setitimer(signal.ITIMER_PROF, .3)\nwhile True: pass"
    monkeypatch.setattr(files, '_CHILD', loop)
    with pytest.raises(FileError, match='of CPU time'): read_hdf5(tmp_path/'a.h5')

DEEP = 'a: &a [x,x,x,x,x,x,x,x,x]\n' + ''.join(f'{chr(98 + i)}: &{chr(98 + i)} [{",".join(["*" + chr(97 + i)]*9)}]\n' for i in range(10))

@pytest.mark.parametrize('text, says', [
    (DEEP, 'more than 100000 values'), ('a: &a [*a]\n', 'more than 100000 values'), ('a: 1\nb: 2\na: 3\n', "'a' is given twice"),
    ('a: !!python/object/apply:os.system [ls]\n', 'not YAML'), ('a: 2020-13-45\n', 'month must be'), ('a: !!int "x"\n', 'not YAML'), ('a: !!timestamp "x"\n', 'not YAML'),
    ('a: !!bool "x"\n', 'not YAML'), ('? [a]\n: 3\n', 'unhashable'), ('a: ' + '9'*5000, 'not YAML'), ('['*20_000, 'not YAML'), ('- a\n', 'no options'),
    ('a: !!binary "x"\n', 'not YAML'), ('<<: 3\n', 'not YAML'), ('a: !!omap 3\n', 'not YAML')],
    ids=lambda v: v[:20].strip())
def test_yaml(text, says, tmp_path): soon(read_mapping, make(tmp_path/'a.yaml', text), says)

def test_yaml_with_aliases(tmp_path):
    "Those that people write are read."
    found = read_yaml(make(tmp_path/'a.yaml', 'base: &b {lr: 1.0e-3, n: 4}\nmine:\n  <<: *b\n  n: 5\nlist: [*b, *b]\n'))
    assert found['mine'] == dict(lr=1e-3, n=5) and len(found['list']) == 2

def healthy(path, **attrs):
    with h5py.File(path, 'w') as f:
        f['wavenumber'], f['transmittance'] = np.linspace(3000, 3001, 40), np.linspace(.5, .6, 40)
        for k, v in attrs.items(): f.attrs[k] = v
    return path

@pytest.mark.parametrize('note', [b'', '', b'\xe9t\xe9', np.bytes_(b'\0'), h5py.Empty('S1'), h5py.Empty('f8'), np.array(['a', 'b'], 'S3'), np.array([], 'S1')],
                         ids=('bytes', 'text', 'latin', 'nul', 'null', 'null8', 'list', 'none'))
def test_a_healthy_file_with_an_odd_attribute(note, tmp_path):
    s = read_spectrum(healthy(tmp_path/'a.h5', note=note, quantity='transmittance', axis='wavenumber', unit='1/cm'))
    assert len(s) == 40 and '\udce9' not in str(s.meta)

@pytest.mark.parametrize('quantity, says', [(['transmittance'], None), (b'transmittance', None), ([1, 2], 'quantity [1, 2]'), (3, 'quantity 3'), (np.nan, 'quantity nan'),
                                            (['transmittance', 'signal'], "quantity ['transmittance', 'signal']"), ('', 'the quantity is not stated')])
def test_a_quantity_that_is_no_word(quantity, says, tmp_path):
    with h5py.File(healthy(tmp_path/'a.h5', quantity=quantity, axis='wavenumber', unit='1/cm'), 'r+') as f: f.move('transmittance', 'y')
    soon(read_spectrum, tmp_path/'a.h5', says)

@pytest.mark.parametrize('read, name', [(read_hdf5, 'a.nc'), (read_spectrum, 'a.h5'), (read_table, 'a.csv'), (read_columns, 'a.csv')])
def test_classic_netcdf(read, name, tmp_path): soon(read, make(tmp_path/name, b'CDF\x01' + bytes(300)), 'a classic NetCDF file')

COLUMNS = dict(records=np.zeros(40, [('a', 'f8')]), text=np.array(['a']*40), dates=np.zeros(40, 'M8[D]'), durations=np.zeros(40, 'm8[D]'), complex=np.zeros(40, complex),
               shape=np.zeros((40, 2)))

@pytest.mark.parametrize('kind', COLUMNS)
@pytest.mark.parametrize('column', ('wavenumber', 'transmittance', 'sigma'))
def test_columns_of_other_types(kind, column, tmp_path):
    whole = dict(wavenumber=np.linspace(3000, 3001, 40), transmittance=np.linspace(.5, .6, 40), sigma=np.full(40, .1))
    np.savez(tmp_path/'a.npz', **whole | {column: COLUMNS[kind]})
    says = column if kind == 'shape' else 'real numbers'
    soon(lambda p: read_spectrum(p, 'transmittance', 'wavenumber', unit='1/cm'), tmp_path/'a.npz', says)

def test_line_breaks_in_names(tmp_path):
    soon(read_table, make(tmp_path/'a\nb.csv', 'a,b\n1,x\n'), 'a\\nb.csv')
    np.savez(tmp_path/'a.npz', **{'a\nb': np.zeros(3, 'M8[D]')})
    soon(read_npz, tmp_path/'a.npz', 'a\\nb')
    soon(read_table, make(tmp_path/'a.csv', '"a\rb\x1b[31m",c\n1\n'), 'cells')

def test_json_of_half_a_character(tmp_path):
    soon(read_json, make(tmp_path/'a.json', '{"a": "\\ud800"}'), 'JSON')
    soon(read_json, make(tmp_path/'a.json', '{"a": "\\ud83d\\ude00"}'))

@pytest.mark.parametrize('digits, said', [(290, None), (400, 'digits'), (5000, 'digits')])
def test_json_of_many_digits(tmp_path, digits, said):
    "Python reads whole numbers of any length; no float holds them, and the first to ask breaks."
    soon(read_json, make(tmp_path/'a.json', '{"a": %s}' % ('7'*digits)), *([said] if said else []))

@pytest.mark.parametrize('old, new', [(b'##FIRSTX= 3085.0', b'##FIRSTX= ' + b'9'*400), (b'##LASTX= 3086.0', b'##LASTX= 1e999'), (b'##NPOINTS= 40', b'##NPOINTS= 10000000000'),
                                      (b'##YFACTOR= 1.0', b'##YFACTOR= 1e400'), (b'##XFACTOR= 1', b'##XFACTOR= ' + b'9'*5000)])
def test_jcamp_numbers(old, new, tmp_path):
    raw = jcamp(Y)
    assert old in raw
    soon(read_spectrum, make(tmp_path/'a.dx', raw.replace(old, new)), 'a.dx')

def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    "That it cannot be written was said."
    p = make(tmp_path/'a.csv', TABLE)
    monkeypatch.setattr(os, 'access', lambda *args: False)
    for read in (read_table, read_hdf5, read_npz): soon(read, p, 'cannot be opened')

@pytest.mark.parametrize('n', (10**10, 1, -3))
def test_points_that_no_memory_holds(n):
    "The allocator's own error came through."
    from physlearn.spectra.simulate import preset
    with pytest.raises(ValueError, match='expected 2 to 1048576'): preset('near_infrared').resized(n)
