"""Reflectance tables and images of other people: what is read, and the one sentence for what is not."""
import gzip, os, struct, sys
import numpy as np
import pytest
from physlearn.canopy.reflectance import BANDS, Reflectance, band_of, image, ndre, ndvi, overpass, read_reflectance
from physlearn.files import FileError
from test_files import mutants

DN = [210, 377, 249, 685, 2135, 2691, 2807, 2968, 3018, 1410, 653]      # a forest, reflectance x 10,000, in the order of BANDS

def table(folder, rows=((), ()), header=BANDS, name='t.csv', sep=',', before='', **more):
    "A file of rows like DN; each of `rows` replaces values by band, `more` are further columns."
    lines = [sep.join([*header, *more])]
    for i, r in enumerate(rows):
        v = dict(zip(BANDS, DN)) | dict(r)
        lines.append(sep.join([*(str(v[b]) for b in BANDS[:len(header)]), *(str(c[i]) for c in more.values())]))
    text = before + '\n'.join(lines) + '\n'
    (folder/name).write_bytes(gzip.compress(text.encode()) if name.endswith('.gz') else text.encode())
    return folder/name

def refuse(path, says, **kw):
    with pytest.raises(FileError) as e: read_reflectance(path, **kw)
    assert str(path) in str(e.value) and '\n' not in str(e.value) and all(s in str(e.value) for s in ([says] if isinstance(says, str) else says)), e.value

PLAIN = dict(scale=10000, offset=0)

@pytest.mark.parametrize('name,sep', [('t.csv', ','), ('t.csv.gz', ','), ('t.tsv', '\t'), ('t.csv', ';')])
def test_reads(tmp_path, name, sep):
    got = read_reflectance(table(tmp_path, name=name, sep=sep, id=['p', 'q'], lai=[1.5, 2]), **PLAIN)
    assert np.allclose(got.x, np.array([DN, DN])/1e4, atol=1e-7) and got.bands == BANDS and got.angles == {} and got.outside == 0
    assert got.others['id'].tolist() == ['p', 'q'] and got.others['lai'].tolist() == [1.5, 2.] and got.mask.all()

@pytest.mark.parametrize('offset,want', [(0, .021), (-100, .011)])
def test_offset(tmp_path, offset, want): assert read_reflectance(table(tmp_path), 10000, offset).x[0,0] == pytest.approx(want, abs=1e-7)

def test_header_states(tmp_path):
    path = table(tmp_path, before='# scale: 10000\n# offset: -100\n# nodata: 653\n')
    got = read_reflectance(path)
    assert (got.scale, got.offset) == (10000, -100) and np.isnan(got.x[:,-1]).all() and got.x[0,0] == pytest.approx(.011, abs=1e-7)
    refuse(path, ['says scale 10000', '5000, as was asked'], scale=5000)
    refuse(table(tmp_path, before='# scale: much\n'), ["scale 'much'", 'a number'])

def test_fractions_need_no_scale(tmp_path):
    path = table(tmp_path, rows=[{b: v/1e4 for b, v in zip(BANDS, DN)}])
    assert np.allclose(read_reflectance(path).x, np.array([DN])/1e4, atol=1e-7)
    refuse(path, ['largest reflectance', 'is the scale right'], **PLAIN)

def test_scale_unsaid(tmp_path): refuse(table(tmp_path), ['--scale 10000', '--offset -1000', 'expected reflectances from 0 to 1.5'])
def test_offset_unsaid(tmp_path): refuse(table(tmp_path), ['the offset is not stated', '--offset -1000', '--offset 0'], scale=10000)
def test_per_cent(tmp_path): refuse(table(tmp_path, rows=[{b: v/100 for b, v in zip(BANDS, DN)}]), '--scale 100)')

@pytest.mark.parametrize('kw,says', [(dict(scale=0., offset=0), 'scale 0'), (dict(scale=-1e4, offset=0), 'positive'), (dict(scale=float('nan'), offset=0), 'scale nan'), (dict(scale=1e4, offset=float('inf')), 'offset inf')])
def test_absurd_scale(tmp_path, kw, says): refuse(table(tmp_path), says, **kw)

def test_negative(tmp_path):
    path = table(tmp_path, rows=[{}, dict(B04=-12)])
    refuse(path, ['line 3, B04', '1 value below 0 and 0 above 1.5 of 22', '-0.0012'], **PLAIN)
    refuse(table(tmp_path), ['is the offset in the file'], scale=10000, offset=-1000)
    refuse(table(tmp_path, rows=[{}, dict(B04=0)]), ['1 value below', '--nodata 0'], scale=10000, offset=-200)
    got = read_reflectance(table(tmp_path, rows=[{}, dict(B04=-12, B08=20000)]), outside='missing', **PLAIN)
    assert got.outside == 2 and np.isnan(got.x[1,[2, 6]]).all() and got.mask.sum() == 20 and '2 of them outside' in repr(got)
    with pytest.raises(ValueError, match="'refuse' or 'missing'"): read_reflectance(path, outside='clip', **PLAIN)

def test_bright(tmp_path): refuse(table(tmp_path, rows=[{}, dict(B08=15001)]), ['line 3, B08', '1 above 1.5', '1.5'], **PLAIN)
def test_limits_are_inside(tmp_path): assert read_reflectance(table(tmp_path, rows=[dict(B02=0, B08=15000)]), **PLAIN).x[0,6] == pytest.approx(1.5)

def test_gaps(tmp_path):
    got = read_reflectance(table(tmp_path, rows=[dict(B02='', B03='nan'), dict(B04=-9999)]), nodata=-9999, **PLAIN)
    assert np.isnan(got.x).sum() == 3 and not got.mask[1,2] and not got.mask[0,:2].any()
    got = read_reflectance(table(tmp_path, rows=[{}, dict.fromkeys(BANDS, ''), dict.fromkeys(BANDS, 'NA')]), **PLAIN)
    assert got.reasons.tolist() == ['', *['no band has a value']*2] and '2 of 3 rows without a result' in repr(got)
    refuse(table(tmp_path, rows=[dict.fromkeys(BANDS, 0)]), ['no band of any row has a value', 'nodata=0'], nodata=0, **PLAIN)
    refuse(table(tmp_path, rows=[dict(B05='cloud')]), ["'cloud'", 'line 2, column B05'], **PLAIN)
    refuse(table(tmp_path, rows=[dict(B05='inf')]), 'not finite', **PLAIN)

def test_columns(tmp_path):
    refuse(table(tmp_path, header=BANDS[:4], id='ab'), ['no column of band B06', 'not understood as bands: id', '--bands B02 B03 B04 B05'], **PLAIN)
    assert read_reflectance(table(tmp_path, header=BANDS[:4]), bands=('B04', 'blue'), **PLAIN).bands == ('B04', 'B02')
    refuse(table(tmp_path, header=[f'x{i}' for i in range(11)]), 'call them B02 ... B12', **PLAIN)
    refuse(table(tmp_path, header=('blue', *BANDS[1:]), B2=[1, 1]), ["'blue' and 'B2' are both band B02"], **PLAIN)
    refuse(table(tmp_path, header=(*BANDS[:3], 'B5_NIR', *BANDS[4:])), ['B05', 'nir', 'B08', 'another sensor'], **PLAIN)
    with pytest.raises(ValueError, match="no band 'B13'"): read_reflectance(table(tmp_path), bands=('B13',), **PLAIN)

@pytest.mark.parametrize('bands', [BANDS, tuple('blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16 swir22'.split()), tuple('B2 b03 B4 B5_RE1 B6 B7 B8 b8a B9 B11 B12_SWI2'.split())])
def test_names(bands): assert tuple(band_of(b) for b in bands) == BANDS
def test_not_understood(): assert [band_of(b) for b in ('rededge', 'B13', 'B8B', 'SR_B4', 'sur_refl_b01', '490', 'ndvi', '')] == [None]*8

@pytest.mark.parametrize('name', ['B02_std', 'B02_err', 'B02 error', 'sigma_B02', 'B02_uncertainty', 'unc_blue', 'sd B02'])
def test_errors_of_bands(tmp_path, name):
    "By the usual names; in another unit than the band they are refused, and what no band has is said."
    got = read_reflectance(table(tmp_path, **{name: [20, 30]}), **PLAIN)
    assert got.sd[:,0].tolist() == pytest.approx([.002, .003]) and np.isnan(got.sd[:,1:]).all() and 'standard deviations of 1 band read' in got.said
    refuse(table(tmp_path, **{f'{name} [%]': [2, 3]}), [name, "'%'", 'the unit of the band'], **PLAIN)
    refuse(table(tmp_path, **{name: [20, -30]}), ['line 3', '-30', 'errors of 0 or more'], **PLAIN)
    assert np.isnan(read_reflectance(table(tmp_path, **{name: [20, -9999]}), **PLAIN).sd[1,0])
    got = read_reflectance(table(tmp_path, noise=[1, 2], LAI_err=[1, 2]), **PLAIN)
    assert got.sd is None and 'LAI_err, noise' in got.said.replace('noise, LAI_err', 'LAI_err, noise') and 'not used as errors' in got.said

def test_angles(tmp_path):
    got = read_reflectance(table(tmp_path, sun_zenith=[30, 40.5], view_zenith_mean=[3, 4], sun_azimuth=[10, 160], view_azimuth=[350, 100]), **PLAIN)
    assert got.angles['tts'].tolist() == [30, 40.5] and got.angles['tto'].tolist() == [3, 4] and got.angles['psi'].tolist() == [20, 60]
    assert {k: v.tolist() for k, v in read_reflectance(table(tmp_path), tts=30, psi=0, **PLAIN).angles.items()} == dict(tts=[30, 30], psi=[0, 0])
    for column, odd, why in (('tts', 81, 'too low: zenith 81.0'), ('sza', -1, '-1 deg; expected 0 to 80'), ('vza', 61, 'view zenith 61'), ('tts', 'nan', 'not known')):
        got = read_reflectance(table(tmp_path, **{column: [30, odd]}), **PLAIN)
        assert got.usable.tolist() == [True, False] and why in got.reasons[1]
        refuse(table(tmp_path, **{column: [odd, odd]}), ['no row can be used', 'line 2', why], **PLAIN)
    assert read_reflectance(table(tmp_path, raa=[210, -150]), **PLAIN).angles['psi'].tolist() == [150, 150]
    refuse(table(tmp_path, tts=[.52, .7]), ['tts', 'radians or cosines'], **PLAIN)
    refuse(table(tmp_path, tts=[30, 30], sza=[30, 30]), ["'tts' and 'sza' are both tts"], **PLAIN)
    refuse(table(tmp_path, tts=[30, 30]), ['a column of tts', 'in the call'], tts=30, **PLAIN)
    refuse(table(tmp_path), ['found 95'], tts=95, **PLAIN)

def test_sun(tmp_path):
    asked = []
    def sun(date, lat, lon, time):
        asked.append((date, lat, lon, time))
        return len(asked)*10.
    path = table(tmp_path, rows=[{}]*3, date=['2018.10.30', '20180702', '2018-10-30T10:00:31'], latitude=[48.2]*3, lon=[16.2]*3)
    got = read_reflectance(path, sun=sun, **PLAIN)
    assert asked == [('2018-07-02', 48.2, 16.2, '10:04'), ('2018-10-30', 48.2, 16.2, '10:04')]              # each day and place once
    assert got.angles['tts'].tolist() == [20, 10, 20] and str(got.others['date'][1]) == '2018-07-02'
    assert 'tts' not in read_reflectance(table(tmp_path), lat=48.2, lon=16.2, sun=sun, **PLAIN).angles        # no date
    assert read_reflectance(table(tmp_path), date='2018-07-02', lat=48.2, lon=16.2, sun=sun, **PLAIN).angles['tts'].tolist() == [30, 30]
    assert read_reflectance(table(tmp_path, date=['2018-07-02']*2), lat=48.2, lon=16.2, tts=33, sun=sun, **PLAIN).angles['tts'][0] == 33
    refuse(table(tmp_path, date=['2018-07-02', 'yesterday']), ["'yesterday'", 'line 3, date', '2018-07-02'], **PLAIN)
    refuse(table(tmp_path, date=['2018-07-02', '2018-13-02']), "'2018-13-02'", **PLAIN)
    refuse(table(tmp_path), "'soon'", date='soon', **PLAIN)
    refuse(table(tmp_path, date=['2018-07-02']*2), ['in the call', 'date'], date='2018-07-02', **PLAIN)
    refuse(table(tmp_path), 'lat [deg]', date='2018-07-02', lat=91, lon=16, sun=sun, **PLAIN)
    refuse(table(tmp_path, lat=[48, 48]), 'a column of lat', lat=48, **PLAIN)

def test_sun_of_the_house(tmp_path):
    pytest.importorskip('physlearn.canopy.inform')
    got = read_reflectance(table(tmp_path), date='2018-07-02', lat=48.2, lon=16.2, **PLAIN)
    assert got.angles['tts'][0] == pytest.approx(27.4, abs=.4)      # by hand: declination 23.05°, hour angle -13.8°

def test_overpass_at_the_meridian_of_the_night(): assert 0 <= overpass(-60., 179.9) < 24 and 22 < overpass(-40., 175.) < 23     # New Zealand, 22:2x UTC

def test_rows(tmp_path):
    r = read_reflectance(table(tmp_path, rows=[dict(B02=i + 1) for i in range(4)], tts=[30, 31, 32, 33], side=list('aabb')), **PLAIN)
    half = r[r.others['side'] == 'b']
    assert len(half) == 2 and half.x[0,0] == np.float32(3e-4) and half.angles['tts'].tolist() == [32, 33] and half.others['side'].tolist() == ['b', 'b']

def test_indices():
    import torch
    x = torch.full((3, 11), .2)
    x[:,6], x[:,2], x[:,4], x[:,3] = .45, .05, .3, .1
    assert torch.allclose(ndvi(x), torch.full((3,), .8)) and torch.allclose(ndre(x), torch.full((3,), .5))
    with pytest.raises(ValueError, match='no band B06'): ndre(x[:,:2], BANDS[:2])

def test_hostile_tables(tmp_path):
    raw = table(tmp_path, rows=[{}]*4, tts=[30]*4, date=['2018-07-02']*4).read_bytes()
    read = 0
    for i, b in enumerate(mutants(raw, 300, 7)):
        (tmp_path/'m.csv').write_bytes(b)
        try: got = read_reflectance(tmp_path/'m.csv', **PLAIN)
        except FileError as e:
            assert 'm.csv' in str(e) and '\n' not in str(e)
            continue
        read += 1
        ok = got.x[got.mask]
        assert got.x.dtype == np.float32 and ((ok >= 0) & (ok <= 1.5)).all() and got.mask[got.usable].any(1).all()
    assert 0 < read < 300

# --- GeoTIFF

@pytest.fixture
def tif(tmp_path):
    rasterio = pytest.importorskip('rasterio')
    def make(v, name='a.tif', descriptions=BANDS, crs='EPSG:32633', transform=(20., 0., 600000., 0., -20., 5340000.), scales=None, offsets=None, tags=None, **kw):
        kw = dict(driver='GTiff', width=v.shape[2], height=v.shape[1], count=len(v), dtype=v.dtype.name) | (dict(crs=crs, transform=rasterio.Affine(*transform)) if crs else {}) | kw
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with rasterio.open(tmp_path/name, 'w', **kw) as d:
                d.write(v)
                if descriptions: d.descriptions = descriptions
                if scales:
                    d.scales = [scales]*len(v)
                    d.offsets = [offsets]*len(v)
                if tags: d.update_tags(**tags)
        return tmp_path/name
    return make

def pixels(h=4, w=5, dtype='uint16'): return (np.array(DN, float)[:,None,None] + np.arange(h*w).reshape(h, w)).astype(dtype)

def test_image(tif):
    v = pixels()
    v[:,0,1] = 0
    v[3,2,2] = 0
    path, suns = tif(v, nodata=0, compress='deflate', tiled=True, blockxsize=16, blockysize=16), []
    got = read_reflectance(path, date='2018-07-02', sun=lambda *a: suns.append(a) or 25., **PLAIN)
    assert len(got) == 19 and got.grid['shape'] == (4, 5) and 1 not in got.grid['pixel'] and np.isnan(got.x).sum() == 1
    assert suns[0][1:3] == (pytest.approx(48.2050, abs=2e-3), pytest.approx(16.3464, abs=2e-3)) and (got.angles['tts'] == 25).all()      # UTM 33N, by hand: 100 km east of 15°E
    back = image(got, got.x)
    assert back.shape == (4, 5, 11) and np.isnan(back[0,1]).all() and back[3,4,0] == pytest.approx((DN[0] + 19)/1e4) and np.isnan(back[2,2,3])
    some = got[5:8]
    assert np.isfinite(image(some, some.x[:,0])).sum() == 3
    with pytest.raises(ValueError, match='not from an image'): image(Reflectance(got.x, BANDS, {}, {}), got.x)
    refuse(path, '--scale 10000')
    refuse(tif(pixels()), ['row 0, column 0, B02', 'is the offset in the file'], scale=10000, offset=-215)
    refuse(tif(np.zeros((11, 4, 4), 'uint16'), nodata=0), 'no band of any row has a value', **PLAIN)

def test_middle_of_an_image(tif):
    lats = []
    read_reflectance(tif(pixels(), transform=(5e4, 0., 5e5, 0., -5e4, 5.4e6)), date='2018-07-02', sun=lambda *a: lats.append(a[1:3]) or 25., **PLAIN)
    assert lats == [(pytest.approx(47.84, abs=.1), pytest.approx(16.67, abs=.1))]       # 125 km east of 15°E, 5,300 km north: 111.2 km to a degree, on the ellipsoid

def test_image_states_scale_and_offset(tif):
    got = read_reflectance(tif(pixels(), scales=1e-4, offsets=-.01))
    assert got.scale == pytest.approx(10000) and got.offset == pytest.approx(-100) and got.x[0,0] == pytest.approx(.011, abs=1e-6)
    assert read_reflectance(tif(pixels(), tags=dict(SCALE='10000', OFFSET='-100'))).x[0,0] == pytest.approx(.011, abs=1e-6)

def test_image_bands(tif):
    v = pixels()
    order = [5, 0, *range(1, 5), *range(6, 11)]
    assert read_reflectance(tif(v[order], descriptions=[BANDS[i] for i in order]), **PLAIN).x[0] == pytest.approx(np.array(DN)/1e4)
    assert read_reflectance(tif(v, descriptions=None), **PLAIN).x[0] == pytest.approx(np.array(DN)/1e4)              # eleven, in the usual order
    refuse(tif(v[:4], descriptions=None), ['4 bands without names', '--bands'], **PLAIN)
    assert read_reflectance(tif(v[:4], descriptions=None), bands=BANDS[:4], **PLAIN).x.shape == (20, 4)
    refuse(tif(v, descriptions=[*BANDS[:10], 'ndvi']), ['no column of band B12', 'ndvi'], **PLAIN)
    assert np.isnan(read_reflectance(tif(pixels(dtype='float32')*np.where(np.arange(20).reshape(4, 5) == 7, np.nan, 1).astype('float32')), **PLAIN).x).sum() == 0

def test_image_without_a_place(tif):
    got = read_reflectance(tif(pixels(), crs=None), date='2018-07-02', sun=None, **PLAIN)
    assert got.angles == {} and 'lat' not in got.grid

def test_hostile_images(tif, tmp_path):
    path = tif(pixels(), nodata=0, compress='deflate')
    refuse(path, 'at most 512 bytes', limit=2**9, **PLAIN)
    refuse(tif(np.ones((11, 600, 600), 'uint8'), 'big.tif', compress='deflate'), ['600 x 600 pixels of 11 bands', 'at most 16 MiB', 'tiles'], limit=2**24, **PLAIN)
    refuse(tif(np.zeros((1, 4, 4), 'complex64'), descriptions=['B02']), 'real numbers', bands=('B02',), **PLAIN)
    (tmp_path/'b.tif').write_text('<VRTDataset rasterXSize="1" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>/etc/hostname</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>')
    refuse(tmp_path/'b.tif', 'is damaged', **PLAIN)
    read = 0
    for b in mutants(path.read_bytes(), 200, 3):
        (tmp_path/'m.tif').write_bytes(b)
        try: got = read_reflectance(tmp_path/'m.tif', limit=2**24, **PLAIN)
        except FileError as e:
            assert 'm.tif' in str(e) and '\n' not in str(e)
            continue
        read += 1
        ok = got.x[got.mask]
        assert ((ok >= 0) & (ok <= 1.5)).all()
    assert read < 200

def without_block(path, k, sparse):
    "A GeoTIFF whose block `k` has no bytes; `sparse`: and no place in the file, as GDAL leaves out what is all nodata."
    raw = bytearray(path.read_bytes())
    at, = struct.unpack_from('<I', raw, 4)
    for i in range(struct.unpack_from('<H', raw, at)[0]):
        tag, kind, n, value = struct.unpack_from('<HHII', raw, at + 2 + 12*i)
        size = {3: 2, 4: 4}.get(kind, 1)
        where = value if n*size > 4 else at + 2 + 12*i + 8
        if tag in (279, 325) or sparse and tag in (273, 324): raw[where + size*k:where + size*(k + 1)] = bytes(size)
    path.write_bytes(raw)
    return path

@pytest.mark.parametrize('kw', [dict(), dict(interleave='band'), dict(compress='deflate'), dict(tiled=True, blockxsize=16, blockysize=16)], ids=str)
@pytest.mark.parametrize('nodata', [None, 0])
@pytest.mark.parametrize('sparse', [False, True])
def test_lost_strips(tif, kw, nodata, sparse):
    "Blocks that are not in the file are no reflectances of 0."
    size = {} if 'tiled' in kw else dict(blockysize=8)
    path = tif(pixels(h=40, w=20), nodata=nodata, **size, **kw)
    assert len(read_reflectance(path, **PLAIN)) == 800
    refuse(without_block(path, 1, sparse), ['blocks are missing', 'interrupted'], **PLAIN)

def test_an_image_outside_of_the_world(tif):
    "What the projection says of a place that it does not have is told in one sentence."
    refuse(tif(pixels(), transform=(10., 0., 6e44, 0., -10., 3.8e180)), 'is damaged', **PLAIN)

def test_without_rasterio(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    (tmp_path/'a.tif').write_bytes(b'II*\0')
    with pytest.raises(ImportError, match='pip install rasterio'): read_reflectance(tmp_path/'a.tif', **PLAIN)

DATA = os.environ.get('PHYSLEARN_DATA')

@pytest.mark.skipif(not DATA, reason='PHYSLEARN_DATA is not set')
def test_wienerwald():
    r = read_reflectance(os.path.join(DATA, 's2_wienerwald', 's2_wienerwald.csv.gz'), **PLAIN)
    assert r.x.shape == (13468, 11) and r.x[0].tolist() == [np.float32(v/1e4) for v in (353, 380, 351, 662, 1352, 1536, 1722, 1778, 1704, 1177, 740)]
    sides = {k: set(r.others['sample_id'][r.others['source_split'] == k]) for k in ('train', 'valid', 'test')}
    assert [len(s) for s in sides.values()] == [602, 158, 202] and not sides['train'] & sides['test']

@pytest.mark.parametrize('place', ['{"coordinates": [1' + '0'*400 + ', 2]}', '{"coordinates": "here"}', '[', '7'])
def test_a_place_that_is_none(tmp_path, place):
    "A column of GeoJSON that says nowhere leaves the rows without a place."
    from physlearn.canopy.reflectance import _centre_of
    assert np.isnan(_centre_of(place)).all() and _centre_of('{"coordinates": [16, 48]}') == (16, 48)
