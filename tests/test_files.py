"""Hostile and broken files: whatever the bytes, a reader gives valid data or a FileError, and nothing else. And a writer that
is killed in the middle leaves the old file."""
import base64, gzip, io, json, os, subprocess, sys, textwrap, zipfile
import h5py, numpy as np, pytest
from conftest import PATIENCE
from hypothesis import HealthCheck, given, settings, strategies as st
from physlearn import files
from physlearn.data import HDF5Rows
from physlearn.files import FileError, atomic_write, read_hdf5, read_json, read_npz, read_table, ready_to_write, result_name, temporary, validate, write_hdf5, write_json, write_table

LIMIT = 2**24
calm = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])

def samples(folder):
    "One small whole file of each kind, written by other hands than ours: name -> (bytes, reader)."
    nu = np.linspace(3085, 3086, 40)
    npz, stored = io.BytesIO(), io.BytesIO()
    np.savez_compressed(npz, nu=nu, tau=np.exp(-nu/3000).astype('f4'), tag=np.array(['a', 'bc']))
    np.savez(stored, nu=nu, n=np.arange(6).reshape(2, 3))
    with h5py.File(folder/'s.h5', 'w') as f:
        f.attrs['instrument'] = np.bytes_('CRDS')
        f.create_dataset('run/nu', data=nu, chunks=(16,), compression='gzip', shuffle=True, fletcher32=True).attrs['unit'] = np.bytes_('1/cm')
        f.create_dataset('run/tau', data=np.exp(-nu), compression='lzf', chunks=(8,))
        f['n'] = np.arange(6).reshape(2, 3)
    table = '# source: somebody\nnu,sw,who\n' + ''.join(f'{a:.4f},{b:.3e},x\n' for a, b in zip(nu, np.exp(-nu)))
    return {'t.csv': (table.encode(), lambda p: read_table(p, text=['who'], limit=LIMIT)),
            't.csv.gz': (gzip.compress(table.encode()), lambda p: read_table(p, text=['who'], limit=LIMIT)),
            's.json': (json.dumps(dict(a=nu.tolist(), b=dict(c='d'))).encode(), lambda p: read_json(p, limit=LIMIT)),
            's.npz': (npz.getvalue(), lambda p: read_npz(p, limit=LIMIT)), 'u.npz': (stored.getvalue(), lambda p: read_npz(p, limit=LIMIT)),
            's.h5': ((folder/'s.h5').read_bytes(), lambda p: read_hdf5(p, limit=LIMIT))}

def mutants(raw, n, seed):
    "`n` damaged copies: cut off, bits flipped, bytes overwritten, a piece left out or doubled."
    rng = np.random.default_rng(seed)
    for i in range(n):
        b, at = bytearray(raw), int(rng.integers(len(raw)))
        if i % 4 == 0: b = b[:at]
        elif i % 4 == 1:
            for k in rng.integers(len(b), size=rng.integers(1, 6)): b[k] ^= 1 << rng.integers(8)
        elif i % 4 == 2: b[at:at+8] = bytes(rng.choice([0, 255, 127, 128], size=8).tolist())[:len(b) - at]
        else: b = b[:at] + b[at:at+16]*int(rng.integers(0, 3)) + b[at+16:]
        yield bytes(b)

def survive(raw, reader, path, n, seed):
    "Counts of (read, refused); anything else raises."
    read = refused = 0
    for b in mutants(raw, n, seed):
        path.write_bytes(b)
        try: data = reader(path)
        except FileError as e:
            refused += 1
            assert str(path) in str(e) and '\n' not in str(e)
            continue
        read += 1
        for v in (data.values() if isinstance(data, dict) else []):
            if isinstance(v, np.ndarray): assert not v.dtype.hasobject and v.nbytes <= LIMIT
            if path.suffix == '.csv' and v.dtype.kind == 'f': assert np.isfinite(v).all()
    return read, refused

@pytest.mark.parametrize('name', ['t.csv', 't.csv.gz', 's.json', 's.npz', 'u.npz'])
def test_damaged(name, tmp_path):
    raw, reader = samples(tmp_path)[name]
    (tmp_path/name).write_bytes(raw)
    reader(tmp_path/name)
    read, refused = survive(raw, reader, tmp_path/name, 600, 1)
    assert refused > 200, (read, refused)

def test_damaged_hdf5(tmp_path):
    "What the process that reads HDF5 does with damaged files. It may end at one of them, as it did at `CRASH`; these it survives."
    code = f"""
        import sys, pathlib; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_files import LIMIT, samples, survive
        from physlearn.files import _read_here
        folder = pathlib.Path({str(tmp_path)!r})
        raw, _ = samples(folder)['s.h5']
        print(*survive(raw, lambda p: _read_here(p, None, LIMIT), folder/'m.h5', 800, 2))"""
    r = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True, timeout=PATIENCE)
    assert r.returncode == 0, (r.returncode, r.stderr[-2000:], 'last file: ' + str(tmp_path/'m.h5'))
    read, refused = map(int, r.stdout.split())
    assert refused > 200, (read, refused)

def test_damaged_words(tmp_path, monkeypatch):
    "Strings of variable length lie in a heap, over which the HDF5 library may loop for ever: copies that are damaged there."
    p = tmp_path/'w.h5'
    with h5py.File(p, 'w') as f:
        f.attrs['who'] = 'somebody'
        f['a'] = np.arange(3)
    raw = p.read_bytes()
    at = raw.index(b'somebody')
    assert read_hdf5(p).meta == dict(who='somebody')
    monkeypatch.setattr(files, '_SECONDS', 2.)
    for k in (at - 28, at - 16, at):
        p.write_bytes(raw[:k] + bytes([raw[k] ^ 0x55]) + raw[k+1:])
        try: read_hdf5(p)
        except FileError: pass

@pytest.mark.parametrize('child,error,word', [
    ('import os; os.abort()', FileError, 'is damaged'), ('while True: pass', FileError, 'takes more than 0.5'),
    ('print("no answer")', FileError, 'is damaged'), ('import no_such_module', ImportError, 'cannot be imported'),
    ("""print('{"meta": {}, "arrays": [["a", "<f8", [1000000000000]]]}')""", FileError, 'unpacks to more'),
    ("""print('{"meta": {}, "arrays": [["a", "|O", [1]]]}')""", FileError, 'real numbers'),
    ("""print('{"meta": {}, "arrays": [["a", "<f8", [10]]]}')""", FileError, 'is damaged')])
def test_child_that_fails(child, error, word, tmp_path, monkeypatch):
    "A crash, an endless loop or a lie of the process that reads does not become ours."
    p = tmp_path/'a.h5'
    write_hdf5(p, dict(a=np.arange(3)))
    monkeypatch.setattr(files, '_CHILD', child)
    if child.startswith('while'): monkeypatch.setattr(files, '_SECONDS', .5)     # the others begin, however long that takes
    with pytest.raises(error, match=word): read_hdf5(p)

@calm
@given(st.binary(min_size=1, max_size=300), st.sampled_from(['', 'PK\x03\x04', '\x1f\x8b\x08', '\x89HDF\r\n\x1a\n', 'a,b\n', '{', '\x93NUMPY']))
def test_noise(tmp_path, noise, start):
    "Random bytes behind the right first ones, through every reader."
    p = tmp_path/'noise'
    p.write_bytes(start.encode('latin-1') + noise)
    for reader in (read_table, read_json, read_npz, read_hdf5):
        try: reader(p)
        except FileError: pass

numbers = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(blacklist_categories=['Cs', 'Cc']), max_size=8)

@calm
@given(st.lists(st.tuples(numbers, words), min_size=1, max_size=8))
def test_table_comes_back(tmp_path, rows):
    x, w = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    write_table(tmp_path/'t.csv', dict(x=x, w=w), dict(n=len(rows)))
    t = read_table(tmp_path/'t.csv', text=['w'])
    assert (t['x'].view('i8') == x.view('i8')).all() and (t['w'] == w).all() and t.meta == dict(n=str(len(rows)))

def bomb(path):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('a.npy', np.lib.format.MAGIC_PREFIX + bytes(2**25))
def crowd(path):
    with zipfile.ZipFile(path, 'w') as z:
        for i in range(1001): z.writestr(f'{i}.npy', b'')
def pickled(path): np.savez(path, a=np.array([print], dtype=object))
def outside(path):
    with h5py.File(path, 'w') as f: f['a'] = h5py.ExternalLink('/etc/passwd', '/')
def storage(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', (100,), 'u1', external=[('/etc/passwd', 0, 100)])
def huge(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', (2**40,), 'u1', chunks=(1024,))
def wide(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', (4,), 'f8', chunks=(2**28,), maxshape=(None,))
def mix(path):
    with h5py.File(path, 'w') as f: f.create_dataset('a', data=['x', 'y'], dtype=h5py.string_dtype())

@pytest.mark.parametrize('make,read,word', [(bomb, read_npz, 'at most|promises'), (crowd, read_npz, '1001 members'), (pickled, read_npz, 'could run code'),
    (outside, read_hdf5, 'another file'), (storage, read_hdf5, 'other files'), (huge, read_hdf5, 'unpacks to more'), (wide, read_hdf5, 'unpacks to more'),
    (mix, read_hdf5, 'variable-length')])
def test_hostile(make, read, word, tmp_path):
    p = tmp_path/('a.npz' if read is read_npz else 'a.h5')
    make(p)
    with pytest.raises(FileError, match=word): read(p, limit=LIMIT)

def test_killed_while_writing(tmp_path):
    "At whichever moment the process dies, the old file is whole."
    p = tmp_path/'run.json'
    write_json(p, dict(epoch=1))
    for before in ('', 'tmp.write_text("half")', 'tmp.write_text("half"); sys.stdout.flush()'):
        code = f'import os, sys\nfrom physlearn.files import atomic_write\nwith atomic_write({str(p)!r}) as tmp:\n    {before or "pass"}\n    os._exit(9)'
        assert subprocess.run([sys.executable, '-c', code]).returncode == 9
        assert read_json(p) == dict(epoch=1)
    write_json(p, dict(epoch=2))
    assert read_json(p) == dict(epoch=2)

def test_steps_of_an_atomic_write(tmp_path, monkeypatch):
    "Data to the disk, then the name, then the folder to the disk; a failure at any step keeps the old file and leaves no other."
    p, seen = tmp_path/'a.txt', []
    p.write_text('old')
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda fd: (seen.append('fsync'), fsync(fd)))
    monkeypatch.setattr(os, 'replace', lambda a, b: (seen.append('replace'), replace(a, b)))
    with atomic_write(p) as tmp: tmp.write_text('new')
    assert seen == ['fsync', 'replace', 'fsync'] and p.read_text() == 'new'
    def full(*args): raise OSError(28, 'No space left on device')
    for step in ('fsync', 'replace'):
        with monkeypatch.context() as m:
            m.setattr(os, step, full)
            with pytest.raises(OSError, match='No space'):
                with atomic_write(p) as tmp: tmp.write_text('newer')
        assert p.read_text() == 'new' and os.listdir(tmp_path) == ['a.txt']

def test_many_files_in_a_folder(tmp_path, monkeypatch):
    "A look through a folder takes a time that grows with it: a large one is looked through now and then, and what was left goes all the same."
    for i in range(500): (tmp_path/f'{i}.txt').write_text('old')
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    half = tmp_path/temporary(tmp_path/'7.txt').name.replace(f'-{os.getpid()}-', f'-{ended.pid}-')
    half.write_text('half')
    looks, listdir = [], os.listdir
    monkeypatch.setattr(os, 'listdir', lambda p: (looks.append(p), listdir(p))[1])
    for i in range(100):
        with atomic_write(tmp_path/f'{i}.txt') as tmp: tmp.write_text('new')
    assert not half.exists() and 1 <= len(looks) <= 10

def test_hdf5_writer_is_atomic(tmp_path):
    p = tmp_path/'a.h5'
    write_hdf5(p, dict(a=np.arange(3)))
    with pytest.raises(TypeError): write_hdf5(p, dict(a=np.arange(4), b=np.array([{}], dtype=object)))
    assert read_hdf5(p)['a'].tolist() == [0, 1, 2] and os.listdir(tmp_path) == ['a.h5']

# --- HDF5 in a process of its own

CRASH = (   # a whole file but for one byte; h5py reads its data in the process that asks, and that process ends (SIGSEGV)
    'H4sIAAAAAAACA+v0cHHj5ZLiYgABDg4GFgYBBmTwHwo8xFH5MPkEKM0IpTug9AommDgLWE4CKi4ANV+BGcKfABUPCXJ1Ban+jwZg9hxggdAcDK'
    'NgJAIPV8cAEB0B5WtA6RNMqOrKE8tS80pzk1KLIPySosS84tzMkpLEvORUpHRqQKS9gtD0ip6ueRgsoOmbE5gmORgKSxPzSjJLKmH6hIEW8SLZ'
    'h+4OHqgLGBlYwfoTKzKLYfq4kPSh+4eRgQ0ixwjjQ3IWIyNEwAaqD0YzA+VBMoIK9tC848Bgws1g8h+a/0C2g+SZmJnABnAzBID5jFB5JrA8I0'
    'NxRmlaWk4qPP8xQsVTUtNyEktSGVjg9kHCC6i2JDkjtcjYCJZvIe5kZmLiYIMVBSjZ2YCsdBHs5+/CCHQlrHyxEMOvHmbhBubRPIUMQOUvqKxG'
    'L3/Tcai34IPQ2QyIyEQG8/lQ+Qpo8lz8EDoOR+wX8qPyDRhGy/9RMApGwSgYBaNgoEFFXPKN2KwPWZl7rlyt05/2d6rae8kvj39/3zv58+rY6u'
    'nX1dLPZbbV7dxqtnxxfGiRT/j9Z1WqMxNzTY5vSzlYaxl03Huq3pUs4wIOL83M2Td2/Go9mi4SYua5sFE04wAjsN38fo5BiqrEgvaKuOiZSuXF'
    'XfLPH1p1n39tNOX9uR9rZe9ufT11SvrTU9IyYpKX++uzhGIW7D//Pu/ce72VU8WOH87bMtPmzfZK07tfLzPtv699OGKX2vnITWW39z0Wz7Op+f'
    'rSnHu9CNeEaXGNbDIXGBjsfW1krLdbfqyI435kezHld21w36/Flg+b0m/J7l/dvjW3WutV1K4nXN2en54c9veOVNPOLdkj8H/dtPK+b3rnez/u'
    '2W3kwi9+Yu66kP2XltSHh/jF3j900VjDynL5lm1r63eZSEVArGGqNX6eIxTjWxH3e/PagN83D2Vs5L67jkfhg6fmiszHzo7Hm1jFD/yRlrx/22'
    'X6DBm+qgiGZ+WRNnPf/Mjre/5d1THhX9NU6XJZu9qn7y6X3z9Yk8kygfFjuAKjwH1GzoYfDFF7dQ54X7CFtqY+2BNLQxp57+0vQOmCHxD6EQ+E'
    '7tv7HEx/bRP+B6J5k78/ANF356sX/QPSRWtfaH0A0m7Pd1+qB9IT2ObFHP/z3r543bM37e/f2y/l5G8X2/vefscrI/Nv6u/tFQV2am+6+tbenP'
    'eYzJmpr+1nnMlq2H7jhX3ez4f9f08+s0/iT32kPfmZfScX432GsBf2d9V2zdHmeW0f0bNA+3PJW/u5y9e8Dfz2zl7ze9zC6yvf269YOfP16Zfv'
    '7W1+ZL4v/v3e3prrfq8T0B0OG/bVPwfSs5bHVv8F0nz7Ik+D3C1pOvUPiA55eAnsr4lq/8D0lA8Q/86ChsM/KE1qeNKHHgWjYBSMggEEoHErmo'
    'xDMUHGoeDjRYznoSMBDxhRXdAxqMIDACFVNVdIFwAA')

def test_one_changed_byte(tmp_path):
    "A byte that ends the process which reads the data ends not ours."
    (tmp_path/'a.h5').write_bytes(gzip.decompress(base64.b64decode(CRASH)))
    code = f"from physlearn.files import read_hdf5\ntry: read_hdf5({str(tmp_path/'a.h5')!r})\nexcept ValueError as e: print(e)"
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert r.returncode == 0 and 'a.h5: ' in r.stdout and 'damaged' in r.stdout, r

def test_what_lies_around_is_not_run(tmp_path, monkeypatch):
    "Modules in the working directory, named like those that the reader needs, stay where they are."
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        f.attrs['quantity'] = 'signal'
        f['y'] = np.arange(4.)
    for name in ('h5py', 'numpy', 'json', 'math'): (tmp_path/f'{name}.py').write_text("open('ran', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    assert read_hdf5('a.h5').meta == dict(quantity='signal') and not (tmp_path/'ran').exists()

def complex_npz(p): np.savez(p, a=np.ones(20)*1j)
def records_npz(p): np.savez(p, a=np.zeros(20, [('x', 'f8'), ('y', 'i4')]))
def dates_npz(p): np.savez(p, a=np.arange(20).astype('M8[D]'))
def complex_hdf5(p):
    with h5py.File(p, 'w') as f: f['a'] = np.ones(20)*1j
def records_hdf5(p):
    with h5py.File(p, 'w') as f: f['a'] = np.zeros(20, [('x', 'f8'), ('y', 'i4')])
def references_hdf5(p):
    with h5py.File(p, 'w') as f: f.create_dataset('a', data=[f.ref]*20, dtype=h5py.ref_dtype)
def ragged_hdf5(p):
    with h5py.File(p, 'w') as f: f.create_dataset('a', (20,), dtype=h5py.vlen_dtype('f8'))
def opaque_hdf5(p):
    with h5py.File(p, 'w') as f: f.create_dataset('a', data=np.zeros(20, 'V5'))

@pytest.mark.parametrize('make', [complex_npz, records_npz, dates_npz, complex_hdf5, records_hdf5, references_hdf5, ragged_hdf5, opaque_hdf5])
def test_only_real_numbers(make, tmp_path):
    read, p = (read_npz, tmp_path/'a.npz') if 'npz' in make.__name__ else (read_hdf5, tmp_path/'a.h5')
    make(p)
    with pytest.raises(FileError, match='real numbers or text'): read(p)

@pytest.mark.parametrize('x', [np.ones(3)*1j, np.array(['1', '2']), np.array([None])])
def test_validate_wants_real_numbers(x):
    with pytest.raises(FileError, match='expected real numbers'): validate(x, 'a.npz', 'y')

def test_chunks_that_are_missing(tmp_path):
    "Pieces that were never written, or whose address is lost, are not read as zeros; NaN says of itself that it is a gap."
    for i, (kw, filled) in enumerate(((dict(chunks=(4,)), 8), (dict(chunks=(4,)), 0), ({}, 0), (dict(chunks=(4,), fillvalue=np.nan), 8))):
        p = tmp_path/f'{i}.h5'
        with h5py.File(p, 'w') as f:
            d = f.create_dataset('a', (16,), 'f8', **kw)
            if filled: d[:filled] = 1.
        if i == 3: assert np.isnan(read_hdf5(p)['a']).sum() == 8
        else:
            with pytest.raises(FileError, match='missing'): read_hdf5(p)

# --- tables

def test_a_row_that_became_a_comment(tmp_path):
    "One bit turns a 3 into #: each of these copies is refused, none loses a row in silence."
    text = '# quantity: signal\npixel,signal\n' + ''.join(f'{i},{.9 + .001*i:.7f}\n' for i in range(300, 390))
    raw = text.encode()
    for at in (i for i, c in enumerate(raw) if i and raw[i-1] == 10 and c == ord('3')):
        (tmp_path/'a.csv').write_bytes(raw[:at] + b'#' + raw[at+1:])
        with pytest.raises(FileError, match='comments stand above the header'): read_table(tmp_path/'a.csv')

# --- where results go

def test_names_of_results():
    "Of files in one folder, each has its own."
    files = ['in.csv', 'in.2.csv', 'in.h5', 'in.tsv', 'sample.0', 'sample.1', 'in.csv.gz', 'in.2.dx']
    assert len({result_name(f) for f in files}) == len(files)
    assert result_name('run/in.csv') == 'in' and result_name('in.2.csv') == 'in.2' and result_name('sample.0') == 'sample.0'

def test_nothing_is_replaced(tmp_path):
    "Not what is there without --overwrite, and never an input, by whatever name."
    a, b = tmp_path/'a.csv', tmp_path/'b.csv'
    a.write_text('x\n1\n')
    ready_to_write(b, inputs=[a])
    with pytest.raises(FileError, match='already there'): ready_to_write(a)
    ready_to_write(a, overwrite=True)
    with pytest.raises(FileError, match='is an input'): ready_to_write(a, overwrite=True, inputs=[a])
    b.symlink_to(a)
    (tmp_path/'c.csv').hardlink_to(a)
    for other in (b, tmp_path/'c.csv', tmp_path/'.'/'a.csv'):
        with pytest.raises(FileError, match='is an input'): ready_to_write(other, overwrite=True, inputs=[tmp_path/'missing.csv', a])

def test_an_input_with_an_edition(tmp_path):
    "A table of partition sums is an input, also where its edition stands behind its name."
    from physlearn.files import named_files
    from physlearn.spectra.setup import Gas
    q, lines = tmp_path/'q.csv', tmp_path/'lines.csv'
    for f in (q, lines): f.write_text('x\n1\n')
    gas = Gas(lines=(str(lines),), partition_sums=(f'{q}:2021', str(tmp_path/'missing.csv')))
    for f in (q, lines):
        with pytest.raises(FileError, match='is an input'): ready_to_write(f, overwrite=True, inputs=gas.inputs())
    assert [str(f) for f in named_files(dict(a=f'{q}:2021', b=(str(lines), 'voigt'), c=3, d=None, e=str(tmp_path)))] == [str(q), str(lines)]

def test_what_a_run_holds_is_an_input(tmp_path):
    "Results go where nothing is, never over a file of the run that they come from, nor over a file that any option names."
    from physlearn.desk import Fit, Retrieve
    for f in ('manifest.json', 'history.csv', 'mine.csv', 'd.csv', 'soil.csv'): (tmp_path/f).write_text('x\n1\n')
    class Named: endings, name = {}, 'named'
    r = Retrieve(folder=str(tmp_path), files=(str(tmp_path/'d.csv'),), overwrite=True)
    r.instrument = Named
    for f in ('manifest.json', 'history.csv', 'd.csv'):
        r.out = str(tmp_path/f)
        with pytest.raises(FileError, match='is an input'): r.ready()
    r.out = str(tmp_path/'mine.csv')
    r.ready()
    f = Fit(files=(str(tmp_path/'d.csv'),), overwrite=True, out=str(tmp_path/'soil.csv'))
    f.instrument, f.soil = Named, str(tmp_path/'soil.csv')
    with pytest.raises(FileError, match='is an input'): f.ready()

def whole_file(path):
    with h5py.File(path, 'w') as f:
        f['signal'] = np.arange(40.).reshape(8, 5)
        f.create_dataset('packed', data=np.arange(64).reshape(16, 4), chunks=(4, 4), compression='gzip')
    return path.read_bytes()

def test_a_file_is_checked_apart_before_its_rows_are_read_here(tmp_path, monkeypatch):
    "Once for each path, size and time; a file that ends the checking process is one sentence."
    p = tmp_path/'a.h5'
    whole_file(p)
    started = []
    isolated = files._isolated
    monkeypatch.setattr(files, '_isolated', lambda ask: started.append(ask['task']) or isolated(ask))
    for _ in range(3): assert len(HDF5Rows(p, ['signal'])) == 8
    assert started == ['check']
    p.touch()
    os.utime(p, ns=(1, 1))
    HDF5Rows(p, ['signal'])
    assert started == ['check']*2
    monkeypatch.setattr(files, '_CHILD', 'import os; os.abort()')
    os.utime(p, ns=(2, 2))
    with pytest.raises(FileError, match='is damaged'): HDF5Rows(p, ['signal'])
    (tmp_path/'crash.h5').write_bytes(gzip.decompress(base64.b64decode(CRASH)))
    with pytest.raises(FileError, match='is damaged'): HDF5Rows(tmp_path/'crash.h5')

def test_flipped_bytes_of_training_rows(tmp_path):
    "Four dozen copies with a changed byte: the check refuses a copy, or dies apart, or its rows can be read without an end of the process."
    whole_file(tmp_path/'a.h5')
    code = f"""if 1:
        import os, random, h5py
        from physlearn.files import FileError, check_here, parsing, rows_here
        raw, p, dice, seen = open({str(tmp_path/'a.h5')!r}, 'rb').read(), {str(tmp_path/'m.h5')!r}, random.Random(4), []
        def apart(work):
            pid = os.fork()
            if pid == 0:
                try: work()
                except FileError: os._exit(1)
                except BaseException: os._exit(2)
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        def items():
            with parsing(p, 'HDF5'), h5py.File(p, 'r', locking=False) as f:
                for d in f.values():
                    for i in (3, 0, len(d) - 1): d[i]
        for k in range(48):
            i = dice.randrange(len(raw) if k % 2 else 2048)
            with open(p, 'wb') as f: f.write(raw[:i] + bytes([raw[i] ^ 1 << dice.randrange(8)]) + raw[i+1:])
            seen.append(checked := apart(lambda: check_here(p, None, 2**28)))
            assert checked != 2 and apart(lambda: rows_here(p, 'signal', 0, 8, [])) != 2
            if checked == 0: assert apart(items) in (0, 1), i
        print(len(seen), seen.count(0), seen.count(1))"""
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert r.returncode == 0 and r.stdout.startswith('48 ') and int(r.stdout.split()[2]) > 3, r

@pytest.mark.parametrize('name, read, says', [
    ('one_byte_crashes.h5', read_hdf5, 'is damaged'), ('row_becomes_comment.csv', read_table, 'is this a damaged row'),
    ('foreign_exception.tif', 'image', 'is damaged'), ('overflow.jdx', 'spectrum', 'overflow.jdx')])
def test_files_that_people_sent(name, read, says):
    "Each was read as whole, or ended the interpreter, once."
    folder = os.environ.get('PHYSLEARN_DATA')
    if not folder: pytest.skip('PHYSLEARN_DATA is not set')
    if read == 'image':
        pytest.importorskip('rasterio')
        from physlearn.canopy.reflectance import read_reflectance as read
    elif read == 'spectrum': from physlearn.spectra.files import read_spectrum as read
    kw = dict(scale=1e4, offset=0.) if name.endswith('.tif') else {}
    with pytest.raises(FileError, match=says): read(os.path.join(folder, 'cases', 'files', name), **kw)

def test_nothing_stored_is_not_read_through(tmp_path):
    "8 TiB of gaps in a file of a few kB: seen to be whole at once, where reading would end at the limit of CPU time."
    with h5py.File(tmp_path/'a.h5', 'w') as f: f.create_dataset('gaps', (2**40,), 'f8', chunks=(2**16,), fillvalue=np.nan)
    files.check_hdf5(tmp_path/'a.h5', ['gaps'])

NAMED = {'a.npy': 'is one bare array of NumPy', 'a.npz': 'is an Excel, NPZ or other zip file', 'a.parquet': 'is a Parquet file', 'a.tif': 'is a TIFF image',
         'a.nc': 'is a classic NetCDF file'}

@pytest.mark.parametrize('name', NAMED)
def test_another_kind_is_named(name, tmp_path):
    "A reader that is given a file of another kind says of which, in every instrument."
    from physlearn.icecube.event_files import read_events
    from physlearn.lightcurve.xray_files import read_lightcurve
    path, x = tmp_path/name, np.ones((4, 3))
    if name == 'a.npy': np.save(path, x)
    elif name == 'a.npz': np.savez(path, x=x)
    elif name == 'a.parquet': __import__('pandas').DataFrame(x, columns=list('abc')).to_parquet(path)
    elif name == 'a.tif': __import__('PIL.Image').Image.fromarray(x.astype('uint8')).save(path)
    else: path.write_bytes(b'CDF\1' + bytes(60))
    for reader in (read_table, read_hdf5, read_lightcurve, read_events):
        if reader is read_events and name == 'a.parquet': continue              # a table of them may be one of events
        with pytest.raises(FileError) as e: reader(path)
        assert NAMED[name] in str(e.value) and 'expected' in str(e.value), reader

@pytest.mark.parametrize('head', ['PAR1,PAR2,TIME', 'CDF,RATE,TIME', 'CDFS,b,c'])
def test_names_of_columns_that_begin_like_a_binary_file(head, tmp_path):
    (tmp_path/'a.csv').write_text(f'{head}\n1,2,3\n')
    assert read_table(tmp_path/'a.csv')[head.split(',')[0]].tolist() == [1.]

def test_hdf5_sent_as_text(tmp_path):
    "Ends of lines in its first bytes were changed: no reader says that it is an HDF5 file, and expects one."
    from physlearn.icecube.event_files import read_events
    (tmp_path/'a.h5').write_bytes(b'\x89HDF\n\x1a\n' + bytes(99))
    for reader in (read_hdf5, read_events):
        with pytest.raises(FileError) as e: reader(tmp_path/'a.h5')
        assert 'is an HDF5 file' not in str(e.value) and 'HDF5' in str(e.value)
