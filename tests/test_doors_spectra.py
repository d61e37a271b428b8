"""What instruments and databases write, from the shell: files and right values are of data/cases."""
import gzip, json, os, tracemalloc
from pathlib import Path
import numpy as np
import pytest
from physlearn.cli import main
from physlearn.files import FileError, write_table
from physlearn.spectra.files import Spectrum, read_spectrum
from physlearn.spectra.hitran import read_lines

CASES = Path(os.environ.get('PHYSLEARN_DATA', ''))/'cases/spectra'
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason='PHYSLEARN_DATA has no cases')
METHANE = ['--lines', str(CASES/'ch4s.par'), '--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K']

def fit(tmp_path, capsys, file, *words):
    "Parameters of a fit from the shell by name, and what was printed."
    capsys.readouterr()
    assert not main(['fit', 'spectra', str(file), *words, '--out', str(tmp_path/'out'), '--overwrite']), capsys.readouterr().err
    found = json.loads(max((tmp_path/'out').glob('*.json'), key=os.path.getmtime).read_text())
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
    np.testing.assert_allclose((-np.log(read_spectrum(tmp_path/'a.jdx').y)).max(), .1304665)
    with pytest.raises(FileError, match="base '2'"): read_spectrum(tmp_path/'a.jdx', base='2')

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

# --- tables without a clean row of names

STATED = ['--quantity', 'transmittance', '--axis', 'wavenumber']

def rewritten(tmp_path, name, change, head='wavenumber,transmittance\n', encoding='utf-8'):
    "The methane spectrum, each row as `change` writes it."
    rows = [change(*line.split(',')) for line in (CASES/'a_ok.csv').read_text().split('\n')[1:] if line]
    (tmp_path/name).write_bytes((head + '\n'.join(rows) + '\n').encode(encoding))
    return tmp_path/name

@pytest.mark.parametrize('file, words, says', [
    ('a_ok.csv', [], 'wavenumber taken in 1/cm'),
    ('a_nohead.dpt', STATED, 'first column taken as axis, second as values'),
    ('a_comma.csv', [], 'decimal comma'),
    ('a_head.txt', ['--quantity', 'transmittance'], "column 'T' taken as transmittance")])
def test_tables_of_instruments(tmp_path, capsys, file, words, says):
    "One command, the right value, and what was taken is said."
    rows, said = fit(tmp_path, capsys, CASES/file, *METHANE, *words)
    is_right(rows['mf_CH4'], 200e-6)
    assert says in said

@pytest.mark.parametrize('name, head, change, encoding, kw', [
    ('a.dpt', '', lambda a, b: f'{a} {b}', 'utf-8', dict(quantity='transmittance', axis='wavenumber')),
    ('a.xy', '', lambda a, b: f'{a}\t{b}'.replace('.', ','), 'utf-8', dict(quantity='transmittance', axis='wavenumber')),
    ('a.txt', '', lambda a, b: f'{a};{b};'.replace('.', ','), 'utf-8', dict(quantity='transmittance', axis='wavenumber')),
    ('a.csv', 'Kühlung: 10 °C\n\nWellenzahl;Transmission\n', lambda a, b: f'{a};{b}'.replace('.', ','), 'latin-1', dict(axis='wavenumber')),
    ('a.csv', 'FTIR of the laboratory\nSample 7\nWavenumber,%T\ncm-1,\n', lambda a, b: f'{a},{100*float(b)}', 'utf-8', {}),
    ('a.csv', 'no,t,Wavenumber [cm-1],Transmittance (%),remark\n', lambda a, b: f'1,7,{a},{100*float(b)},', 'utf-8', {}),
    ('a.csv', 'time,Wavenumber [cm-1],Transmittance\n', lambda a, b: f'2026-11-29 12:00:03,{a},{b}', 'utf-8', {}),
    ('a.csv', '', lambda a, b: f'1,{a},7,{b}', 'utf-8', dict(x='2', y='4', quantity='transmittance', axis='wavenumber')),
    ('a.csv', 'junk\n1,2,3\n', lambda a, b: f'1,{a},{b}', 'utf-8', dict(skip=2, columns='-,wavenumber,transmittance')),
    ('a.csv', 'absorbance_e,cm-1\n'.replace('_e', ' (base e)'), lambda a, b: f'{-np.log(float(b)):.12f},{a}', 'utf-16', {})])
def test_tables_read_alike(tmp_path, name, head, change, encoding, kw):
    s, right = read_spectrum(rewritten(tmp_path, name, change, head, encoding), **kw), read_spectrum(CASES/'a_ok.csv')
    np.testing.assert_allclose(s.nu, right.nu, rtol=1e-12)
    np.testing.assert_allclose(s.y, right.y, rtol=1e-9)

def test_tables_in_doubt(tmp_path, capsys):
    "One sentence with an option that this command has."
    def no(says, change=lambda a, b: f'{a},{b}', head='', *words, name='a.csv', encoding='utf-8'):
        said = refused(capsys, rewritten(tmp_path, name, change, head, encoding), *words, *METHANE)
        assert all(s in said for s in says.split('|')), said
    no('the quantity and the axis are not stated|--quantity transmittance --axis wavenumber')
    no('columns 1, 2, 3|--x 1 --y 2', lambda a, b: f'{a},{b},1', '', *STATED)
    no('6,000|--decimal ,', lambda a, b: f'{float(a)/1000:.3f};{float(b):.3f}'.replace('.', ','), '', *STATED)
    no('damaged row|--skip 2', head='wavenumber,transmittance\n5996.99x,1\n')
    no('damaged row|--skip 2', head='wavenumber,transmittance\n#996.99,1\n')
    no('damaged row|--skip 1', head='#996.99,1\n')
    no('has no effect', None or (lambda a, b: f'{a},{b}'), '', '--skip', '2', name='a.h5')
    (tmp_path/'b.xls').write_bytes(b'\xd0\xcf\x11\xe0' + bytes(600))
    assert 'save it as .xlsx or CSV' in refused(capsys, tmp_path/'b.xls', *METHANE)

def test_excel(tmp_path, capsys):
    "The first sheet, where openpyxl is there; else one sentence."
    try: import openpyxl
    except ImportError:
        import zipfile
        with zipfile.ZipFile(tmp_path/'a.xlsx', 'w') as z: z.writestr('xl/workbook.xml', 'a')
        assert 'openpyxl' in refused(capsys, tmp_path/'a.xlsx', *METHANE)
        return
    book, right = openpyxl.Workbook(), read_spectrum(CASES/'a_ok.csv')
    for row in [('measured', 'on a Monday'), ('Wavenumber [cm-1]', 'Transmittance'), *zip(right.nu.tolist(), right.y.tolist())]: book.active.append(row)
    book.save(tmp_path/'a.xlsx')
    np.testing.assert_array_equal(read_spectrum(tmp_path/'a.xlsx').y, right.y)

# --- axes

@pytest.mark.parametrize('change, kw, says', [
    (lambda nu: nu*29.979245800, dict(axis='frequency', unit='GHz'), 'frequency in GHz'),
    (lambda nu: nu*.029979245800, dict(axis='frequency', unit='THz'), 'frequency in THz'),
    (lambda nu: (nu - 6000)*29979.2458, dict(axis='frequency', unit='MHz', centre='6000'), 'axis counted from 6000 cm⁻¹, in MHz'),
    (lambda nu: (nu - 6000)*29979.2458, dict(axis='frequency', unit='MHz', centre='179.8754748THz'), 'axis counted from 6000 cm⁻¹'),
    (lambda nu: nu - 6000, dict(axis='wavenumber', centre='6000'), 'axis counted from 6000 cm⁻¹'),
    (lambda nu: nu[::-1], dict(axis='wavenumber'), 'taken in 1/cm'),
    (lambda nu: 1e7/nu, dict(axis='wavelength', medium='vacuum'), 'wavelength taken in nm'),
    (lambda nu: 1e4/nu, dict(axis='wavelength', medium='vacuum', unit='um'), 'wavelength in um, in vacuum')])
def test_axes(tmp_path, change, kw, says):
    nu, y = np.loadtxt(CASES/'a_ok.csv', delimiter=',', skiprows=1).T
    np.savetxt(tmp_path/'a.dpt', np.stack([change(nu), y if change(nu)[-1] != nu[0] else y[::-1]], 1), '%.12f')
    s = read_spectrum(tmp_path/'a.dpt', 'transmittance', **kw)
    np.testing.assert_allclose(s.nu, nu, rtol=1e-9)
    np.testing.assert_allclose(s.y, y)
    assert any(says in n for n in s.notes), s.notes

def test_axes_from_the_shell(tmp_path, capsys):
    rows, said = fit(tmp_path, capsys, CASES/'a_ghz.csv', *METHANE, '--unit', 'GHz')
    is_right(rows['mf_CH4'], 200e-6)
    assert 'frequency in GHz' in said
    assert '--unit GHz' in refused(capsys, CASES/'a_ghz.csv', *METHANE)
    lines = (CASES/'a_ok.csv').read_text().replace('wavenumber', 'cm-1').split('\n')
    (tmp_path/'two.csv').write_text('\n'.join([lines[0], *lines[301:602], '', *lines[1:330], '']))        # two segments, which overlap
    rows, said = fit(tmp_path, capsys, tmp_path/'two.csv', *METHANE, '--unsorted')
    is_right(rows['mf_CH4'], 200e-6)
    assert '--unsorted' in refused(capsys, tmp_path/'two.csv', *METHANE)
    (tmp_path/'rel.csv').write_text('\n'.join(['wavenumber,transmittance', *(f'{float(a) - 6000},{b}' for a, b in (r.split(',') for r in lines[1:] if r))]))
    assert '--centre' in refused(capsys, tmp_path/'rel.csv', *METHANE)
    rows, said = fit(tmp_path, capsys, tmp_path/'rel.csv', *METHANE, '--centre', '6000')
    is_right(rows['mf_CH4'], 200e-6)

# --- edges, and everything that is missing in one sentence

def test_edges(tmp_path, capsys):
    "NaN at both ends is left out and counted; ranges are kept and left out, the right value stays."
    rows, said = fit(tmp_path, capsys, CASES/'a_nan.csv', *METHANE)
    is_right(rows['mf_CH4'], 200e-6)
    assert '5 points at the start and 5 at the end are not numbers' in said
    rows, said = fit(tmp_path, capsys, CASES/'a_nan.csv', *METHANE, '--crop', '5998..6002', '--drop', '6000.1..6000.2', '1.6668..1.6669um')
    is_right(rows['mf_CH4'], 200e-6)
    assert 'kept 5998 .. 6002 cm⁻¹, 401 points' in said and 'left out 6000.1 .. 6000.2 cm⁻¹, 11 points' in said
    holes = rewritten(tmp_path, 'a.csv', lambda a, b: f"{a},{'nan' if a.startswith('5999.1') else b}")
    assert '--drop' in refused(capsys, holes, *METHANE)
    is_right(fit(tmp_path, capsys, holes, *METHANE, '--drop', '5999.1..5999.2')[0]['mf_CH4'], 200e-6)
    assert 'LO..HI' in refused(capsys, holes, *METHANE, '--crop', '5999') and 'no point within' in refused(capsys, holes, *METHANE, '--crop', '1..2')

def test_all_that_is_missing_at_once(tmp_path, capsys):
    lines = (CASES/'a_ok.csv').read_text().split('\n')[1:-1]
    (tmp_path/'a.csv').write_text('\n'.join(['x,y', *lines[300:], *lines[:300]]) + '\n')
    said = refused(capsys, tmp_path/'a.csv', *METHANE)
    assert all(s in said for s in ('quantity', 'axis', 'not in order', '--quantity transmittance --axis wavenumber --unsorted'))
    is_right(fit(tmp_path, capsys, tmp_path/'a.csv', *METHANE, *STATED, '--unsorted')[0]['mf_CH4'], 200e-6)

# --- units as people write them

@pytest.mark.parametrize('known', [('P=13.2264psi', 'T=21.85degC'), ('P=684mmHg', 'T=21.85C'), ('P=911.925mb', 'T=71.33degF')])
def test_units_of_gauges(tmp_path, capsys, known):
    cell = ['--lines', str(CASES/'ch4s.par'), '--gas', 'CH4=1..1000ppmv', '--path', '32.80839895ft', '--known', *known]
    is_right(fit(tmp_path, capsys, CASES/'a_ok.csv', *cell)[0]['mf_CH4'], 200e-6)

@pytest.mark.parametrize('words, says', [(['--path', '10m', '--known', 'P=0,9atm'], 'P=0.9atm|0.9atm'), (['--path', '10m', '--gas', 'CH4=1..1000ppt'], 'pptv'),
                                         (['--path', '10meterz'], "'1/cm'"), (['--path', '10,5m'], '10.5m')])
def test_units_that_are_refused(capsys, words, says):
    said = refused(capsys, CASES/'a_ok.csv', '--lines', CASES/'ch4s.par', *([] if '--gas' in words else ['--gas', 'CH4=1..1000ppmv']), *words)
    assert says.split('|')[-1] in said, said

# --- line lists

@pytest.mark.parametrize('name, field, first, says', [
    ('l_blankself.par', 'gamma_self', .072, 'gamma_self: 1 of 2 unknown, taken as gamma_air'), ('l_blankn.par', 'n_air', .5, 'n_air: 1 of 2 unknown, taken as 0.5'),
    ('l_Eneg1.par', 'elower', 0., 'elower: 1 of 2 unknown, strengths right at 296 K only'), ('l_Dexp.par', 'sw', 1.76e-23, ''), ('l_trailblank.par', 'sw', 1.76e-23, ''),
    ('l_ctrlz.par', 'sw', 1.76e-23, ''), ('hcl0.par', 'gamma_self', .06, 'gamma_self: 2 of 2 unknown'), ('hcl_nogs.csv', 'gamma_self', .06, 'gamma_self: 2 of 2 unknown'),
    ('c_hash.csv', 'gamma_self', .072, 'gamma_self: 1 of 1 unknown, taken as gamma_air, delta_air: 1 of 1 unknown'), ('c_H2.csv', 'gamma_self', .097, ''),
    ('hapi_extra.data', 'gamma_self', .097, '')])
def test_line_lists(name, field, first, says):
    "What is unknown is counted, and never damage."
    lines = read_lines(CASES/name)
    assert getattr(lines, field)[0] == first and says in lines.meta.get('gaps', '') and bool(says) == ('gaps' in lines.meta)

def test_widths_in_other_gases(tmp_path):
    "Columns of H2 and CO2 are kept, through selections, sums and files; a header beside hitran-api's table names its columns."
    lines = read_lines(CASES/'c_H2.csv')
    hydrogen = (lines + read_lines(CASES/'l_Dexp.par'))[:2].in_gas('H2')
    assert hydrogen.gamma_air.tolist() == [.08, .072] and hydrogen.n_air.tolist() == [.6, .69] and '1 of 2' in hydrogen.meta['broadener']
    assert lines.in_gas('CO2').gamma_air[0] == .11 and lines.in_gas('CO2').n_air[0] == .69
    with pytest.raises(ValueError, match='air, CO2, H2'): lines.in_gas('He')
    write_table(tmp_path/'again.csv', lines.columns())
    assert read_lines(tmp_path/'again.csv').in_gas('H2').gamma_air[0] == .08
    assert '3 columns' in read_lines(CASES/'hapi_extra.data').meta['unused']
    (tmp_path/'a.data').write_bytes((CASES/'hapi_extra.data').read_bytes())
    (tmp_path/'a.header').write_text(json.dumps(dict(extra=['gamma_H2', 'n_H2', 'sd'])))
    lines = read_lines(tmp_path/'a.data')
    assert lines.in_gas('H2').gamma_air[0] == .072 and lines.in_gas('H2').n_air[0] == .69 and lines.meta['unused'] == 'sd'

@pytest.mark.parametrize('name', ['hcl0.par', 'hcl_nogs.csv'])
def test_an_unknown_self_width_is_said(tmp_path, capsys, name):
    "HCl of 0.5: without its self width no trusted wrong number, and the summary says why."
    rows, said = fit(tmp_path, capsys, CASES/'hcl.csv', '--lines', str(CASES/name), '--gas', 'HCl=0.1..1', '--path', '0.2cm', '--known', 'P=0.5atm', 'T=296K')
    assert rows['mf_HCl']['flag'] == 'not trusted' and 'gamma_self: 2 of 2 unknown, taken as gamma_air' in said
    assert abs(rows['mf_HCl']['value'] - .195) > .1

def test_long_lists_are_filtered_while_reading(tmp_path, capsys):
    "Only the window's lines are kept in memory, from text and packed; a list of another region says what it has."
    record = (CASES/'co.par').read_text().split('\n')[0]
    with open(tmp_path/'long.par', 'w') as f:
        for k in range(200): f.write(''.join(f'{record[:3]}{500 + k + i/100:12.6f}{record[15:]}\n' for i in range(100)))
    (tmp_path/'long.par.gz').write_bytes(gzip.compress((tmp_path/'long.par').read_bytes()))
    for name in 'long.par', 'long.par.gz':
        tracemalloc.start()
        lines = read_lines(tmp_path/name, window=(600., 601.))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(lines) == 101 and peak < 5e5, peak
    with pytest.raises(FileError, match='has no lines within 2000 .. 2001 cm⁻¹.*500 .. 699.99'): read_lines(tmp_path/'long.par', window=(2000, 2001))
    assert len(read_lines(CASES/'hcl_nogs.csv', window=(2925, 2926))) == 1

def test_an_energy_that_is_unknown_is_said(tmp_path, capsys):
    "A fit prints it."
    text = (CASES/'ch4s.par').read_text().split('\n')
    (tmp_path/'a.par').write_text('\n'.join([text[0][:45] + '   -1.0000' + text[0][55:], *text[1:]]))
    rows, said = fit(tmp_path, capsys, CASES/'a_ok.csv', *['--lines', str(tmp_path/'a.par'), *METHANE[2:]])
    is_right(rows['mf_CH4'], 200e-6)
    assert 'line list: elower: 1 of 172 unknown' in said

# --- absorbance that an instrument caps

@pytest.mark.parametrize('cap', [6, 3, 1.5, 1.])
def test_capped_absorbance(tmp_path, capsys, cap):
    "A saturated line of CO, 3000 ppm: right, or not trusted."
    nu, a = np.loadtxt(CASES/'sat_cap.csv', delimiter=',', skiprows=1).T
    np.savetxt(tmp_path/'a.csv', np.stack([nu, np.minimum(a, cap)], 1), '%.12g', ',', header='wavenumber,absorbance', comments='')
    rows, said = fit(tmp_path, capsys, tmp_path/'a.csv', '--lines', str(CASES/'co.par'), '--gas', 'CO=1ppm..100%', '--path', '1m', '--known', 'P=1atm', 'T=296K', '--base', '10')
    r = rows['mf_CO']
    assert r['flag'] in ('not trusted', 'suspect') or abs(r['value'] - .003) < 3*r['statistical'], (r, said)
    assert ('are capped and were left out' in said) == (cap < 6), said

def test_a_long_list_from_the_shell(tmp_path, capsys):
    "Lines far from the files are not kept; a list of another region says so."
    record = (CASES/'ch4s.par').read_text().split('\n')[0]
    far = ''.join(f'{record[:3]}{1000 + i/10:12.6f}{record[15:]}\n' for i in range(5000))
    (tmp_path/'long.par').write_text(far + (CASES/'ch4s.par').read_text())
    (tmp_path/'far.par').write_text(far)
    rows, said = fit(tmp_path, capsys, CASES/'a_ok.csv', '--lines', str(tmp_path/'long.par'), *METHANE[2:])
    is_right(rows['mf_CH4'], 200e-6)
    assert 'no lines' in refused(capsys, CASES/'a_ok.csv', '--lines', tmp_path/'far.par', *METHANE[2:])

# --- columns of errors, and columns that nothing uses

def with_errors(tmp_path, name, errors, value='transmittance', y=None, **more):
    "A table of 40 points whose third column is called `name`."
    nu = np.linspace(3085, 3086, 40)
    y = .9 - .3*np.exp(-((nu - 3085.5)/.1)**2) if y is None else y
    write_table(tmp_path/'e.csv', {'wavenumber': nu, value: y, name: np.full(40, errors), **more})
    return y, lambda **kw: read_spectrum(tmp_path/'e.csv', **(dict(axis='wavenumber') | kw))

@pytest.mark.parametrize('name', ['sigma', 'uncertainty', 'error', 'err', 'std', 'sd', 'noise', 'Std. dev.', 'Standard deviation', 'transmittance_err',
                                  'error of transmittance', 'sigma [-]', 'trans_std'])
def test_errors_by_their_usual_names(tmp_path, name):
    y, read = with_errors(tmp_path, name, .004)
    s = read()
    np.testing.assert_allclose(s.sigma, .004)
    assert name == 'sigma' or any(f"'{name}'" in n for n in s.notes) and not s.columns

def test_errors_have_units(tmp_path):
    "Per cent are of the value where the value is none; units of the values are turned into theirs; what may mean two things is refused."
    y, read = with_errors(tmp_path, 'sigma [%]', 2., 'absorbance')
    np.testing.assert_allclose(read().sigma, .02*y*np.log(10)*read().y)
    _, read = with_errors(tmp_path, 'error (%)', 2., 'transmittance [%]', 100*y)
    np.testing.assert_allclose(read().sigma, .02)
    _, read = with_errors(tmp_path, 'sigma [ns]', 50., 'ring-down time [us]', 20 + y)
    np.testing.assert_allclose(read().sigma/read().y, .05/(20 + y))
    for name, value in (('sigma [%]', 'transmittance'), ('sigma [mV]', 'transmittance'), ('err [K]', 'absorbance')):
        with pytest.raises(FileError, match='unit of the values') as e: with_errors(tmp_path, name, 2., value)[1]()
        assert name in str(e.value) and '--columns' in str(e.value) and '\n' not in str(e.value)

def test_errors_that_cannot_be_told_apart(tmp_path):
    with pytest.raises(FileError, match="'err' and 'std'.*--columns"): with_errors(tmp_path, 'err', .1, std=np.full(40, .2))[1]()
    s = with_errors(tmp_path, 'err', .1, sigma=np.full(40, .2))[1]()
    assert s.sigma[0] == .2 and any('not used: err' in n for n in s.notes)

def test_an_error_of_zero_says_what_to_do(tmp_path):
    for name, value in (('sigma', 0.), ('err', -.1)):
        with pytest.raises(FileError, match=f'{name}, line 2.*--drop'): with_errors(tmp_path, name, value)[1]()

def test_columns_that_are_not_used_are_said(tmp_path, capsys):
    "A column of the noise itself is none of its size; a gauge that is used is not among them."
    from physlearn.spectra.files import gauge
    noise = np.where(np.arange(40) % 2, .1, -.1)
    s = with_errors(tmp_path, 'noise', noise, Pressure=np.full(40, 56.), T_err=np.full(40, 1.))[1]()
    assert s.sigma is None and any('not used: noise, Pressure, T_err' in n for n in s.notes)
    assert gauge(s, 'Pressure:Torr', 'P') == '56Torr' and any('not used: noise, T_err' in n for n in s.notes)
