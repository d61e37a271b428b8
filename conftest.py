"""Notebooks are tests too: `pytest nbs` runs each one as `nbdev_test` does, in a process of its own, beside `pytest tests`.
A server that has imported everything once forks these processes, so that none of them pays for its imports."""
import gc, json, multiprocessing, os, sys, tempfile
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent
pytest.register_assert_rewrite('guide_table')          # its asserts say what they found, as those of tests do
# seconds after which a test takes what it waits for as lost, however slow and busy the machine is
PATIENCE = 900
# the longest ones begin, so that no process works alone at the end; the rest follows in the order of its names
LONG = '''test_site 16_train_physae 08c_calibration 17_retrieve bring_your_own_simulator from_lines_to_concentration 18_desk 13b_resolution
          13_simulate test_train_cli test_canopy_cli test_resume test_distributed test_follow test_files'''.split()
PRELOAD = '''torch._dynamo fastai.basics fastai.callback.schedule matplotlib.pyplot IPython nbdev.test scipy.stats scipy.optimize
             astropy.units pandas h5py tyro zuko physlearn.cli physlearn.spectra.desk physlearn.canopy.desk'''.split()

def unhurried():
    "No line about work that takes long: what a test reads must not depend on how busy the machine is."
    from physlearn import pages
    pages.MOMENT = 3600.

def inside(log, call, args):
    "What a process does: `call(*args)`; what it says goes to the file `log`."
    with open(log, 'w') as f:
        for fd in (1, 2): os.dup2(f.fileno(), fd)
    for stream in (sys.stdout, sys.stderr): stream.reconfigure(line_buffering=True)    # in order, and whole where it ends by os._exit
    unhurried()
    gc.freeze()                                          # what the server has imported is never garbage
    sys.path[:] = [p for p in sys.path if Path(p) != ROOT/'tests']     # a fresh interpreter would not find what lies there
    call(*args)

class Fork:
    "`fork(call, *args)` starts `call(*args)` in a process that has imported everything; its words are in the file `.log`."
    def __init__(self):
        self.context, self.alive = multiprocessing.get_context('forkserver'), []
        self.context.set_forkserver_preload(PRELOAD)
        self.folder = tempfile.TemporaryDirectory()

    def __call__(self, call, *args):
        log = Path(self.folder.name)/f'{len(self.alive)}.txt'
        p = self.context.Process(target=inside, args=(log, call, args))
        p.log = log
        p.start()
        self.alive.append(p)
        return p

    def close(self):
        for p in self.alive: p.kill()
        self.folder.cleanup()

FORK = pytest.StashKey[Fork]()

def pytest_configure(config): config.stash[FORK] = Fork()
def pytest_unconfigure(config): config.stash[FORK].close()

@pytest.fixture(scope='session')
def fork(request): return request.config.stash[FORK]

@pytest.fixture(scope='session', autouse=True)
def _unhurried(): unhurried()

# --- notebooks

def pytest_addoption(parser):
    parser.addoption('--flags', default='', help="cells of notebooks that run too, as for nbdev_test: 'data slow cuda'")

def pytest_collect_file(parent, file_path):
    if file_path.suffix == '.ipynb' and file_path.name[0] not in '._': return Notebook.from_parent(parent, path=file_path)

class Notebook(pytest.File):
    "A notebook holds one test: that it runs to its end."
    def collect(self): yield Cells.from_parent(self, name='cells')

class Cells(pytest.Item):
    def runtest(self):
        p = self.config.stash[FORK](run_notebook, self.path, self.config.getoption('flags'))
        p.join()
        if p.exitcode: raise CellError(p.log.read_text())

    def repr_failure(self, e): return str(e.value) if isinstance(e.value, CellError) else super().repr_failure(e)
    def reportinfo(self): return self.path, None, self.path.name

class CellError(Exception): "What a notebook said before it failed."

def run_notebook(path, flags):
    "As `nbdev_test` runs it; then the outputs of pages that people read have to be those that are stored."
    import nbdev.test
    from nbdev.config import get_config
    sys.path.insert(0, str(ROOT/'tools'))
    import outputs
    shells, skipped = [], set(get_config().tst_flags.split()) - set(flags.split())
    def ran(c): return not skipped & set(c.directives_) and c.directives_.get('eval:') != ['false']
    class Shell(outputs.shell()):
        def __init__(self, *args):
            super().__init__(*args)
            shells.append(self)
    nbdev.test.CaptureShell = Shell
    passed, _ = nbdev.test.test_nb(path, skip_flags=get_config().tst_flags.split(), force_flags=flags.split(), basepath=ROOT)
    bad = list(outputs.problems(json.loads(path.read_text(encoding='utf-8')), shells[0].ran, ran)) if passed else []
    for line in bad: print(f'{path.name}, {line}')
    if bad: print(f'What the page shows is not what it prints now; if it should be: python tools/outputs.py {path}')
    sys.exit(not passed or bool(bad))

def rank(item): return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)

def pytest_collection_modifyitems(items): items.sort(key=rank)
def pytest_collection_finish(): gc.freeze()                            # as in `inside`
