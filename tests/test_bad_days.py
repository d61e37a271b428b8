"""Bad days: killed, a full disk, a folder that cannot be written, two trainings in one, a batch system whose time is over, and runs of version 1.
`benchmarks/kills.py` does the same to each training a hundred times."""
import errno, json, multiprocessing, os, random, signal, subprocess, sys, tarfile
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from conftest import PATIENCE
from physlearn import cli, processes, train
from physlearn.files import FileError
from physlearn.runs import Run

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT/'benchmarks'), str(ROOT/'tools')]
try:
    import kills
    import make_v1_runs
finally: del sys.path[:2]

posix = pytest.mark.skipif('forkserver' not in multiprocessing.get_all_start_methods(), reason="needs fork and SIGKILL")

def passes(p):
    "The process of a test ended well; what it said otherwise."
    p.join(PATIENCE)
    assert p.exitcode == 0, p.log.read_text()[-3000:]

# --- killed

def trials(name, folder, n):
    "Kill a training n times, at steps of writing and at batches; the last one is killed three times."
    rng, t = random.Random(f'a few {name}'), kills.Training(name, folder)
    in_order(t)
    moments = t.moments(100, rng)
    steps, batches = [m for m in moments if 'at' in m], [m for m in moments if 'batch' in m]
    for i, moment in enumerate([*rng.sample(steps, n - 1), batches[0]]):
        kind, killed, wrong = t.trial(i, moment, rng, again=float(i == n - 1))
        assert not wrong and killed == (1 if i < n - 1 else killed), (name, moment, kind, wrong)

def in_order(t):
    "What takes a name is on the disk before, and its name right after."
    fresh = set()
    for now, then in zip(t.steps, [*t.steps[1:], '']):
        what, _, path = now.rpartition(' ')
        if what == 'fsync': fresh.add(path)
        elif what != 'rename': fresh.discard(path)
        elif '.tmp-old' not in path and '.tmp' in path:
            inside = [f'{path}/tensors.safetensors', f'{path}/plain.json'] if path.startswith('state/') else []
            assert {path, *inside} <= fresh, f'{now}: not on the disk'
            assert then == f'fsync {os.path.dirname(path) or "."}', f'{now}: {then}'

@posix
@pytest.mark.parametrize('name', kills.TRAININGS)
def test_killed(name, fork, tmp_path):
    "At any step it ends in the same bytes, nothing half written is left, and what is kept is what an undisturbed run keeps."
    passes(fork(trials, name, tmp_path/name, 4))

def test_what_is_left_behind(tmp_path):
    "Temporary files of processes that have ended go at the next start; those of others stay."
    run = tmp_path/'run'
    kills.Several().fit(run, quiet=True, evaluate=False)
    for f in ('manifest.json', 'model.safetensors'): (run/f).unlink()
    child = subprocess.Popen([sys.executable, '-c', ''])
    child.wait()
    from physlearn.files import temporary
    ours = temporary(run/'notes.txt').name
    ended, alive = (run/ours.replace(f'-{os.getpid()}-', f'-{pid}-') for pid in (child.pid, os.getppid()))
    old = [run/'.tmp-00112233-history.csv', run/'figures/.tmp-00112233-losses.png', run/'state/.tmp-00004/plain.json',
           run/'state/00001/tensors.safetensors', run/'state/.tmp-old-00002/plain.json']
    for f in (*old, alive, ended):
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_text('half')
    again = Run.resume(run, quiet=True)
    assert not any(f.exists() for f in old) and alive.exists()
    assert sorted(p.name for p in (run/'state').iterdir()) == ['00000-end', '00003-end', '00004', '00005', '00006', '00006-end']
    (run/'notes.txt').write_text('')
    from physlearn.files import write_text
    write_text(run/'notes.txt', 'by somebody')                            # the next one who writes this name
    assert not ended.exists() and alive.exists() and again.path == run

def test_the_best_of_the_last_two_is_kept(tmp_path):
    "Where the last state cannot be read, the one before it serves, with its own best epoch."
    losses = iter((.5, .9, .8, .7, .6, .4))
    stage = train.Stage('A', 6, 1e-3)
    class Told(train.Callback):
        order = 79
        def after_validate(self): self.recorder.log[self.recorder.metric_names.index('valid_loss')] = next(losses)
    learn = kills.Several(accumulate=1).learner(device='cpu')
    learn.add_cb(Told())
    learn.logger = lambda row: None
    train.fit_stages(learn, [stage], tmp_path)
    assert [n for n in train.state_names(tmp_path) if n.isdigit()] == ['00001', '00005', '00006']

# --- the disk, and others

FULL = """def full(fd):
    disk.k -= 1
    if disk.k < 0 and disk.sent: os.kill(os.getpid(), disk.sent)
    elif disk.k < 0: raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return disk.fsync(fd)"""

class Full:
    "Stands for a disk without room from the k-th file on that is pushed to it; with `sent`, a signal comes instead."
    def __init__(self, k, sent=None): self.k, self.sent, self.fsync = k, sent, os.fsync
    def __enter__(self):
        place = dict(disk=self, os=os, errno=errno)
        exec(compile(FULL, '<disk>', 'exec'), place)                     # no line of a user's own code, which would be named
        os.fsync = place['full']
    def __exit__(self, *_): os.fsync = self.fsync

def test_full_disk(tmp_path):
    "At any file of a training: one sentence, the state before is whole, and with room again it ends in the same bytes."
    whole, run = kills.Several().fit(tmp_path/'whole', quiet=True), tmp_path/'run'
    def go(): return Run.resume(run, quiet=True) if (run/'recipe.json').exists() else kills.Several().fit(run, quiet=True)
    for k in (0, 1, 3, 4, 6, 9, 11, 12, 13):                             # counted anew in each process, which go on with each other
        with Full(k), pytest.raises((FileError, OSError), match='No space left'): go()
        assert not list(run.rglob('.tmp*')) and all(train.read_state(run/'state'/s) for s in train.state_names(run/'state'))
    go()
    names = 'model.safetensors', 'history.csv', 'manifest.json', 'metrics.json'
    assert all((run/f).read_bytes() == (whole.path/f).read_bytes() for f in names)

def test_full_disk_says(tmp_path):
    "What to do stands in the sentence: start again before the first state, resume after it, measure again at the end."
    def says(k, do):
        with Full(k), pytest.raises(FileError) as e: do(tmp_path/'run')
        return str(e.value)
    fit, again = (lambda run: kills.Several().fit(run, quiet=True)), lambda run: Run.resume(run, quiet=True)
    assert 'make room, then start again' in says(3, fit)
    assert 'make room, then resume' in says(12, fit)
    assert 'make room, then resume' in says(1, again)
    done = Run.resume(tmp_path/'run', quiet=True)
    assert f'then `physlearn evaluate {done.path}`' in says(0, lambda run: done.evaluate(say=lambda *a: None))
    assert f'then `physlearn report {done.path}`' in says(0, lambda run: done.report())

def as_nobody(folder, words):
    "A command by somebody who may not write there."
    os.chdir(folder)
    if os.getuid() == 0: os.setuid(65534)
    sys.exit(cli.main(words.split()))

@posix
def test_read_only(fork, tmp_path):
    "Refused before anything is trained."
    tmp_path.chmod(0o755)
    for d in tmp_path.parents[:3]: d.chmod(0o755)
    run = packed(tmp_path, 'canopy_half')
    for f in (run, *run.rglob('*')): f.chmod(0o555 if f.is_dir() else 0o444)
    for words in (f'resume {run.name}', 'train canopy quick --gpus 0 --out new'):
        tmp_path.chmod(0o555)
        p = fork(as_nobody, tmp_path, words)
        p.join(PATIENCE)
        tmp_path.chmod(0o755)
        said = p.log.read_text().splitlines()
        assert p.exitcode == 2 and 'Permission denied' in said[-1] and 'allow writing there' in said[-1], said
        assert not (tmp_path/'new').exists()

def test_a_second_training(tmp_path, capsys):
    "It is refused while the first one works, and leaves its folder alone."
    run = packed(tmp_path, 'canopy_half')
    before = {f: f.read_bytes() for f in run.rglob('*') if f.is_file()}
    code = 'import sys; from physlearn.cli import main; sys.exit(main(sys.argv[1:]))'
    with train.locked(run):
        done = subprocess.run([sys.executable, '-c', code, 'resume', str(run)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'in use by another process' in done.stderr
    assert cli.main(['train', 'canopy', 'quick', '--gpus', '0', '--out', str(run)]) == 2
    assert 'holds a run already' in capsys.readouterr().err
    assert before == {f: f.read_bytes() for f in run.rglob('*') if f.is_file()}

# --- told to end

def told_to_end(name, folder, number, twice):
    "A training is sent a signal while it writes a state; then it goes on to the same bytes."
    t, run = kills.Training(name, folder), folder/'run'/'whole'
    saves = [i for i, s in enumerate(t.steps) if s.startswith('half of state/.tmp-00001')]
    run.parent.mkdir()
    logs, said, pid = [folder/'0.log', folder/'1.log'], folder/'said', os.fork()
    if pid == 0:
        with open(said, 'w') as f: os.dup2(f.fileno(), 2)
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)   # nohup ignores one, & the other
        steps = kills.Steps(run)
        def step(what, path, half=None):
            if steps.on and f'{what} {os.path.relpath(path, run)}'.startswith('half of state/.tmp-00001'):
                for _ in range(1 + twice): os.kill(os.getpid(), number)
        steps.step = step
        with cli._ending_well(last=True): code = cli._refused(kills.work, t.recipe, run, steps, logs[0])
        sys.stderr.flush()
        os._exit(code)
    assert saves and os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 128 + number, said.read_text()
    first, last = said.read_text().splitlines()[-2:]
    assert first == f'`physlearn resume {run}` goes on' and last.startswith('physlearn: interrupted')
    assert train.state_names(run/'state') == ['00000-end'] and not list(run.rglob('.tmp*'))
    assert not kills.forked(t.recipe, run, logs[1])
    assert not (wrong := kills.unlike(run, t.whole, logs, t.log)), wrong

@posix
@pytest.mark.parametrize('name, number, twice', [('spectra', signal.SIGTERM, True), ('canopy', signal.SIGINT, False), ('lightcurve', signal.SIGTERM, False),
                                                 ('icecube', signal.SIGHUP, True), ('sar', signal.SIGTERM, True)])
def test_told_to_end(name, number, twice, fork, tmp_path):
    "By a batch system, by Ctrl-C, or by a terminal that closes: as in all five."
    passes(fork(told_to_end, name, tmp_path/name, number, twice))

def test_one_of_several_processes_ends():
    "All end: as told, where it was told to; with a sentence, where the system ended it."
    class Process:
        alive = True
        def is_alive(self): return self.alive
        def terminate(self): self.alive = False
    def waited(error=None, *words):
        others, sentences = [Process(), Process()], multiprocessing.get_context('spawn').SimpleQueue()
        for w in words: sentences.put(w)
        def join():
            if error: raise error
            return True
        with pytest.raises((KeyboardInterrupt, ValueError)) as e: processes._wait_for(SimpleNamespace(join=join, processes=others), sentences, 2)
        assert not any(p.alive for p in others)
        return e.value
    ended = lambda name: torch.multiprocessing.ProcessExitedException('ended', 1, 4321, -int(signal.Signals[name]), name)
    for name in ('SIGTERM', 'SIGINT', 'SIGHUP'): assert waited(ended(name)).args == (signal.Signals[name],)
    assert 'process 2 of 2 was ended by SIGKILL' in str(waited(ended('SIGKILL')))
    assert str(waited(torch.multiprocessing.ProcessRaisedException('a trace', 0, 4321), 'one sentence')) == 'one sentence'

# what else takes long or writes much; RUN is one of version 1
WORDS = dict(simulate_spectra='simulate spectra OUT.h5 --n 3', simulate_canopy='simulate canopy OUT.csv --n 3', simulate_icecube='simulate icecube OUT.h5 --n 3',
             simulate_sar='simulate sar OUT --n 2 --size 32', simulate_lightcurve='simulate lightcurve OUT --n 3', sample='sample icecube --n 2 --out OUT.h5',
             evaluate='evaluate lightcurve', report='report lightcurve', export='export spectra --out OUT.onnx',
             retrieve='retrieve canopy STANDS.csv --scale 1 --offset 0 --out OUT.csv')
SECOND = dict(simulate_sar=3, simulate_lightcurve=3)             # in the second file

@pytest.mark.skipif(os.name != 'posix', reason='signals')
@pytest.mark.parametrize('bad', ['full', signal.SIGTERM])
@pytest.mark.parametrize('verb', WORDS)
def test_verbs(verb, bad, tmp_path, monkeypatch, capsys):
    "A full disk or a signal while the result is written: one sentence, its exit code, and nothing half written."
    words = WORDS[verb].split()
    monkeypatch.chdir(tmp_path)
    if words[0] in ('sample', 'evaluate', 'report', 'export', 'retrieve'): packed(tmp_path, words[1])
    if words[0] == 'retrieve': assert cli.main('simulate canopy STANDS.csv --n 3 --noise .02'.split()) == 0
    before = {f for f in tmp_path.rglob('*')}
    capsys.readouterr()
    with Full(SECOND.get(verb, 0), None if bad == 'full' else bad): code = cli.main(words)
    err = capsys.readouterr().err.splitlines()
    assert code == (2 if bad == 'full' else 143), err
    assert ('No space left' in err[-1] and 'make room' in err[-1] if bad == 'full' else err[-1] == 'physlearn: interrupted by SIGTERM'), err
    left = {f for f in tmp_path.rglob('*') if f.is_file()} - before
    assert not left, left
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

# --- runs of version 1

ANSWERS = json.loads((ROOT/'tests/runs_v1/answers.json').read_text())

def packed(folder, name):
    "A run of version 1, unpacked."
    with tarfile.open(ROOT/'tests/runs_v1'/f'{name}.tar.xz') as tar: tar.extractall(folder, **(dict(filter='data') if hasattr(tarfile, 'data_filter') else {}))
    return Path(folder)/name

def alike(got, want, tol=1e-5):
    "The same numbers up to rounding."
    assert list(got) == list(want)
    for k, v in want.items():
        a, b = (np.array([np.nan if x is None else x for x in d['values']]) for d in (got[k], v))
        assert got[k]['shape'] == v['shape'], k
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol*max(np.nanmax(np.abs(b), initial=0.), 1e-30), err_msg=k)

@pytest.fixture
def one_thread():
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

@pytest.mark.parametrize('name', make_v1_runs.RUNS)
def test_runs_of_version_1(name, tmp_path, one_thread, capsys):
    "They load, answer as they did, and can be shown and measured."
    path = packed(tmp_path, name)
    alike(make_v1_runs.answers(Run.load(path)), ANSWERS[name])
    assert cli.main(['card', str(path)]) == 0 and f'instrument *{name}*' in capsys.readouterr().out
    assert cli.main(['evaluate', str(path)]) == 0 and (path/'report.html').exists()

@pytest.mark.parametrize('name', make_v1_runs.HALF)
def test_half_finished_runs_of_version_1(name, tmp_path, one_thread):
    "They go on to the weights with which they ended then."
    run = Run.resume(packed(tmp_path, name), quiet=True)
    assert run.history['epoch'].tolist() == [0, 1, 2]
    weights = {k: make_v1_runs.numbers(v) for k, v in load_file(run.path/'model.safetensors').items()}
    alike(weights, ANSWERS[name], 1e-3)                  # Adam divides by gradients, and so enlarges how a processor rounds them
