"A training killed at any moment and resumed ends in the same bytes: weights and history."
import multiprocessing, os, random, re, shutil, signal, subprocess, sys, time
from hashlib import sha256
import pytest
from conftest import PATIENCE

pytestmark = pytest.mark.skipif('forkserver' not in multiprocessing.get_all_start_methods(), reason="needs fork and SIGKILL")
EPOCHS = 6
SLOW = re.compile(r'.+( \.\.\.|: \d+ s)')               # what a slow machine is told
TRAIN = ['train', 'spectra', 'quick', '--train_samples', '320', '--val_samples', '64', '--epochs', EPOCHS, '--batch_size', '32', '--encoder_variant', 'xs',
         '--num_points', '400', '--gpus', '0', '--lr', '1e-3', '--use_relobralo', '--mlp_dropout', '.2', '--seed', '4']   # dropout and balance: both have a state

def work(words, threads):
    "What a process does: one command, without the measurements and the report at the end."
    import torch
    from physlearn.cli import main
    from physlearn.runs import Run
    torch.set_num_threads(threads)
    Run.evaluate = lambda run, say=print: {}
    sys.exit(main([str(w) for w in words]))

@pytest.fixture(scope='module')
def start(fork):
    "Start a command in a process of its own."
    return lambda *words, threads=1: fork(work, words, threads)

def states(run): return sorted(d.name for d in run.glob('state/[0-9]*'))
def done(run): return max((int(s[:5]) for s in states(run)), default=-1)
def result(run): return sha256((run/'model.safetensors').read_bytes()).hexdigest(), (run/'history.csv').read_text()

def ends(p):
    p.join(PATIENCE)
    assert p.exitcode == 0

def wait(p, what, pause=.01):
    "Until `what()` is true; False if the process ended before."
    end = time.monotonic() + PATIENCE
    while not what():
        if not p.is_alive(): return False
        assert time.monotonic() < end
        time.sleep(pause)
    return True

def kill(p):
    p.kill()
    p.join(PATIENCE)
    return p.exitcode == -signal.SIGKILL

@pytest.fixture(scope='module')
def whole(start, tmp_path_factory):
    "The run that nobody disturbs, what it leaves, and the seconds of an epoch."
    run = tmp_path_factory.mktemp('whole')/'run'
    p = start(*TRAIN, '--out', run, '--keep', 'all')
    assert wait(p, lambda: done(run) >= 1)
    t = time.monotonic()
    ends(p)
    t = time.monotonic() - t
    assert (run/'history.csv').read_text().count('\n') == 1 + EPOCHS
    return run, result(run), t/(EPOCHS - 1)

@pytest.fixture
def killed(start, whole):
    "Train, or go on, until `k` epochs are written and some time more; then kill."
    def go(run, k, wait_epochs, *words):
        words, delay = words or [*TRAIN, '--out', run], wait_epochs*whole[2]
        while True:
            p = start(*words)
            if wait(p, lambda: done(run) >= k): time.sleep(delay)
            if kill(p): return run
            assert p.exitcode == 0 and words[0] == 'train'          # it was quicker than the sleep
            shutil.rmtree(run)
            delay /= 2
    return go

WHEN = random.Random(20240611)
WHEN = [divmod(WHEN.uniform(i, i + 1)*(EPOCHS - .3)/5, 1) for i in range(5)]   # epochs written, and the part of the next one

@pytest.mark.parametrize('k,part', WHEN, ids=[f'{k + p:.2f}' for k, p in WHEN])
def test_killed_at_random(k, part, start, killed, whole, tmp_path):
    "Anywhere in an epoch."
    run = killed(tmp_path/'run', k, part)
    assert not (run/'manifest.json').exists() and k <= done(run) < EPOCHS
    ends(start('resume', run))
    assert result(run) == whole[1]

def test_killed_again_and_again(start, killed, whole, tmp_path):
    "Five times in one run; a resumed run can be resumed."
    run = tmp_path/'run'
    for i, (k, part) in enumerate(WHEN[:-1]): killed(run, k, part, *(['resume', run] if i else []))
    ends(start('resume', run))
    assert result(run) == whole[1]

def test_killed_while_writing(start, whole, tmp_path):
    "Half a checkpoint is no checkpoint."
    run = tmp_path/'run'
    half = lambda: done(run) >= 2 and list(run.glob('state/.tmp-*'))
    for attempt in range(5):
        p = start(*TRAIN, '--out', run)
        while wait(p, half, 5e-4):
            os.kill(p.pid, signal.SIGSTOP)                          # stand still, and look again
            if half(): break
            os.kill(p.pid, signal.SIGCONT)
        if kill(p): break
        shutil.rmtree(run)
    assert half()
    ends(start('resume', run))
    assert result(run) == whole[1] and not list(run.glob('state/.tmp-*'))

@pytest.fixture
def part(whole, tmp_path):
    "The run as it was after `k` epochs."
    def go(k):
        run = shutil.copytree(whole[0], tmp_path/'run')
        for f in ('manifest.json', 'model.safetensors', 'history.csv'): (run/f).unlink()
        for s in states(run):
            if s > f'{k:05d}': shutil.rmtree(run/'state'/s)
        return run
    return go

def test_killed_after_the_last_epoch(start, whole, part):
    "All epochs are done, the weights are not written."
    run = part(EPOCHS)
    ends(start('resume', run))
    assert states(run)[-1] == f'{EPOCHS:05d}-end' and result(run) == whole[1]

@pytest.mark.parametrize('file,lost', [('tensors.safetensors', 2), ('plain.json', 1), ('tensors.safetensors', 99)])
def test_damaged_checkpoint(file, lost, start, whole, part):
    "One that cannot be read is skipped: the one before it serves; where none is left, the beginning."
    run = part(5)
    for s in states(run)[-lost:]:
        f = run/'state'/s/file
        f.write_bytes(f.read_bytes()[:f.stat().st_size//2])
    first = (run/'state/00001').stat().st_ino
    ends(start('resume', run))
    assert result(run) == whole[1] and ((run/'state/00001').stat().st_ino == first) == (lost < 99)   # the first epoch was not computed again

def test_other_threads(start, whole, part):
    "Resumed by a process that would use two threads."
    run = part(4)
    ends(start('resume', run, threads=2))
    assert result(run) == whole[1]

def test_command_line(killed, whole, tmp_path):
    "The same with the command itself, from a fresh interpreter, to the last file."
    run = killed(tmp_path/'run', 2, .5)
    command = [sys.executable, '-c', 'import sys; from physlearn.cli import main; sys.exit(main())', 'resume', str(run)]
    p = subprocess.run(command, capture_output=True, text=True, env=os.environ | dict(OMP_NUM_THREADS='1'), timeout=PATIENCE)
    assert p.returncode == 0 and all(SLOW.fullmatch(s) for s in p.stderr.splitlines()) and p.stdout.endswith(f"the run is {run}, its report {run/'report.html'}\n")
    assert result(run) == whole[1]
    assert {f.name for f in run.iterdir()} >= {'README.md', 'report.html', 'metrics.json', 'manifest.json'}
