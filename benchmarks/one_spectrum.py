"""One measured spectrum from its file to the answer: CPU seconds of reading, building the simulator and fitting.

    PHYSLEARN_DATA=... python benchmarks/one_spectrum.py [runs]

CO2 in air at 271 Torr (data/measured), 12 to 16 parameters with three etalons, all of them free but the temperature.
The table's own building counts. Packages are imported beforehand; the median of the runs is told, beside the value found
and the gauge, since a fast wrong answer is worth nothing."""
import os, statistics, sys, time
from pathlib import Path
import torch
from physlearn.files import read_table
from physlearn.params import Param, ParamSpace
from physlearn.spectra.fit import fit_spectrum
from physlearn.spectra.hitran import read_lines, tips
from physlearn.spectra.simulate import Baseline, Grid, LineByLine
try: from physlearn.spectra.files import read_spectrum
except ImportError: from physlearn.spectra.fit import read_spectrum       # older versions

FOLDER = Path(os.environ['PHYSLEARN_DATA'])/'measured/co2_air_crds'
FREQUENCIES = 1.168, 29.75, 59.38                                          # of the etalons [cycles per cm-1]

def answer(profile, method, name='co2_air_271torr.csv'):
    "Pressure and its sd [Torr], gauge, mole fraction."
    path, lines = FOLDER/name, read_lines(FOLDER/'lines_co2_6358_6362.csv')
    spec = read_spectrum(path, quantity='absorption', axis='wavenumber', x='Wavenumber', y='Alpha', y_unit='1e-6 / cm', unsorted=True)
    t = read_table(path)
    P, T, segments = t['Pressure'].mean(), t['Temperature'].mean() + 273.15, t['Segment'].astype(int)
    base = Baseline('unit', fringes=FREQUENCIES, segments=tuple(segments.tolist()), jumping=FREQUENCIES[1:])
    space = ParamSpace(mf_CO2=Param(1e-4, 1e-3, log=True), P=Param(.8*P, 1.2*P, 'Torr'), T=Param(T - 2, T + 2, 'K'),
                       shift=Param(-.02, .02, '1/cm'), baseline0=Param(1.5e-6, 2.5e-6, '1/cm'), baseline1=Param(-2e-7, 2e-7, '1/cm'),
                       **{k: Param(-3e-8, 3e-8, '1/cm') for k in base.fringe_names()})
    sim = LineByLine(lines, space, Grid.points(spec.nu), quantity='absorption', profile=profile, baseline=base, Q=tips(lines),
                     method=method, dtype=torch.float64)
    e = fit_spectrum(spec, sim, known=dict(T=T), noise='auto').estimate
    at = space.index('P')
    return e.theta[0,at].item(), e.sd[0,at].item(), P, e.theta[0,0].item(), int(e.steps[0])

def main(runs=3):
    torch.set_num_threads(1)
    answer('voigt', 'table')                                              # what is loaded at first use is loaded
    print('profile  method   CPU s    P from the spectrum      gauge     CO2       evaluations')
    for profile in ('sdng', 'voigt'):
        for method in ('table', 'exact'):
            times = []
            for _ in range(runs):
                t = time.process_time()
                P, sd, gauge, x, steps = answer(profile, method)
                times.append(time.process_time() - t)
            print(f'{profile:8} {method:7} {statistics.median(times):6.2f}   {P:8.2f} +- {sd:.2f} Torr   {gauge:8.2f}   {1e6*x:6.1f} ppm   {steps}')

if __name__ == '__main__': main(*map(int, sys.argv[1:]))
