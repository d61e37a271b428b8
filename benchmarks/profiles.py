"""What an exact spectrum costs beside Voigt's: other profiles, and an instrument's line shape; values, and values with gradient.

    PHYSLEARN_DATA=... python benchmarks/profiles.py

2,357 lines of CH4 on the 800 points of the preset near_infrared, and 41 lines of CO2 on 600 points; CPU ms a state, one thread, median."""
import statistics, time
from dataclasses import replace
import torch
from _table import bar, data_folder, save
from physlearn.params import Param, ParamSpace
from physlearn.spectra.hitran import read_lines_csv, tips
from physlearn.spectra.resolution import with_line_shape
from physlearn.spectra.simulate import PROFILES, Grid, LineByLine, preset

STATES, RUNS = 4, 5

def milliseconds(f):
    "CPU ms a state."
    f()
    times = []
    for _ in range(RUNS):
        t = time.process_time()
        f()
        times.append(time.process_time() - t)
    return 1e3*statistics.median(times)/STATES

def methane(profile):
    lines = read_lines_csv(data_folder()/'hitran'/'ch4_5952_6097_f32.csv')
    some = 0*lines.nu
    lines = replace(lines, sd_air=some + .1, sd_self=some + .1, nuvc_air=some + .01, eta=some + .1)
    return preset('near_infrared').simulator(lines, profile=profile, Q=tips(lines))

def carbon_dioxide(profile):
    lines = read_lines_csv(data_folder()/'measured'/'co2_air_crds'/'lines_co2_6358_6362.csv')
    space = ParamSpace(mf_CO2=Param(3e-4, 5e-4), P=Param(200, 400, 'Torr'), T=Param(290, 300, 'K'), shift=Param(-.01, .01, '1/cm'))
    nu = torch.linspace(6359, 6362, 600, dtype=torch.float64)
    return LineByLine(lines, space, Grid.points(nu), profile=profile, quantity='absorption', Q=tips(lines))

def costs(sim):
    "Signal, signal with the Jacobian of all parameters, signal with a gradient by reverse mode."
    theta = sim.space.sample(STATES, 'profiles')
    def gradient():
        t = theta.clone().requires_grad_()
        sim(t).sum().backward()
    return [milliseconds(f) for f in (lambda: sim(theta), lambda: sim.jacobian(theta), gradient)]

def main():
    torch.set_num_threads(1)
    rows, worst = [], 0.
    def row(what, cost, voigt):
        ratios = [c/v for c, v in zip(cost, voigt)]
        rows.append([*what, *cost, *ratios])
        return max(ratios)
    for gas, sim_of in (('CH4', methane), ('CO2', carbon_dioxide)):
        voigt = costs(sim_of('voigt'))
        row((gas, 'voigt'), voigt, voigt)
        worst = max(worst, *(row((gas, p), costs(sim_of(p)), voigt) for p in PROFILES if p != 'voigt'))
        if gas == 'CO2': continue
        shapes = dict(gaussian=Param(.01, .05, '1/cm'), sinc=Param(.02, .05, '1/cm'))
        seen = {k: row((gas, f'voigt, {k} line shape'), costs(with_line_shape(sim_of('voigt'), k, w)), voigt) for k, w in shapes.items()}
    head = ['gas', 'profile', 'signal', 'with Jacobian', 'with gradient', 'times Voigt', 'times Voigt, Jacobian', 'times Voigt, gradient']
    bars = [bar('other profiles, exact, times Voigt', '<= 5', worst, worst <= 5),
            *(bar(f'exact behind a {k} line shape, times Voigt', '<= 5', v, v <= 5) for k, v in seen.items())]
    save('profiles', 'What a profile costs', __doc__.split('\n\n')[-1], [('CPU ms a state', head, rows)], bars)

if __name__ == '__main__': main()
