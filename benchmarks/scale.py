"""Work in pieces: what two workers gain over one, and what they need.

    python benchmarks/scale.py RUN_OF_SPECTRA RUN_OF_CANOPY RUN_OF_VARIABILITY [spectra] [side of the scene] [sources]

A table of spectra is retrieved, a scene of synthetic forests is mapped, a catalogue of simulated sources is scored: by one worker
and by two, each command in a process of its own. The time is that between the first beginning of a piece and the last end of one, by
the files that are kept, since the start of a process is paid once. Memory is the largest of a worker. Outputs are compared byte by byte."""
import json, os, re, subprocess, sys, tempfile, threading, time
from pathlib import Path
from _table import bar, save

def peak(pid):
    "Largest resident memory of a process so far [MB]; 0 where it is gone."
    try: return int(re.search(r'VmHWM:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())[1])/1024
    except (OSError, TypeError): return 0.

def watched(words, out):
    "Run a command that keeps its parts: seconds of its pieces, number of pieces, largest memory of its workers [MB]."
    process, largest = subprocess.Popen([sys.executable, '-m', 'physlearn', *map(str, words)]), {}
    begun = Path(f'{out}.parts/_begun')
    def watch():
        while process.poll() is None:
            for f in begun.glob('*') if begun.is_dir() else ():
                for line in f.read_text().splitlines():
                    pid = line.split()[1]
                    largest[pid] = max(largest.get(pid, 0.), peak(pid))
            time.sleep(.2)
    thread = threading.Thread(target=watch)
    thread.start()
    process.wait()
    thread.join()
    if process.returncode: sys.exit(f"{' '.join(map(str, words))}: exit code {process.returncode}")
    first = min(float(line.split()[2]) for f in begun.glob('*') for line in f.read_text().splitlines())
    ends = [f.stat().st_mtime for f in Path(f'{out}.parts').glob('*/_stamp.json')]
    return max(ends) - first, len(ends), max(largest.values())

def farmed(what, n, words, ending):
    "A row of the table: one worker beside two."
    found = {}
    for workers in (1, 2):
        out = f'{what}{workers}{ending}'
        found[workers] = watched([*words, '--out', out, '--workers', workers, '--keep-parts'], out)
    same = Path(f'{what}1{ending}').read_bytes() == Path(f'{what}2{ending}').read_bytes()
    (one, pieces, m1), (two, _, m2) = found[1], found[2]
    return dict(what=what, rows=n, pieces=pieces, one=one, two=two, gain=one/two, rate=n/one, memory=max(m1, m2), same=same)

def main(spectra, canopy, variability, n=40_960, side=2048, sources=16_384):
    n, side, sources, here = int(n), int(side), int(sources), Path(__file__).parent
    runs, load = [str(Path(f).resolve()) for f in (spectra, canopy, variability)], os.getloadavg()[0]
    sys.path.insert(0, str(here))
    from maps import image
    from physlearn.cli import main as command
    from physlearn.runs import Run
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        assert command(f'simulate spectra table.h5 --n {n} --noise 0.002'.split()) == 0
        image('scene.tif', Run.load(runs[1]).sim, side)
        assert command(f'simulate lightcurve survey --n {sources} --seed 4'.split()) == 0
        rows = [farmed('spectra', n, ['retrieve', runs[0], 'table.h5', '--known', 'P=500mbar'], '.csv'),
                farmed('pixels', side*side, ['retrieve', runs[1], 'scene.tif', '--scale', 10000, '--offset', 0, '--tts', 40], '.tif'),
                farmed('sources', sources, ['score', 'lightcurve', runs[2], 'survey', '--injected', 0], '.csv')]
    tile = 10_980**2/rows[1]['rate']/3600
    head = dict(what='what', rows='rows', pieces='pieces', one='one worker [s]', two='two workers [s]', gain='speed-up',
                rate='rows per second of one', memory='largest memory of a worker [MB]', same='same bytes')
    save('scale', 'Work in pieces', f'Two workers on two cores; the load of the machine was {load:.1f} before it began. A tile of '
         f'10,980 x 10,980 pixels is projected to {tile:.1f} h of one worker.',
         [('One worker and two', [*head.values()], [[r[k] for k in head] for r in rows])],
         [*(bar(f"speed-up, {r['what']}", '>= 1.8', f"{r['gain']:.2f}", r['gain'] >= 1.8) for r in rows),
          *(bar(f"memory of a worker, {r['what']}", '<= 1.5 GB', f"{r['memory']/1024:.2f} GB", r['memory'] <= 1536) for r in rows),
          *(bar(f"same bytes, {r['what']}", 'yes', 'yes' if r['same'] else 'no', r['same']) for r in rows)], load=load, rows=json.loads(json.dumps(rows)))

if __name__ == '__main__': main(*sys.argv[1:])
