"The command line as a user meets it: answers at once, and every mistake is one sentence, exit code 2, nothing written."
import json, os, resource, subprocess, sys
from pathlib import Path
import numpy as np
import pytest
from physlearn.cli import main
from physlearn.files import write_table
from physlearn.spectra.files import example_spectrum

KNOWN = ['--known', 'T=306±0.5K', 'P=487±1mbar']

def spectrum(path, **columns):
    "The example on a stated wavenumber axis, with some columns replaced."
    nu = 3085.45 + .0015*np.arange(200)
    y = 1 - .1*np.exp(-((nu - 3085.6)/.03)**2) + 1e-3*np.sin(1e4*nu)
    write_table(path, dict(wavenumber=nu, transmittance=y) | columns)
    return str(path)

def test_help_is_quick():
    "Not slower than 12 bare interpreters, and without torch."
    def best(*args): return min(_time(args) for _ in range(3))
    bare = best(sys.executable, '-c', 'pass')
    helped = best(sys.executable, '-c', 'from physlearn.cli import main; main(["--help"])')
    assert helped < 12*bare, (helped, bare)
    code = 'import sys; from physlearn.cli import main; main(["--help"]); sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 0

def _time(args):
    "CPU time of a process, which does not grow where others compute beside it [s]."
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before = used()
    subprocess.run(args, check=True, capture_output=True)
    return used() - before

@pytest.mark.parametrize('given', [None, 'active'])
def test_threads_that_wait_leave_their_core(given):
    "Asked for before torch is loaded, unless the user has: beside busy programs a training took four times as long."
    code = ("import sys, os\nsys.argv = ['physlearn', '--version']\nfrom physlearn.cli import main\nmain()\n"
            "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)")
    env = {k: v for k, v in os.environ.items() if k != 'OMP_WAIT_POLICY'} | (dict(OMP_WAIT_POLICY=given) if given else {})
    out = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True).stdout
    assert out.splitlines()[-1] == f"{given or 'passive'} False"

def test_fit_writes_result(tmp_path, capsys):
    assert main(['fit', 'spectra', str(example_spectrum()), *KNOWN, '--path', '15.12m', '--noise', '0.002', '--out', str(tmp_path/'r')]) == 0
    r = json.loads((tmp_path/'r/example_spectrum.json').read_text())
    ch4 = next(p for p in r['parameters'] if p['name'] == 'mf_CH4')
    sd = np.hypot(ch4['statistical'], ch4['known'])
    assert abs(ch4['value'] - 3.42e-6) < 3*sd and sd < .01*ch4['value']
    assert (tmp_path/'r/example_spectrum.png').stat().st_size > 10_000
    assert 'not determined' in capsys.readouterr().out                  # water

def test_simulate_then_fit(tmp_path):
    "What `simulate` writes, `fit` reads without being told anything."
    f = str(tmp_path/'s.csv')
    assert main(['simulate', 'spectra', f, '--set', 'mf_CH4=5ppm', 'P=500mbar', 'T=305K', '--noise', '0.002', '--seed', '3']) == 0
    assert main(['fit', 'spectra', f, '--known', 'P=500mbar', 'T=305K', '--out', str(tmp_path/'o')]) == 0
    ch4 = next(p for p in json.loads((tmp_path/'o/s.json').read_text())['parameters'] if p['name'] == 'mf_CH4')
    assert abs(ch4['value'] - 5e-6) < 4*ch4['statistical'] and ch4['statistical'] < .01*ch4['value']

def test_fit_never_overwrites(tmp_path, capsys):
    "Two files whose names begin alike have two results; what is there is replaced on demand only."
    for name in ('in.csv', 'in.2.csv'): (tmp_path/name).write_bytes(example_spectrum().read_bytes())
    out = tmp_path/'o'
    fit = lambda name, *more: main(['fit', 'spectra', str(tmp_path/name), *KNOWN, '--noise', '.002', '--out', str(out), *more])
    assert fit('in.csv') == 0 and fit('in.2.csv') == 0
    assert {p.name for p in out.iterdir()} == {'in.json', 'in.png', 'in.2.json', 'in.2.png'}
    before = (out/'in.json').read_bytes()
    assert fit('in.csv') == 2 and 'already there' in capsys.readouterr().err and (out/'in.json').read_bytes() == before

def cut_par(d):
    line = ' 61 3035.096529 3.739E-24 9.218E-01.04500.100 1777.30300.75-.006070' + ' '*93
    (d/'cut.par').write_text(line + '\n' + line[:70])
    return ['fit', 'spectra', str(example_spectrum()), '--lines', str(d/'cut.par')], 'line 2'
def nan(d):
    f = spectrum(d/'s.csv')
    Path(f).write_text('\n'.join(r if i != 7 else r.split(',')[0] + ',nan' for i, r in enumerate(Path(f).read_text().split('\n'))))
    return ['fit', 'spectra', f, '--quantity', 'transmittance', '--axis', 'wavenumber'], 'not finite'
def text(d):
    f = spectrum(d/'s.csv')
    Path(f).write_text('\n'.join(r if i != 7 else r.split(',')[0] + ',high' for i, r in enumerate(Path(f).read_text().split('\n'))))
    return ['fit', 'spectra', f, '--quantity', 'transmittance', '--axis', 'wavenumber'], "'high'"
def unsorted(d):
    nu = 3085.45 + .0015*np.arange(200)
    nu[[20, 30]] = nu[[30, 20]]
    return ['fit', 'spectra', spectrum(d/'s.csv', wavenumber=nu), '--quantity', 'transmittance', '--axis', 'wavenumber'], 'sorted'
def outside(d): return ['fit', 'spectra', spectrum(d/'s.csv', wavenumber=2900 + .0015*np.arange(200)), '--quantity', 'transmittance', '--axis', 'wavenumber'], '3084.5 .. 3087.5'
def unit_of_axis(d): return ['fit', 'spectra', spectrum(d/'s.csv'), '--quantity', 'transmittance', '--axis', 'wavenumber', '--unit', 'K'], "unit 'K'"
def unit_of_known(d): return ['fit', 'spectra', str(example_spectrum()), '--known', 'P=500K'], 'cannot become'
def unit_of_path(d): return ['fit', 'spectra', str(example_spectrum()), '--path', '15s'], 'cannot become'
def unstated(d):
    f = spectrum(d/'s.csv')
    Path(f).write_text(Path(f).read_text().replace('transmittance', 'y', 1))      # names of columns say it, and here they do not
    return ['fit', 'spectra', f, '--axis', 'wavenumber'], 'quantity is not stated'
def missing(d): return ['fit', 'spectra', str(d/'gone.csv')], 'gone.csv'
def preset(d): return ['fit', 'spectra', str(example_spectrum()), '--preset', 'refrence'], "no preset 'refrence'"
def unknown_known(d): return ['fit', 'spectra', str(example_spectrum()), '--known', 'Q=3'], "no parameter 'Q'"
def outside_known(d): return ['fit', 'spectra', str(example_spectrum()), '--known', 'P=5atm'], 'outside its range'
def pickled(d):
    (d/'q6.QTpy').write_bytes(b'\x80\x04K\x01.')
    line = ' 61 3085.096529 3.739E-24 9.218E-01.04500.100 1777.30300.75-.006070'.ljust(160)
    (d/'a.par').write_text(line + '\n')
    return ['fit', 'spectra', str(example_spectrum()), '--lines', str(d/'a.par'), '--partition-sums', str(d/'q6.QTpy')], 'pickle'
def lines_needed(d): return ['identifiable', 'spectra', '--preset', 'leak'], 'needs the lines of'
def flag(d): return ['fit', 'spectra', str(example_spectrum()), '--nose', '3'], '--nose'
def number(d): return ['simulate', 'spectra', str(d/'x.csv'), '--noise', 'loud'], 'loud'
def out_is_a_file(d):
    (d/'r').write_text('mine')
    return ['fit', 'spectra', str(example_spectrum()), *KNOWN, '--out', str(d/'r')], 'is a file'
def unitless_path(d): return ['fit', 'spectra', str(example_spectrum()), '--path', '15.12'], 'no unit'
def negative_sd(d): return ['fit', 'spectra', str(example_spectrum()), '--known', 'T=305±-1K'], 'not negative'
def negative_path(d): return ['fit', 'spectra', str(example_spectrum()), '--path', '-3m'], 'positive'
def no_folder(d): return ['simulate', 'spectra', str(d/'no/where.csv')], 'no folder'
def there(d):
    (d/'x.csv').write_text('mine')
    return ['simulate', 'spectra', str(d/'x.csv')], 'already there'
def verb(d): return ['fly', 'spectra'], "no verb 'fly'"
def system(d): return ['fit', 'moons', 'x'], "'moons'"

BAD = [cut_par, nan, text, unsorted, outside, unit_of_axis, unit_of_known, unit_of_path, unstated, missing, preset, unknown_known, outside_known, pickled, lines_needed, flag, number, out_is_a_file, negative_path, unitless_path, negative_sd, no_folder, there, verb, system]

@pytest.mark.parametrize('case', BAD, ids=lambda f: f.__name__)
def test_bad_input(case, tmp_path, capsys):
    args, says = case(tmp_path)
    before = sorted(tmp_path.rglob('*'))
    if args[0] == 'fit' and 'moons' not in args and '--out' not in args: args += ['--out', str(tmp_path/'out')]
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert says in err and err.count('\n') == 1 and 'Traceback' not in err and out == '', err
    assert sorted(tmp_path.rglob('*')) == before
