"What an exported network says is what torch says, for every kind of network and any number of rows; and the file explains itself."
import json, sys
from pathlib import Path
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT/'benchmarks'))
pytest.importorskip('onnx')
ort = pytest.importorskip('onnxruntime')
import export
from physlearn.cli import main
from physlearn.export import told_by
from physlearn.instruments import INSTRUMENTS

RECURRENT = 'light curves', 'tiles, flow'          # torch.export has no file of these

@pytest.mark.parametrize('name', INSTRUMENTS)
def test_same_numbers(name, tmp_path):
    torch.set_num_threads(1)
    for network, model, rows, lengths in export.cases(True, name):
        both = not any(k in network for k in ('adapters', 'encoder s', 'physics_only'))       # torch.export takes its time
        r = export.compare(model, rows, lengths[:2], tmp_path, timed=False, pt2=both)
        assert r['onnx'] < 1e-4, (network, r)
        if both and any(k in network for k in RECURRENT): assert 'write .onnx' in r['refused'], (network, r)
        elif both: assert r['pt2'] < 1e-4, (network, r)
        said = told_by(tmp_path/'network.onnx')
        tensors = said['inputs'] | said['outputs']
        assert said['about'] and all(t['meaning'] and t['shape'][0] == 'batch' for t in tensors.values()), network

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    recipe = export.recipe_of('spectra', 'quick', True, encoder_variant='xs', train_samples=64, val_samples=32, epochs=2, lr=1e-3)
    return recipe.fit(tmp_path_factory.mktemp('runs')/'first', quiet=True, evaluate=False)

@pytest.mark.parametrize('ending', ['onnx', 'pt2'])
def test_command(run, tmp_path, monkeypatch, capsys, ending):
    "The command says what the file takes; a second one does not write over it."
    monkeypatch.chdir(tmp_path)
    words = ['export', str(run.path), '--out', f'net.{ending}']
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f'net.{ending}' in said and 'signal (batch, 1, 96) float32: transmittance [-]' in said and 'P [mbar]' in said
    assert main(words) == 2 and 'already there' in capsys.readouterr().err
    assert main([*words[:2], '--out', 'net.pth']) == 2 and '.onnx or .pt2' in capsys.readouterr().err

def test_a_stranger(run, tmp_path):
    "Everything that is needed to use the file stands in it, without physlearn."
    run.export(tmp_path/'net.onnx')
    session = ort.InferenceSession(str(tmp_path/'net.onnx'))
    meta = session.get_modelmeta().custom_metadata_map
    space, axis = json.loads(meta['parameters']), json.loads(meta['wavenumber'])
    assert space['P']['unit'] == 'mbar' and 'outside' in meta['valid'] and len(axis) == 96 and 3000 < axis[0] < axis[-1]
    assert json.loads(meta['versions'])['torch'] and meta['instrument'] == 'spectra' and len(meta['weights_sha256']) == 64
    x, d = np.ones((5, 1, 96), 'f4'), len(space)
    value, known = np.zeros((5, d)), np.zeros((5, d), 'f4')
    value[:,list(space).index('P')], known[:,list(space).index('P')] = 450., 1.
    got, = session.run(None, dict(signal=x, value=value, known=known))
    for j, (k, p) in enumerate(space.items()): assert (p['lo'] <= got[:,j]).all() and (got[:,j] <= p['hi']).all(), k
    assert (got[:,list(space).index('P')] == 450.).all()

def test_no_traits_to_tell():
    "A network without physics has no traits."
    recipe = export.recipe_of('canopy', 'no_physics', True)
    with pytest.raises(ValueError, match='no traits'): recipe.model(recipe.simulator()).for_export()
