"""Set-ups of spectrometers from the shell: gases, segments, gauges in columns, noise. Right values come from other programs."""
import contextlib, io, json, os
from pathlib import Path
import numpy as np
import pytest
from physlearn.cli import main

DATA = Path(os.environ.get('PHYSLEARN_DATA', ''))
needs_data = pytest.mark.skipif(not (DATA/'hitran').is_dir(), reason='PHYSLEARN_DATA has no hitran')

def par(molecule, iso, nu, sw, gamma_air, gamma_self, elower, n_air, delta):
    "One HITRAN record."
    short = lambda v, form, width: format(v, form).replace('-0.', '-.').replace('0.', '.', 1)[:width].rjust(width)
    return (f'{molecule:2d}{iso}{nu:12.6f}{sw:10.3E}{1.:10.3E}{short(gamma_air, ".4f", 5)}{gamma_self:5.3f}{elower:10.4f}{n_air:4.2f}'
            f'{short(delta, ".6f", 8)}{"":60}{"":6}{"":12} {1.:7.1f}{1.:7.1f}')[:160]

def shell(capsys, *words):
    "What a command printed; it has to work."
    capsys.readouterr()
    code = main([str(w) for w in words])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out

def refused(capsys, *words):
    "The one sentence of a command that does not work."
    capsys.readouterr()
    code, err = main([str(w) for w in words]), capsys.readouterr().err
    assert code == 2 and 'Traceback' not in err and err.strip().count('\n') == 0, err
    return err

def parameters(path): return {r['name']: r for r in json.loads(Path(path).read_text())['parameters']}

# --- gases that hitran-api computes

def ladder(number, first, step, n, sw, width, own, energy):
    "Lines of a molecule, evenly spaced: made up, as no list of it is at hand."
    return [par(number, 1, first + k*step, sw*(1 + .3*(-1)**k), width - .002*k, own - .003*k, energy + 40*k, .7 - .01*k, -.002 - .0003*k)
            for k in range(n)]

def measured_co2():
    "Records of the CO2 lines of data/measured, which are a table."
    import csv
    with open(DATA/'measured/co2_air_crds/lines_co2_6358_6362.csv') as f:
        return [par(2, int(r['local_iso_id']), *(float(r[k]) for k in ('nu', 'sw', 'gamma0_air', 'gamma0_self', 'elower', 'n_gamma0_air', 'delta0_air')))
                for r in csv.DictReader(f)]

# molecule: records, window [1/cm], path [cm], range, mole fraction
GASES = dict(
    NH3=(lambda: ladder(11, 6548.6, .31, 9, 2e-21, .095, .45, 60.), (6548.5, 6551.5), 1000., '1..1000ppm', 200e-6),
    N2O=(lambda: ladder(4, 2190.1, .82, 6, 8e-19, .079, .1, 200.), (2190., 2194.5), 100., '10ppb..10ppm', 3.3e-6),
    CO2=(measured_co2, (6358.97, 6360.96), 1e5, '100..1000ppm', 400e-6))

def by_hapi(folder, molecule, records, nu, P, T, x):
    "Absorption coefficient [1/cm] by hitran-api."
    with contextlib.redirect_stdout(io.StringIO()):
        import hapi
        (folder/f'{molecule}.data').write_text('\n'.join(records) + '\n')
        head = dict(hapi.HITRAN_DEFAULT_HEADER, table_name=molecule, number_of_rows=len(records))
        (folder/f'{molecule}.header').write_text(json.dumps(head))
        hapi.db_begin(str(folder))
        k = hapi.absorptionCoefficient_Voigt(SourceTables=molecule, Environment=dict(p=P, T=T), Diluent=dict(air=1 - x, self=x), WavenumberGrid=nu,
                                             WavenumberWing=25., WavenumberWingHW=0., IntensityThreshold=0., HITRAN_units=True)[1]
    return k*x*P*1013250./(1.380649e-16*T)

@needs_data
@pytest.mark.parametrize('molecule', GASES)
def test_a_gas_computed_by_hitran_api(tmp_path, capsys, molecule):
    "A .par list and a CSV file of 0.1 % noise, one command: within 3 sd. The lines of NH3 and N2O are made up, their molecules are not."
    make, (lo, hi), path, interval, right = GASES[molecule]
    records, nu = make(), np.linspace(lo, hi, 600)
    (tmp_path/'db').mkdir()
    alpha = by_hapi(tmp_path/'db', molecule, records, nu, .8, 300., right)
    y = np.exp(-alpha*path)*(.98 + .01*(nu - lo)/(hi - lo))
    assert .02 < 1 - y.min()/y.max() < .97
    y = y*(1 + 1e-3*np.random.default_rng(3).standard_normal(600))
    (tmp_path/'gas.par').write_text('\n'.join(records) + '\n')
    (tmp_path/'gas.csv').write_text('wavenumber,transmittance\n' + '\n'.join(f'{a:.6f},{b:.8f}' for a, b in zip(nu, y)))
    shell(capsys, 'fit', 'spectra', tmp_path/'gas.csv', '--lines', tmp_path/'gas.par', '--gas', f'{molecule}={interval}', '--path', f'{path:g}cm',
          '--known', 'P=0.8atm', 'T=300K', '--noise', '0.1%', '--out', tmp_path/'out')
    r = parameters(tmp_path/'out/gas.json')[f'mf_{molecule}']
    assert abs(r['value'] - right) < 3*r['statistical'] < .03*right and r['flag'] == 'determined', r

# --- segments, etalons, gauges in columns: data/measured

CO2 = DATA/'measured/co2_air_crds'

@needs_data
def test_a_set_up_with_segments_and_gauges(tmp_path, capsys):
    "A ring-down spectrum of the shipped set-up file: three etalons of which two jump, temperature from a column, pressure left free."
    from physlearn.spectra.files import example_setup
    words = ['fit', 'spectra', CO2/'co2_air_101torr.csv', '--setup', example_setup(), '--lines', CO2/'lines_co2_6358_6362.csv']
    said = shell(capsys, *words, '--out', tmp_path)
    r = parameters(tmp_path/'co2_air_101torr.json')
    assert abs(r['P']['value']/1.33322368/100.72 - 1) < .004 and abs(r['mf_CO2']['value']/423.2e-6 - 1) < .003
    assert 'sin1_3' in r and 'sin0' in r and 'T is the mean of the column Temperature' in said and 296.2 < r['T']['value'] < 296.4
    assert 'segments' in refused(capsys, *words, '--segments', 'Part')
    assert 'one of the frequencies' in refused(capsys, *words, '--jumping', '3')
    assert "called 'Temp'" in refused(capsys, *words, '--known', 'T=Temp:degC')

@needs_data
def test_an_offset_that_jumps(tmp_path, capsys):
    "Two segments of different light: without their own offsets the amount is wrong, and said to be suspect."
    from physlearn.files import read_table
    cases = DATA/'cases/spectra'
    t = read_table(cases/'a_ok.csv')
    nu, y = list(t.values())[:2]
    part = (np.arange(len(y)) > len(y)//3).astype(int)
    rows = '\n'.join(f'{a},{b},{s}' for a, b, s in zip(nu, y*(1 + .01*part), part))
    (tmp_path/'a.csv').write_text('wavenumber,transmittance,part\n' + rows)
    words = ['fit', 'spectra', tmp_path/'a.csv', '--lines', cases/'ch4s.par', '--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K']
    shell(capsys, *words, '--out', tmp_path/'plain')
    assert parameters(tmp_path/'plain/a.json')['mf_CH4']['flag'] in ('suspect', 'not trusted')
    shell(capsys, *words, '--segments', 'part', '--jumping', 'offset', '--out', tmp_path/'apart')
    r = parameters(tmp_path/'apart/a.json')
    assert abs(r['mf_CH4']['value'] - 200e-6) < 3*r['mf_CH4']['statistical'] and r['mf_CH4']['flag'] == 'determined'
    assert abs(r['baseline0_1']['value']/r['baseline0_0']['value'] - 1.01) < .002

# --- ring-down times, an axis that counts from a centre

def detuned_oxygen(folder, seed=1):
    "An O2-like doublet as a ring-down spectrometer writes it: MHz from a centre, decay times in us; hitran-api's speed-dependent Voigt."
    with contextlib.redirect_stdout(io.StringIO()):
        import hapi
    P, T, x, centre, c = .2, 297., .2095, 13122.05, 29979245800.
    lines = [(13121.95, 1.6e-24, .052, .73, -.0083, .09), (13122.22, 7e-25, .050, .72, -.0081, .10)]      # SD_gamma last
    mhz = np.linspace(-9000, 9000, 500)
    nu, alpha = centre + mhz*1e6/c, np.zeros(500)
    for nu0, S, gamma, n, delta, aw in lines:
        S = S*hapi.partitionSum(7, 1, 296.)/hapi.partitionSum(7, 1, T)*np.exp(-1.4387768775*80*(1/T - 1/296.))
        doppler = nu0/299792458.*np.sqrt(2*np.log(2)*1.380649e-23*T/(31.98983*1.66053906892e-27))
        g0 = P*gamma*(296/T)**n
        y = hapi.PROFILE_SDVOIGT(nu0, doppler, g0, aw*g0, P*(1 - x)*delta, 0., nu)
        alpha += x*P*1013250./(1.380649e-16*T)*S*np.real(y[0] if isinstance(y, tuple) else y)
    tau = 1e6/(c*(3.2e-7 + 2e-9*mhz/9000 + alpha))
    tau = tau*(1 + 2e-4*np.random.default_rng(seed).standard_normal(500))
    head = 'molec_id,local_iso_id,nu,sw,elower,gamma_air,gamma_self,n_air,delta_air,SD_gamma_air,SD_gamma_self\n'
    (folder/'o2.csv').write_text(head + '\n'.join(f'7,1,{a},{S},80.,{g},{g},{n},{d},{aw},{aw}' for a, S, g, n, d, aw in lines))
    rows = '\n'.join(f'{a:.3f},{t:.7f},{P*101325/133.322368:.4f},{T - 273.15:.3f}' for a, t in zip(mhz, tau))
    (folder/'ring.csv').write_text('Detuning (MHz),Ring-down time [us],P_cell,T_cell\n' + rows)

def test_ring_down_times_over_detuning(tmp_path, capsys):
    "Read and fitted by a set-up file: MHz about a centre, 1/(c tau), speed-dependent Voigt, gauges in columns; Voigt is flagged."
    detuned_oxygen(tmp_path)
    text = shell(capsys, 'setup', 'spectra', '--lines', tmp_path/'o2.csv', '--gas', 'O2=1..100%', '--centre', '13122.05', '--profile', 'sdvoigt',
                 '--known', 'P=P_cell:Torr', 'T=T_cell:degC', '--degree', '1', '--noise', '0.02%')
    (tmp_path/'o2.yaml').write_text(text)
    said = shell(capsys, 'fit', 'spectra', tmp_path/'ring.csv', '--setup', tmp_path/'o2.yaml', '--out', tmp_path/'a')
    r = parameters(tmp_path/'a/ring.json')
    assert abs(r['mf_O2']['value'] - .2095) < 3*r['mf_O2']['statistical'] < .002 and r['mf_O2']['flag'] == 'determined', r['mf_O2']
    assert 'counted from 13122.05' in said and 'in MHz' in said and '1/(c tau)' in said
    assert abs(r['P']['value'] - .2*1013.25) < .1 and abs(r['baseline0']['value'] - 3.18e-7) < 1e-9
    shell(capsys, 'fit', 'spectra', tmp_path/'ring.csv', '--setup', tmp_path/'o2.yaml', '--profile', 'voigt', '--units', 'P=Torr', 'T=degC', '--out', tmp_path/'b')
    q = parameters(tmp_path/'b/ring.json')
    assert (q['P']['unit'], q['T']['unit']) == ('Torr', 'degC') and abs(q['P']['value'] - 152) < .1 and abs(q['T']['value'] - 23.85) < .01
    assert parameters(tmp_path/'b/ring.json')['mf_O2']['flag'] in ('suspect', 'not trusted')

# --- noise

def dark_line(folder, sigma=2e-4, share=1e-3):
    "CO whose strongest line lets no light through, with noise of both kinds."
    import torch
    from physlearn.spectra.setup import Gas
    sim = Gas(lines=(str(DATA/'cases/spectra/co.par'),), gas=('CO=1..30000ppm',), path='1m', window='2188.5..2191.5').built(dtype=torch.float64)
    state = dict(centre=2190., span=3., mf_CO=.02, baseline0=1., baseline1=0., baseline2=0., P=266.645, T=300.)
    theta = torch.tensor([[state[k] for k in sim.space]], dtype=torch.float64)
    nu, y, rng = sim.wavenumber(theta)[0].numpy(), sim(theta)[0,0].numpy(), np.random.default_rng(5)
    assert y.min() < 1e-6
    y = y*(1 + share*rng.standard_normal(800)) + sigma*rng.standard_normal(800)
    (folder/'dark.csv').write_text('wavenumber,transmittance\n' + '\n'.join(f'{a:.6f},{b:.9f}' for a, b in zip(nu, y)))
    return ['fit', 'spectra', folder/'dark.csv', '--lines', DATA/'cases/spectra/co.par', '--gas', 'CO=0.1..10%', '--path', '1m', '--known', 'P=200Torr', 'T=300K']

@needs_data
@pytest.mark.parametrize('noise', ['0.1%+2e-4', '+1e-3', 'auto'])
def test_saturated_lines_with_each_noise(tmp_path, capsys, noise):
    "A share and an additive part, an additive one, and found noise: 2 % of CO behind a line of no light."
    shell(capsys, *dark_line(tmp_path), '--noise', noise, '--out', tmp_path/'out')
    r = parameters(tmp_path/'out/dark.json')['mf_CO']
    assert abs(r['value'] - .02) < 3*r['statistical'] < 3e-4 and r['flag'] == 'determined', r

@needs_data
def test_a_share_of_nothing_is_no_noise(tmp_path, capsys):
    "Refused in one sentence whose remedy works; words of noise are the same in every verb."
    words = dark_line(tmp_path)
    said = refused(capsys, *words, '--noise', '0.1%')
    assert '--noise 0.1%+0.0002' in said and 'no noise' in said
    assert 'two parts' in refused(capsys, *words, '--noise', '1%+2%')
    gas = ['--lines', DATA/'cases/spectra/co.par', '--gas', 'CO=1..1000ppm', '--path', '1m', '--window', '2188.5..2191.5', '--num-points', '200']
    shell(capsys, 'simulate', 'spectra', tmp_path/'s.csv', *gas, '--noise', '0.1%+2e-4')
    known = ['--known', 'P=200Torr', 'T=300K']
    few, more = (shell(capsys, 'identifiable', 'spectra', *gas, *known, '--noise', n) for n in ('0.1%', '0.1%+2e-2'))
    assert 'mf_CO' in few and few != more
    windows = ['windows', 'spectra', *gas, *known, '--want', 'mf_CO', '--between', '2185', '2195', '--n', '4']
    assert shell(capsys, *windows, '--noise', '0.2%') == shell(capsys, *windows, '--noise', '.002') != shell(capsys, *windows, '--noise', '0.2%+5e-3')
    assert 'is no number' in refused(capsys, 'simulate', 'spectra', tmp_path/'t.csv', *gas, '--noise', 'loud')

# --- presets are set-up files

def test_presets_are_set_up_files(tmp_path, capsys):
    "The file of a preset, given as --setup, is the preset: the same space, axis and fit; a wrong option is named."
    from importlib import resources
    from physlearn.spectra.desk import SpectraOptions
    from physlearn.spectra.files import example_spectrum
    from physlearn.spectra.simulate import PRESETS
    folder = Path(str(resources.files('physlearn.spectra')/'data'/'presets'))
    assert sorted(p.stem for p in folder.glob('*.yaml')) == sorted(PRESETS)
    for name, p in PRESETS.items():
        q = SpectraOptions.load(folder/f'{name}.yaml')
        if not q.embedded: q.lines = ('unread.par',)
        q = q.chosen()
        assert q.space == p.space and (q.grid.t == p.grid.t).all() and (q.grid.c == p.grid.c).all() and q.window == p.window, name
        assert (q.path, q.baseline.abscissa, q.embedded, q.doc) == (p.path, p.baseline.abscissa, p.embedded, p.doc)
    words = ['fit', 'spectra', example_spectrum(), '--known', 'T=306±0.5K', 'P=487±1mbar', '--noise', '0.002']
    a, b = (shell(capsys, *words, *more) for more in (['--preset', 'reference'], ['--setup', folder/'reference.yaml']))
    assert a == b
    (tmp_path/'bad.yaml').write_text((folder/'leak.yaml').read_text() + 'colour: red\n')
    assert "'colour'" in refused(capsys, *words, '--setup', tmp_path/'bad.yaml')

def test_another_number_of_points_keeps_the_ends(tmp_path, capsys):
    "400 points of the reference instrument span its window of 1.1 cm-1, and its light falls as before."
    from physlearn.files import read_table
    state = ['--set', 'sig0=3085.44', 'step=0.00153', 'baseline0=1', 'baseline1=-3.5e-4', 'baseline2=0', 'mf_CH4=5ppm', 'mf_H2O=1ppm', 'P=500mbar', 'T=307K']
    ends = []
    for n in (800, 400):
        shell(capsys, 'simulate', 'spectra', tmp_path/f'{n}.csv', '--num-points', n, *state)
        t = read_table(tmp_path/f'{n}.csv')
        ends.append([t['wavenumber'][0], t['wavenumber'][-1], t['signal'][0], t['signal'][-1]])
        assert len(t['signal']) == n
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)

def test_a_calibration_polynomial_on_any_grid(tmp_path, capsys):
    "It bends a window too; where points are stated, or the bend is absurd, a sentence says so."
    import torch
    from physlearn.spectra.setup import Gas
    from physlearn.spectra.simulate import Grid
    words = dict(gas=('CH4=1..30ppm',), embedded=True, path='15m', window='3085.4..3086.6')
    straight, bent = (Gas(**words, **more).built(method='exact') for more in ({}, dict(poly_frequency=(-2e-7,))))
    theta = torch.tensor([[dict(centre=3086., span=1.2, mf_CH4=5e-6, baseline0=1., P=500., T=300.).get(k, 0.) for k in straight.space]], dtype=torch.float64)
    bend = (bent.wavenumber(theta) - straight.wavenumber(theta))[0]
    assert abs(float(bend[-1]) + 2e-7*799**2) < 1e-9 and float(bend[0]) == 0
    with pytest.raises(ValueError, match='bends the axis'): Gas(**words, poly_frequency=(1.,)).built()
    with pytest.raises(ValueError, match='need no calibration'): Grid.points([1., 2.]).calibrated((1e-7,))

def test_embedded_lines_need_no_window(tmp_path):
    "A file states its axis, so a set-up with the lines of the package fits it without a window, and refuses one elsewhere."
    from physlearn.files import FileError
    from physlearn.spectra.fit import simulator_for
    from physlearn.spectra.files import Spectrum
    from physlearn.spectra.setup import Gas
    chosen = Gas(gas=('CH4=1..30ppm',), embedded=True, path='15m').chosen()
    def seen(*span): return simulator_for(Spectrum(np.ones(50), 'transmittance', np.linspace(*span, 50)), chosen)
    assert len(seen(3085.4, 3086.6).grid) == 50
    with pytest.raises(FileError, match='no lines'): seen(3285.4, 3286.6)

def test_a_profile_that_the_list_does_not_know_is_noted():
    "A profile or mixing without coefficients is Voigt; a reader of results is told so."
    from dataclasses import replace
    from physlearn.spectra.hitran import demo_lines
    from physlearn.spectra.simulate import preset
    lines = demo_lines()
    def notes(lines=lines, **kw): return ' '.join(preset('reference').simulator(lines, **kw).notes)
    assert 'no coefficients' not in notes()
    for profile in ('rautian', 'sdvoigt', 'sdng', 'ht'):
        assert f'profile {profile}: the line list has no coefficients' in notes(profile=profile)
    assert 'line mixing: the line list has no coefficients' in notes(mixing=True)
    known = replace(lines, sd_air=np.where(np.arange(len(lines)) == 3, .1, np.nan))
    assert 'no coefficients' not in notes(known, profile='sdvoigt')
    assert 'profile rautian' in notes(known, profile='rautian')

def test_a_transmittance_for_a_run_names_the_option():
    "A run reads the signal of its instrument; a file of a transmittance is refused, with what to say."
    from types import SimpleNamespace
    from physlearn.files import FileError
    from physlearn.spectra.signals import check_quantity
    run = SimpleNamespace(sim=SimpleNamespace(quantity='transmittance'))
    with pytest.raises(FileError, match='--quantity signal'): check_quantity('a.csv', run, None, dict(quantity='transmittance'))
    with pytest.raises(FileError) as e: check_quantity('a.csv', run, None, dict(quantity='absorbance'))
    assert '--quantity signal' not in str(e.value)
    check_quantity('a.csv', run, 'signal', {})

def test_a_preset_with_points_of_its_own(tmp_path):
    "An instrument whose axis is stated takes any number of points, in a fit by pixels too."
    from dataclasses import replace
    import torch
    from physlearn.spectra.files import Spectrum
    from physlearn.spectra.fit import simulator_for
    from physlearn.spectra.simulate import Grid, preset
    p = preset('reference')
    own = replace(p, grid=Grid.points(np.linspace(3085.5, 3086.5, 300)), space=p.space.only(*(k for k in p.space if k not in ('sig0', 'step'))))
    for n in (300, 150):
        sim = simulator_for(Spectrum(np.ones(n), 'signal'), own)
        assert len(sim.grid) == n and torch.isfinite(sim(sim.space.sample(2, 'own'))).all()
    assert own.resized(100).simulator().box()['nu'] == (3085.5, 3086.5)

# --- points that are left out

@pytest.mark.parametrize('left', ['start', 'middle', 'both', 'nan', 'capped'])
@pytest.mark.parametrize('kind', ['preset', 'descending', 'pixel', 'window', 'unit'])
def test_points_that_are_left_out_leave_the_others_in_place(kind, left, tmp_path):
    "Baseline and axis count the points of the file, whichever of them are fitted."
    from physlearn.files import write_table
    from physlearn.spectra.files import read_spectrum
    from physlearn.spectra.fit import simulator_for
    from physlearn.spectra.hitran import demo_lines
    from physlearn.spectra.simulate import preset
    n, nu, y = 131, np.linspace(3085.4, 3086.7, 131), .9 - .01*np.sin(np.arange(131.))
    kept = np.arange(n) >= (20 if left in ('start', 'both', 'nan') else 0)
    if left in ('middle', 'both', 'capped'): kept[60:80] = False
    if left == 'nan': y[:20] = np.nan
    if left == 'capped': y[60:80] = 1.5
    pixel, quantity = kind in ('pixel', 'window'), 'optical_depth' if kind == 'unit' or left == 'capped' else 'signal'
    ends = lambda a, b: f'{a}..{b}' if pixel else f'{nu[a] - .002}..{nu[b] + .002}'
    words = dict(crop=ends(20, 130)) if left in ('start', 'both') else {}
    if left in ('middle', 'both'): words['drop'] = (ends(60, 79),)
    order = slice(None, None, -1 if kind == 'descending' else 1)
    write_table(tmp_path/'a.csv', dict(**({} if pixel else dict(wavenumber=nu[order])), y=y[order]))
    axis = dict(axis='pixel') if pixel else dict(axis='wavenumber', unit='1/cm')
    spec = read_spectrum(tmp_path/'a.csv', quantity, y='y', **axis, **words)
    sim = simulator_for(spec, preset('near_infrared' if kind == 'window' else 'reference'), demo_lines())
    i = np.flatnonzero(kept)
    place = i if quantity == 'signal' and kind != 'window' else (i - i[0])/(i[-1] - i[0])
    names = [k for k in sim.space if k.startswith('baseline')]
    basis = sim.baseline.basis(names, sim.wavenumber(sim.space.sample(1, 'b'))[0])
    np.testing.assert_allclose(basis, [place**int(k[8:]) for k in names], atol=1e-12)
    if pixel: np.testing.assert_allclose(sim.grid.t, i if kind == 'pixel' else i/(n - 1) - .5, atol=1e-12)
    else: np.testing.assert_allclose(sim.grid.c, nu[kept])

# --- many files, resumed

@needs_data
@pytest.mark.parametrize('ending', ['csv', 'parquet', 'xlsx'])
def test_a_series_is_resumed(tmp_path, capsys, ending):
    "What the table holds is not fitted again; a file that failed is; another set-up is refused; patterns are expanded."
    if ending != 'csv': pytest.importorskip(dict(parquet='pyarrow', xlsx='openpyxl')[ending])
    import pandas as pd
    cases, rng = DATA/'cases/spectra', np.random.default_rng(0)
    head = (cases/'a_ok.csv').read_text().splitlines()
    nu, y = np.loadtxt(head[1:], delimiter=',', usecols=(0, 1)).T
    def measure(k):
        rows = '\n'.join(f'{a},{b}' for a, b in zip(nu, y + 2e-4*rng.standard_normal(len(y))))
        (tmp_path/f'm{k}.csv').write_text('wavenumber,transmittance\n' + rows)
    for k in range(3): measure(k)
    (tmp_path/'m2.csv').write_text('wavenumber,transmittance\n1,2\n')                     # half written
    out = tmp_path/f'day.{ending}'
    words = ['fit', 'spectra', tmp_path/'m*.csv', '--lines', cases/'ch4s.par', '--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K',
             '--quantity', 'transmittance', '--axis', 'wavenumber', '--out', out, '--resume']
    assert main([*map(str, words)]) == 2 and 'not fitted' in capsys.readouterr().err      # one of them, the others are in the table
    read = dict(csv=pd.read_csv, parquet=pd.read_parquet, xlsx=pd.read_excel)[ending]
    first = read(out)
    for k in (2, 3): measure(k)
    said = shell(capsys, *words)
    assert 'm0' not in said and 'm2' in said and 'm3' in said
    second = read(out)
    assert list(second['file']) == ['m0.csv', 'm1.csv', 'm2.csv', 'm3.csv'] and second['mf_CH4'].notna().all()
    assert (second['mf_CH4'][:2] == first['mf_CH4'][:2]).all() and abs(second['mf_CH4'] - 200e-6).max() < 5e-6
    assert 'already' in shell(capsys, *words)
    assert 'another set-up' in refused(capsys, *words, '--path', '11m')
    assert 'no file matches' in refused(capsys, 'fit', 'spectra', tmp_path/'x*.csv', *words[3:])
    if ending == 'csv': assert '.csv' in refused(capsys, *words[:-2], tmp_path/'day.h5', '--resume')

def test_what_takes_long_says_so(capsys, monkeypatch):
    "On stderr, terminal or not."
    from physlearn import pages
    from physlearn.spectra import desk
    from physlearn.spectra.files import example_spectrum
    monkeypatch.setattr(desk, 'said_if_slow', lambda what: pages.said_if_slow(what, after=0.))
    main(['fit', 'spectra', str(example_spectrum()), '--known', 'T=306K', 'P=487mbar', '--noise', '0.2%'])
    assert 'fitting 1 spectrum' in capsys.readouterr().err

# --- lists of the guide, of HITEMP and ExoMol

@needs_data
def test_other_line_lists(tmp_path, capsys):
    "The guide's headerless table and its YAML give the amount that the same lines as .par give; HITEMP's bzip2 is read; ExoMol is named."
    import bz2
    cases = DATA/'cases/spectra'
    records = (cases/'ch4s.par').read_text().splitlines()
    at = dict(mid=(0, 2), lid=(2, 3), center=(3, 15), amplitude=(15, 25), gamma_air=(35, 40), gamma_self=(40, 45), e0=(45, 55), n_air=(55, 59), shift_air=(59, 67))
    rows = [{k: float(r[a:b]) for k, (a, b) in at.items()} for r in records]
    (tmp_path/'06.csv').write_text('\n'.join(';'.join(f'{v:g}' if k in ('mid', 'lid') else repr(v) for k, v in r.items()) for r in rows))
    import yaml
    (tmp_path/'t.yaml').write_text(yaml.safe_dump(dict(transitions=dict(CH4=rows), poly_frequency=dict(CH4=[1e-9]))))
    (tmp_path/'06_HITEMP.par.bz2').write_bytes(bz2.compress((cases/'ch4s.par').read_bytes()))
    found = []
    for lines in (cases/'ch4s.par', tmp_path/'06.csv', tmp_path/'t.yaml', tmp_path/'06_HITEMP.par.bz2'):
        out = tmp_path/f'out{len(found)}'
        shell(capsys, 'fit', 'spectra', cases/'a_ok.csv', '--quantity', 'transmittance', '--axis', 'wavenumber', '--lines', lines, '--gas', 'CH4=1..1000ppm',
              '--path', '10m', '--known', 'P=0.9atm', 'T=295K', '--out', out)
        found.append(parameters(out/'a_ok.json')['mf_CH4']['value'])
    np.testing.assert_allclose(found, found[0], rtol=1e-6)
    assert abs(found[0] - 200e-6) < 1e-6
    (tmp_path/'12C-16O.trans').write_text('84 42 1.1E-06 2.4\n')
    assert 'ExoCross' in refused(capsys, 'fit', 'spectra', cases/'a_ok.csv', '--lines', tmp_path/'12C-16O.trans', '--gas', 'CO=1..9ppm', '--path', '1m',
                                 '--quantity', 'transmittance', '--axis', 'wavenumber')

# --- light that no polynomial follows; mistakes are said at once

def methane_like(folder, light, name='a.csv'):
    "Case a_ok under another light."
    nu, y = np.loadtxt((DATA/'cases/spectra/a_ok.csv').read_text().splitlines()[1:], delimiter=',', usecols=(0, 1)).T
    (folder/name).write_text('wavenumber,transmittance\n' + '\n'.join(f'{a},{b:.8f}' for a, b in zip(nu, light(y, (nu - nu[0])/np.ptp(nu)))))
    return ['fit', 'spectra', folder/name, '--quantity', 'transmittance', '--axis', 'wavenumber', '--lines', DATA/'cases/spectra/ch4s.par',
            '--gas', 'CH4=1..1000ppm', '--path', '10m', '--known', 'P=0.9atm', 'T=295K']

@needs_data
def test_a_spline_baseline(tmp_path, capsys):
    "A bump of the light that a parabola does not follow: eight knots do, and their ranges and gauges are their prior."
    words = methane_like(tmp_path, lambda y, u: y*(1 + .02*np.exp(-((u - .4)/.2)**2)))
    shell(capsys, *words, '--out', tmp_path/'plain')
    assert parameters(tmp_path/'plain/a.json')['mf_CH4']['flag'] in ('suspect', 'not trusted')
    shell(capsys, *words, '--knots', '10', '--out', tmp_path/'knots')
    r = parameters(tmp_path/'knots/a.json')
    assert abs(r['mf_CH4']['value'] - 200e-6) < 2.5*r['mf_CH4']['statistical'] and r['mf_CH4']['flag'] == 'determined', r['mf_CH4']
    assert sum(k.startswith('baseline') for k in r) == 10
    shell(capsys, *words, '--knots', '10', '--range', 'baseline9=0.9..0.95', '--out', tmp_path/'prior')
    assert parameters(tmp_path/'prior/a.json')['baseline9']['value'] <= .95
    assert '4 or more' in refused(capsys, *words, '--knots', '3')

@needs_data
@pytest.mark.parametrize('more, says', [
    (['--range', 'CH4=1..2ppm'], 'there is no such parameter; there are mf_CH4'),
    (['--medium', 'air'], 'has no effect'),
    (['--poly-frequency', '1e-9'], 'calibrates pixels'),
    (['--segments', 'part'], 'say what jumps'),
    (['--near', '1..2', '--preset', 'leak'], '--near goes with --gas')])
def test_options_without_effect(tmp_path, capsys, more, says):
    "Used or refused."
    words = methane_like(tmp_path, lambda y, u: y)
    if '--near' in more: words = words[:9]
    assert says in refused(capsys, *words, *more)

@needs_data
def test_what_cannot_work_is_said_at_once(tmp_path, capsys):
    "Per cent of absorption or of transmittance are no transmittance; a known value without its unit is echoed."
    words = methane_like(tmp_path, lambda y, u: 100*(1 - y) + .5, 'b.csv')
    assert 'a transmittance of' in refused(capsys, *words)
    words = methane_like(tmp_path, lambda y, u: 100*y, 'c.csv')
    assert '--y-unit %' in refused(capsys, *words)
    assert 'no light is left' in refused(capsys, *words[:3], '--quantity', 'absorbance', '--y', 'transmittance', *words[5:])
    words = methane_like(tmp_path, lambda y, u: y)
    assert 'T=295 taken in K' in shell(capsys, *words[:-1], 'T=295')
