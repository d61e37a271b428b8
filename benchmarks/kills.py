"""Does a training that is killed end in the same bytes? Killed with SIGKILL at random moments and at every step of writing, then resumed.

    python benchmarks/kills.py [trials of each training] [names of trainings]

Each trial forks a process that trains a tiny configuration and kills itself: before the k-th step of writing (open, replace, remove, fsync and so on, of any file
in the run's folder), in the middle of writing a file, before the k-th batch, or a random time after its start. Half of the trials are to be killed again while they go on.
What counts is the end: weights, history, manifest, options and every file of the folder bit by bit as in the run that nobody disturbed; the data of every batch, in order;
nothing temporary left. No verdict depends on a clock."""
import contextlib, gc, os, random, shutil, signal, sys, tempfile, time, traceback
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import ClassVar
import torch
from torch import nn
from _table import bar, save
from physlearn import runs, train
from physlearn.callbacks import EMA, EarlyStop, ReLoBRaLo, one_cycle
from physlearn.contract import numbers_in
from physlearn.data import White, sim_dls
from physlearn.instruments import find
from physlearn.losses import CompositeLoss, param_mse
from physlearn.pages import Judgement, Picture
from physlearn.params import Param, ParamSpace
from physlearn.runs import Recipe, Run
from physlearn.train import PhysLearner, Stage

# --- what is trained

class Decay:
    "A decay over 32 samples: (B,1,32) [V]."
    space = ParamSpace(A=Param(.5, 1.5, 'V'), k=Param(.2, 2., '1/s', log=True))
    t = torch.linspace(0, 3, 32, dtype=torch.float64)
    def __call__(self, theta): return (theta[:,:1]*(-theta[:,1:]*self.t).exp())[:,None]

class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(32, 16), nn.SiLU(), nn.Dropout(.2))
        self.head = nn.Linear(16, 2)
    def forward(self, batch): return dict(u=self.head(self.body(batch['x'][:,0])).sigmoid())

@dataclass
class Several(Recipe):
    "Two stages with nearly all callbacks: averaged weights, balanced losses, early stopping, groups of batches."
    system: ClassVar[str] = 'several stages'
    epochs: int = 3
    lr: float = 1e-2
    batch_size: int = 25
    accumulate: int = 2
    gpus: int|None = 0
    def simulator(self): return Decay()
    def model(self, sim): return Reader()
    def dls(self, sim, device, bs=None): return sim_dls(sim, bs or self.batch_size, 90, 41, White(.01), self.seed, device)
    def loss(self, sim): return CompositeLoss(params=param_mse(), first=param_mse([1., 0.]))
    def stages(self):
        even = self.dls(self.simulator(), 'cpu', 30)
        stop = lambda: EarlyStop('train_first', 'max', patience=2, verbose=False)          # it falls: stopped after three epochs
        return [Stage('A', self.epochs, self.lr, sched=one_cycle, cbs=lambda: [EMA(.9)]),
                Stage('B', self.epochs + 2, self.lr/3, train=('head',), cbs=lambda: [ReLoBRaLo(), stop()], dls=even)]

def stands(path):
    "A table of simulated stands, on which a canopy is trained."
    from physlearn.cli import main
    if not path.exists(): main(['simulate', 'canopy', str(path), '--n', '24', '--noise', '.02'])
    return str(path)

def base(path):
    "A run whose network others adapt."
    if not path.exists(): replace(find('sar').presets['quick'], gpus=0, epochs=1, tiles=12, width=8, crop=32).fit(path, quiet=True, evaluate=False)
    return str(path)

# a tiny training of each kind; the folder is for what it reads
TRAININGS = dict(
    spectra=lambda folder: replace(find('spectra').presets['quick'], train_samples=64, val_samples=16, epochs=4, batch_size=32, num_points=64, encoder_variant='xs',
                                   patience=2, mlp_dropout=.2, use_relobralo=True),
    canopy=lambda folder: replace(find('canopy').presets['quick'], table=stands(folder/'stands.csv'), scale=1., offset=0., epochs=4, epochs_pretrain=2,
                                  kl_warmup_epochs=1, pretrain_samples=64, val_samples=32, batch_size=16, width=8),
    lightcurve=lambda folder: replace(find('lightcurve').presets['quick'], epochs=3, sources=40, batch_size=16, hidden=8, benchmark_every=2, kl_warmup_epochs=2),
    icecube=lambda folder: replace(find('icecube').presets['cnn'], epochs=3, events=40, hidden=8, depth=1, batch_size=16, betas='cosine', T=50, warmup_ratio=.1),
    sar=lambda folder: replace(find('sar').presets['quick'], base=base(folder/'base'), lora_rank=2, epochs=3, tiles=12, width=8, crop=32, batch_size=4, accumulate=2),
    several=lambda folder: Several())
SYSTEMS = 'spectra', 'canopy', 'lightcurve', 'icecube', 'sar'

# --- a process that can be killed at each of its steps

def judged(run):
    "Stands for the judge of an instrument, which writes nothing into the folder."
    table = dict(caption='Nothing', head=['what', 'value'], rows=[['one', 1.]])
    return Judgement([table], dict(line=Picture(lambda fig: fig.subplots().plot([0, 1]), 'A line', (2, 2))), dict(one=1.))

class Steps:
    "Steps of this process in a run's folder: counted, named, and killed before one of them."
    def __init__(self, run, at=None, batch=None):
        self.run, self.at, self.batch, self.n, self.batches, self.names, self.on = str(run), at, batch, 0, 0, [], False

    def step(self, what, path, half=None):
        "One more; `half` does a part of it before the process is killed."
        path = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ''
        if not self.on or not path.startswith(self.run): return
        self.names.append(f'{what} {os.path.relpath(path, self.run)}')
        if self.n == self.at:
            if half: half()
            os.kill(os.getpid(), signal.SIGKILL)
        self.n += 1

    def __call__(self, event, args):
        "A hook of Python's own auditing, called before what it names."
        if event == 'open' and args[0] is not None and (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT): self.step('open', args[0])
        elif event in ('os.rename', 'os.remove', 'os.rmdir', 'os.mkdir') and isinstance(args[0], (str, bytes, os.PathLike)):
            self.step(event[3:], os.path.join(self._folder(args), os.fsdecode(args[0])))

    def _folder(self, args):
        "Of a name that is relative to an open folder, as shutil.rmtree uses it."
        fd = args[-1] if len(args) > 1 and isinstance(args[-1], int) else -1
        return os.readlink(f'/proc/self/fd/{fd}') if fd >= 0 else ''

    def watch(self):
        "Put the hooks in."
        fsync, files, text, data = os.fsync, (train.save_file, runs.save_file), Path.write_text, Path.write_bytes
        def synced(fd):
            self.step('fsync', os.readlink(f'/proc/self/fd/{fd}'))
            return fsync(fd)
        def saved(tensors, path, **kw):
            def half():
                files[0](tensors, path, **kw)
                os.truncate(path, os.path.getsize(path)//2)
            self.step('tensors', path)
            self.step('half of tensors', path, half)
            return files[0](tensors, path, **kw)
        def written(write):
            def f(p, content, *args, **kw):
                self.step('half of', p, lambda: write(p, content[:len(content)//2], *args, **kw))
                return write(p, content, *args, **kw)
            return f
        os.fsync, train.save_file, runs.save_file = synced, saved, saved
        Path.write_text, Path.write_bytes = written(text), written(data)
        one = PhysLearner._do_one_batch
        def batch(learn):
            self.data(learn)
            return one(learn)
        PhysLearner._do_one_batch = batch
        sys.addaudithook(self)
        self.on = True

    def data(self, learn):
        "Note what a batch holds, where a kill cannot undo it."
        if not learn._watched(): return
        found = sha256()
        for k, v in sorted(numbers_in(learn.xb[0]).items()): found.update(k.encode() + v.detach().contiguous().numpy().tobytes())
        line = f'{learn.stage_name} {learn.epoch} {int(learn.training)} {learn.iter} {found.hexdigest()[:16]}\n'
        if self.batches == self.batch: os.kill(os.getpid(), signal.SIGKILL)
        self.batches += 1
        os.write(self.log, line.encode())

def work(recipe, run, steps, log, plant=None):
    "Train, or go on: what somebody does who finds the run's folder as it is."
    torch.set_num_threads(1)
    Run.judged = judged
    steps.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if plant: plant()
    steps.watch()
    if (run/'recipe.json').exists():
        try: Run.resume(run, quiet=True)
        except ValueError as e:
            if 'is a finished run' not in str(e): raise
    else: recipe.fit(run, quiet=True)
    steps.on = False

def forked(recipe, run, log, at=None, batch=None, after=None, plant=None, names=None):
    "The same in a process of its own; returns whether it was killed. RuntimeError with its words where it fails."
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            said = os.open(f'{log}.said', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for fd in (1, 2): os.dup2(said, fd)
            steps = Steps(run, at, batch)
            work(recipe, run, steps, log, plant)
            if names: Path(names).write_text('\n'.join(steps.names))
            code = 0
        except BaseException: traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if after is not None:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError): os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status): return True
    if os.WEXITSTATUS(status): raise RuntimeError(Path(f'{log}.said').read_text()[-3000:])
    return False

# --- what a run has to be in the end

def contents(run):
    "Digest of every file of a run; of its report, which names the folder, only that it is there."
    named = 'report.html', 'README.md'
    files = sorted(p for p in run.rglob('*') if p.is_file() and p.name != 'plain.json')
    return {str(p.relative_to(run)): '' if p.name in named else sha256(p.read_bytes()).hexdigest() for p in files}

def order_of(log):
    "Batches by process: (stage, epoch, training, number, digest)."
    return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []      # killed before it began

def unlike(run, whole, logs, log):
    "What differs from the run that nobody disturbed, in words; '' where nothing does."
    a, b = contents(run), contents(whole)
    wrong = sorted(k for k in {*a, *b} if a.get(k) != b.get(k))
    if wrong: return f'files: {", ".join(wrong[:4])}'
    if temporary := [str(p.relative_to(run)) for p in run.rglob('.tmp*')]: return f'left behind: {temporary[0]}'
    want, seen = order_of(log), []
    at = {line[:-1]: i for i, line in enumerate(want)}
    for part in map(order_of, logs):
        found = [at.get(line[:-1], -1) for line in part]
        if found != list(range(found[0], found[0] + len(found))) if found else False: return 'data: another order'
        if any(want[i] != line for i, line in zip(found, part)): return 'data: other values'
        seen += found
    if {*seen} != {*range(len(want))}: return 'data: a batch was left out'
    return ''

WHAT = ((' state/', 'state'), ('model.safetensors', 'weights'), ('history', 'history'), ('manifest', 'manifest'), ('metrics', 'metrics'),
        ('report', 'report'), ('README', 'card'), ('figures', 'figures'))

def kind_of(step):
    "What a step belongs to, for the table."
    if ' state/' in step and step.split()[0] in ('remove', 'rmdir'): return 'old states'
    return next((kind for mark, kind in WHAT if mark in step), 'beginning')

class Training:
    "A tiny training, the run that nobody disturbed, and the steps of its process."
    def __init__(self, name, folder):
        self.name, self.folder = name, Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        self.recipe = replace(TRAININGS[name](self.folder), gpus=0, threads=1)
        self.whole, self.log = self.folder/'whole', self.folder/'whole.log'
        self.warm()
        start = time.monotonic()
        forked(self.recipe, self.whole, self.log, names=self.folder/'steps')
        self.seconds = time.monotonic() - start
        self.steps = (self.folder/'steps').read_text().splitlines()
        self.batches = len(order_of(self.log))

    def warm(self):
        "Import here what a training imports late, so that no process that is forked has to."
        judge, Run.judged = Run.judged, judged
        try: replace(self.recipe, epochs=self.recipe.epochs).fit(self.folder/'warm', quiet=True)
        finally: Run.judged = judge

    def moments(self, n, rng):
        "Where `n` trials are killed first: steps of each kind, batches, and times."
        kinds = {}
        for i, s in enumerate(self.steps): kinds.setdefault(kind_of(s), []).append(i)
        at, queues = [], [rng.sample(v, len(v)) for v in kinds.values()]
        while len(at) < round(.4*n) and any(queues): at += [q.pop() for q in queues if q]      # of each kind
        at = at[:round(.4*n)]
        rest = sorted({*range(len(self.steps))} - {*at})
        at = [dict(at=i) for i in at + rng.sample(rest, min(round(.3*n), len(rest)))]           # and of all
        at += [dict(batch=rng.randrange(self.batches)) for _ in range(round(.2*n))]
        return at + [dict(after=rng.uniform(0, self.seconds)) for _ in range(n - len(at))]

    def trial(self, i, moment, rng, again=.5, plant=None):
        "Kill, go on, kill again perhaps, go on to the end; returns (kind, how often it was killed, what differs)."
        run, logs, killed = self.folder/f'run{i}'/'whole', [], 0
        run.parent.mkdir()
        kind = kind_of(self.steps[moment['at']]) if 'at' in moment else next(iter(moment))
        try:
            while True:
                logs.append(run.parent/f'{len(logs)}.log')
                if not forked(self.recipe, run, logs[-1], plant=plant, **moment): break
                killed += 1
                more = killed < 3 and rng.random() < again
                moment = rng.choice((dict(at=rng.randrange(len(self.steps))), dict(batch=rng.randrange(self.batches)))) if more else {}
            return kind, killed, unlike(run, self.whole, logs, self.log)
        except RuntimeError as e: return kind, killed, f'went wrong: {str(e).strip().splitlines()[-1]}'
        finally: shutil.rmtree(run.parent)

KINDS = dict(beginning='beginning of the folder', state='writing a state', **{'old states': 'dropping old states'}, history='history', weights='weights, at the end',
             manifest='manifest', metrics='metrics', figures='figures', report='report', card='card', batch='before a batch', after='any time')

def main(n=100, *names):
    n, total, wrong, steps = int(n), Counter(), [], {}
    kills = {}
    for name in names or TRAININGS:
        rng = random.Random(f'kills {name}')
        with tempfile.TemporaryDirectory() as folder:
            t = Training(name, Path(folder)/name)
            steps[name] = len(t.steps)
            gc.collect()
            gc.freeze()
            for i, moment in enumerate(t.moments(n, rng)):
                kind, killed, what = t.trial(i, moment, rng)
                if what: wrong.append(f'{name}, {moment}: {what}')
                if what: print(wrong[-1], flush=True)
                total[name, kind, 'trials'] += 1
                total[name, kind, 'equal'] += not what
                kills[name] = [*kills.get(name, []), killed]
            print(f'{name}: {n} trials, {sum(kills[name])} kills, {t.seconds:.1f} s alone', flush=True)
        if not names: stored(n, total, kills, steps, wrong)               # what is known so far
    if names: print(*table_of(total, kills, steps), *wrong, sep='\n')

def table_of(total, kills, steps):
    "Rows by the moment of the first kill, a column for each training."
    of = lambda k, kind: f"{total[k, kind, 'equal']} of {total[k, kind, 'trials']}"
    rows = [[words, *(of(k, kind) for k in kills)] for kind, words in KINDS.items()]
    rows.append(['all', *(f"{summed(total, 'equal', k)} of {summed(total, 'trials', k)}" for k in kills)])
    rows.append(['kills in all', *(sum(kills[k]) for k in kills)])
    return [*rows, ['steps of writing in one training', *(steps[k] for k in kills)]]

def summed(total, what, name=None): return sum(v for key, v in total.items() if key[2] == what and name in (None, key[0]))

def stored(n, total, kills, steps, wrong):
    "Write the result, and its row in the table."
    asked, met = summed(total, 'trials'), summed(total, 'equal')
    text = (f'{n} trials of a tiny configuration of each training, killed with SIGKILL once or more and resumed. Equal: weights, history, manifest, states, '
            'figures and the data of every batch in order, bit by bit, and nothing temporary left. CPU, one thread. '
            '`several` is two stages with averaged weights, balanced losses, early stopping and groups of batches; `sar` adapts a base.')
    save('kills', 'Killed and resumed', text, [('Equal to the undisturbed run, by the moment of the first kill', ['killed while', *kills], table_of(total, kills, steps))],
         [bar('killed runs that end in the same bytes', f'{asked} of {asked}', f'{met} of {asked}', met == asked)], wrong=wrong)

if __name__ == '__main__': main(*sys.argv[1:])
