"""Maps: an image of reflectances to an image of traits, window by window, by a head that knows the posterior's moments."""
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from physlearn.canopy.retrieve import APART, head_of, layer_names, windows, write_map
from physlearn.canopy.moments import LIMIT, features, largest, misfit, moments, within_limit
from physlearn.canopy.reflectance import BANDS, read_reflectance
from physlearn.canopy.train_physvae import canopy_recipe
from physlearn.canopy.traits import arrays
from physlearn.files import FileError
from physlearn.runs import Run

rasterio = pytest.importorskip("rasterio")
pytest.importorskip("rasterio.shutil")
STATED = dict(scale=10000., offset=-1000., tts=40.)

@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A network that has learned nothing: its posterior is the prior, which a head can learn as any other."
    folder = tmp_path_factory.mktemp('run')
    recipe = canopy_recipe('quick', width=16, gpus=0)
    sim = recipe.simulator()
    torch.manual_seed(0)
    model = recipe.model(sim).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder/'model.safetensors')
    run = Run(folder, recipe, sim, model)
    head_of(run, rows=16_384, say=lambda *a: None)
    return run

@pytest.fixture(scope='module')
def scene(run, tmp_path_factory):
    "70 x 90 pixels x 10,000 plus 1,000, in tiles of 16; a corner without data."
    x = run.recipe.simulated(run.sim).source(torch.arange(6300), 'scene', 0)['x'][:,0].numpy()
    v = np.round(1e4*x + 1000).astype('uint16').T.reshape(11, 70, 90)
    v[:,:5,:7] = 0
    path = tmp_path_factory.mktemp('scene')/'scene.tif'
    how = dict(tiled=True, blockxsize=16, blockysize=16, crs='EPSG:32633', transform=rasterio.Affine(10, 0, 6e5, 0, -10, 5.3e6))
    with rasterio.open(path, 'w', driver='GTiff', width=90, height=70, count=11, dtype='uint16', nodata=0, **how) as f:
        f.write(v)
        f.descriptions = BANDS
    return path

def test_windows():
    for size, block in (((1098, 1098), (512, 512)), ((1098, 1098), (1, 1098)), ((5, 7), (5, 7)), ((300, 200), (1024, 1024))):
        seen = np.zeros(size, int)
        for i, j, h, w in windows(*size, block, most=2**15): seen[i:i+h,j:j+w] += 1
        assert (seen == 1).all()

def test_a_map_holds_the_moments_of_each_pixel(run, scene, tmp_path, monkeypatch):
    "In its place, with names, units, overviews; gaps are NaN; windows change nothing."
    import physlearn.canopy.retrieve as maps
    monkeypatch.setattr(maps, 'windows', lambda h, w, block: windows(h, w, block, most=1024))
    said = []
    found = write_map(run, scene, tmp_path/'t.tif', .9, say=said.append, **STATED)
    assert found['pixels'] == 70*90 - 35 and 'of draws' in said[0]
    with rasterio.open(scene) as a, rasterio.open(tmp_path/'t.tif') as b:
        v, names = b.read(), [d.split(' [')[0] for d in b.descriptions]
        assert a.crs == b.crs and a.transform == b.transform and b.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
        assert names == list(layer_names(run.sim.space, .9)) and b.units[4] == 'ug/cm2' and 'flag' in b.tags()
    assert np.isnan(v[:,:5,:7]).all() and np.isfinite(v).all(0).sum() == found['pixels']
    r = read_reflectance(scene, **STATED)
    from physlearn.canopy.reflectance import complete
    batch = {k: torch.from_numpy(x) for k, x in arrays(complete(r)).items()}
    want = moments(run.model, head_of(run)[0], batch, .9)
    at = np.divmod(r.grid['pixel'], 90)
    for name, x in (('cab', want['mean'][:,1]), ('cab_sd', want['sd'][:,1]), ('LAI_low90', want['low'][:,4]), ('p', want['p'])):
        assert np.allclose(v[names.index(name)][at], x, rtol=1e-3, atol=1e-4), name

def test_one_state_that_explains_a_pixel_is_enough(run):
    "A pixel that the middle draw does not explain gets others; what none explains stays suspect."
    head, _ = head_of(run)
    batch = run.recipe.simulated(run.sim).source(torch.arange(2000), 'explained', 0)
    h = run.model.encoder(run.model.norm(batch))
    middle = misfit(run.model, batch, h, features(run.model, batch)[2], h.new_zeros(2000, 0))
    p = moments(run.model, head, batch, .9)['p']
    assert (p >= middle - 1e-9).all() and (p > middle).double().mean() > .5
    assert (moments(run.model, head, batch | dict(x=3*batch['x']), .9)['p'] < 1e-3).double().mean() > .9

def test_the_prior_is_learned(run):
    "Of a network that knows nothing, mean and sd are those of the ranges, nearly."
    head, check = head_of(run)
    assert max(check['mean'].values()) < .15 and max(check['sd'].values()) < .15
    assert .85 < min(check['covered']['0.9'].values()) and max(check['covered']['0.9'].values()) < .95

def test_a_head_that_knows_little_is_flagged(run, scene, tmp_path, monkeypatch):
    "Where it misses its limit the map says so in words and in every pixel, and names what to do."
    assert within_limit(*largest(head_of(run)[1])) and not within_limit(.05, .2)
    monkeypatch.setitem(LIMIT, 'sd', largest(head_of(run)[1])[1]/2)
    said = []
    write_map(run, scene, tmp_path/'t.tif', .9, say=said.append, **STATED)
    assert any('every pixel of the map carries the flag 8' in s for s in said)
    with rasterio.open(tmp_path/'t.tif') as f:
        flag = f.read(f.count)
        assert (flag[np.isfinite(flag)].astype(int) & APART > 0).all() and '8 the head is too far from draws' in f.tags()['flag']

def test_nothing_is_left_behind(run, scene, tmp_path):
    with rasterio.open(scene) as f: v, profile = f.read(), f.profile
    v[3,69,89] = 65000                                                        # a reflectance of 6.4, in the last window
    with rasterio.open(tmp_path/'bad.tif', 'w', **profile) as f:
        f.write(v)
        f.descriptions = BANDS
    with pytest.raises(FileError, match='row 69, column 89, B05'):
        write_map(run, tmp_path/'bad.tif', tmp_path/'t.tif', .9, say=lambda *a: None, **STATED)
    assert [p.name for p in tmp_path.iterdir()] == ['bad.tif']

def test_a_vrt_is_windows_of_the_same_image(scene, tmp_path):
    want = read_reflectance(scene, window=(16, 32, 20, 30), **STATED)
    rasterio.shutil.copy(scene, tmp_path/'s.vrt', driver='VRT')
    got = read_reflectance(tmp_path/'s.vrt', window=(16, 32, 20, 30), **STATED)
    assert np.array_equal(got.x, want.x) and len(got) == 600
    whole = read_reflectance(scene, **STATED)
    inside = [(16 <= i < 36) and (32 <= j < 62) for i, j in zip(*np.divmod(whole.grid['pixel'], 90))]
    assert np.array_equal(whole.x[inside], want.x)
