"""Ten thousand folders of runs that were tampered with, of five systems, finished and half-finished: each gives the answer of the
whole one or a FileError of one sentence. Each is looked at in a process of its own. `python tampered.py [how many] [seed]`."""
import contextlib, io, os, pickle, random, shutil, signal, sys, tempfile, time, warnings
from collections import Counter
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parents[1]/'tests'))
import torch
import tampering as T
from physlearn.files import FileError
from physlearn.instruments import INSTRUMENTS
from _table import bar, save

LIMIT = 30              # seconds after which a process is ended
SHARES = dict(spectra=.1, canopy=.25, lightcurve=.25, icecube=.15, sar=.25)     # of the folders; a simulator or a file of events takes longer

def looked_at(ask, run, whole):
    "What becomes of one folder: same, another, refused, or what was raised; and the seconds that it took."
    began = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()): out = 'same' if ask(run) == whole else 'another'
    except FileError as e: out = 'refused' if '\n' not in str(e) and len(str(e)) < 1500 else 'a sentence too long'
    except BaseException as e: out = f'{type(e).__name__}: {e}'[:200]
    return out, time.perf_counter() - began

def apart(work, ask, run, whole):
    "The same, in a process of its own."
    r, w = os.pipe()
    child = os.fork()
    if not child:
        os.close(r)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(LIMIT)
        work(run)
        with os.fdopen(w, 'wb') as f: pickle.dump(looked_at(ask, run, whole), f)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, 'rb') as f: data = f.read()
    os.waitpid(child, 0)
    return pickle.loads(data) if data else ('the process ended', float(LIMIT))

def twice(ways, rng):
    "One of the ways, or two of them one after the other."
    a, b = rng.choice(list(ways)), rng.choice(list(ways))
    if rng.random() < .7: return a, ways[a]
    def both(run):
        ways[a](run)
        with contextlib.suppress(Exception): ways[b](run)       # what the first one took away the second one lacks
    return f'{a}; {b}', both

def main(n=10_000, seed=0):
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    rng, rows, wrong, slow = random.Random(seed), [], [], []
    with tempfile.TemporaryDirectory() as folder:
        os.environ['PLANTED'] = f'{folder}/planted'
        for name in INSTRUMENTS:
            made = Path(folder)/name
            made.mkdir()
            T.made(name, made)
            for kind, ask, share in (('whole', T.answer, .95), ('half', T.resumed, .05)):
                def fresh():
                    shutil.rmtree(made/'work', ignore_errors=True)
                    (made/'work').mkdir()
                    shutil.copytree(made/kind, made/'work'/'run', ignore=shutil.ignore_patterns('state') if kind == 'whole' else None)
                    return made/'work'/'run'
                whole, count, most = ask(fresh()), Counter(), 0.
                ways = {k: w for k, w in T.ways(made/kind, seed, 400, kind == 'half').items() if 'threads' not in k}
                for _ in range(round(n*share*SHARES[name])):
                    said, work = twice(ways, rng)
                    out, seconds = apart(work, ask, fresh(), whole)
                    if out == 'another' and 'seal' in said: out = 'another run, whose sums fit'
                    count[out] += 1
                    most = max(most, seconds)
                    if out not in ('same', 'refused', 'another run, whose sums fit'): wrong.append(f'{name}, {said}: {out}')
                    if seconds > 2: slow.append(f'{name} {kind}, {said}: {seconds:.1f} s, {out}')
                known = [count[k] for k in ('refused', 'same', 'another run, whose sums fit')]
                rows.append([name, 'finished' if kind == 'whole' else 'half-finished', sum(count.values()), *known, sum(count.values()) - sum(known), most])
                print(rows[-1], wrong[-3:], flush=True)
        ran = os.path.exists(os.environ['PLANTED'])
    total = sum(r[2] for r in rows)
    bars = [bar('folders tampered with', '10,000', f'{total:,}', total >= 10_000), bar('neither refused nor answered as before', '0', str(len(wrong)), not wrong),
            bar('code run that a file names', '0', str(int(ran)), not ran),
            bar('refused, or answered, in less than 2 s', 'all', f'{total - len(slow):,} of {total:,}', len(slow) == 0)]
    text = ("Every JSON file as a whole and value by value, weights of other runs, shapes, types, NaN, lying headers, links, pipes, devices, modules that a recipe names, "
            "states with and without their sums; three in ten are two tamperings at once. A manifest whose sums were made anew to fit makes another run: it has finite weights, or is refused.")
    head = ['system', 'run', 'folders', 'refused', 'same answer', 'another run, whose sums fit', 'else', 'longest [s]']
    save('tampered', 'Folders of runs that were tampered with', text, [('What became of them', head, rows)], bars, seed=seed, wrong=wrong[:50], slow=slow[:50])

if __name__ == '__main__': main(*map(int, sys.argv[1:]))
