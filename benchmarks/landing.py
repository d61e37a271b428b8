"""Pictures of the front page from real files: AB Doradus as eROSITA counted it, an event of 2 PeV in IceCube, radar and
camera.

    PHYSLEARN_DATA=folder python benchmarks/landing.py"""
import os
from pathlib import Path
import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt
import numpy as np
from physlearn.icecube.event_files import read_events
from physlearn.icecube.event_report import draw_event
from physlearn.lightcurve.xray_files import by_visits, read_lightcurve
from physlearn.sar.agreement import agreement
from sar_agreement import tiles

DATA, IMAGES = Path(os.environ['PHYSLEARN_DATA']), Path(__file__).parents[1]/'nbs'/'images'

def light_curve():
    "A star in three bands, a point for each visit."
    (file,) = (DATA/'lightcurves'/'erosita_erass1').glob('*.fits')
    lc = by_visits(read_lightcurve(file))
    fig, axs = plt.subplots(3, 1, figsize=(8, 4.4), sharex=True, layout='constrained')
    for b, (ax, label) in enumerate(zip(axs, lc.labels)):
        errors = np.abs([lc.err_minus[:,b], lc.err_plus[:,b]])
        ax.errorbar((lc.time - lc.time[0])/86400, lc.rate[:,b], errors, fmt='.', c=f'C{b}', ms=4, lw=.8)
        ax.set(ylabel='rate [ct/s]', ylim=(0, None))
        ax.set_title(label, fontsize=9, loc='left')
    axs[-1].set_xlabel(f'days after MJD {lc.mjd[0]:.2f}')
    fig.savefig(IMAGES/'lightcurve.png', dpi=110)

def event():
    "The event Bigbird: the sensors that saw light, in the detector and over time."
    events = read_events([DATA/'icecube'/'events.h5'])
    i = int(np.nanargmin(np.abs(events.label[:,0] - 2.004e6)))     # its deposited energy [GeV]
    fig = plt.figure(figsize=(8, 3.8), layout='constrained')
    left, right = (fig.add_subplot(1, 2, k + 1, **more) for k, more in enumerate((dict(projection='3d'), {})))
    draw_event(left, events, i, most=7.)
    left.set(title='', zlabel='')
    events.plot(i, right)
    fig.savefig(IMAGES/'events.png', dpi=110)

def scenes(most=4):
    "Measured tiles of radar and of a camera; the agreement of their edges, and what 95 % of other tiles stay below."
    names, radars, pictures = zip(*tiles())
    fig, axs = plt.subplots(2, most, figsize=(8, 4.3), layout='constrained')
    shown = np.linspace(0, len(names) - 1, most).astype(int)
    for (top, bottom), i in zip(axs.T, shown):
        found = agreement(radars[i], pictures[i], others=pictures[:i] + pictures[i+1:])
        image = top.imshow(radars[i][0], cmap='gray', vmin=-25, vmax=0)
        red = pictures[i][[2, 1, 0]].transpose(1, 2, 0)
        bottom.imshow((red/np.quantile(red, .99)).clip(0, 1))
        bottom.set_title(f'agreement {found.score:.2f}, others {found.others.level:.2f}', fontsize=8)
        for ax in (top, bottom): ax.set(xticks=[], yticks=[])
    fig.colorbar(image, ax=axs[0], label='VV [dB]')
    fig.savefig(IMAGES/'tiles.png', dpi=80)

if __name__ == '__main__':
    scenes()
    light_curve()
    event()
