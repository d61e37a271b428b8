"""What a gas does to light, computed fast, hot, in other gases and glowing: each beside an independent value."""
import contextlib, io, json, math, os
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from physlearn.cli import main
from physlearn.params import Param, ParamSpace
from physlearn.files import FileError
from physlearn.spectra.continuum import read_continua
from physlearn.spectra.files import Spectrum, read_spectrum, said_by
from physlearn.spectra.hitran import demo_lines, demo_partition_sums, isotopologues, line_strength, lorentz_hwhm, pressure_shift
from physlearn.spectra.hitran import read_lines, read_par, tips
from physlearn.spectra.lineshape import hartmann_tran, hartmann_tran_slopes
from physlearn.spectra.noise import stated_noise
from physlearn.spectra.resolution import with_line_shape
from physlearn.spectra.simulate import Baseline, Grid, LineByLine, cross_section, planck, profile_sum, shape_parameters, sum_in_chunks

CASES = Path(os.environ['PHYSLEARN_DATA'])/'cases'/'spectra' if 'PHYSLEARN_DATA' in os.environ else None

def quiet_hapi():
    "The package hitran-api without its greeting."
    with contextlib.redirect_stdout(io.StringIO()): import hapi
    return hapi

def by_hapi(folder, records, nu, state, diluent, extra=(), **kw):
    "Absorption coefficient of hitran-api [1/cm], of the pure gas; `extra`: names of the columns behind the records."
    hapi, folder = quiet_hapi(), folder/'hapi'
    folder.mkdir(exist_ok=True)
    header = dict(hapi.HITRAN_DEFAULT_HEADER, table_name='gas', number_of_rows=records.count('\n'))
    if extra: header |= dict(extra=list(extra), extra_format={k: '%9.5f' for k in extra}, extra_separator=',')
    (folder/'gas.data').write_text(records)
    (folder/'gas.header').write_text(json.dumps(header))
    with contextlib.redirect_stdout(io.StringIO()):
        hapi.db_begin(str(folder))
        return hapi.absorptionCoefficient_Voigt(SourceTables='gas', OmegaGrid=nu, Environment=state, OmegaWing=25.,
                                                OmegaWingHW=0., Diluent=diluent, HITRAN_units=False, **kw)[1]

def derivatives_are_right(sim, key):
    "The signal's Jacobian against finite differences, all parameters."
    at = sim.space.sample(2, key)
    y, J = sim.jacobian(at)
    assert torch.allclose(y, sim(at)[:,0], rtol=1e-10)
    for j, (k, p) in enumerate(sim.space.items()):
        h = torch.zeros(len(sim.space), dtype=torch.float64)
        h[j] = (1e-6 if k == 'ils' else 1e-4)*(p.hi - p.lo)
        slope = (sim(at + h) - sim(at - h))[:,0]/(2*h[j])
        assert (J[:,j] - slope).abs().max() < 2e-5*slope.abs().max(), k

def column(*values): return torch.tensor(values, dtype=torch.float64)

CH4 = demo_lines().select(molecule='CH4')
RICH = replace(CH4, **{k: np.full(len(CH4), v) for k, v in dict(sd_air=.1, sd_delta=.1, nuvc_air=.02, eta=.1, y_air=.05).items()})

@pytest.mark.parametrize('profile', ['voigt', 'ht'])
@pytest.mark.parametrize('wing', [25., .7, None])
def test_the_fast_sum_is_the_sum(profile, wing):
    "Nodes, pieces, wings that end inside the window, axes of two states that lie apart: the same as line by line, point by point."
    P, T, x, Q = column(.3, .8), column(290., 310.), column(1e-5, 1e-3), demo_partition_sums()
    nu = torch.stack([torch.linspace(3085.2, 3086.4, 450, dtype=torch.float64), torch.linspace(3088., 3089., 450, dtype=torch.float64)])
    fast = cross_section(RICH, Q, nu, P, T, x, profile, wing, mixing=True)
    p = shape_parameters(RICH, P, T, x) | dict(S=line_strength(RICH, T, Q))
    slow = sum_in_chunks(profile_sum(profile, True), torch.as_tensor(RICH.nu), p, nu, wing)[:,0]
    assert ((fast - slow).abs().amax(1)/slow.amax(1) < 1e-8).all()

def speed_average(dnu, gamma_d, gamma0, gamma2, delta2):
    "The speed-dependent Voigt profile by its definition: an average over speeds (Gauss-Legendre) of the average over directions."
    u, w = np.polynomial.legendre.leggauss(300)
    v, w = 3*(u + 1), 3*w                                          # speed over the most probable one, 0 .. 6
    rate = gamma0 + gamma2*(v**2 - 1.5) + 1j*delta2*(v**2 - 1.5) - 1j*dnu
    k = gamma_d/math.sqrt(math.log(2))*v
    average = np.arctan(k/rate)/k                                  # of 1/(rate - i k cos) over the cosine
    return (w*4/math.sqrt(math.pi)*v**2*np.exp(-v**2)*average).sum()/math.pi

@pytest.mark.parametrize('gamma2', [0., .002, .004])
def test_the_tail_of_a_speed_dependent_line(gamma2):
    "Near the border of the two forms and far beyond it, against the integral over speeds."
    gamma_d, gamma0, delta2 = .0059, .02, 3e-4*(gamma2 > 0)
    border = (7 + 49*math.sqrt(math.log(2))/gamma_d*gamma2)*gamma_d/math.sqrt(math.log(2))
    for dnu in (.9*border, 1.1*border, 3*border, 100*border):
        one = [column(v) for v in (dnu, gamma_d, gamma0, gamma2, delta2)]
        f = complex(*(float(v) for v in hartmann_tran(*one)))
        want = speed_average(dnu, gamma_d, gamma0, gamma2, delta2)
        assert abs(f.real/want.real - 1) < 1e-8 and abs(f.imag/want.imag - 1) < 1e-8

def test_slopes_across_the_border():
    "All derivatives in tail and core against finite differences of the value."
    at = [column(*v) for v in ((.02, .2, .5, 4.), [.0059]*4, [.02]*4, [.002]*4, [3e-4]*4, [.002]*4, [.3]*4)]
    _, by = hartmann_tran_slopes(*at)
    for j, k in enumerate(by):
        h = 1e-3*at[j].abs()
        ends = [torch.complex(*hartmann_tran(*at[:j], at[j] + s*h, *at[j+1:])) for s in (1, -1)]
        slope = (ends[0] - ends[1])/(2*h)
        assert ((by[k] - slope).abs() < 1e-4*slope.abs()).all(), k

def test_knots_are_where_they_are_said_to_be():
    "A spline baseline has the value of each knot at that knot, evenly spaced from end to end, and a level light is level."
    shapes = Baseline('spline').basis([f'baseline{k}' for k in range(4)], torch.linspace(2190, 2191, 13, dtype=torch.float64))
    assert torch.allclose(shapes[:,::4], torch.eye(4, dtype=torch.float64), atol=1e-12) and torch.allclose(shapes.sum(0), torch.ones(13, dtype=torch.float64))

# What glows: hitran-api has no background, and its unit is W/(sr cm² cm⁻¹), 1e4 of ours.

def hot_co(method='exact', back=(280., 320.), path='10 cm', quantity='radiance', nu=None, continua=(), **ranges):
    space = ParamSpace(mf_CO=Param(1e-6, .2, log=True), P=Param(.1, 2, 'atm'), T=Param(280, 900, 'K'),
                       shift=Param(-.01, .01, '1/cm'))
    if back: space = space.replace(T_back=Param(*back, 'K'))
    lines = read_par(CASES/'co.par')
    nu = torch.linspace(2189, 2191, 400, dtype=torch.float64) if nu is None else nu
    return LineByLine(lines, space.replace(**ranges), Grid.points(nu), path, method, quantity=quantity, Q=tips(lines),
                      dtype=torch.float64, continua=continua)

def of(sim, **values): return torch.tensor([[values[k] for k in sim.space]], dtype=torch.float64)

@pytest.mark.skipif(CASES is None, reason='PHYSLEARN_DATA is not set')
class TestEmission:
    def test_agreement_with_hitran_api(self, tmp_path):
        "A warm gas before a cold sky: to 1e-4 of the peak, hitran-api's absorption coefficient and its radiance."
        nu = np.linspace(2189, 2191, 400)
        k = by_hapi(tmp_path, (CASES/'co.par').read_text(), nu, dict(p=.5, T=600.), dict(air=.9, self=.1))
        _, theirs = quiet_hapi().radianceSpectrum(nu, .1*k, Environment=dict(l=10., T=600.))
        sim = hot_co(back=None)
        ours = sim(of(sim, mf_CO=.1, P=.5, T=600., shift=0.))[0,0].numpy()
        assert 'nothing shines from behind' in sim.extra_repr()
        assert np.abs(ours - 1e4*theirs).max() < 1e-4*ours.max()

    def test_limits(self):
        "Thick: the gas is a black body. Thin: depth times difference of the sources. One temperature: no line at all. No gas: the background."
        sim = hot_co()
        nu = torch.linspace(2189, 2191, 400, dtype=torch.float64)
        black = lambda T: planck(nu, column(T))
        long = hot_co(path='1 km')
        thick = of(long, mf_CO=.2, P=2., T=900., shift=0., T_back=300.)
        assert long.optical_depth(thick).min() > 20
        assert (long(thick)[0,0]/black(900.) - 1).abs().max() < 1e-8
        thin = of(sim, mf_CO=1e-6, P=.1, T=500., shift=0., T_back=300.)
        first_order = black(300.) + sim.optical_depth(thin)[0]*(black(500.) - black(300.))
        assert (sim(thin)[0,0]/first_order - 1).abs().max() < 1e-5
        same = sim(of(sim, mf_CO=.1, P=1., T=300., shift=0., T_back=300.))[0,0]
        assert (same/black(300.) - 1).abs().max() < 1e-12
        assert (sim(of(sim, mf_CO=0., P=1., T=300., shift=0., T_back=310.))[0,0]/black(310.) - 1).abs().max() < 1e-12

    @pytest.mark.parametrize('method', ['exact', 'table'])
    @pytest.mark.parametrize('ils', [None, 'gaussian'])
    def test_derivatives(self, method, ils):
        "All of them against finite differences, with and without a line shape, with an offset."
        base = Param(-.01, .01, 'W/(m2 sr cm-1)')
        sim = hot_co(back=(280., 320.), method=method, nu=torch.linspace(2189.4, 2189.8, 40, dtype=torch.float64),
                     T=Param(580, 620, 'K'), P=Param(.4, .6, 'atm'), mf_CO=Param(.05, .1), baseline0=base, baseline1=base)
        if ils: sim = with_line_shape(sim, ils, Param(.01, .03, '1/cm'))
        derivatives_are_right(sim, 'glow')

    def test_thin_gas_in_single_precision(self):
        "Of a depth of 1e-5 single precision keeps its digits."
        sim = hot_co(back=None)
        thin = of(sim, mf_CO=1e-6, P=.1, T=500., shift=0.)
        depth = sim.optical_depth(thin)
        rounded = sim._signal(thin, depth.float()).double()
        assert depth.max() < 1e-3 and (rounded/sim(thin)[:,0] - 1).abs().max() < 1e-6

    def test_from_the_shell(self, tmp_path, capsys):
        "By a set-up file simulated and fitted again, also in radis' unit: temperature and amount come back."
        ranges = 'T=500..700K P=0.4..0.6atm T_back=290..310K'.split()
        words = ['setup', 'spectra', '--lines', str(CASES/'co.par'), *'--gas CO=1..10% --path 10cm --quantity radiance'.split(),
                 '--window', '2189..2191', '--range', *ranges]
        capsys.readouterr()
        main(words)
        (tmp_path/'co.yaml').write_text(capsys.readouterr().out)
        own = ['--setup', str(tmp_path/'co.yaml')]
        main(['simulate', 'spectra', str(tmp_path/'glow.csv'), *own,
              *'--set mf_CO=5% T=600K P=0.5atm T_back=300K centre=2190 span=2 --num_points 120 --noise +1e-4'.split()])
        spec = read_spectrum(tmp_path/'glow.csv')
        assert spec.quantity == 'radiance' and not spec.notes
        rows = ''.join(f'{nu},{y/10}\n' for nu, y in zip(spec.nu, spec.y))          # 1 mW/(cm2 sr cm-1) is 10 W/(m2 sr cm-1)
        (tmp_path/'radis.csv').write_text('wavenumber,radiance [mW/(cm2 sr cm-1)]\n' + rows)
        main(['fit', 'spectra', str(tmp_path/'radis.csv'), *own, '--unit', '1/cm', '--noise', '+1e-4',
              '--known', 'P=0.5atm', 'T_back=300K', '--out', str(tmp_path/'fit')])
        found = {r['name']: r for r in json.loads((tmp_path/'fit'/'radis.json').read_text())['parameters']}
        for k, truth in dict(mf_CO=.05, T=600.).items(): assert abs(found[k]['value'] - truth) < 3*found[k]['sd'], k
        assert abs(found['mf_CO']['value']/.05 - 1) < .02 and found['T']['sd'] < 2
        assert 'radiance in mW/(cm2 sr cm-1)' not in spec.notes

def glow(**kw): return Spectrum(np.array([1., 2., 3.]), 'radiance', np.array([2000., 2001., 2002.]), **kw)

def test_units_of_a_radiance():
    "Per wavenumber, wavelength or frequency; asked for where they are not stated."
    assert np.allclose(glow(y_unit='mW/(cm2 sr cm-1)').y, [10, 20, 30])
    by_hand = 1e7/np.array([2000., 2001., 2002.])**2*[1, 2, 3]                       # d lambda [nm] = 1e7 d nu/nu²
    assert np.allclose(glow(y_unit='W/(m2 sr nm)').y, by_hand)
    assert np.allclose(glow(y_unit='nW/(m2 sr GHz)').y, 29979245800.*1e-18*np.array([1, 2, 3]))
    with pytest.raises(FileError, match="without its unit.*--y-unit 'mW"): glow()
    with pytest.raises(FileError, match='radiance in .W/m2.'): glow(y_unit='W/m2')
    assert said_by('Radiance [mW/(m2 sr cm-1)]') == dict(quantity='radiance', y_unit='mW/(m2 sr cm-1)')
    assert said_by('radiance') == dict(quantity='radiance') and said_by('radiance error') == {}

def test_noise_of_a_radiance():
    "A bare number may be both; a share of no light is no noise."
    spec = glow(y_unit='W/(m2 sr cm-1)')
    with pytest.raises(ValueError, match=r'write \+0.002 .* or 0.2%'): stated_noise([spec], '0.002')
    assert stated_noise([spec], '+2e-3')[0].sigma == .002 and stated_noise([spec], '0.2%')[0].relative == .002
    spec.y[0] = 0.
    with pytest.raises(FileError, match='falls to 0, where a share of it alone'): stated_noise([spec], '0.2%')

def test_noise_that_is_added_stays_so(tmp_path):
    "From the shell too: +0.5 is no share of 0.5."
    main(['simulate', 'spectra', str(tmp_path/'a.csv'), '--num-points', '200', '--noise', '+0.5'])
    main(['simulate', 'spectra', str(tmp_path/'b.csv'), '--num-points', '200', '--noise', '0.5'])
    scatter = [read_spectrum(tmp_path/f).y.std() for f in ('a.csv', 'b.csv')]
    assert scatter[0] != scatter[1]

def test_what_only_a_radiance_has():
    "What means nothing for a quantity is refused, with what to do."
    lines = demo_lines()
    grid = Grid.points(np.linspace(3085, 3086, 20))
    space = ParamSpace(mf_CH4=Param(1e-6, 1e-4), P=Param(.4, .6, 'atm'), T=Param(290, 310, 'K'))
    with pytest.raises(ValueError, match='T_back.* belongs to a radiance.*--quantity radiance'):
        LineByLine(lines, space.replace(T_back=Param(280, 300, 'K')), grid, '1 m')
    with pytest.raises(ValueError, match='baseline0 .* is added to a radiance'):
        LineByLine(lines, space.replace(baseline0=Param(.9, 1.1)), grid, '1 m', quantity='radiance')
    for words in (['train', 'spectra', 'demo'], ['windows', 'spectra']):
        assert main([*words, '--quantity', 'radiance']) != 0

# What surrounds the molecules

EXTRA = [f'{k}_{gas}' for gas in ('H2', 'He') for k in ('gamma', 'n', 'delta')]

def in_hydrogen(lack=()):
    "Records of CO as a table of hitran-api, with made-up columns of H2 and He; unknown in the rows `lack`."
    rows = (CASES/'co.par').read_text().splitlines()
    numbers = np.random.default_rng(1).uniform([.06, .5, -.004, .04, .5, -.002], [.08, .8, .001, .06, .8, .001], (len(rows), 6))
    cells = [['#'*(i in lack) or f'{v:9.5f}' for v in row] for i, row in enumerate(numbers)]
    return ''.join(f"{row},{','.join(c)}\n" for row, c in zip(rows, cells))

def written(folder, records):
    (folder/'co.data').write_text(records)
    (folder/'co.header').write_text(json.dumps(dict(extra=EXTRA)))
    return folder/'co.data'

@pytest.mark.skipif(CASES is None, reason='PHYSLEARN_DATA is not set')
class TestMixture:
    def test_agreement_with_hitran_api(self, tmp_path):
        "H2 and He with their own exponents and shifts, cold and hot, beside the molecule itself and air."
        records = in_hydrogen()
        lines = read_lines(written(tmp_path, records)).in_mixture(dict(H2=.6, He=.15))
        assert lines.meta['broadener'] == '60 % H2, 15 % He, 25 % air'
        nu = np.linspace(2189, 2191, 300)
        for T in (180., 900.):
            x, P = .1, .8
            diluent = dict(self=x, air=.25*(1 - x), H2=.6*(1 - x), He=.15*(1 - x))
            theirs = x*by_hapi(tmp_path, records, nu, dict(p=P, T=T), diluent, EXTRA)
            space = ParamSpace(mf_CO=Param(.01, .2), P=Param(.1, 2, 'atm'), T=Param(100, 1000, 'K'), shift=Param(-.01, .01, '1/cm'))
            sim = LineByLine(lines, space, Grid.points(nu), quantity='absorption', Q=tips(lines), dtype=torch.float64)
            ours = sim(of(sim, mf_CO=x, P=P, T=T, shift=0.))[0,0].numpy()
            assert np.abs(ours - theirs).max() < 1e-4*theirs.max()
            assert '60 % H2' in sim.extra_repr()

    def test_pure_and_lacking(self, tmp_path):
        "A pure gas is that of `in_gas`; an unknown line falls back to air and is counted; a gas without columns is refused."
        lines = read_lines(written(tmp_path, in_hydrogen(lack=(0, 3))))
        state = [column(v) for v in (.5, 400., .1)]
        pure, own = lines.in_mixture(dict(H2=1.)), lines.in_gas('H2')
        assert torch.allclose(lorentz_hwhm(pure, *state), lorentz_hwhm(own, *state))
        assert torch.allclose(pressure_shift(pure, *state), pressure_shift(own, *state))
        assert pure.meta['broadener'] == f'100 % H2, air in 2 of {len(lines)} lines'
        bare = replace(lines, gases={k: v for k, v in lines.gases.items() if k == 'gamma_h2'})
        told = f'air in 2 of {len(lines)} lines, the exponent of air in {len(lines) - 2} of {len(lines)} lines, no shift in {len(lines) - 2} of'
        assert told in bare.in_gas('H2').meta['broadener']
        assert len(pure[:2]) == 2 and torch.allclose(lorentz_hwhm(pure[:2], *state), lorentz_hwhm(own[:2], *state))
        with pytest.raises(ValueError, match='no widths in CO2: the list has those in air, H2, HE'): lines.in_mixture(dict(CO2=.1))
        with pytest.raises(ValueError, match='H2 90 %, He 20 % add up to 110 %'): lines.in_mixture(dict(H2=.9, He=.2))
        with pytest.raises(ValueError, match='add up to 90 %'): lines.in_mixture(dict(H2=.6, air=.3))
        with pytest.raises(ValueError, match='broadener self.*own mole fraction'): lines.in_mixture(dict(self=.1))
        assert pure.in_gas('He').bath == {}

    def test_from_the_shell(self, tmp_path, capsys):
        "By a set-up file: simulated in H2 and He, the amount comes back; in air the widths do not fit."
        data = written(tmp_path, in_hydrogen())
        words = ['--lines', str(data), *'--gas CO=10..1000ppm --path 10m --window 2189..2191 --known P=0.9atm T=300K'.split()]
        main(['setup', 'spectra', *words, '--broadener', 'H2=85%', 'He=15%'])
        (tmp_path/'co.yaml').write_text(capsys.readouterr().out)
        own = ['--setup', str(tmp_path/'co.yaml')]
        values = '--set mf_CO=100ppm P=0.9atm T=300K centre=2190 span=2 baseline0=1 baseline1=0 baseline2=0 --num_points 200'
        assert main(['simulate', 'spectra', str(tmp_path/'a.csv'), *own, *values.split(), '--noise', '0.05%']) == 0
        fits = {}
        for name, broadener in dict(own=[], air=['--broadener', 'air=100%']).items():
            out = ['--out', str(tmp_path/name)]
            assert main(['fit', 'spectra', str(tmp_path/'a.csv'), *own, *broadener, '--noise', '0.05%', *out]) == 0
            fits[name] = json.loads((tmp_path/name/'a.json').read_text())
        said = capsys.readouterr().out
        mf = next(r for r in fits['own']['parameters'] if r['name'] == 'mf_CO')
        assert abs(mf['value'] - 1e-4) < 3*mf['sd'] and fits['own']['reduced_chi2'] < 1.5 < fits['air']['reduced_chi2']
        assert 'broadened by 85 % H2, 15 % He' in said

# Isotopologues

def co2(n=40, seed=3):
    "Made-up records of CO2: lines of the two carbons and of one with 18O between each other."
    rng, rows = np.random.default_rng(seed), []
    for i, nu in enumerate(np.sort(rng.uniform(2295.5, 2297.5, n))):
        iso, strength = (1, 2, 2, 3)[i % 4], 10**rng.uniform(-21, -20)
        width, own, energy, n = rng.uniform(.06, .08), rng.uniform(.08, .1), rng.uniform(50, 900), rng.uniform(.6, .8)
        rows.append(f"{2:2d}{iso}{nu:12.6f}{strength:10.3E}{1:10.3E}{f'{width:.4f}'[1:]}{own:.3f}{energy:10.4f}{n:.2f}-.002000"
                    f"{'':60}000000{' 0'*6} {1:7.1f}{1:7.1f}\n")
    return ''.join(rows)

class TestIsotopologues:
    def setup_method(self): self.records = co2()

    def sim(self, folder, method='exact', quantity='absorption', **gases):
        (folder/'co2.par').write_text(self.records)
        lines = read_par(folder/'co2.par')
        space = ParamSpace(**gases, P=Param(.2, 1, 'atm'), T=Param(280, 320, 'K'), shift=Param(-.01, .01, '1/cm'))
        return LineByLine(lines, space, Grid.points(np.linspace(2296, 2297, 200)), '1 m', method, quantity=quantity,
                          Q=tips(lines), dtype=torch.float64)

    def test_agreement_with_hitran_api(self, tmp_path):
        "Three times the natural 13CO2, by hitran-api's Components; in natural shares it is CO2 alone."
        sim = self.sim(tmp_path, mf_CO2=Param(.01, .1), mf_13CO2=Param(1e-4, .01))
        x, natural = .05, [isotopologues()[2, i].abundance for i in (1, 2, 3)]
        state = dict(P=.9, T=300., shift=0.)
        shares = [(2, 1, natural[0]), (2, 2, 3*natural[1]), (2, 3, natural[2])]
        nu = np.linspace(2296, 2297, 200)
        theirs = x*by_hapi(tmp_path, self.records, nu, dict(p=.9, T=300.), dict(air=1 - x, self=x), Components=shares)
        ours = sim(of(sim, mf_CO2=x, mf_13CO2=3*natural[1]*x, **state))[0,0].numpy()
        assert np.abs(ours - theirs).max() < 1e-4*theirs.max()
        tied = self.sim(tmp_path, mf_CO2=Param(.01, .1))
        usual, alone = of(sim, mf_CO2=x, mf_13CO2=natural[1]*x, **state), of(tied, mf_CO2=x, **state)
        assert torch.allclose(sim(usual), tied(alone), rtol=1e-12)

    @pytest.mark.parametrize('method', ['exact', 'table'])
    def test_derivatives(self, tmp_path, method):
        "Also that of the width of 13CO2's lines by CO2, and where only the isotopologue is there."
        for gases in (dict(mf_CO2=Param(.01, .1), mf_13CO2=Param(1e-4, .01)), dict(mf_13CO2=Param(1e-4, .01))):
            sim = self.sim(tmp_path, method, **gases)
            derivatives_are_right(sim, 'isotopes')
        assert sim.unused == ['CO2'] and sim.notes == ['lines of CO2 in the list are not used']

    def test_from_the_shell(self, tmp_path, capsys):
        "What the carbon of a breath is: 13CO2 30 per mille above its natural share, within three sd, and said as a share."
        (tmp_path/'co2.par').write_text(self.records)
        own = ['--lines', str(tmp_path/'co2.par'), *'--gas CO2=1..10% 13CO2=0.01..0.2% --path 2cm'.split(),
               *'--range P=0.8..1atm T=290..310K'.split()]
        amount = 1.03*isotopologues()[2, 2].abundance*.04
        values = f'mf_CO2=4% mf_13CO2={100*amount}% P=0.9atm T=300K centre=2296.5 span=1 baseline0=1 baseline1=0 baseline2=0'
        assert main(['simulate', 'spectra', str(tmp_path/'a.csv'), *own, '--window', '2296..2297', '--set', *values.split(),
                     '--noise', '0.01%', '--num_points', '400']) == 0
        assert main(['fit', 'spectra', str(tmp_path/'a.csv'), *own, '--known', 'P=0.9atm', 'T=300K', '--noise', '0.01%',
                     '--out', str(tmp_path/'fit')]) == 0
        found = json.loads((tmp_path/'fit'/'a.json').read_text())
        share = next(a for a in found['amounts'] if a['name'] == 'natural_13CO2')
        assert abs(share['value'] - 1.03) < 3*share['sd'] and share['sd'] < .005

    def test_what_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match='no lines of C17OO: the line list has CO2'): self.sim(tmp_path, mf_C17OO=Param(1e-4, .01))
        with pytest.raises(ValueError, match='no lines of 14CO2'): self.sim(tmp_path, mf_14CO2=Param(1e-4, .01))
        twice = {name: Param(1e-4, .01) for name in ('mf_13CO2', 'mf_(13C)(16O)2')}
        with pytest.raises(ValueError, match='are one isotopologue'): self.sim(tmp_path, **twice)

# Hot gas

@pytest.mark.skipif(CASES is None, reason='PHYSLEARN_DATA is not set')
def test_hot_gas(tmp_path):
    "CO at 2,900 K, as hitran-api has it; a sum that ends earlier says where, before anything is computed."
    x, P, T, nu = .1, 1., 2900., np.linspace(2189, 2191, 200)
    sim = hot_co(back=None, quantity='absorption', nu=torch.tensor(nu), T=Param(300, 3000, 'K'))
    theirs = x*by_hapi(tmp_path, (CASES/'co.par').read_text(), nu, dict(p=P, T=T), dict(air=1 - x, self=x))
    ours = sim(of(sim, mf_CO=x, P=P, T=T, shift=0.))[0,0].numpy()
    assert np.abs(ours - theirs).max() < 1e-4*theirs.max()
    assert sim.notes == ['above 1000 K HITRAN lacks hot lines, which HITEMP has']
    lines = demo_lines()
    space = ParamSpace(mf_CH4=Param(1e-6, 1e-3), P=Param(.1, 2, 'atm'), T=Param(300, 3000, 'K'), shift=Param(-.01, .01, '1/cm'))
    for Q, end in ((tips(lines), 2500), (None, 500)):
        with pytest.raises(ValueError, match=rf'300 .. 3000 K goes beyond the partition sum of .* to {end} K.*--range T'):
            LineByLine(lines, space, Grid.points(np.linspace(3085, 3086, 20)), '1 m', Q=Q)

# Continua

def cia(folder, pair='N2-N2', temperatures=(250., 350.), at=2190., peak=2e-44):
    "A made-up band of collisions in HITRAN's format."
    nu, text = np.linspace(at - 30, at + 30, 121), ''
    for T in temperatures:
        k = peak*(300/T)*np.exp(-((nu - at)/15)**2)
        text += f'{pair:>20}{nu[0]:10.3f}{nu[-1]:10.3f}{len(nu):7d}{T:7.1f}{max(k):10.3E}\n'
        text += ''.join(f'{x:10.3f} {y:10.3E}\n' for x, y in zip(nu, k))
    (folder/f'{pair}.cia').write_text(text)
    return folder/f'{pair}.cia'

@pytest.mark.skipif(CASES is None, reason='PHYSLEARN_DATA is not set')
class TestContinua:
    def sim(self, continua, **kw):
        ranges = dict(T=Param(280, 320, 'K'), P=Param(.5, 3, 'atm'), mf_CO=Param(.01, .1))
        return hot_co(**(dict(back=None, quantity='absorption', continua=continua) | ranges | kw))

    def test_by_hand(self, tmp_path):
        "Coefficient times both densities, interpolated by numpy; a pair with air, a mixed pair, and a gas without lines."
        P, T, x = 2., 310., .05
        state, nu = dict(mf_CO=x, P=P, T=T, shift=0.), np.linspace(2189, 2191, 400)
        n = 101325*P/(1.380649e-23*T)*1e-6
        table = np.loadtxt([row for row in cia(tmp_path).read_text().splitlines() if 'N2' not in row]).reshape(2, -1, 2)
        k = sum(w*np.interp(nu, *part.T) for w, part in zip((.4, .6), table))
        bare = self.sim(())
        def added(pair, amounts, present=(), **more):
            sim = self.sim(read_continua([cia(tmp_path, pair)], present), **{key: Param(0, 1) for key in more})
            got = (sim(of(sim, **state, **more)) - bare(of(bare, **state)))[0,0].numpy()
            assert np.allclose(got, k*n**2*amounts, rtol=1e-6), pair
            return sim
        sim = added('N2-N2', .78**2, ['N2=78%'])
        assert 'continuum of N2-N2' in sim.extra_repr() and sim.notes == []
        added('CO-air', x)
        added('CO-N2', x*.5, ['N2=50%'])
        added('N2-N2', .6**2, mf_N2=.6)

    def test_amounts_that_contradict(self, tmp_path):
        "Absorption that would count twice, an amount with two values, and more than the whole."
        one, present = [cia(tmp_path)], ['N2=78%']
        for files, present, more, says in ((2*one, present, {}, 'given twice'), (one, present, dict(mf_N2=Param(.5, .9)), 'mf_N2'),
                                           (one, present, dict(mf_CO=Param(.3, .5)), '108 % of the whole')):
            with pytest.raises(ValueError, match=says): self.sim(read_continua(files, present), **more)

    def test_limits_are_said_before_a_measurement_too(self, tmp_path, capsys):
        "simulate and identifiable say what a fit says of its model, and the file keeps it."
        words = ['--lines', str(CASES/'co.par'), '--gas', 'CO=1..1000ppm', '--path', '10m', '--window', '2188.5..2191.5', '--quantity',
                 'absorption', '--range', 'T=280..900K', 'P=0.9..1.1atm', '--continuum', f'{cia(tmp_path)}:N2-N2', '--present', 'N2=78%']
        assert main(['simulate', 'spectra', str(tmp_path/'s.csv'), *words]) == 0
        assert 'beyond, the nearest is taken' in capsys.readouterr().out and 'beyond, the nearest is taken' in (tmp_path/'s.csv').read_text()
        assert main(['identifiable', 'spectra', *words, '--noise', '1%']) == 0 and 'beyond, the nearest is taken' in capsys.readouterr().out

    @pytest.mark.parametrize('kw', [dict(), dict(method='table'), dict(quantity='radiance'), dict(ils='sinc'),
                                    dict(quantity='radiance', back=(280., 300.), ils='gaussian')])
    def test_derivatives(self, tmp_path, kw):
        "By every parameter, for pairs of the gas with itself, with air, and with a gas that has no lines."
        ils, kw = kw.get('ils'), {k: v for k, v in kw.items() if k != 'ils'}
        continua = read_continua([cia(tmp_path, pair) for pair in ('CO-CO', 'CO-air', 'CO-N2')])
        nu = torch.linspace(2189.4, 2189.8, 40, dtype=torch.float64)
        if ils: kw = dict(quantity='transmittance') | kw
        sim = self.sim(continua, nu=nu, path='1 km', mf_N2=Param(.5, .9), mf_CO=Param(1e-5, 1e-4), T=Param(285, 299, 'K'),
                       P=Param(.5, .7, 'atm'), **kw)
        if ils: sim = with_line_shape(sim, ils, Param(.01, .03, '1/cm'))
        derivatives_are_right(sim, 'continua')

    def test_a_flat_continuum_behind_a_line_shape(self, tmp_path):
        "Of what hardly changes over a width, an instrument sees the same; its edges too."
        sim = self.sim(read_continua([cia(tmp_path, 'N2-N2')], ['N2=78%']), quantity='transmittance', path='300 m',
                       mf_CO=Param(1e-12, 1e-11))
        values = dict(mf_CO=1e-12, P=1., T=300., shift=0.)
        for shape in ('sinc', 'gaussian'):
            seen = with_line_shape(sim, shape, Param(.01, .03, '1/cm'))
            off = seen(of(seen, **values, ils=.02)) - sim(of(sim, **values))
            assert sim(of(sim, **values)).max() < .9 and off.abs().max() < 1e-5, shape

    def test_what_is_assumed_or_refused(self, tmp_path):
        "Beyond its ends a table is held or 0, and said; a gas without an amount and a table elsewhere are refused."
        far = self.sim(read_continua([cia(tmp_path, temperatures=(296.,), at=2160.5)], ['N2=78%']))
        assert far.notes == ['the continuum of N2-N2 is 0 beyond 2130.5 .. 2190.5 cm-1',
                             'the continuum of N2-N2 is known at 296 K; beyond, the nearest is taken']
        with pytest.raises(ValueError, match='the amount of N2 is not given.*--present N2=20%'):
            self.sim(read_continua([cia(tmp_path)]))
        with pytest.raises(ValueError, match='N2-N2.cia has 2970 .. 3030 cm-1, and the axis is 2188.99 .. 2191.01 cm-1'):
            self.sim(read_continua([cia(tmp_path, at=3000.)], ['N2=78%']))

    def test_from_the_shell(self, tmp_path, capsys):
        "With the set-up file the amount comes back; the table lies beside that file."
        cia(tmp_path, peak=4e-42)
        words = ['--lines', str(CASES/'co.par'), *'--gas CO=10..1000ppm --path 10m --known P=0.9atm T=300K'.split(),
                 '--present', 'N2=78%', '--continuum', str(tmp_path/'N2-N2.cia')]
        assert main(['setup', 'spectra', *words]) == 0
        text = capsys.readouterr().out
        (tmp_path/'co.yaml').write_text(text.replace(str(tmp_path) + '/', ''))
        own = ['--setup', str(tmp_path/'co.yaml')]
        values = 'mf_CO=20ppm P=0.9atm T=300K centre=2190 span=4 baseline0=1 baseline1=0 baseline2=0'.split()
        assert main(['simulate', 'spectra', str(tmp_path/'a.csv'), *own, '--set', *values, '--noise', '0.02%',
                     '--range', 'P=0.8..1atm', 'T=290..310K', '--window', '2188..2192', '--num_points', '300']) == 0
        assert main(['fit', 'spectra', str(tmp_path/'a.csv'), *own, '--noise', '0.02%', '--out', str(tmp_path/'fit')]) == 0
        found = json.loads((tmp_path/'fit'/'a.json').read_text())
        mf = next(r for r in found['parameters'] if r['name'] == 'mf_CO')
        assert abs(mf['value'] - 2e-5) < 3*mf['sd'] and found['reduced_chi2'] < 1.4
        assert 'continuum of N2-N2' in found['simulator'] and read_spectrum(tmp_path/'a.csv').y.max() < .4
