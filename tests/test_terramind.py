"""TerraMind's encoder as `terratorch` builds it. The package is large and no part of this project's own set: where it is not
installed, these tests are skipped by name, and the notebook of adapters tries a small stand-in alone."""
import os, subprocess, sys
from importlib.util import find_spec
from pathlib import Path
import pytest
import torch
from physlearn.sar.adapters import BANDS, SCALES, OnEncoder, share, terramind
from physlearn.sar.synthetic import holes, synthetic
from physlearn.sar.tiles import encode_s1

pytestmark = pytest.mark.skipif(not find_spec('terratorch'), reason='terratorch is not installed')
ROOT = Path(__file__).resolve().parents[1]

# with torch for the CPU, pip installs a torchvision for CUDA, which does not load: its operators are declared, none is used
DECLARE = '''
import torch
try: import torchvision
except RuntimeError:
    lib = torch.library.Library('torchvision', 'FRAGMENT')
    for name in ('nms', 'qnms'): lib.define(name + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
'''
DECLARED = {}                   # a library that is forgotten takes its operators along

@pytest.fixture(scope='module', autouse=True)
def declared():
    "The package is imported as everybody's is."
    exec(DECLARE, DECLARED)
    terramind('terramind_v1_tiny', pretrained=False)

def said(source, home, declare=True):
    "What a new process prints, which knows no model hub but the cache in `home`."
    env = os.environ | dict(HF_HOME=str(home), HF_HUB_OFFLINE='1', PYTHONPATH=str(ROOT))
    r = subprocess.run([sys.executable, '-c', DECLARE*declare + source], env=env, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr[-2000:]
    return r.stdout.strip()

TRY = '''
from physlearn.sar.adapters import terramind
try: terramind('terramind_v1_tiny')
except Exception as e: print(type(e).__name__, e)
'''

def batch_like(n, H, W):
    g = torch.Generator().manual_seed(n + H)
    r = lambda c: torch.rand(n, c, H, W, generator=g)
    hole = torch.zeros(n, 1, H, W)
    hole[:,:,8:40,8:40] = 1
    return dict(s1=encode_s1(-25 + 20*r(2)), given=r(4), truth=r(4), hole=hole, valid=torch.ones_like(hole))

def test_precision(tmp_path):
    "The import leaves products of matrices as exact as they were."
    source = """
from physlearn.sar.adapters import terramind
x = torch.randn(256, 256, generator=torch.Generator().manual_seed(0))
before = x @ x
terramind('terramind_v1_tiny', pretrained=False)
print(torch.get_float32_matmul_precision(), torch.equal(x @ x, before))
"""
    assert said(source, tmp_path) == 'highest True'

def test_scales():
    "Means and deviations are the package's, band by band."
    from terratorch.models.backbones.terramind.model import terramind_register as r
    for name, mod, bands in (('S1GRD', 'untok_sen1grd@224', ('VV', 'VH')), ('S2L2A', 'untok_sen2l2a@224', BANDS)):
        at = [r.PRETRAINED_BANDS[mod].index(b) for b in bands]
        for ours, theirs in zip(SCALES[name], (r.v1_pretraining_mean[mod], r.v1_pretraining_std[mod])):
            assert list(ours) == [theirs[i] for i in at]

@pytest.mark.parametrize('name, features', [('tiny', 192), ('base', 768)])
def test_encoder(name, features):
    "Shapes, how much learns, and that it does."
    net = OnEncoder(terramind(f'terramind_v1_{name}', pretrained=False), width=8)
    assert net.tokens.in_features == features
    layers = 12*(features + 3*features + features + features)   # qkv and proj of each
    patches = 16*16*(2 + 4) + 2*features                        # proj of both pictures, too
    assert share(net.encoder)[0] == 8*(layers + patches)
    with torch.no_grad():
        for size in (64, 96, 120, 128): assert net(batch_like(1, size, size))['mean'].shape == (1, 4, size, size)
    b = batch_like(2, 64, 80)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    opt = torch.optim.Adam([p for p in net.requires_grad_(True).parameters() if p.requires_grad], 1e-3)
    for _ in range(2):                                          # what begins at zero hides the rest from the first step
        opt.zero_grad()
        out = net(b)
        ((out['mean'] - b['truth']).square() + .01*out['logvar']).mean().backward()
        opt.step()
    lora = [p.grad.abs().sum() for k, p in net.encoder.named_parameters() if 'lora_' in k]
    assert len(lora) == 2*(2*12 + 2) and all(g > 0 for g in lora)
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == set(before) - set(net.base_names()) - {'reach'}

def test_hidden_radar():
    "What is hidden leaves no trace behind the attention either."
    net = OnEncoder(terramind('terramind_v1_tiny', pretrained=False), width=8).eval()
    b = batch_like(2, 64, 64)
    other, dark = b | dict(s1=b['s1'].flip(3)), dict(sar=torch.tensor([0., 1.]))
    with torch.no_grad(): one, two = net(b | dark)['mean'], net(other | dark)['mean']
    assert torch.equal(one[0], two[0]) and not torch.equal(one[1], two[1])

def test_learns():
    "Holes of a few tiles are closed better than by their filling."
    torch.manual_seed(0)
    tiles = [holes(t, number=i) for i, t in enumerate(synthetic(8, size=64))]
    stack = lambda f: torch.stack([torch.from_numpy(f(t)).float() for t in tiles])
    b = dict(s1=stack(lambda t: encode_s1(t.s1)), given=stack(lambda t: t.given), truth=stack(lambda t: t.optical),
             hole=stack(lambda t: t.hole[None]), valid=stack(lambda t: t.valid[None]))
    net = OnEncoder(terramind('terramind_v1_tiny', pretrained=False), width=8)
    opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 4e-3)
    error = lambda v: ((v - b['truth']).square()*b['hole']).sum()/(4*b['hole'].sum())
    for _ in range(30):
        opt.zero_grad()
        error(net(b)['mean']).backward()
        opt.step()
    with torch.no_grad(): assert error(net(b)['mean']) < .5*error(b['given'])

def test_no_network(tmp_path):
    "Weights that cannot be fetched are one sentence."
    found = said(TRY, tmp_path)
    assert found.startswith('FileError terramind_v1_tiny: its weights cannot be loaded (') and '\n' not in found
    assert 'connect to it once' in found

def cached(home):
    "Where the cache of the hub in `home` has the weights of the smallest."
    folder = home/'hub'/'models--ibm-esa-geospatial--TerraMind-1.0-tiny'
    for part in ('refs', 'snapshots/0a'): (folder/part).mkdir(parents=True)
    (folder/'refs'/'main').write_text('0a')
    return folder/'snapshots'/'0a'/'TerraMind_v1_tiny.pt'

def test_weights_of_the_hub(tmp_path):
    "A file of twelve bands gives those that are asked for; a damaged one, and one that lacks something, are refused."
    from terratorch.registry import BACKBONE_REGISTRY
    torch.manual_seed(3)
    whole = BACKBONE_REGISTRY.build('terramind_v1_tiny', pretrained=False, modalities=['S1GRD', 'S2L2A'])
    state, path = whole.state_dict(), cached(tmp_path)
    torch.save(state, path)
    mine = tmp_path/'mine.pt'
    keep = f"\nimport torch\ntorch.save(terramind('terramind_v1_tiny').state_dict(), {str(mine)!r})"
    said('from physlearn.sar.adapters import terramind' + keep, tmp_path)
    net = terramind('terramind_v1_tiny', pretrained=False)
    net.load_state_dict(torch.load(mine, weights_only=True))
    x, s1 = torch.randn(1, 4, 32, 32), torch.randn(1, 2, 32, 32)
    twelve = torch.zeros(1, 12, 32, 32)
    twelve[:,[1, 2, 3, 7]] = x                                  # of B1 B2 B3 B4 B5 B6 B7 B8 B8A B9 B11 B12
    with torch.no_grad(): a, b = net(dict(S1GRD=s1, S2L2A=x))[-1], whole(dict(S1GRD=s1, S2L2A=twelve))[-1]
    assert (a - b).abs().max() < 1e-4
    torch.save({k: v for k, v in state.items() if k != 'encoder.0.attn.qkv.weight'}, path)
    assert 'its weights lack encoder.0.attn.qkv.weight (1 in all)' in said(TRY, tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    assert said(TRY, tmp_path).startswith('FileError terramind_v1_tiny: its weights cannot be loaded (RuntimeError: ')

def test_torchvision_of_another_build(tmp_path):
    "Packages that cannot be imported are a sentence each, with what to install."
    source = """
import torch
from physlearn.sar.adapters import adapt, terramind
for call in (lambda: terramind(pretrained=False), lambda: adapt(torch.nn.Linear(2, 2))):
    try: call()
    except Exception as e: print(type(e).__name__, e)
"""
    found = said(source, tmp_path, declare=False).splitlines()
    if not found: pytest.skip('torchvision fits torch here')
    for name, line in zip(('terratorch', 'peft'), found, strict=True):
        assert line.startswith(f'ImportError {name} is installed and cannot be imported (')
        assert 'torchvision::nms' in line and f'matches torch {torch.__version__}' in line
