"""What people bring as radar and optical images, kind by kind: each row of the list of kinds has a test here.
And files that were never meant to be read."""
import copy, json, os, pickle, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np
import pytest
import torch
from physlearn.files import FileError
from physlearn.processes import Tell
from physlearn.runs import Run
from physlearn.sar.adapters import PATCH, OnEncoder, adapt, load_adapter, merged, save_adapter
from physlearn.sar.agreement import mae, psnr
from physlearn.sar.grounding import Grounder, UNet, by_windows
from physlearn.sar.registration import offset, shifted
from physlearn.sar.synthetic import holes, synthetic
from physlearn.sar.terms import gaussian_nll, lpips_term
from physlearn.sar.tiles import (S1_KEYS, S2_KEYS, clear_bias, crop, read_tile, read_tiles, rgb, scene_of, split_tiles,
                                 to_gamma0, write_tile)
from physlearn.sar.train_grounding import arrays_of, damaged, grounding_recipe
from physlearn.train import fit_stages

KINDS = {
    'zero, 1e-7 or negative power (image fringes, denoised water)': 'test_no_power',
    'amplitude, DN, power': 'test_units_of_radar', 'S1 and S2 on different grids': 'test_other_grids',
    'cloud-mask encodings, polarity, buffer': 'test_cloud_masks', 'split by substring; the same place twice': 'test_splits',
    'orbit, platform, incidence, date gap': 'test_what_the_json_keeps',
    'sigma0, gamma0, beta0; GRD, RTC': 'test_conventions', 'radar not orthorectified': 'test_registration',
    'S2 offset missed or applied twice': 'test_offset_of_reflectance', 'B8 or B8A, upsampled 20 m bands': 'test_coarse_band',
    'colours and stretch per patch': 'test_colours', 'the target differs from the clear input': 'test_clear_bias',
    'overviews of a COG poisoned by nodata': 'test_overviews',
    'padding and cropping disagree: output shifted': 'test_windows_of_any_size', 'adapters that do not come back': 'test_adapters_come_back',
    'missing bands filled with zeros': 'test_missing_bands', 'clear pixels altered, a visible rim': 'test_clear_pixels',
    'seams between windows, seeds': 'test_seams', 'metrics': 'test_metrics', 'LPIPS range, offline': 'test_lpips_is_told_rgb',
    'uncertainty NaN or without meaning': 'test_uncertainty', 'accumulation and resume': 'test_accumulation',
}

def test_every_kind_has_its_test():
    for name in KINDS.values(): assert callable(globals().get(name)), name
    listed = Path(os.environ.get('PHYSLEARN_DATA', ''))/'../spec/kinds.md'
    if not listed.exists(): pytest.skip('the list is not here')
    part = listed.read_text().split('## sar')[1].split('What users wish')[0]
    rows = [line.split('|')[1].strip().replace('**', '') for line in part.splitlines() if line.startswith('|')][2:]
    assert set(rows) == {*KINDS}

def layers(size=24, seed=0):
    "Arrays of a tile by name, as a file holds them: dB and reflectance."
    rng = np.random.default_rng(seed)
    s1 = (rng.normal(-12, 3, size=(2, size, size)) - [[[0]], [[7]]]).astype('f4')
    return dict(zip(S1_KEYS, s1)) | dict(zip(S2_KEYS, rng.uniform(.05, .4, (4, size, size)).astype('f4')))

def written(path, arrays, about=None):
    "A tile in a file; its JSON beside."
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    if about is not None: path.with_suffix('.json').write_text(about if isinstance(about, str) else json.dumps(about))
    return path

def scaled(arrays, keys, f): return arrays | {k: f(arrays[k].astype(float)) for k in keys}
def power(db): return 10**(db/10)

def test_no_power(tmp_path):
    "The mask is the triangle, in power, amplitude and dB, for 0 and for the 1e-7 that stands for it."
    triangle = np.tri(24, 24, -8, dtype=bool)
    for name, unit, f in (('p', 'power', power), ('a', 'amplitude', lambda v: power(v)**.5), ('d', 'dB', lambda v: v)):
        for k, none in enumerate((0., 1e-7)):
            blank = -np.inf if unit == 'dB' and not none else (-70. if unit == 'dB' else none**(.5 if unit == 'amplitude' else 1))
            arrays = scaled(layers(), S1_KEYS, lambda v: np.where(triangle, blank, f(v)))
            t = read_tile(written(tmp_path/f'{name}{k}.npz', arrays), s1_unit=unit)
            np.testing.assert_array_equal(~t.valid, triangle)
            assert np.isnan(t.s1[:,triangle]).all() and np.isfinite(t.s1[:,~triangle]).all()
            assert any('136 pixels without radar power' in n for n in t.notes)              # 16*17/2
    arrays = scaled(layers(), S1_KEYS, power)
    arrays['s1_vh'][3,4:9] = -1e-4
    arrays['s1_vh'][:2], arrays['s1_vv'][:2] = 0, 0
    dark = read_tile(written(tmp_path/'w.npz', arrays, dict(denoised=True, s1_unit='power')))
    assert (~dark.valid).sum() == 48 and any('5 values of denoised power' in n for n in dark.notes)
    np.testing.assert_allclose(dark.s1[1,3,4:9], -50, atol=1e-4)
    lost = read_tile(written(tmp_path/'x.npz', arrays, dict(s1_unit='power')))
    assert (~lost.valid).sum() == 48 + 5

def test_units_of_radar(tmp_path):
    "One scene as power, amplitude, dB: equal after load. What cannot be told is asked for; counts are refused."
    ways = dict(dB=lambda v: v, power=power, amplitude=lambda v: power(v)**.5)
    tiles = [read_tile(written(tmp_path/f'{u}.npz', scaled(layers(), S1_KEYS, f)), s1_unit=u) for u, f in ways.items()]
    for t in tiles[1:]: np.testing.assert_allclose(t.s1, tiles[0].s1, atol=1e-4)
    assert read_tile(tmp_path/'dB.npz').about['s1_unit_found'] == 'dB'
    for u in ('power', 'amplitude'):
        with pytest.raises(FileError, match="say s1_unit"): read_tile(tmp_path/f'{u}.npz')
        written(tmp_path/f'{u}.npz', scaled(layers(), S1_KEYS, ways[u]), dict(s1_unit=u))
        np.testing.assert_allclose(read_tile(tmp_path/f'{u}.npz').s1, tiles[0].s1, atol=1e-4)
        with pytest.raises(FileError, match='as was asked for'): read_tile(tmp_path/f'{u}.npz', s1_unit='dB')
    counts = written(tmp_path/'dn.npz', scaled(layers(), S1_KEYS, lambda v: np.round(900*power(v)**.5)))
    for u in (None, 'power', 'amplitude'):
        with pytest.raises(FileError, match='calibrate it first'): read_tile(counts, s1_unit=u)

def test_other_grids(tmp_path):
    "A bright dot in two UTM zones: within 0.1 px; PixelIsPoint is not shifted twice; no georeference is an error."
    rasterio = pytest.importorskip('rasterio')
    from rasterio.warp import transform
    from physlearn.sar.scene_files import Grid, image_grid, radar_on
    (x,), (y,) = transform('EPSG:4326', 'EPSG:32633', [11.83], [48.01])
    (e,), (n,) = transform('EPSG:4326', 'EPSG:32632', [11.83], [48.01])
    source = rasterio.Affine(10, 0, x - 803, 0, -10, y + 797)                    # the dot at column 80.3, row 79.7
    rows, columns = np.mgrid[:160,:160] + .5
    dot = .01 + 5*np.exp(-((rows - 79.7)**2 + (columns - 80.3)**2)/(2*2.2**2))
    grid = Grid('EPSG:32632', (10., 0., e - 312., 0., -10., n + 288.), (64, 64))  # at column 31.2, row 28.8
    for area in ('Area', 'Point'):
        with rasterio.open(tmp_path/f'{area}.tif', 'w', driver='GTiff', height=160, width=160, count=2, dtype='float32',
                           crs='EPSG:32633', transform=source) as f:
            f.write(np.stack([dot, dot/5]).astype('f4'))
            f.descriptions = 'Sigma0_VV', 'Sigma0_VH'
            f.update_tags(AREA_OR_POINT=area)
        assert image_grid(tmp_path/f'{area}.tif').transform == tuple(source)[:6]
        light = power(radar_on(tmp_path/f'{area}.tif', grid, 'power')[0][0].astype(float)) - .01
        i, j = np.indices(light.shape) + .5
        assert abs((light*i).sum()/light.sum() - 28.8) < .1 and abs((light*j).sum()/light.sum() - 31.2) < .1
    how = dict(driver='GTiff', height=160, width=160, count=2, dtype='float32')
    with warnings.catch_warnings(action='ignore'), rasterio.open(tmp_path/'no.tif', 'w', **how) as f:
        f.write(np.stack([dot, dot/5]).astype('f4'))
    with pytest.raises(FileError, match='has no georeference'): radar_on(tmp_path/'no.tif', grid, 'power')

def test_parts_of_a_scene(tmp_path):
    "Windows beyond the image, and bands without names, are answered by what the caller can give."
    pytest.importorskip('rasterio')
    from physlearn.sar.scene_files import scene_tile, write_picture
    t = synthetic(1, 3, 40)[0]
    place = 'EPSG:32632', (10., 0., 7e5, 0., -10., 5.3e6)
    write_picture(tmp_path/'s1.tif', t.s1, place, dict(VV='dB', VH='dB'))
    write_picture(tmp_path/'s2.tif', t.optical, place)
    write_picture(tmp_path/'dull.tif', t.optical, place, dict(one='', two='', three='', four=''))
    assert scene_tile(tmp_path/'s1.tif', tmp_path/'s2.tif', window=(8, 8, 32, 32)).shape == (32, 32)
    for window in ((20, 8, 32, 32), (8, -1, 32, 32), (0, 0, 0, 8)):
        with pytest.raises(FileError, match='expected a part of 40 x 40 px'): scene_tile(tmp_path/'s1.tif', tmp_path/'s2.tif', window=window)
    with pytest.raises(FileError, match='--optical-bands'): scene_tile(tmp_path/'s1.tif', tmp_path/'dull.tif')
    with pytest.raises(FileError, match='--s1-bands'): scene_tile(tmp_path/'dull.tif', tmp_path/'s2.tif')
    for crs in ('nonsense', 'WGS 84 / UTM zone 99Q'):
        with pytest.raises(FileError, match=f"coordinate system '{crs}'; expected one like EPSG:32632"):
            write_picture(tmp_path/'there.tif', t.optical, (crs, place[1]))
    assert not (tmp_path/'there.tif').exists()

def test_cloud_masks():
    "One hole, six encodings, one boolean; a rim; what contradicts its encoding."
    pytest.importorskip('rasterio')
    from physlearn.sar.scene_files import cloud_mask
    hole = np.zeros((20, 20), bool)
    hole[5:9,6:12] = True
    ways = dict(scl=np.where(hole, 8, 6), probability=np.where(hole, .8, .2), percent=np.where(hole, 80, 20), cloud=1*hole,
                bits=np.where(hole, 1 << 11, 1 << 3), clear=1*~hole)
    for k, v in ways.items(): np.testing.assert_array_equal(cloud_mask(v, k)[0], hole)
    for number, hidden in ((3, True), (9, True), (10, True), (11, False), (4, False)):
        assert cloud_mask(np.full((2, 2), number), 'scl')[0].all() == hidden
    scl = np.where(hole, 0, 4)
    assert not cloud_mask(scl, 'scl')[0].any() and (cloud_mask(scl, 'scl')[1] == hole).all()
    assert cloud_mask(1*hole, 'cloud', dilate=1)[0].sum() == 24 + 2*(4 + 6)       # a rim along four sides, no corners
    for v, k in ((ways['percent'], 'probability'), (ways['probability'], 'percent'), (ways['scl'], 'clear'), (-ways['cloud'], 'cloud')):
        with pytest.raises(ValueError, match='expected|probab'): cloud_mask(v, k)

def test_splits(tmp_path):
    "By whole path components below the folder that was asked for; whole scenes; overlap is an error."
    root = tmp_path/'training'/'trainers'
    for i, (where, name) in enumerate((('s1_1', 'a'), ('s1_10', 'b'), ('val', 'c'), ('x/Test', 'd'))):
        written(root/where/f'{name}.npz', layers(seed=i))
    assert [t.split for t in read_tiles(root)] == [None, None, 'val', 'test']
    assert [scene_of(f's1_{k}', {}) for k in (1, 10, 106)] == ['s1_1', 's1_10', 's1_106']
    many = [written(tmp_path/'m'/f'place{i//4}_r{i%4}c0.npz', layers(8, i)) for i in range(40)]
    parts = split_tiles(read_tiles(tmp_path/'m'))
    assert sum(map(len, parts.values())) == len(many)
    sides = [{t.scene for t in p} for p in parts.values()]
    assert all(not a & b for i, a in enumerate(sides) for b in sides[:i])
    written(tmp_path/'s'/'train'/'p_r0c0.npz', layers(seed=1))
    written(tmp_path/'s'/'val'/'p_r1c0.npz', layers(seed=2))
    assert any('2 tiles of scene p are in train and val' in n for n in read_tiles(tmp_path/'s').notes)
    ground = dict(crs='EPSG:32630', transform=[10, 0, 5e5, 0, -10, 4e6])
    written(tmp_path/'o'/'train'/'p.npz', layers(seed=1), ground)
    written(tmp_path/'o'/'val'/'q.npz', layers(seed=2), ground | dict(transform=[10, 0, 5e5 + 230, 0, -10, 4e6]))
    with pytest.raises(FileError, match='overlaps with p'): read_tiles(tmp_path/'o')
    (tmp_path/'o'/'val'/'q.json').write_text(json.dumps(ground | dict(transform=[10, 0, 5e5 + 240, 0, -10, 4e6])))
    read_tiles(tmp_path/'o')                                                # side by side: 24 px of 10 m

def test_what_the_json_keeps(tmp_path):
    "Orbit, platform, incidence come back; days apart are a warning."
    about = dict(split='train', orbit='ascending', platform='S1A', incidence_deg=38.5, s1_date='2021-06-01', s2_date='2021-06-09')
    t = read_tile(written(tmp_path/'a.npz', layers(), about))
    assert any('8 days apart' in n for n in t.notes)
    write_tile(t, tmp_path/'b.npz')
    back = read_tile(tmp_path/'b.npz')
    assert {k: back.about[k] for k in about} == about and back.notes == t.notes
    assert read_tile(written(tmp_path/'c.npz', layers(), about | dict(s2_date='2021-06-03T10:50:00'))).notes == ()
    with pytest.raises(FileError, match='dates like'): read_tile(written(tmp_path/'d.npz', layers(), about | dict(s1_date='June')))

def test_conventions(tmp_path):
    "Declared; a mismatch is an error; 38 degrees are 1.03 dB."
    a = written(tmp_path/'t'/'a.npz', layers(), dict(convention='gamma0'))
    assert read_tile(a, convention='gamma0').about['convention'] == 'gamma0'
    with pytest.raises(FileError, match='as was asked for'): read_tile(a, convention='sigma0')
    with pytest.raises(FileError, match='one of sigma0'): read_tile(written(tmp_path/'b.npz', layers(), dict(convention='dB')))
    written(tmp_path/'t'/'b.npz', layers(seed=1), dict(convention='sigma0'))
    assert any('gamma0 and sigma0' in n for n in read_tiles(tmp_path/'t').notes)
    assert abs(to_gamma0(-12., 38.) - (-12 + 1.0347)) < 1e-4

def test_registration():
    "A shift (3, -2) recovered within 0.5 px, never applied in silence."
    big = synthetic([6], size=148)[0]
    moved = replace(crop(big, 10, 10, 128), s1=crop(big, 7, 12, 128).s1)
    o = offset(moved.s1, moved.optical)
    assert abs(o.dy - 3) < .5 and abs(o.dx + 2) < .5 and o.sure
    back = shifted(moved, o)
    assert back.about['s1_moved_px'] == [-3, 2] and 'radar moved' in back.notes[-1]
    inner = np.s_[:, 10:-10, 10:-10]
    np.testing.assert_array_equal(back.s1[inner], crop(big, 10, 10, 128).s1[inner])

def test_offset_of_reflectance(tmp_path):
    "Three encodings, one reflectance; by baseline; DN 0 is nodata; many negatives are a warning."
    counts = {k: np.round(v*1e4) for k, v in layers().items() if k in S2_KEYS}
    ways = dict(reflectance=lambda v: v/1e4, x10000=lambda v: v)
    ways['x10000+1000'] = lambda v: v + 1000
    tiles = [read_tile(written(tmp_path/f'{i}.npz', layers() | {k: f(v) for k, v in counts.items()}), optical_unit=u)
             for i, (u, f) in enumerate(ways.items())]
    for t in tiles[1:]: np.testing.assert_allclose(t.optical, tiles[0].optical, atol=1e-7)
    for baseline, i in (('02.09', 1), ('05.10', 2)):
        (tmp_path/f'{i}.json').write_text(json.dumps(dict(processing_baseline=baseline)))
        np.testing.assert_allclose(read_tile(tmp_path/f'{i}.npz').optical, tiles[0].optical, atol=1e-7)
    with pytest.raises(FileError, match='processing baseline 04.00'): read_tile(written(tmp_path/'n.npz', layers() | counts))
    for v in counts.values(): v[:2,:3] = 0
    t = read_tile(written(tmp_path/'z.npz', layers() | counts), optical_unit='x10000')
    assert (~t.valid).sum() == 6 and np.isnan(t.optical[:,~t.valid]).all()
    twice = read_tile(written(tmp_path/'t.npz', layers() | counts), optical_unit='x10000+1000')
    assert any('taken off twice' in n for n in twice.notes)

def test_coarse_band(tmp_path):
    "A near infrared that was duplicated 2 x 2 is flagged, wherever its blocks begin."
    for shift in ((0, 0), (1, 0), (1, 1)):
        arrays = layers()
        arrays['s2_b8'] = np.roll(arrays['s2_b8'][::2,::2].repeat(2, 0).repeat(2, 1), shift, (0, 1))
        assert any('B8A' in n for n in read_tile(written(tmp_path/'a.npz', arrays)).notes), shift
    assert read_tile(written(tmp_path/'b.npz', layers())).notes == ()

def test_colours():
    "A red field stays red, and as bright, whatever stands beside it."
    field = np.zeros((4, 8, 8)) + .02
    field[2,:4] = .15
    beside = field.copy()
    beside[:,6:] = .9
    np.testing.assert_allclose(rgb(field)[0,0], [.5, .02/.3, .02/.3])
    np.testing.assert_array_equal(rgb(field)[:4], rgb(beside)[:4])

def test_clear_bias(tmp_path):
    "A target 1.2 times the clear input is flagged; holes themselves are not."
    t = holes(replace(synthetic([0])[0], split='train'))
    assert abs(clear_bias(t)) < 1e-6
    write_tile(t, tmp_path/'a.npz')
    assert not any('clear pixels' in n for n in read_tile(tmp_path/'a.npz').notes)
    write_tile(replace(t, optical=t.optical*np.float32(1.2)), tmp_path/'b.npz')
    assert any('-17 % from the truth' in n for n in read_tile(tmp_path/'b.npz').notes)          # 1/1.2 - 1

def test_overviews(tmp_path):
    "A block of NaN does not spread: the first overview has what the pixels have."
    rasterio = pytest.importorskip('rasterio')
    from physlearn.sar.scene_files import write_picture
    x = np.full((4, 1100, 1100), .25, 'f4')
    x[:,300:501,200:701] = np.nan
    write_picture(tmp_path/'a.tif', x, ('EPSG:32630', (10., 0., 5e5, 0., -10., 4e6)))
    with rasterio.open(tmp_path/'a.tif') as f:
        assert np.isnan(f.nodata) and f.overviews(1)[0] == 2
        small = f.read(1, out_shape=(550, 550))
        whole = f.read()
    np.testing.assert_array_equal(whole, x)
    assert set(np.unique(small[~np.isnan(small)])) == {np.float32(.25)}
    assert abs(np.isnan(small).sum()/small.size - np.isnan(x[0]).mean()) < .002

def without(name): return lambda a: {k: v for k, v in a.items() if k != name}
def band(name, f): return lambda a: a | {name: f(a[name].copy())}
def each(keys, f): return lambda a: a | {k: f(a[k]) for k in keys}
def poked(value):
    def f(v):
        v[5,7] = value
        return v
    return f
def min_max(v): return (v - v.min())/(v.max() - v.min())
def linear(v): return power(v.astype(float))

HOSTILE = dict(
    missing_radar=(without('s1_vh'), 'no array s1_vh'), missing_band=(without('s2_b8'), 'no array s2_b8'),
    shape=(band('s2_b3', lambda v: v[:-1]), r'shape \(23, 24\); expected \(24, 24\)'),
    three_axes=(band('s1_vv', lambda v: v[None]), r'expected \(height, width\)'),
    text=(band('s1_vv', lambda v: v.astype('U8')), 'real numbers'), complex=(band('s1_vv', lambda v: v + 0j), 'real numbers|imaginary'),
    empty=(each(S1_KEYS + S2_KEYS, lambda v: v[:0]), 'shape|holds'),
    linear=(each(S1_KEYS, linear), "say s1_unit"), min_max=(each(S1_KEYS, min_max), 'cannot be brought back'),
    optical_min_max=(each(S2_KEYS, min_max), 'cannot be brought back'), too_bright=(band('s2_b4', poked(2.5)), '1 reflectances above 2'),
    counts=(each(S2_KEYS, lambda v: v*1e4), 'processing baseline'), nan_radar=(band('s1_vv', poked(np.nan)), '1 pixels are not finite'),
    nan_optical=(band('s2_b2', poked(np.nan)), 's2, row 5, column 7'), infinite=(band('s2_b2', poked(np.inf)), 'not finite'),
    all_nan=(each(S1_KEYS, lambda v: v*np.nan), 'not finite'),
    mask_shape=(lambda a: a | dict(valid=np.ones((3, 3))), 'as the bands'), mask_values=(lambda a: a | dict(hole=np.full((24, 24), 7)), '0 and 1'),
    nothing_valid=(lambda a: a | dict(valid=np.zeros((24, 24))), 'no pixel'),
    stage2_shape=(lambda a: a | dict(opt_v2=np.full((3, 24, 24), .2)), r'expected \(4, 24, 24\)'),
    stage2_nan=(lambda a: a | dict(opt_v2=np.full((4, 24, 24), np.nan)), 'not finite'),
    pickled=(lambda a: a | dict(s1_vv=np.array([[{}]*24]*24, dtype=object)), 'could run code'))

@pytest.mark.parametrize('case', HOSTILE)
def test_hostile(tmp_path, case):
    change, words = HOSTILE[case]
    path = written(tmp_path/'a.npz', change(layers()))
    with pytest.raises(FileError, match=words) as e: read_tile(path)
    assert 'a.npz' in str(e.value)

@pytest.mark.parametrize('about,words', [('{"split": ', 'JSON'), ('[1]', 'an object'), ('{"split": "dev"}', 'train, val or test'),
                                         ('{"split": "train", "split": "val"}', 'twice'), ('{"nodata": NaN}', 'not JSON'),
                                         ('{"transform": [1, 2]}', 'six numbers'), ('{"denoised": "false"}', 'true or false'),
                                         ('{"nodata": "none"}', 'a number'), ('{"row": "a"}', 'a number'),
                                         ('{"optical_unit": "percent"}', 'one of reflectance'), ('{"s1_unit": "linear"}', 'one of dB')])
def test_hostile_json(tmp_path, about, words):
    path = written(tmp_path/'a.npz', layers(), about)
    with pytest.raises(FileError, match=words): read_tile(path)

def test_hostile_files(tmp_path):
    "No zip, a pickle, a cut file, links to nowhere and to devices, folders without tiles."
    whole = written(tmp_path/'a.npz', layers()).read_bytes()
    for name, data in (('text', b'hello'), ('pickle', pickle.dumps([1])), ('cut', whole[:len(whole)//2]), ('none', b''),
                       ('flipped', whole[:900] + bytes([whole[900] ^ 255]) + whole[901:])):
        (tmp_path/f'{name}.npz').write_bytes(data)
        with pytest.raises(FileError, match=f'{name}.npz'): read_tile(tmp_path/f'{name}.npz')
    (tmp_path/'lost.npz').symlink_to(tmp_path/'nowhere.npz')
    (tmp_path/'zero.npz').symlink_to('/dev/zero')
    for name in ('lost', 'zero'):
        with pytest.raises(FileError, match=name): read_tile(tmp_path/f'{name}.npz')
    (tmp_path/'empty').mkdir()
    with pytest.raises(FileError, match='holds no .npz'): read_tiles(tmp_path/'empty')
    with pytest.raises(FileError, match='is not a folder'): read_tiles(tmp_path/'a.npz')

def test_links_to_one_tile(tmp_path):
    "The same pixels under two names are named, and refused on two sides of a split."
    a = written(tmp_path/'train'/'a.npz', layers())
    (tmp_path/'train'/'b.npz').symlink_to(a)
    assert read_tiles(tmp_path).notes == ['b has the pixels of a']
    (tmp_path/'val').mkdir()
    (tmp_path/'val'/'c.npz').symlink_to(a)
    with pytest.raises(FileError, match=r'has the pixels of a \(train\), and is in val'): read_tiles(tmp_path)

def test_json_without_split(tmp_path):
    "The folder says it; where that is silent, nobody does, and whole scenes are drawn."
    written(tmp_path/'val'/'a.npz', layers(), dict(source='mine'))
    written(tmp_path/'b.npz', layers(seed=1), {})
    tiles = {t.name: t for t in read_tiles(tmp_path)}
    assert tiles['a'].split == 'val' and tiles['b'].split is None
    assert sum(map(len, split_tiles(tiles.values()).values())) == 2

def test_stage2(tmp_path):
    "The same name; a missing file is an error and never the truth; the stand-in only when asked for."
    a = written(tmp_path/'tiles'/'train'/'a.npz', layers())
    truth = np.stack([layers()[k] for k in S2_KEYS])
    (tmp_path/'v2').mkdir()
    with pytest.raises(FileError, match='no stage-2 output'): read_tiles(tmp_path/'tiles', stage2=tmp_path/'v2')
    with pytest.raises(FileError, match='no stage-2 output'): read_tiles(tmp_path/'tiles', stage2=tmp_path/'v2', as_proxy=True)
    np.savez(tmp_path/'v2'/'a.npz', opt_v2=truth)
    with pytest.raises(FileError, match='equals the truth'): read_tiles(tmp_path/'tiles', stage2=tmp_path/'v2')
    np.savez(tmp_path/'v2'/'a.npz', wrong=truth)
    with pytest.raises(FileError, match="no array 'opt_v2'"): read_tiles(tmp_path/'tiles', stage2=tmp_path/'v2')
    np.savez(tmp_path/'v2'/'a.npz', opt_v2=np.maximum(truth - .2, 0))          # zeros are a network's answer
    t, = read_tiles(tmp_path/'tiles', stage2=tmp_path/'v2')
    np.testing.assert_allclose(t.given, np.maximum(truth - .2, 0), atol=1e-7)
    assert read_tile(a).given is None
    stand_in = read_tile(a, as_proxy=True)
    assert 'a proxy' in stand_in.notes[0] and not np.array_equal(stand_in.given, stand_in.optical)
    assert abs((stand_in.given - stand_in.optical).std() - .05) < .004

def test_mixed_sizes(tmp_path):
    for i, size in enumerate((120, 128, 37)): written(tmp_path/f'{i}.npz', layers(size, i))
    assert [t.shape for t in read_tiles(tmp_path)] == [(120, 120), (128, 128), (37, 37)]
    assert len(read_tiles(tmp_path, most=2)) == 2
    for side in ('test', 'train', 'val'):
        for i in range(3): written(tmp_path/'s'/side/f'{side}{i}.npz', layers(16, 10 + i + 3*len(side)))
    assert [t.split for t in read_tiles(tmp_path/'s', most=2)] == ['test']*2 + ['train']*2 + ['val']*2

def test_nodata_of_the_json(tmp_path):
    "A number that is declared as missing is a mask, not a value."
    arrays = layers()
    arrays['s1_vv'][2,3], arrays['s2_b3'][4,5] = -9999, -9999
    t = read_tile(written(tmp_path/'a.npz', arrays, dict(nodata=-9999)))
    assert sorted(map(tuple, np.argwhere(~t.valid))) == [(2, 3), (4, 5)] and np.isnan(t.s1[:,4,5]).all()

def test_nodata_is_nan(tmp_path):
    "Gaps as NaN, declared by the word, since JSON has no NaN; what is infinite stays an error."
    arrays = layers()
    arrays['s1_vv'][2,3], arrays['s2_b3'][4,5] = np.nan, np.nan
    with pytest.raises(FileError, match='"nodata": "nan"'): read_tile(written(tmp_path/'a.npz', arrays))
    for word in ('nan', 'NaN'):
        t = read_tile(written(tmp_path/'a.npz', arrays, dict(nodata=word)))
        assert sorted(map(tuple, np.argwhere(~t.valid))) == [(2, 3), (4, 5)] and np.isnan(t.s1[:,4,5]).all()
    arrays['s1_vh'][6,6] = np.inf
    with pytest.raises(FileError, match='1 pixels are not finite'): read_tile(written(tmp_path/'a.npz', arrays, dict(nodata='nan')))

def amplitude(v): return power(v)**.5

DOUBTS = dict(                   # what is said of numbers that can be read and are hardly right
    power_as_amplitude=(S1_KEYS, power, dict(s1_unit='amplitude'), 'below the noise of the instrument'),
    amplitude_as_power=(S1_KEYS, amplitude, dict(s1_unit='power'), 'more than forest has'),
    offset_missed=(S2_KEYS, lambda v: v*1e4 + 1000, dict(optical_unit='x10000'), 'offset of 1000'),
    offset_missed_before=(S2_KEYS, lambda v: v + .1, {}, 'offset of 1000'))

@pytest.mark.parametrize('case', DOUBTS)
def test_doubts(tmp_path, case):
    "One of two units taken for the other is said, and a right tile has no note."
    keys, f, units, words = DOUBTS[case]
    assert read_tile(written(tmp_path/'right.npz', layers())).notes == ()
    t = read_tile(written(tmp_path/'a.npz', scaled(layers(), keys, f)), **units)
    assert any(words in n for n in t.notes), t.notes

def test_polarisations_exchanged(tmp_path):
    arrays = layers()
    arrays['s1_vv'], arrays['s1_vh'] = arrays['s1_vh'], arrays['s1_vv']
    assert any('exchanged' in n for n in read_tile(written(tmp_path/'a.npz', arrays)).notes)

def test_scaled_numbers(tmp_path):
    "Hundredths of a decibel, 8 bits and per cent are refused under every unit."
    for f in (lambda v: np.round(100*v), lambda v: 1000*v):
        path = written(tmp_path/'a.npz', scaled(layers(), S1_KEYS, f))
        for unit in (None, 'dB'):
            with pytest.raises(FileError, match='expected backscatter in dB, about -25 to 0'): read_tile(path, s1_unit=unit)
    for f in (lambda v: np.round(v/.4*255).astype('u1'), lambda v: 100*v):
        path = written(tmp_path/'a.npz', scaled(layers(), S2_KEYS, f))
        for unit in ('x10000', 'x10000+1000', 'reflectance', None):
            with pytest.raises(FileError): read_tile(path, optical_unit=unit)

def test_remedies_are_of_the_caller(tmp_path):
    "A tile without truth, where one is needed; a stage-2 picture in another unit is named."
    bare = {k: v for k, v in layers().items() if k in S1_KEYS}
    with pytest.raises(FileError, match='no array s2_b2') as e: read_tile(written(tmp_path/'a.npz', bare))
    assert '--no-truth' not in str(e.value)
    t = read_tile(tmp_path/'a.npz', truth=False)
    with pytest.raises(ValueError, match='has no optical picture.*holes can be made in'): holes(t)
    counts = layers() | dict(opt_v2=np.full((4, 24, 24), 900.))
    with pytest.raises(FileError, match='opt_v2: values around 900'): read_tile(written(tmp_path/'b.npz', counts))

def test_what_stands_in_a_hole(tmp_path):
    "Cloud, zeros or a filled hole: what a mask hides is no picture, and a network is shown the mean of what is clear."
    def shown(f, **more):
        t = holes(synthetic(1, 3, 40)[0], seed=1)
        t.given[:,t.hole] = f(t)
        write_tile(t, tmp_path/'a.npz')
        return arrays_of(read_tile(tmp_path/'a.npz'), **more)['given']
    ways = [lambda t: t.given[:,t.hole], lambda t: np.full((4, t.hole.sum()), .7), lambda t: np.zeros((4, t.hole.sum())),
            lambda t: np.full((4, t.hole.sum()), np.nan)]
    for f in ways[1:]: np.testing.assert_allclose(shown(f), shown(ways[0]), atol=1e-6)
    assert np.abs(shown(ways[1], fill='given') - shown(ways[0])).max() > .5

def test_truth_under_cloud():
    "A mask without a picture to be refined is one of the truth: what it hides is not learned from, nor judged by."
    t = synthetic(1, 3, 40)[0]
    cloud = np.arange(1600).reshape(40, 40) % 40 < 9
    cloudy = replace(t, optical=np.where(cloud, .9, t.optical).astype(np.float32), hole=cloud)
    for how in ('holes', 'noise', 'blur'):
        made = damaged(cloudy, how, 0, 0)
        a = arrays_of(made)
        assert not made.valid[cloud].any() and made.valid[~cloud].all() and np.abs(a['given']).max() < .89

def test_cloud_of_a_scene(tmp_path):
    "Likewise of a scene; where all of it is hidden, the mean of pictures at large is shown."
    pytest.importorskip('rasterio')
    from physlearn.sar.scene_files import scene_tile, write_picture
    from physlearn.sar.tiles import OPTICAL_MEAN
    t, place = synthetic(1, 3, 40)[0], ('EPSG:32632', (10., 0., 7e5, 0., -10., 5.3e6))
    for name, cloud in (('some', np.arange(1600).reshape(1, 40, 40) % 40 < 9), ('all', np.ones((1, 40, 40), bool))):
        write_picture(tmp_path/'s1.tif', t.s1, place, dict(VV='dB', VH='dB'))
        write_picture(tmp_path/'s2.tif', np.where(cloud, .7, t.optical), place)
        write_picture(tmp_path/f'{name}.tif', 100.*cloud, place, dict(probability='%'))
        tile = scene_tile(tmp_path/'s1.tif', given=tmp_path/'s2.tif', cloud=tmp_path/f'{name}.tif', encoding='percent')
        clear, given = ~cloud[0], arrays_of(tile)['given']
        np.testing.assert_array_equal(tile.hole, cloud[0])
        np.testing.assert_array_equal(given[:,clear], t.optical[:,clear])
        expected = t.optical[:,clear].mean(1) if clear.any() else np.array(OPTICAL_MEAN)
        np.testing.assert_allclose(given[:,tile.hole], np.tile(expected[:,None], (1, tile.hole.sum())), atol=1e-6)

# ------------------------------------------------------------------------------------------------ what networks get wrong

def batch_like(H=40, W=40, n=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    r = lambda *shape: torch.rand(n, *shape, H, W, generator=g)
    return dict(s1=r(2)*2 - 1, given=r(4), truth=r(4), hole=(r(1) > .5).float(), valid=torch.ones(n, 1, H, W))

@pytest.mark.parametrize('size', [120, 128, 137, 256, 264])
def test_windows_of_any_size(size):
    "An identity comes back to the bit, and no network moves a picture."
    b = batch_like(size, size + 5, 1)
    assert torch.equal(by_windows(lambda p: (p['given'],), b, 128, 0, 0)[0], b['given'])
    out = UNet(3, 3, 8)(torch.zeros(1, 3, size, size + 5))
    assert out.shape == (1, 3, size, size + 5)

def test_seams():
    "Windows that see what lies around a pixel say what the whole picture does: 300 x 500."
    torch.manual_seed(0)
    net, b = Grounder(8).eval(), batch_like(300, 500, 1) | dict(hole=torch.ones(1, 1, 300, 500))
    for q in net.parameters(): q.data += .1*torch.randn_like(q)
    with torch.no_grad(): whole, tiled = net(b)['mean'], by_windows(lambda p: (net(p)['mean'],), b)[0]
    assert (whole - tiled).abs().max() < 1e-4*whole.std()

def test_adapters_come_back(tmp_path):
    "Saved and loaded they are equal; a renamed key, another network and a grouped convolution are refused."
    base, b = Grounder(8), batch_like()
    net = adapt(copy.deepcopy(base), 4, 8)
    for k, q in net.named_parameters():
        if 'lora_B' in k: q.data += .1
    save_adapter(net, tmp_path/'a.safetensors')
    back = load_adapter(copy.deepcopy(base), tmp_path/'a.safetensors')
    assert (back(b)['mean'] - net(b)['mean']).abs().max() < 1e-6 and (merged(net)(b)['mean'] - net(b)['mean']).abs().max() < 1e-5
    assert (back(b)['mean'] - base(b)['mean']).abs().max() > 1e-3
    with pytest.raises(FileError, match='does not fit'): load_adapter(Grounder(12), tmp_path/'a.safetensors')
    with pytest.raises(ValueError, match='groups'): adapt(torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3, groups=2)))

class Patches(torch.nn.Module):
    "Stands for an encoder: tokens of patches, of a picture and of radar."
    def __init__(self):
        super().__init__()
        self.patch, self.proj = torch.nn.Conv2d(6, 16, PATCH, PATCH), torch.nn.Linear(16, 16)
    def forward(self, d):
        return [self.proj(self.patch(torch.cat([d['S1GRD'], d['S2L2A']], 1)).flatten(2).transpose(1, 2))]

def test_training_spares_an_encoder(tmp_path):
    "A stage that trains the whole network leaves the encoder's own weights as they are, to the bit."
    torch.manual_seed(0)
    net = OnEncoder(Patches(), targets=('proj',), width=8)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    recipe = grounding_recipe('quick', epochs=1, tiles=24, gpus=0)
    learn = recipe.learner(model=net)
    with learn.no_bar(), learn.no_logging(): fit_stages(learn, recipe.stages())
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == set(before) - set(net.base_names())

def test_missing_bands():
    "Three bands, or one channel of radar, are no tile."
    b = batch_like()
    for k, n in (('given', 3), ('s1', 1)):
        with pytest.raises(ValueError, match='expected VV and VH'): Grounder(8)(b | {k: b[k][:,:n]})

def test_clear_pixels():
    "Outside of holes nothing changes, to the bit."
    b, net = batch_like(), Grounder(8).eval()
    for q in net.parameters(): q.data += .1
    r = net.refine(b, change=True)
    clear = ~b['hole'].bool().expand_as(r.mean)
    assert torch.equal(r.mean[clear], b['given'][clear]) and (r.change[clear] == 0).all() and (r.mean[~clear] != b['given'][~clear]).any()

def test_metrics():
    "A constant error of 0.1 is 20 dB under any mask; pixels that do not count add nothing."
    truth = torch.rand(4, 32, 32)*.5
    for share in (0., .3, .9):
        where = torch.rand(32, 32) >= share
        assert psnr(truth + .1, truth, where) == pytest.approx(20., abs=1e-4) and mae(truth + .1, truth, where) == pytest.approx(.1, abs=1e-6)
    wild = torch.where(torch.rand(32, 32) > .3, truth + .1, 77.)
    assert psnr(wild, truth, wild[0] != 77.) == pytest.approx(20., abs=1e-4)

def test_lpips_is_told_rgb():
    "Red, green and blue in -1..1, whatever the order of the bands here."
    seen = []
    def net(a, b):
        seen.append(a)
        return (a - b).square().mean()
    b = batch_like() | dict(hole=torch.ones(2, 1, 40, 40))
    lpips_term(net)(dict(mean=b['truth']), b)
    assert torch.allclose(seen[0], 2*b['truth'][:,[2, 1, 0]] - 1, atol=1e-6)

def test_uncertainty():
    "Two halves with different noise: a constant log variance in each finds both, in units of reflectance; nothing is NaN where it is perfect."
    truth = torch.zeros(1, 4, 32, 64)
    sd = torch.where(torch.arange(64) < 32, .01, .05)
    b = dict(truth=truth, given=truth, valid=torch.ones(1, 1, 32, 64), hole=torch.ones(1, 1, 32, 64))
    mean, v = sd*torch.randn(1, 4, 32, 64, generator=torch.Generator().manual_seed(0)), torch.zeros(2, requires_grad=True)
    opt, term = torch.optim.Adam([v], .1), gaussian_nll()
    for _ in range(200):
        opt.zero_grad()
        term(dict(mean=mean, logvar=v.repeat_interleave(32).expand(1, 4, 32, 64)), b).backward()
        opt.step()
    assert torch.allclose((.5*v).exp(), torch.tensor([.01, .05]), rtol=.05)
    perfect = term(dict(mean=truth, logvar=torch.full_like(truth, -60.)), b)
    assert torch.isfinite(perfect)

def test_accumulation(tmp_path):
    "Ten batches and an accumulation of eight: the last window of two counts as a whole step; what was interrupted goes on to the same bits."
    more = dict(tiles=14, width=8, crop=32, batch_size=1, accumulate=8, epochs=2, gpus=0)
    whole = grounding_recipe('default', **more).fit(tmp_path/'whole', quiet=True, evaluate=False)
    def stop(self, rows):
        if len(rows) == 1: raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as m:
        m.setattr(Tell, '__call__', stop)
        with pytest.raises(KeyboardInterrupt): grounding_recipe('default', **more).fit(tmp_path/'part', evaluate=False)
    part = Run.resume(tmp_path/'part', quiet=True)
    a, b = whole.model.state_dict(), part.model.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a) and len(whole.recipe.sides()['train']) % 8
