"""What instruments and databases write, from the shell: files and right values are of data/cases."""
import json, os
from pathlib import Path
import numpy as np
import pytest
from physlearn.cli import main
from physlearn.files import FileError
from physlearn.spectra.files import Spectrum, read_spectrum

CASES = Path(os.environ.get('PHYSLEARN_DATA', ''))/'cases/spectra'
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason='PHYSLEARN_DATA has no cases')
METHANE = ['--lines', str(CASES/'ch4s.par'), '--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K']

def fit(tmp_path, capsys, file, *words):
    "Parameters of a fit from the shell by name, and what was printed."
    capsys.readouterr()
    assert not main(['fit', 'spectra', str(file), *words, '--out', str(tmp_path/'out'), '--overwrite']), capsys.readouterr().err
    found = json.loads((tmp_path/'out'/f'{Path(file).stem}.json').read_text())
    return {r['name']: r for r in found['parameters']}, capsys.readouterr().out

def refused(capsys, *words):
    "The one sentence of a command that does not work."
    capsys.readouterr()
    code, err = main(['fit', 'spectra', *map(str, words)]), capsys.readouterr().err
    assert code == 2 and 'Traceback' not in err and err.strip().count('\n') == 0, err
    return err

def is_right(row, right): assert abs(row['value'] - right) < 3*row['statistical'] < .1*right and row['flag'] == 'determined', row

# --- absorbance of base 10 and of base e

@pytest.mark.parametrize('file, words, says', [
    ('a_abs10.csv', ['--quantity', 'absorbance'], 'taken as base 10, which is not stated'),
    ('a_abs10.csv', ['--quantity', 'absorbance', '--base', '10'], 'absorbance of base 10'),
    ('a_absE.csv', ['--quantity', 'absorbance', '--base', 'e'], 'absorbance of base e'),
    ('a_absE.csv', ['--quantity', 'optical_depth', '--y', 'absorbance'], 'CH4')])
def test_absorbance_of_either_base(tmp_path, capsys, file, words, says):
    rows, said = fit(tmp_path, capsys, CASES/file, *METHANE, *words, '--axis', 'wavenumber')
    is_right(rows['mf_CH4'], 200e-6)
    assert says in said

def test_the_words_of_a_file_about_its_base(tmp_path):
    "NIST's coefficient of base 10 for each part per million, which a call may overrule."
    pytest.importorskip('jcamp')
    s, e = (read_spectrum(CASES/'j_nist.jdx', base=base) for base in (None, 'e'))
    assert s.quantity == 'absorption' and any('base 10' in n for n in s.notes) and any('1 ppm' in n for n in s.notes)
    np.testing.assert_allclose(s.y, np.log(10)*e.y)
    assert abs(s.y.max() - .130466500*np.log(10)/100) < 1e-9
    text = (CASES/'j_nist.jdx').read_text()
    (tmp_path/'a.jdx').write_text(text.replace('(micromol/mol)-1m-1 (base 10)', 'ABSORBANCE (BASE E)'))
    np.testing.assert_allclose(-np.log(read_spectrum(tmp_path/'a.jdx').y).max(), .1304665)
    with pytest.raises(FileError, match='base 2'): read_spectrum(tmp_path/'a.jdx', base='2')

# --- arrays in memory

@pytest.mark.parametrize('change, kw', [(lambda t: t, dict(quantity='transmittance')), (lambda t: 100*t, dict(quantity='transmittance', y_unit='%')),
    (lambda t: -np.log10(t), dict(quantity='absorbance')), (lambda t: -np.log(t), dict(quantity='absorbance', base='e')), (lambda t: -np.log(t), dict(quantity='optical_depth'))])
def test_arrays_in_memory(change, kw):
    "Backwards, as views, in other units: the same spectrum, ready for a fit."
    import torch
    nu, t = np.loadtxt(CASES/'a_ok.csv', delimiter=',', skiprows=1).T
    s = Spectrum(change(t)[::-1], nu=nu[::-1], **kw)
    assert s.quantity == 'transmittance' and torch.tensor(s.y).shape == t.shape
    np.testing.assert_allclose(s.y, t)
    np.testing.assert_array_equal(s.nu, nu)

def test_arrays_that_cannot_be_right():
    y = np.ones(40)
    for args, kw, says in [((100*y, 'transmittance'), {}, 'per cent'), ((y, 'reflectance'), {}, 'one of signal'), ((y*np.nan, 'signal'), {}, 'finite'),
                           ((y, 'signal', np.arange(39.)), {}, 'shape'), ((y, 'transmittance'), dict(base='e'), 'base e')]:
        with pytest.raises(FileError, match=says): Spectrum(*args, **kw)
