"""Any gas from the shell: a line list, the gases and their ranges, what is known. Files and right values are of data/cases."""
import csv, json, os
from pathlib import Path
import numpy as np
import pytest
from physlearn.cli import main

CASES = Path(os.environ.get('PHYSLEARN_DATA', ''))/'cases/spectra'
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason='PHYSLEARN_DATA has no cases')
STATED = ['--quantity', 'transmittance', '--axis', 'wavenumber']

def fitted(tmp_path, file, *words):
    "Parameters of a fit from the shell, by name."
    tmp_path.mkdir(exist_ok=True)
    assert not main(['fit', 'spectra', str(CASES/file), *STATED, *words, '--out', str(tmp_path/'out')])
    found = json.loads(next((tmp_path/'out').glob('*.json')).read_text())
    return {r['name']: r for r in found['parameters']}, found

def line_lists(*names): return ['--lines', *(str(CASES/n) for n in names)]

@pytest.mark.parametrize('file, lists, gas, cell, name, right', [
    ('co_laser.csv', ['co.par'], ['CO=1..1000ppm'], ['--path', '1m', '--known', 'P=200Torr', 'T=300K'], 'mf_CO', 50e-6),
    ('o2.csv', ['o2.par'], ['O2=1..100%'], ['--path', '10m', '--known', 'P=1atm', 'T=296K'], 'mf_O2', .2095),
    ('hcl.csv', ['hcl.par'], ['HCl=0.1..1'], ['--path', '0.2cm', '--known', 'P=0.5atm', 'T=296K'], 'mf_HCl', .5),
    ('moist.csv', ['ch4s.par', 'h2o.par'], ['CH4=1..1000ppm', 'H2O=0..5%'], ['--path', '10m', '--known', 'P=0.9atm', 'T=295K'], 'mf_CH4', 20e-6),
    ('a_ok.csv', ['ch4s.par'], ['CH4=1..1000ppm'], ['--path', '10m', '--known', 'P=0.9atm', 'T=295K'], 'mf_CH4', 200e-6),
])
def test_a_gas_from_the_shell(tmp_path, file, lists, gas, cell, name, right):
    "One command for a gas that no preset has: within 3 sd of the right value, and trusted."
    rows, _ = fitted(tmp_path, file, *line_lists(*lists), '--gas', *gas, *cell)
    r = rows[name]
    assert abs(r['value'] - right) < 3*r['statistical'] and r['flag'] == 'determined', r
    assert r['statistical'] < .03*right

def test_what_is_not_used_is_named(tmp_path, capsys):
    "A gas of the list that is not fitted is named in the summary."
    main(['fit', 'spectra', str(CASES/'moist.csv'), *STATED, *line_lists('ch4s.par', 'h2o.par'), '--gas', 'CH4=1..1000ppm',
          '--path', '10m', '--known', 'P=0.9atm', 'T=295K'])
    said = capsys.readouterr().out
    assert 'lines of H2O in the list are not used' in said

@pytest.mark.parametrize('words, says', [
    (['--lines', 'co.par', '--path', '1m'], '--gas CO='),                          # the usual preset has other gases
    (['--lines', 'co.par', '--gas', 'NH3=1..10ppm', '--path', '1m'], 'no lines of NH3'),
    (['--lines', 'co.par', '--gas', 'CO', '--path', '1m'], 'CO=1..1000ppm'),
    (['--lines', 'co.par', '--gas', 'CO=1000..1ppm', '--path', '1m'], 'CO'),
    (['--gas', 'CO=1..1000ppm', '--path', '1m'], '--lines'),
    (['--lines', 'co.par', '--gas', 'CO=1..1000ppm'], '--path'),
    (['--lines', 'ch4s.par', '--gas', 'CH4=1..1000ppm', '--path', '1m'], 'no lines'),      # of another region
    (['--lines', 'co.par', '--gas', 'CO=1..1000ppm', '--path', '1m', '--without', 'CO'], 'CO'),
    (['--lines', 'co.par', '--preset', 'leak', '--without', 'NH3'], 'CH4'),
])
def test_mistakes(capsys, words, says):
    "One sentence, exit code 2."
    words = [str(CASES/w) if w.endswith('.par') else w for w in words]
    code = main(['fit', 'spectra', str(CASES/'co_laser.csv'), *STATED, *words])
    err = capsys.readouterr().err
    assert code == 2 and says in err and 'Traceback' not in err and err.strip().count('\n') == 0, err

def test_the_same_words_without_a_file(tmp_path, capsys):
    "simulate, identifiable and windows take the gas too; the axis comes from --window."
    gas = [*line_lists('co.par'), '--gas', 'CO=1..1000ppm', '--path', '1m', '--window', '2188.5..2191.5', '--num-points', '400']
    main(['simulate', 'spectra', str(tmp_path/'a.csv'), *gas, '--set', 'mf_CO=50ppm', 'P=200Torr', 'T=300K', 'centre=2190', 'span=3', '--noise', '5e-4'])
    main(['fit', 'spectra', str(tmp_path/'a.csv'), *line_lists('co.par'), '--gas', 'CO=1..1000ppm', '--path', '1m', '--known', 'P=200Torr', 'T=300K',
          '--out', str(tmp_path)])
    r = next(r for r in json.loads((tmp_path/'a.json').read_text())['parameters'] if r['name'] == 'mf_CO')
    assert abs(r['value'] - 50e-6) < 3*r['statistical']
    capsys.readouterr()
    main(['identifiable', 'spectra', *gas, '--known', 'P=200Torr', 'T=300K'])
    assert 'mf_CO' in capsys.readouterr().out
    main(['windows', 'spectra', *gas, '--known', 'P=200Torr', 'T=300K', '--want', 'mf_CO', '--between', '2180', '2200', '--n', '4'])
    assert '1/cm' in capsys.readouterr().out

def test_many_files_in_one_table(tmp_path, capsys):
    "One command, one table with times; a file that cannot be read keeps its row and its reason."
    rng, head = np.random.default_rng(0), (CASES/'a_ok.csv').read_text().splitlines()
    nu, y = np.loadtxt(head[1:], delimiter=',', usecols=(0, 1)).T
    for i in range(12):
        name = tmp_path/f'cell_20260131_12{i:02d}00.csv'
        name.write_text('wavenumber,transmittance\n' + '\n'.join(f'{a},{b}' for a, b in zip(nu, y + 2e-4*rng.standard_normal(len(y)))))
    (tmp_path/'cell_20260131_130000.csv').write_text('wavenumber,transmittance\n1,2\n')
    files, gas = sorted(map(str, tmp_path.glob('*.csv'))), ['--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K']
    words = [*files, *STATED, *line_lists('ch4s.par'), *gas, '--time', 'name', '--out', str(tmp_path/'day.csv'), '--plot', str(tmp_path/'day.png')]
    assert main(['fit', 'spectra', *words]) == 2                           # the others are in the table
    said = capsys.readouterr().err
    assert said.startswith('physlearn: not fitted: ') and said.count('\n') == 1
    assert 'not fitted' in said and '2 points' in said or 'at least 16' in said
    rows = list(csv.DictReader(line for line in (tmp_path/'day.csv').open() if not line.startswith('#')))
    assert len(rows) == 13 and rows[3]['time'].startswith('2026-01-31T12:03:00') and 'at least 16' in rows[12]['note']
    value, sd = (np.array([float(r[k]) for r in rows[:12]]) for k in ('mf_CH4', 'mf_CH4_statistical'))
    assert np.abs(value - 200e-6).max() < 4*sd.max() and sd.max() < 2e-6
    assert (tmp_path/'day.png').read_bytes()[:4] == b'\x89PNG'
    assert main(['fit', 'spectra', *words]) == 2 and 'overwrite' in capsys.readouterr().err

def test_a_set_up_file(tmp_path, capsys, monkeypatch):
    "Said once, printed, taken by every verb and by Python; the command line counts more; files are looked for beside it."
    from physlearn.spectra.desk import SpectraOptions
    (tmp_path/'co.par').write_bytes((CASES/'co.par').read_bytes())
    monkeypatch.chdir(tmp_path)
    words = ['--lines', 'co.par', '--gas', 'CO=1..1000ppm', '--path', '1m', '--known', 'P=200Torr', 'T=300K', *STATED]
    assert not main(['setup', 'spectra', *words])
    text = capsys.readouterr().out
    (tmp_path/'co.yaml').write_text(text)
    assert '# length of the gas path' in text and '# profile: voigt' in text
    (tmp_path/'away').mkdir()
    monkeypatch.chdir(tmp_path/'away')
    def amount(*more):
        assert not main(['fit', 'spectra', str(CASES/'co_laser.csv'), '--setup', '../co.yaml', *more, '--out', 'a', '--overwrite'])
        return next(r['value'] for r in json.loads(Path('a/co_laser.json').read_text())['parameters'] if r['name'] == 'mf_CO')
    once = amount()
    assert abs(once - 50e-6) < .3e-6 and abs(amount('--path', '2m')/once - .5) < 1e-3
    mine = SpectraOptions.load('../co.yaml')
    assert mine.gas == ('CO=1..1000ppm',) and Path(mine.lines[0]).exists() and mine.chosen().space['P'].unit == 'mbar'
    capsys.readouterr()
    assert not main(['identifiable', 'spectra', '--setup', '../co.yaml', '--window', '2188.5..2191.5', '--num-points', '200'])
    assert 'mf_CO' in capsys.readouterr().out
    for bad, says in (('gas: 5\n', 'a list'), ('gass: [CO]\n', "'gass'"), ('format: 2\n', 'format: 1'), ('- a\n', 'no options'), ('a: [\n', 'not YAML')):
        Path('bad.yaml').write_text(bad)
        assert main(['fit', 'spectra', str(CASES/'co_laser.csv'), '--setup', 'bad.yaml']) == 2
        err = capsys.readouterr().err
        assert says in err and err.count('\n') == 1, err

def test_training_takes_a_set_up(tmp_path, monkeypatch):
    "The gas of a set-up file is that of the training's recipe, which keeps it."
    from physlearn.desk import command_of
    from physlearn.instruments import find
    (tmp_path/'co.yaml').write_text(f"lines: ['{CASES/'co.par'}']\ngas: [CO=1..1000ppm]\npath: 1m\nrange: [P=190..210Torr]\nwindow: 2188.5..2191.5\nnoise: 0.1%\n")
    train = command_of('train', find('spectra'))
    made, _ = train.defaults(['--setup', str(tmp_path/'co.yaml')])
    assert made.gas == ('CO=1..1000ppm',) and made.noise == 'white' and 'mf_CO' in made.chosen().space

def test_fringes_are_found(tmp_path, capsys):
    "A fringe of 0.4 % at 0.9 cycles per cm-1: named in numbers where it is not fitted, found where that is asked for; 200 ppm."
    cell = [*line_lists('ch4s.par'), '--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K']
    rows, _ = fitted(tmp_path/'a', 'a_fringe.csv', *cell)
    said = capsys.readouterr().out
    assert rows['mf_CH4']['flag'] == 'not trusted' and 'cycles per 1/cm in the residual; try --fringes auto' in said
    rows, _ = fitted(tmp_path/'b', 'a_fringe.csv', *cell, '--fringes', 'auto')
    frequency = float(capsys.readouterr().out.split('fringes of ')[1].split()[0])
    assert abs(frequency - .9) < .005 and rows['mf_CH4']['flag'] == 'determined'
    assert abs(rows['mf_CH4']['value'] - 200e-6) < 2*rows['mf_CH4']['statistical'] < 1e-6

def test_two_fringes_and_a_cubic_drift(tmp_path, capsys):
    "CO of 5.000 ppm under two fringes and a cubic drift comes out within 2 sd from the shell; without them it does not."
    import torch
    from physlearn.spectra.setup import Gas
    gas = Gas(lines=(str(CASES/'co.par'),), gas=('CO=1..1000ppm',), path='10m', window='2188.5..2191.5')
    sim = gas.built(dtype=torch.float64)
    state = dict(centre=2190., span=3., mf_CO=5e-6, baseline0=1., baseline1=0., baseline2=0., P=266.645, T=300.)
    theta = torch.tensor([[state[k] for k in sim.space]], dtype=torch.float64)
    nu, y, t = sim.wavenumber(theta)[0].numpy(), sim(theta)[0,0].numpy(), np.linspace(-1, 1, 800)
    light = 1 + .004*np.sin(2*np.pi*1.3*nu) + .002*np.cos(2*np.pi*4.7*nu) + .003*t**3
    y = y*light + 2e-4*np.random.default_rng(2).standard_normal(800)
    (tmp_path/'co.csv').write_text('wavenumber,transmittance\n' + '\n'.join(f'{a:.6f},{b:.8f}' for a, b in zip(nu, y)))
    cell = [*line_lists('co.par'), '--gas', 'CO=1..1000ppm', '--path', '10m', '--known', 'P=200Torr', 'T=300K']
    plain, _ = fitted(tmp_path/'a', tmp_path/'co.csv', *cell)
    rows, _ = fitted(tmp_path/'b', tmp_path/'co.csv', *cell, '--fringes', 'auto', '--degree', '3')
    off = {k: (r['mf_CO']['value'] - 5e-6)/r['mf_CO']['statistical'] for k, r in dict(plain=plain, fringes=rows).items()}
    assert abs(off['fringes']) < 2 and rows['mf_CO']['flag'] == 'determined', (off, rows['mf_CO'])
    assert plain['mf_CO']['flag'] == 'not trusted'

def test_a_gas_of_the_list_that_is_not_fitted_is_seen(tmp_path):
    "Water that is in the spectrum and in the list, not in the fit, moves methane by two sd: flagged, with its remedy."
    cell = ['--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K']
    rows, found = fitted(tmp_path, 'moist.csv', *line_lists('ch4s.par', 'h2o.par'), *cell)
    assert {r['flag'] for r in rows.values()} == {'suspect'} == {r['flag'] for r in found['amounts']}
    assert 'it holds H2O' in found['misfit']['says'] and '--gas H2O=0..5%' in found['misfit']['says']
    rows, found = fitted(tmp_path/'dry', 'a_ok.csv', *line_lists('ch4s.par', 'h2o.par'), *cell)
    assert rows['mf_CH4']['flag'] == 'determined' and found['misfit']['p'] > .01

def test_a_gas_that_is_not_fitted_is_seen_behind_a_line_shape(tmp_path):
    "A blurred spectrum, in which the unnamed gas has blurred lines."
    setup = [*line_lists('ch4s.par', 'h2o.par'), '--path', '10m', '--ils', 'gaussian', '--range', 'ils=0.05..0.06', '--window', '6000..6004']
    words = ['CH4=20ppm', 'P=0.9atm', 'T=295K', 'ils=0.055']
    assert not main(['simulate', 'spectra', str(tmp_path/'s.csv'), '--gas', 'CH4=1..1000ppm', 'H2O=0..5%', *setup, '--set',
                     *(w.replace('CH4', 'mf_CH4') for w in words), 'mf_H2O=3%', '--noise', '+5e-4'])
    assert not main(['fit', 'spectra', str(tmp_path/'s.csv'), '--gas', 'CH4=1..1000ppm', *setup[:-2], '--known', *words[1:3], '--noise',
                     '+5e-4', '--out', str(tmp_path/'out')])
    assert 'it holds H2O' in json.loads((tmp_path/'out/s.json').read_text())['misfit']['says']

def test_strengths_of_unknown_error(tmp_path, capsys):
    "Where the list has no uncertainty codes, their share of the error is unknown: blank, not zero."
    known = [l[:127] + '000000' + l[133:] for l in (CASES/'co.par').read_text().splitlines()]
    (tmp_path/'coded.par').write_text('\n'.join(known) + '\n')
    cell = ['--gas', 'CO=1..1000ppm', '--path', '1m', '--known', 'P=200Torr', 'T=300K']
    files = [str(CASES/'co_laser.csv')]*2
    for name, lists, blank in (('with', CASES/'co.par', False), ('without', tmp_path/'coded.par', True)):
        out = tmp_path/f'{name}.csv'
        assert not main(['fit', 'spectra', *files, *STATED, '--lines', str(lists), *cell, '--out', str(out)])
        rows = list(csv.DictReader(l for l in out.read_text().splitlines() if not l.startswith('#')))
        got = [r['mf_CO_lines'] for r in rows]
        assert all(v in ('', 'nan') for v in got) if blank else all(float(v) > 0 for v in got)
    assert 'nan' not in capsys.readouterr().out
