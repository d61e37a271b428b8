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
from physlearn.spectra.files import Spectrum, read_spectrum, said_by
from physlearn.spectra.hitran import demo_lines, demo_partition_sums, line_strength, read_par, tips
from physlearn.spectra.lineshape import hartmann_tran, hartmann_tran_slopes
from physlearn.spectra.noise import stated_noise
from physlearn.spectra.resolution import with_line_shape
from physlearn.spectra.simulate import Baseline, Grid, LineByLine, cross_section, planck, profile_sum, shape_parameters, sum_in_chunks

CASES = Path(os.environ['PHYSLEARN_DATA'])/'cases'/'spectra' if 'PHYSLEARN_DATA' in os.environ else None

def quiet_hapi():
    "The package hitran-api without its greeting."
    with contextlib.redirect_stdout(io.StringIO()): import hapi
    return hapi

def by_hapi(folder, name, nu, state, diluent, **kw):
    "Absorption coefficient of hitran-api [1/cm], of the pure gas."
    hapi = quiet_hapi()
    records = (CASES/name).read_text()
    (folder/'gas.data').write_text(records)
    (folder/'gas.header').write_text(json.dumps(dict(hapi.HITRAN_DEFAULT_HEADER, table_name='gas', number_of_rows=records.count('\n'))))
    with contextlib.redirect_stdout(io.StringIO()):
        hapi.db_begin(str(folder))
        return hapi.absorptionCoefficient_Voigt(SourceTables='gas', OmegaGrid=nu, Environment=state, OmegaWing=25., OmegaWingHW=0.,
                                                Diluent=diluent, HITRAN_units=False, **kw)[1]

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

def hot_co(method='exact', back=(280., 320.), path='10 cm', quantity='radiance', nu=None, **ranges):
    space = ParamSpace(mf_CO=Param(1e-6, .2, log=True), P=Param(.1, 2, 'atm'), T=Param(280, 900, 'K'),
                       shift=Param(-.01, .01, '1/cm'))
    if back: space = space.replace(T_back=Param(*back, 'K'))
    lines = read_par(CASES/'co.par')
    nu = torch.linspace(2189, 2191, 400, dtype=torch.float64) if nu is None else nu
    return LineByLine(lines, space.replace(**ranges), Grid.points(nu), path, method, quantity=quantity, Q=tips(lines),
                      dtype=torch.float64)

def of(sim, **values): return torch.tensor([[values[k] for k in sim.space]], dtype=torch.float64)

@pytest.mark.skipif(CASES is None, reason='PHYSLEARN_DATA is not set')
class TestEmission:
    def test_agreement_with_hitran_api(self, tmp_path):
        "A warm gas before a cold sky: to 1e-4 of the peak, hitran-api's absorption coefficient and its radiance."
        nu = np.linspace(2189, 2191, 400)
        k = by_hapi(tmp_path, 'co.par', nu, dict(p=.5, T=600.), dict(air=.9, self=.1))
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
        at = sim.space.sample(2, 'glow')
        y, J = sim.jacobian(at)
        assert torch.allclose(y, sim(at)[:,0], rtol=1e-10)
        for j, (k, p) in enumerate(sim.space.items()):
            h = torch.zeros(len(sim.space), dtype=torch.float64)
            h[j] = 1e-4*(p.hi - p.lo)
            slope = (sim(at + h) - sim(at - h))[:,0]/(2*h[j])
            assert (J[:,j] - slope).abs().max() < 2e-5*slope.abs().max(), k

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
