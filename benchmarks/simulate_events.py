"""Simulated events of a neutrino telescope: events per CPU second, how many sensors are hit.

    PHYSLEARN_DATA=folder python benchmarks/simulate_events.py [events]

Showers and muons in IceCube's geometry (5,160 sensors) and layered ice, energies log-uniform, directions isotropic, vertices anywhere
in the box of the sensors; 500 dark counts a second in 10 us, no hit cleaning. `prototype` is an earlier form that was measured in numpy
on the same kind of machine and thrown away; it had less light."""
import sys, time
import numpy as np
import torch
from _table import bar, data_folder, save
from physlearn.icecube.event_simulate import KINDS, simulate
from physlearn.icecube.detector import Geometry

PROTOTYPE = (32, 48, 95, 215)             # median hits by decade
PROTOTYPE_SPEED = dict(cascade='2100-3700', track='430-640')

def timed(n, kind, geometry, repeats=3, **words):
    "Events per CPU second, the median of some runs, and the events."
    speeds = []
    for _ in range(repeats):
        t = time.process_time()
        events = simulate(n, 1, kind, geometry, **words)
        speeds.append(n/(time.process_time() - t))
    return float(np.median(speeds)), events

def occupancy(events, decade):
    "Median hits, of which noise, charge, track length, share of triggers, of one decade of energy."
    row = np.floor(np.log10(events.energy)) == decade
    charge = np.bincount(events.event, events.charge, len(events))[row]
    return [float(np.median(v)) for v in (events.hits[row], events.more['noise_hits'][row], charge)] \
        + [f"{100*events.more['triggered'][row].mean():.0f} %"]

def main(n=2000):
    torch.set_num_threads(1)
    n, geometry = int(n), Geometry.load(data_folder()/'icecube'/'geometry.csv')
    simulate(50, 0, 'mix', geometry)
    speed, rows, hits = {}, [], []
    for kind in KINDS:
        count = n if kind == 'cascade' else n//2
        speed[kind], events = timed(count, kind, geometry, energy=(1e2, 1e6))
        by = [timed(count//8, kind, geometry, 1, energy=(10.**d, 10.**(d + 1)))[0] for d in range(2, 7)]
        rows.append([kind, speed[kind], PROTOTYPE_SPEED[kind], *by])
        hits += [[kind, f'{10.**(d - 3):g} - {10.**(d - 2):g} TeV', *occupancy(events, d), PROTOTYPE[d - 2]] for d in range(2, 6)]
    decades = [f'{10.**(d - 3):g}-{10.**(d - 2):g} TeV' for d in range(2, 7)]
    save('simulate_events', 'Simulated events', __doc__.split('\n\n')[2].replace('\n', ' '),
         [('Events per CPU second', ['kind', '0.1-1000 TeV', 'prototype', *decades], rows),
          ('Medians', ['kind', 'energy', 'hits', 'of them noise', 'charge [PE]', 'triggered', 'hits, prototype'], hits)],
         [bar('cascades per CPU second, 0.1-1000 TeV', '>= 1000', f"{speed['cascade']:.0f}", speed['cascade'] >= 1000),
          bar('tracks per CPU second, 0.1-1000 TeV', '>= 300', f"{speed['track']:.0f}", speed['track'] >= 300)])

if __name__ == '__main__': main(*sys.argv[1:])
