"""Five measured spectra, one command, one set-up file: CO2 in air by cavity ring-down (data/measured).

    PHYSLEARN_DATA=... python benchmarks/ring_down.py

Pressure is free and judged by the gauge; then it is taken from the gauge, as the publisher did, and the amount is judged by
the publisher's. CPU seconds count the whole command: start, reading, fitting, writing."""
import csv, resource, subprocess, sys, tempfile
from pathlib import Path
from _table import bar, data_folder, save
from physlearn.spectra.files import example_setup

PUBLISHER = {'co2_air_056torr.csv': (56.05, 420.8), 'co2_air_101torr.csv': (100.72, 423.2), 'co2_air_109torr.csv': (108.39, 417.7),
             'co2_air_186torr.csv': (185.28, 416.7), 'co2_air_271torr.csv': (270.48, 416.2)}   # gauge [Torr], CO2 [ppm]

def fitted(folder, out, *more):
    "Rows of the table by file, and CPU seconds of the command."
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    files = sorted(map(str, folder.glob('co2_air_*.csv')))
    words = ['fit', 'spectra', *files, '--setup', str(example_setup()), '--lines', str(folder/'lines_co2_6358_6362.csv')]
    start = 'import sys; from physlearn.cli import main; sys.exit(main())'
    subprocess.run([sys.executable, '-c', start, *words, *more, '--out', str(out)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = csv.DictReader(out.open())
    return {r['file']: {k.partition(' ')[0]: v for k, v in r.items()} for r in rows}, sum(getattr(after, k) - getattr(before, k) for k in ('ru_utime', 'ru_stime'))

def main():
    folder, rows = data_folder()/'measured/co2_air_crds', []
    with tempfile.TemporaryDirectory() as d:
        free, seconds = fitted(folder, Path(d)/'free.csv')
        gauged, _ = fitted(folder, Path(d)/'gauged.csv', '--known', 'T=Temperature:degC', 'P=Pressure:Torr')
    for name, (gauge, theirs) in PUBLISHER.items():
        P, x, given = float(free[name]['P'])/1.33322368, 1e6*float(free[name]['mf_CO2']), 1e6*float(gauged[name]['mf_CO2'])
        rows.append([name, gauge, f'{P:.2f}', 100*(P/gauge - 1), theirs, f'{x:.2f}', 100*(x/theirs - 1), f'{given:.2f}', 100*(given/theirs - 1)])
    worst = lambda at: max(abs(r[at]) for r in rows)
    bars = [bar('P from the spectrum against the gauge', '<= 0.4 %', f'{worst(3):.2f} %', worst(3) <= .4),
            bar('CO2, P from the gauge, against the publisher', '<= 0.3 %', f'{worst(8):.2f} %', worst(8) <= .3),
            bar('CO2, P free too, against the publisher, whose value has 0.012 % of rounding', '<= 0.3 %', f'{worst(6):.2f} %', worst(6) <= .3),
            bar('CPU of the command, all five', '<= 20 s', f'{seconds:.1f} s', seconds <= 20)]
    save('ring_down', 'Five measured spectra with one set-up file',
         'CO2 in air by cavity ring-down at five pressures, speed-dependent Nelkin-Ghatak profile, three etalons of which two jump between four '
         'segments, temperature from a column of each file: `physlearn fit spectra co2_air_*.csv --setup co2_ring_down.yaml`, whose 24 lines are part '
         'of the package. Gauge and publisher (MATS, NIST) as in the README of the data; with pressure free the amount moves by up to '
         '0.15 %, as it does for an independent fit by scipy and hitran-api (417.9 ppm at 186 Torr).',
         [('Pressure and amount', ['file', 'gauge [Torr]', 'P, free [Torr]', 'off [%]', 'publisher [ppm]', 'CO2, P free [ppm]', 'off [%]', 'CO2, P given [ppm]', 'off [%]'], rows)],
         bars)

if __name__ == '__main__': main()
