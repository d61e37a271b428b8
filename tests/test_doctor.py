"What `physlearn doctor` finds, and what it says of an installation that is broken."
import json, os, subprocess, sys
from importlib import metadata
from pathlib import Path
import pytest
from physlearn import doctor
from physlearn.cli import main

ROOT = Path(__file__).resolve().parents[1]

def test_sound(capsys, monkeypatch):
    monkeypatch.delenv('PHYSLEARN_DATA', raising=False)
    assert main(['doctor']) == 0
    out = capsys.readouterr().out
    for word in ('python', 'physlearn', 'torch', 'CPU', 'temporary', 'locks', 'nothing is broken'): assert word in out, word
    assert main(['doctor', '--json']) == 0
    d = json.loads(capsys.readouterr().out)
    assert not d['broken'] and {v['part'] for v in d['found']} >= {'versions', 'packages', 'devices', 'folders', 'processes'}
    assert main(['doctor', '--help']) == 0 and '--json' in capsys.readouterr().out
    assert main(['doctor', 'spectra']) == 2 and "found 'spectra'" in capsys.readouterr().err
    main(['--help'])
    assert 'physlearn doctor' in capsys.readouterr().out

@pytest.mark.parametrize('needs, found, state, remedy', [
    ('torch>=2.10', None, 'broken', "pip install 'torch>=2.10'"), ('torch>=99', '2.13.0', 'broken', "pip install 'torch>=99'"), ('torch>=2.10', '2.13.0+cpu', 'ok', ''),
    ('peft ; extra == "sar"', None, 'note', "pip install 'physlearn[sar]'"), ('peft ; extra == "sar"', '0.21', 'ok', ''), ('x; extra == "dev"', None, None, '')])
def test_packages(monkeypatch, needs, found, state, remedy):
    "A package that is missing or too old breaks commands; an extra does not."
    def version(name):
        if found is None: raise metadata.PackageNotFoundError(name)
        return found
    monkeypatch.setattr(metadata, 'requires', lambda name: [needs])
    monkeypatch.setattr(metadata, 'version', version)
    said = doctor.packages()
    assert [v['state'] for v in said] == ([state] if state else []) and all(v['remedy'] == remedy for v in said)

def test_broken(tmp_path):
    "Torch of another build, a folder of data that is not there, a full disk: each named, exit code 1, no traceback."
    (tmp_path/'torch.py').write_text("raise OSError('libcudart.so.13: cannot open shared object file')")
    env = os.environ | dict(PYTHONPATH=f'{tmp_path}:{ROOT}', PHYSLEARN_DATA=str(tmp_path/'gone'))
    r = subprocess.run([sys.executable, '-m', 'physlearn', 'doctor'], env=env, capture_output=True, text=True)
    assert r.returncode == 1 and 'Traceback' not in r.stderr
    assert 'libcudart' in r.stdout and 'pytorch.org' in r.stdout and r.stdout.strip().endswith('broken: torch, PHYSLEARN_DATA')
    r = subprocess.run([sys.executable, '-m', 'physlearn', 'doctor', '--json'], env=env, capture_output=True, text=True)
    assert r.returncode == 1 and json.loads(r.stdout)['broken']

def test_folders(tmp_path, monkeypatch):
    (tmp_path/'file').write_text('')
    assert doctor._writable('temporary', tmp_path/'file')['state'] == 'broken'
    assert doctor._writable('here', tmp_path/'file')['state'] == 'note'
    assert doctor._writable('cache', tmp_path/'new')['state'] == 'ok'
