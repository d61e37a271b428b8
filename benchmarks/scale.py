"""Work in pieces: what two workers gain over one, and what they need.

    python benchmarks/scale.py [spectra] [rows of the scene] [sources] [RUN_OF_SPECTRA RUN_OF_CANOPY RUN_OF_VARIABILITY]
    python benchmarks/scale.py tiny

A table of spectra of 800 points is retrieved, a scene of synthetic forests is mapped, a catalogue of simulated sources is scored: by one worker and by two,
each command in a process of its own. The scene is a strip of a tile of Sentinel-2, 10,980 pixels wide, with 2,048 rows if nothing else is said. Its first
1,024 x 1,024 pixels, two whole windows, hold forests; the others are without data, as over the sea, so that a window has its full size and the work still
takes a minute. The time is that between the first beginning of a piece and the last end of one, by the files that are kept, since the start of a process is
paid once; that of the whole command is told beside it. One worker and two take turns, twice, and the shorter time of each counts, since others use the
machine, too. Two commands of one worker each, at once, tell what the machine itself gives to two: cores share memory and clock. Memory is the largest of a
worker. Outputs are compared byte by byte. Without runs, three are trained for seconds: a piece computes the same of an estimate that is poor. `tiny` tries the
script itself on small sizes, and keeps no result."""
import contextlib, io, json, os, re, shutil, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from _table import bar, save
from maps import image

WIDTH, FILLED = 10_980, 1024     # of a tile of Sentinel-2 [pixels]; side of the part with data [pixels]
TURNS = 2                        # of each command; the shorter time counts

@contextlib.contextmanager
def step(what):
    "Say what is done, and how long it took."
    print(f'{what} ...', end=' ', flush=True)
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()): yield
    print(f'{time.monotonic() - began:.0f} s', flush=True)

def peak(pid):
    "Largest resident memory of a process so far [MB]; 0 where it is gone."
    try: return int(re.search(r'VmHWM:\s+(\d+)', Path(f'/proc/{pid}/status').read_text())[1])/1024
    except (OSError, TypeError): return 0.

def watched(words, out):
    "Run a command that keeps its parts: seconds of its pieces, their number, largest memory of its workers [MB], seconds of the whole."
    began = time.monotonic()
    process, largest = subprocess.Popen([sys.executable, '-m', 'physlearn', *map(str, words)], stdout=subprocess.DEVNULL), {}
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
    whole = time.monotonic() - began
    thread.join()
    if process.returncode: sys.exit(f"{' '.join(map(str, words))}: exit code {process.returncode}")
    first = min(float(line.split()[2]) for f in begun.glob('*') for line in f.read_text().splitlines())
    ends = [f.stat().st_mtime for f in Path(f'{out}.parts').glob('*/_stamp.json')]
    return max(ends) - first, len(ends), max(largest.values()), whole

def farmed(what, n, words, ending):
    "A row of the table: one worker beside two, and beside two commands at once."
    found, outs = {1: [], 2: []}, []
    def run(name, workers):
        out = f'{what}{name}{ending}'
        got = watched([*words, '--out', out, '--workers', workers, '--keep-parts'], out)
        shutil.rmtree(f'{out}.parts')
        outs.append(out)
        return got
    for turn, workers in product(range(TURNS), found):
        with step(f"{what}: {n:,} with {workers} worker{'s'*(workers > 1)}"): found[workers].append(run(f'{workers}-{turn}', workers))
        print(f'    {found[workers][-1][0]:.1f} s from the first piece to the last', flush=True)
    with step(f'{what}: {n:,} by each of two commands at once'), ThreadPoolExecutor(2) as pool: pair = list(pool.map(run, 'ab', (1, 1)))
    same = len({Path(out).read_bytes() for out in outs}) == 1
    one, two = (min(seconds for seconds, *_ in found[workers]) for workers in found)
    pieces, both = found[1][0][1], max(seconds for seconds, *_ in pair)
    memory, whole = max(m for _, _, m, _ in (*found[1], *found[2], *pair)), min(s for *_, s in found[2])
    print(f'{what}: pieces: {pieces}, {one:.1f} s by one worker, {two:.1f} s by two, {both:.1f} s beside another' +
          ('' if 40 <= one <= 90 or 'tiny' in sys.argv else '; 40 to 90 s are meant'), flush=True)
    return dict(what=what, rows=n, pieces=pieces, one=one, two=two, whole=whole, gain=one/two, apart=2*one/both, rate=n/one, memory=memory, same=same)

def trained(points):
    "Runs of seconds: of spectra, of canopies with the head of its maps, of variability."
    from physlearn.canopy.retrieve import head_of
    from physlearn.canopy.train_physvae import canopy_recipe
    from physlearn.lightcurve.train_lightcurve import lightcurve_recipe
    from physlearn.spectra.train_physae import spectra_recipe
    alone, how = dict(threads=1, gpus=0), dict(quiet=True, evaluate=False)
    with step('training a run of spectra'):
        spectra_recipe('quick', encoder_variant='xs', train_samples=64, val_samples=32, epochs=1, batch_size=32, num_points=points, **alone).fit('gas', **how)
    with step('training a run of canopies'):
        short = dict(pretrain_samples=256, val_samples=64, epochs_pretrain=1, epochs=1, kl_warmup_epochs=1, batch_size=64)
        run = canopy_recipe('quick', **short, **alone).fit('wood', **how)
    with step('teaching it the moments of 16,384 pixels'): head_of(run, rows=16_384, say=lambda *a: None)
    with step('training a run of variability'):
        lightcurve_recipe('variability', sources=300, epochs=1, batch_size=100, constants=3000, **alone).fit('varies', **how)
    return 'gas', 'wood', 'varies'

def measured(n, height, width, filled, sources, points, runs):
    "A row for each kind of work, in the working directory."
    from physlearn.cli import main as command
    from physlearn.runs import Run
    runs = runs or trained(points)
    with step(f'simulating {n:,} spectra'):
        assert command(f'simulate spectra table.h5 --n {n} --noise 0.002 --num-points {points}'.split()) == 0
    if not (Path(runs[1])/'moments.safetensors').exists():
        from physlearn.canopy.retrieve import head_of
        with step('teaching the run of canopies the moments of 400,000 pixels'): head_of(Run.load(runs[1]), say=lambda *a: None)
    with step(f'writing a scene of {width:,} x {height:,} pixels'): pixels = image('scene.tif', Run.load(runs[1]).sim, height, width=width, filled=filled)
    with step(f'simulating {sources:,} sources'): assert command(f'simulate lightcurve survey --n {sources} --seed 4 --workers 2'.split()) == 0
    return [farmed('spectra', n, ['retrieve', runs[0], 'table.h5', '--known', 'P=500mbar'], '.csv'),
            farmed('pixels', pixels, ['retrieve', runs[1], 'scene.tif', '--method', 'moments', '--scale', 10000, '--offset', 0, '--tts', 40], '.tif'),
            farmed('sources', sources, ['score', 'lightcurve', runs[2], 'survey', '--injected', 0], '.csv')]

def main(n=16_384, height=2048, sources=131_072, *runs):
    runs, load, tiny = [str(Path(f).resolve()) for f in runs], os.getloadavg()[0], n == 'tiny'
    if len(runs) not in (0, 3): sys.exit(f'{len(runs)} runs: expected none, or three: of spectra, of canopies, of variability')
    size = (64, 64, 512, 64, 64, 96) if tiny else (int(n), int(height), WIDTH, FILLED, int(sources), 800)
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        rows = measured(*size, runs)
        os.chdir('/')
    for r in rows if tiny else (): print({k: v if isinstance(v, (str, bool, int)) else round(v, 2) for k, v in r.items()})
    if tiny: sys.exit(0 if all(r['same'] for r in rows) else 'outputs differ')
    rate = {r['what']: r['rate'] for r in rows}
    head = dict(what='what', rows='rows', pieces='pieces', one='one worker [s]', two='two workers [s]', whole='whole command of two [s]', gain='speed-up',
                apart='of two commands at once', rate='rows per second of one', memory='largest memory of a worker [MB]', same='same bytes')
    save('scale', 'Work in pieces', f'One worker and two in turn, the shorter of {TURNS} times each; the load of the machine was {load:.1f} before it began. '
         f'The scene is a strip of {WIDTH:,} x {size[1]:,} pixels, of which {rows[1]["rows"]:,} hold data.', [('One worker and two', [*head.values()], [[r[k] for k in head] for r in rows])],
         [*(bar(f"speed-up, {r['what']}", '>= 1.8', f"{r['gain']:.2f}; {r['apart']:.2f} of two commands at once", r['gain'] >= 1.8) for r in rows),
          *(bar(f"memory of a worker, {r['what']}", '<= 1.5 GB', f"{r['memory']/1024:.2f} GB", r['memory'] <= 1536) for r in rows),
          *(bar(f"same bytes, {r['what']}", 'yes', 'yes' if r['same'] else 'no', r['same']) for r in rows)], load=load, rate=rate,
         trained='in seconds, by this script' if not runs else 'given', scene=dict(width=WIDTH, height=size[1], filled=rows[1]['rows']), rows=json.loads(json.dumps(rows)))

if __name__ == '__main__': main(*sys.argv[1:])
