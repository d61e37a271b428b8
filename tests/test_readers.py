"""Files of instruments, written here byte by byte after the published layouts: what they state is taken, nothing is guessed, and
whatever happens to their bytes, the answer is a spectrum or one sentence, soon."""
import struct, sys, time, tracemalloc
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.files import FileError, write_table
from physlearn.spectra.files import OTHERS, Spectrum, read_spectrum
from physlearn.spectra.fit import fit_spectrum, simulator_for
from physlearn.spectra.simulate import preset
from test_files import mutants

# --- writers, none of them by the packages that read

def jcamp(y, xunits='1/CM', yunits='TRANSMITTANCE', first=3085., last=3086., n=None, yfactor=1., firsty=None, data=None, form='(X++(Y..Y))', more='', table='XYDATA'):
    "A JCAMP-DX file; `data` are its lines of ordinates."
    y, n = np.asarray(y, float), len(y) if n is None else n
    x = np.linspace(first, last, len(y))
    if data is None: data = '\n'.join(f'{x[i]:.9f} ' + ' '.join(f'{v/yfactor:.10g}' for v in y[i:i+8]) for i in range(0, len(y), 8))
    return (f'##TITLE= a test\n##JCAMP-DX= 4.24 $$ by hand\n##DATA TYPE= INFRARED SPECTRUM\n##ORIGIN= here\n##OWNER= no\u00b0body\n##XUNITS= {xunits}\n##YUNITS= {yunits}\n##XFACTOR= 1\n##YFACTOR= {yfactor}\n'
            f'##FIRSTX= {first}\n##LASTX= {last}\n##NPOINTS= {n}\n##FIRSTY= {y[0] if firsty is None else firsty}\n{more}##{table}= {form}\n{data}\n##END=\n').encode('latin-1')

def spc(y, x=(3085., 3086.), xtype=1, ytype=128, flags=0, exp=-128, subexp=None, version=0x4b, subs=1, log=b'', explicit=None):
    "An SPC file: floats, or integers as shares of 2**exp, of 32 bit (or 16: flag 1)."
    kind = '<f4' if exp == -128 else '<i2' if flags & 1 else '<i4'
    bits = 16 if flags & 1 else 32
    values = np.asarray(y, kind) if exp == -128 else np.round(np.asarray(y)*2.**(bits - exp)).astype(kind)
    if explicit is not None: flags |= 0x80
    head = struct.pack('<BBBbIddIBBBBI9s9sH8f130s30sIIBBHf48sfIfB187s', flags, version, 4, exp, len(values), *x, subs, xtype, ytype, 0, 0, 0, b'', b'', 0, *[0.]*8,
                       b'by hand', b'', 0, 0, 0, 0, 0, 0., b'', 0., 0, 0., 0, b'')
    sub = struct.pack('<BbHfffIIf4s', 0, exp if subexp is None else subexp, 0, 0., 0., 0., 0, 0, 0., b'')
    body = (b'' if explicit is None else np.asarray(explicit, '<f4').tobytes()) + sub*subs + values.tobytes()
    assert len(head) == 512 and len(sub) == 32
    return (head if not log else head[:248] + struct.pack('<I', 512 + len(body)) + head[252:]) + body + log

def parameters(**kw):
    "A block of OPUS parameters: three letters, type, size in words of two bytes, value."
    out = b''
    for k, v in kw.items():
        kind, v = (0, struct.pack('<i', v)) if isinstance(v, int) else (1, struct.pack('<d', v)) if isinstance(v, float) else (2, v.encode() + b'\0'*(4 - len(v) % 4))
        out += k.encode() + b'\0' + struct.pack('<hh', kind, len(v)//2) + v
    return out + b'END\0' + bytes(4)

def code(*t): return t[0] | t[1] << 2 | t[2] << 4 | t[3] << 10 | t[4] << 17 | t[5] << 19

def opus(spectra, dxu='WN', first=3086., last=3085., csf=1., dpf=1, extra=()):
    "An OPUS file with spectra (kind, values): kinds are the codes of its data blocks."
    blocks = []
    for t, y in spectra:
        y = np.asarray(y)
        blocks.append((code(*t), np.asarray(y/csf, '<f4' if dpf == 1 else '<i4').tobytes()))
        blocks.append((code(*t[:2], 1, *t[3:]), parameters(DPF=dpf, NPT=len(y), FXV=first, LXV=last, CSF=csf, MXY=float(y.max()), MNY=float(y.min()), DXU=dxu)))
    blocks += extra
    at, table, body = 24 + 12*(len(blocks) + 1), struct.pack('<3i', code(0, 0, 0, 13, 0, 0), 3*(len(blocks) + 1), 24), b''
    for t, b in blocks:
        b += bytes(-len(b) % 4)
        table += struct.pack('<3i', t, len(b)//4, at + len(body))
        body += b
    return b'\n\n\xfe\xfe' + struct.pack('<d3i', 920622., 24, len(blocks) + 1, len(blocks) + 1) + table + body

T, A, SM, RF, IG, DERIVATIVE = (3, 3, 0, 5, 0, 0), (3, 3, 0, 4, 0, 0), (3, 1, 0, 1, 0, 0), (3, 2, 0, 1, 0, 0), (3, 1, 0, 2, 0, 0), (3, 3, 0, 4, 1, 0)

def read(folder, name, raw, *args, **kw):
    (folder/name).write_bytes(raw)
    return read_spectrum(folder/name, *args, **kw)

def refuse(folder, name, raw, says, *args, **kw):
    with pytest.raises(FileError) as e: read(folder, name, raw, *args, **kw)
    assert says in str(e.value) and '\n' not in str(e.value) and name in str(e.value), e.value

Y = 1 - .3*np.exp(-((np.arange(40) - 17)/4)**2)                 # one line, in no symmetric place
NU = np.linspace(3085, 3086, 40)

# --- JCAMP-DX

HAND = [1, 2, 3, 3, 2, 1, 0, -1, -2, -3]                        # McDonald & Wilks 1988, the table of ASDF forms
FORMS = dict(
    FIX='100 1 2 3 3 2 1 0 -1 -2 -3\n110 1 2 3 3 2 1 0 -1 -2 -3', PAC='100+1+2+3+3+2+1+0-1-2-3\n110+1+2+3+3+2+1+0-1-2-3', SQZ='100ABCCBA@abc\n110ABCCBA@abc',
    SQZDUP='100ABCTBA@abc\n110ABCTBA@abc', DIF='100AJJ%jjjjjj\n109cMJJ%jjjjjj', DIFDUP='100AJT%jX\n109cMJT%jX', FIXDUP='100 1 2 3T 2 1 0 -1 -2 -3\n110 1 2 3T 2 1 0 -1 -2 -3')

@pytest.mark.parametrize('form', FORMS)
def test_jcamp_forms(form, tmp_path):
    "Each compressed form of the standard gives the same numbers."
    s = read(tmp_path, 'a.dx', jcamp(2*HAND, yunits='ARBITRARY UNITS', first=100, last=119, data=FORMS[form]), 'signal')
    assert s.y.tolist() == 2*HAND and s.nu.tolist() == list(range(100, 120)) and s.quantity == 'signal'

def test_jcamp_long_counts(tmp_path):
    "A count of two digits, and one after a squeezed value."
    s = read(tmp_path, 'a.jdx', jcamp([7]*30, yunits='ARBITRARY UNITS', first=100, last=129, data='100GS8%A', n=30).replace(b'%A', b'%S2'), 'signal')
    assert s.y.tolist() == [7.]*30

def test_jcamp_axes(tmp_path):
    "Plain numbers, a factor, descending order, pairs; per cent are said to have been scaled."
    for kw in (dict(), dict(yfactor=1e-6), dict(first=3086., last=3085.)):
        s = read(tmp_path, 'a.jdx', jcamp(Y[::-1] if kw.get('first') == 3086. else Y, **kw))
        np.testing.assert_allclose(s.y, Y, rtol=1e-9)
        np.testing.assert_allclose(s.nu, NU, rtol=1e-12)
        assert s.quantity == 'transmittance' and not s.notes
    s = read(tmp_path, 'a.jcm', jcamp(100*Y, yunits='% Transmittance'))
    np.testing.assert_allclose(s.y, Y, rtol=1e-9)
    assert '0.01' in repr(s)
    s = read(tmp_path, 'a.dx', jcamp(100*Y, yunits='ARBITRARY UNITS'), 'transmittance', y_unit='%')
    np.testing.assert_allclose(s.y, Y, rtol=1e-9)
    pairs = jcamp(Y, table='XYPOINTS', form='(XY..XY)', data='\n'.join(f'{a:.9f}, {b:.10f}' for a, b in zip(NU**1.0001, Y)))
    np.testing.assert_allclose(read(tmp_path, 'a.dx', pairs).nu, NU**1.0001, rtol=1e-9)
    s = read(tmp_path, 'a.dx', jcamp(-np.log10(Y), xunits='MICROMETERS', yunits='ABSORBANCE', first=3.24, last=3.25), medium='vacuum')
    np.testing.assert_allclose(s.y[::-1], Y, rtol=1e-8)
    np.testing.assert_allclose(s.nu[[0, -1]], [1e4/3.25, 1e4/3.24], rtol=1e-9)

def test_jcamp_refused(tmp_path):
    no = lambda says, *args, raw=None, **kw: refuse(tmp_path, 'a.dx', jcamp(Y, **kw) if raw is None else raw, says, *args)
    no('the file says quantity transmittance; expected absorbance', 'absorbance')
    no('the file says axis wavenumber', None, 'wavelength')
    no("the file says unit '1/cm'; expected 'nm'", None, None, 'nm')
    no("quantity 'reflectance'", yunits='REFLECTANCE')
    no("quantity 'kubelka-munk'", 'absorbance', yunits='KUBELKA-MUNK')
    no("axis 'seconds'", None, 'wavenumber', xunits='SECONDS')
    no('the quantity is not stated', yunits='ARBITRARY UNITS')
    no('the axis is not stated', xunits='')
    no('without their medium', xunits='NANOMETERS', first=3240, last=3250)
    no('a transmittance of 1', raw=jcamp(100*Y))
    no('Mismatch of array lengths', n=41)
    no('40 points; expected 41', n=41, table='XYPOINTS', form='(XY..XY)', data='\n'.join(f'{a}, {b}' for a, b in zip(NU, Y)))
    no('NPOINTS', n=10**12)
    no('NPOINTS', n='many')
    no('as its FIRSTY says', firsty=.5)
    no('is damaged', data='3085 .9 ? .8')
    no('Y-Check failed', 'signal', raw=jcamp(2*HAND, yunits='ARBITRARY UNITS', first=100, last=119, data=FORMS['DIF'].replace('c', 'b')))
    no('X-Check failed', 'signal', raw=jcamp(2*HAND, yunits='ARBITRARY UNITS', first=100, last=119, data=FORMS['SQZ'].replace('110', '117')))
    no('a repeat count', 'signal', raw=jcamp(2*HAND, yunits='ARBITRARY UNITS', first=100, last=119, data='100AS99999999'))
    no('of nothing', 'signal', raw=jcamp(2*HAND, yunits='ARBITRARY UNITS', first=100, last=119, data='100 T1'))
    no('is a table of peaks', table='PEAK TABLE', form='(XY..XY)', data='\n'.join(f'{a}, {b}' for a, b in zip(NU, Y)))
    no('2 blocks', raw=b'##TITLE= two\n##DATA TYPE= LINK\n##BLOCKS= 2\n' + 2*jcamp(Y) + b'##END=\n')
    no('no XYDATA', raw=b'##TITLE= nothing\n##END=\n')
    no('not finite', data='\n'.join(f'{a:.4f} {1e200 if i else .9:g}e{200*(i > 3)}' for i, a in enumerate(NU)).replace('1e+200e200', '1e999').replace('e0', ''))
    no('is empty', raw=b'')

def test_jcamp_numbers_without_end(tmp_path):
    "A header's number that no float can hold."
    refuse(tmp_path, 'a.dx', jcamp(Y, firsty='9'*400), 'is damaged')

def test_complex_spectrum(tmp_path):
    "The half of a complex spectrum is none."
    np.savez(tmp_path/'a.npz', wavenumber=NU, transmittance=Y + .1j)
    with pytest.raises(FileError, match='real numbers'): read_spectrum(tmp_path/'a.npz', 'transmittance', 'wavenumber')

# --- SPC

@pytest.mark.parametrize('kw', [dict(), dict(exp=2), dict(exp=3, subexp=0), dict(exp=2, flags=1), dict(explicit=NU - 3000, x=(85., 86.)), dict(log=b'junk of a log = x = y\r\n'), dict(x=(3086., 3085.))], ids=str)
def test_spc(kw, tmp_path):
    "Floats, integers of 32 and 16 bit whose exponent is the file's, explicit axes, a log behind."
    back = kw.get('x') == (3086., 3085.)
    s = read(tmp_path, 'a.SPC', spc(Y[::-1] if back else Y, **kw))
    np.testing.assert_allclose(s.y, Y, rtol=1e-6 if not kw.get('flags') else 6e-5)
    np.testing.assert_allclose(s.nu, NU - 3000*('explicit' in kw), rtol=1e-12 if 'explicit' not in kw else 1e-6)
    assert s.quantity == 'transmittance' and s.meta['comment'] == 'by hand'

def test_spc_types(tmp_path, capfd):
    s = read(tmp_path, 'a.spc', spc(-np.log10(Y), ytype=2, xtype=3, x=(3240., 3250.)), medium='air')
    np.testing.assert_allclose(s.y[::-1], Y, rtol=1e-6)
    s = read(tmp_path, 'a.spc', spc(100*Y, ytype=11), 'transmittance')
    np.testing.assert_allclose(s.y, Y, rtol=1e-6)
    assert any('0.01' in note for note in s.notes)
    assert read(tmp_path, 'a.spc', spc(Y, ytype=0, xtype=17), 'signal').nu is None
    assert len(read(tmp_path, 'a.spc', spc(Y) + b'tail')) == 40 and capfd.readouterr() == ('', '')

def test_spc_refused(tmp_path):
    no = lambda says, *args, raw=None, **kw: refuse(tmp_path, 'a.spc', spc(Y, **kw) if raw is None else raw, says, *args)
    no('the file says quantity transmittance', 'absorbance')
    no('quantity is not stated', ytype=0)
    no('quantity is not stated', ytype=11)
    no("quantity 'YREFLEC'", 'transmittance', ytype=129)
    no("axis 'XRAMANS'", 'transmittance', 'wavenumber', xtype=13)
    no('axis is not stated', flags=0x20, raw=spc(Y, flags=0x20), *['transmittance'])
    no('an absorbance in', 'absorbance', ytype=11)
    no('is in the old SPC format', version=0x4d)
    no('another byte order', version=0x4c)
    no('does not start like an SPC file', version=7)
    no('3 spectra', subs=3)
    no('bytes; expected 704, for 40 points', raw=spc(Y)[:-1])
    no('at least 544', raw=spc(Y)[:300])
    no('for 4294967295 points', raw=spc(Y)[:4] + b'\xff'*4 + spc(Y)[8:])
    no('not finite', raw=spc(np.where(np.arange(40) == 7, np.nan, Y)))

# --- OPUS

def test_opus(tmp_path):
    "The result is taken, in descending order or ascending, scaled; the single channel by name or where it is alone."
    file = opus([(SM, 5*Y), (RF, 5 + 0*Y), (T, Y[::-1])])
    s = read(tmp_path, 'a.0', file)
    np.testing.assert_allclose(s.y, Y, rtol=1e-6)
    np.testing.assert_allclose(s.nu, NU, rtol=1e-12)
    assert s.quantity == 'transmittance' and s.meta['label'] == 'Transmittance'
    for args, kw in ((('signal',), {}), ((), dict(y='sm'))):
        s = read(tmp_path, 'a.0012', file, *args, **kw)
        np.testing.assert_allclose(s.y[::-1], 5*Y, rtol=1e-6)
        assert s.quantity == 'signal'
    assert read(tmp_path, 'a.1', opus([(SM, 5*Y), (RF, 5 + 0*Y), (IG, Y)])).quantity == 'signal'
    np.testing.assert_allclose(read(tmp_path, 'a.opus', opus([(A, -np.log10(Y))], csf=.5)).y[::-1], Y, rtol=1e-6)
    s = read(tmp_path, 'a.0', opus([(A, -np.log10(Y)), (T, Y)]), 'absorbance')
    np.testing.assert_allclose(s.y[::-1], Y, rtol=1e-6)
    report = code(0, 0, 0, 0, 0, 2), b'\xff'*64                # what is not asked for is not read, so its damage does not matter
    assert len(read(tmp_path, 'a.0', opus([(T, Y)], extra=[report]))) == 40

def test_opus_refused(tmp_path):
    no = lambda says, *args, raw=None, **kw: refuse(tmp_path, 'a.0', opus([(T, Y)]) if raw is None else raw, says, *args, **kw)
    no('holds Transmittance (t); expected one spectrum of absorbance', 'absorbance')
    no('name one with --y or --quantity', raw=opus([(A, Y), (T, Y)]))
    no("expected one spectrum 'x'", y='x')
    no('the quantity is not stated', raw=opus([(T, Y), (RF, Y)]), y='rf')
    no('holds no spectrum', raw=opus([(DERIVATIVE, Y)]))
    no('holds no spectrum', raw=opus([(T, 100*Y)], dpf=2))
    no('Interferogram', raw=opus([(IG, Y)]))
    no("in units 'LGW'", raw=opus([(T, Y)], dxu='LGW'))
    no('medium', raw=opus([(T, Y)], dxu='MI', first=3.24, last=3.25))
    no('does not start like an OPUS file', raw=b'nu,y\n1,2\n')
    no('is damaged', raw=opus([(T, Y)])[:100])
    no('words', raw=opus([(T, Y)]).replace(b'NPT\0\0\0\x02\0', b'NPT\0\0\0\xfc\xff'))     # brukeropus alone walks on for ever

# --- all

FILES = dict(jcamp=('m.dx', jcamp(100*Y, yunits='% TRANSMITTANCE')), difdup=('m.jdx', jcamp(2*HAND, yunits='ABSORBANCE', first=100, last=119, data=FORMS['DIFDUP'])),
             spc=('m.spc', spc(Y, exp=2, log=b'log')), opus=('m.0', opus([(SM, Y), (RF, Y), (T, Y)])))

@pytest.mark.parametrize('kind', FILES)
def test_damaged(kind, tmp_path):
    "300 damaged copies: a spectrum of finite numbers or a FileError, within two seconds of CPU."
    name, raw = FILES[kind]
    read(tmp_path, name, raw)
    refused = 0
    for b in mutants(raw, 300, 3):
        (tmp_path/name).write_bytes(b)
        start = time.process_time()
        try: s = read_spectrum(tmp_path/name)
        except FileError as e:
            refused += 1
            assert name in str(e) and '\n' not in str(e)
        else: assert np.isfinite(s.y).all() and np.isfinite(s.nu).all() and s.y.shape == s.nu.shape and len(s) >= 16
        assert time.process_time() - start < 2
    assert refused > 100, refused

BOMBS = dict(
    points=('b.dx', jcamp(Y, n=10**9)), repeats=('b.dx', jcamp(2*HAND, data='100' + 'A' + '%Z9999'*20_000)), header=('b.dx', b'##TITLE= a\n' + b'b\n'*2_000_000),
    text=('b.dx', b'##XYDATA= (X++(Y..Y))\n' + b'1 '*2_000_000), link=('b.dx', b'##TITLE= a\n##DATA TYPE= LINK\n'*20_000), spc=('b.spc', spc(Y)[:4] + b'\xff\xff\xff\x3f' + spc(Y)[8:]), size=('b.spc', spc(Y) + bytes(2**24)),
    blocks=('b.0', b'\n\n\xfe\xfe' + struct.pack('<d3i', 1., 24, 1000, 1000) + struct.pack('<3i', code(*T), 2**20, 24)*1000 + bytes(2**22)))

@pytest.mark.parametrize('name', BOMBS)
def test_bombs(name, tmp_path):
    "Files that promise more than they hold, or hold more than a spectrum: refused at once, and in little memory."
    file, raw = BOMBS[name]
    (tmp_path/file).write_bytes(raw)
    start = time.process_time()
    with pytest.raises(FileError): read_spectrum(tmp_path/file)
    assert time.process_time() - start < 2.5
    if name in ('header', 'text'): return                      # tracing would take ten times as long
    tracemalloc.start()
    with pytest.raises(FileError): read_spectrum(tmp_path/file)
    assert tracemalloc.get_traced_memory()[1] < 2**29
    tracemalloc.stop()

@pytest.mark.parametrize('label', ['FIRSTX', 'LASTX', 'NPOINTS'])
def test_labels_that_lack(label, tmp_path):
    "Which one, instead of the key that the parser did not find."
    name, raw = FILES['jcamp']
    read(tmp_path, name, raw)
    kept = [line for line in raw.decode('latin-1').splitlines() if not line.startswith(f'##{label}=')]
    (tmp_path/name).write_text('\n'.join(kept), encoding='latin-1')
    with pytest.raises(FileError, match=f'no {label}; expected FIRSTX, LASTX and NPOINTS'): read_spectrum(tmp_path/name)

@pytest.mark.parametrize('package,module,name', [('jcamp', 'jcamp', 'm.dx'), ('spc-io', 'spc_io.low_level', 'm.spc'), ('brukeropus', 'brukeropus.file', 'm.0')])
def test_package_missing(package, module, name, tmp_path, monkeypatch, capsys):
    "One line says what to install."
    raw = dict(FILES.values())[name]
    (tmp_path/name).write_bytes(raw)
    monkeypatch.setitem(sys.modules, module, None)
    assert main(['fit', 'spectra', str(tmp_path/name)]) == 2
    assert capsys.readouterr().err.endswith(f'pip install {package}\n')

def test_same_fit(tmp_path):
    "One signal as CSV, JCAMP-DX, SPC and OPUS: one answer."
    nu = np.linspace(3085.45, 3086.55, 400)
    sim = simulator_for(Spectrum(np.ones(400), 'transmittance', nu), preset('reference'))
    theta = sim.space.quantile(torch.full((1, len(sim.space)), .5, dtype=torch.float64))
    y = sim(theta)[0,0].double().numpy()*(1 + .002*np.random.default_rng(1).standard_normal(400))
    write_table(tmp_path/'a.csv', dict(wavenumber=nu, transmittance=y), dict(quantity='transmittance', axis='wavenumber'))
    for name, raw in {'a.dx': jcamp(100*y, yunits='%T', first=nu[0], last=nu[-1]), 'a.spc': spc(y, x=(nu[0], nu[-1])), 'a.0': opus([(SM, y), (T, y[::-1])], first=nu[-1], last=nu[0])}.items(): (tmp_path/name).write_bytes(raw)
    got = {n: read_spectrum(tmp_path/n) for n in ('a.csv', 'a.dx', 'a.spc', 'a.0')}
    for s in got.values():
        np.testing.assert_allclose(s.y, y, rtol=2e-7)
        np.testing.assert_allclose(s.nu, nu, rtol=1e-12)
    fits = {n: fit_spectrum(got[n], preset('reference'), dict(P='500mbar', T='307.65K'), .002).estimate for n in ('a.csv', 'a.dx')}
    for n, e in fits.items(): assert ((e.theta - fits['a.csv'].theta).abs() < .02*fits['a.csv'].sd + 1e-12).all() and e.ok.item(), n
    i = sim.space.index('mf_CH4')
    assert abs(fits['a.csv'].theta[0,i] - theta[0,i]) < 4*fits['a.csv'].sd[0,i]

def test_suffixes_are_told_in_the_docs():
    assert set(OTHERS) == {'dx', 'jdx', 'jcm', 'spc', 'opus'}
