"""Reflectances as people bring them: exports of time series, images, other sensors, crops. Each case stands for its kind."""
import os
from pathlib import Path
import numpy as np
import pytest
from physlearn.canopy.reflectance import BANDS, complete, read_reflectance, within
from physlearn.cli import main
from physlearn.files import FileError, read_table

DATA = os.environ.get('PHYSLEARN_DATA')
pytestmark = pytest.mark.skipif(not DATA, reason='PHYSLEARN_DATA is not set')
CASES = Path(DATA or '.')/'cases/canopy'
PLAIN = dict(scale=10000, offset=0)

def cli(*words): return main([str(w) for w in words])
def case(name, **kw): return read_reflectance(CASES/name, **kw)

@pytest.fixture(scope='module')
def truth(): return case('truth.csv')

# --- series and tables

@pytest.mark.parametrize('name', ['gee', 'gee_time_start', 'gee_index_only'])
def test_exports_of_time_series(name, truth):
    "Dates, place and angles are understood; the sun follows from day and place where no column says it."
    r = case(f'{name}.csv', **PLAIN)
    days = [f"{k[:4]}-{k[4:6]}-{k[6:8]}" for k in r.others['system:index']]
    if name == 'gee_time_start': days = r.others['system:time_start'].astype('int64').astype('datetime64[ms]').astype('datetime64[D]').astype(str).tolist()
    assert r.others['date'].astype(str).tolist() == days and days[0] == '2022-06-12'
    assert np.abs(r.x[r.usable] - truth.x[[0, 1, 3, 4, 5]]).max() < 6e-5
    if name == 'gee':
        assert r.angles['tto'].tolist() == [8.9]*6 and r.angles['tts'][0] == 28.6359 and r.angles['psi'][0] == pytest.approx(139.9)
        assert r.reasons.tolist() == ['', '', 'no band has a value', '', '', '']
    else:
        from physlearn.canopy.inform import sun_zenith
        assert r.angles['tts'] == pytest.approx([float(sun_zenith(d, 48.2, 16.2, '10:04')) for d in days], abs=.3) and r.usable.all()

def test_an_empty_date_has_an_empty_result(tmp_path, capsys):
    assert cli('fit', 'canopy', CASES/'gee.csv', '--scale', 10000, '--offset', 0, '--draws', 16, '--out', tmp_path/'t.csv') == 0
    out, err = capsys.readouterr()
    assert err == '' and '1 of 6 rows without a result, the first: no band has a value' in out
    t = read_table(tmp_path/'t.csv', ['cab', 'p'], text=['flag', 'plot'], missing=['cab', 'p'])
    assert np.isnan(t['cab']).tolist() == [False, False, True, False, False, False] and t['plot'][2] == 'p2'
    assert 'no band has a value' in t['flag'][2] and 'not determined' not in t['flag'][2]

def test_low_sun(tmp_path, capsys):
    "Winter at 57 degrees north: skipped with its reason, and the rest goes on."
    r = within(complete(case('winter57.csv')), dict(tts=(0, 75)))
    assert r.usable.tolist() == [True]*4 + [False]*2 and all('the sun is too low' in w for w in r.reasons[4:])
    with pytest.raises(FileError, match='no row can be used: the sun is too low'): within(complete(case('winter57.csv'))[4:], dict(tts=(0, 75)))

def test_fill_values(tmp_path):
    r = case('r_na.csv')
    assert (~r.mask).sum() == 1 and np.isnan(r.x[3, BANDS.index('B09')])
    text = (CASES/'mixed_pb.csv').read_text().replace('268,438', '-9999,438')
    (tmp_path/'t.csv').write_text(text)
    r = read_reflectance(tmp_path/'t.csv', 10000, 'date')
    assert (~r.mask).sum() == 1 and '1 value of -9999 taken as missing' in r.said

@pytest.mark.parametrize('name', ['d_datetime', 'd_short', 'd_us', 'd_xarray'])
def test_dates(name):
    r = case(f'{name}.csv', date_order='mdy' if name == 'd_us' else None)
    assert set(r.others['date'].astype(str)) == {'2022-07-02'}

def test_dates_that_can_be_read_two_ways(tmp_path):
    with pytest.raises(FileError, match='--date-order dmy or mdy'): case('d_us.csv')
    assert set(case('d_us.csv', date_order='dmy').others['date'].astype(str)) == {'2022-02-07'}
    text = (CASES/'d_us.csv').read_text()
    for odd, day in (('02.07.2022', '2022-07-02'), ('2-Jul-2022', '2022-07-02'), ('07/22/2022', '2022-07-22'), ('1656756031000', '2022-07-02')):
        (tmp_path/'t.csv').write_text(text.replace('07/02/2022', odd))
        assert set(read_reflectance(tmp_path/'t.csv').others['date'].astype(str)) == {day}

def test_angles():
    assert set(case('a_210.csv').angles['psi']) == {150.}
    steep = complete(case('a_view45.csv'))
    assert set(steep.angles['tto']) == {45.}
    with pytest.raises(FileError, match='view zenith 45 deg; expected 0 to 15'): within(steep, dict(tto=(0, 15)))

def test_offset_by_date_or_row(truth, tmp_path):
    "Before and after processing baseline 04.00, 25 January 2022."
    r = case('mixed_pb.csv', scale=10000, offset='date')
    assert np.abs(r.x - truth.x).max() < 6e-5 and 'value -1000 or +0)/10000' in r.said
    assert r.offset.tolist() == [0]*3 + [-1000]*3 and r[4:].offset.tolist() == [-1000]*2
    lines = (CASES/'mixed_pb.csv').read_text().splitlines()
    for name, cells in (('add', (0, -1000)), ('PROCESSING_BASELINE', (3.01, 4.0))):
        more = [f'{line},{name if i == 0 else cells[i > 3]}' for i, line in enumerate(lines)]
        (tmp_path/'t.csv').write_text('\n'.join(more) + '\n')
        assert np.array_equal(read_reflectance(tmp_path/'t.csv', 10000, name).x, r.x)
    with pytest.raises(FileError, match="no column of numbers 'when'"): case('mixed_pb.csv', scale=10000, offset='when')

def test_zonal_means(truth, tmp_path):
    "Names with `_mean`; deviations beside them are the noise."
    assert np.allclose(case('zonal.csv').x, truth.x, atol=1e-7)
    head, *rows = (CASES/'zonal.csv').read_text().splitlines()
    (tmp_path/'t.csv').write_text('\n'.join([head + ',Blue_stdDev,NIR_stdDev', *(f'{row},0.05,{sd}' for row, sd in zip(rows, (.001, .001, .001, .1, .1, .1)))]) + '\n')
    r = complete(read_reflectance(tmp_path/'t.csv'))
    assert 'standard deviations of 2 bands read' in r.said and r.sd[0,0] == np.float32(.05) and np.isnan(r.sd[0,1])
    from physlearn.canopy.traits import _noise, arrays
    import torch
    batch = {k: torch.from_numpy(v) for k, v in arrays(r).items()}
    sd = _noise(batch, .02, 0.).std(batch['x'].double())[:,0]
    want = .02*r.x
    want[:,0], want[:3,6], want[3:,6] = .05, .001, .1
    assert np.allclose(sd, want, rtol=1e-5)

def test_top_of_atmosphere(): assert 'top-of-atmosphere reflectance (L1C)' in case('l1c.csv').said and 'L1C' not in case('truth.csv').said

def test_stacks_without_b09(capsys, tmp_path):
    "They fit and train, and it is said."
    r = complete(case('ten_band.csv'))
    assert 'no column of B09: taken as missing' in r.said and (~r.mask).sum(0).tolist() == [0]*8 + [6, 0, 0]
    assert cli('fit', 'canopy', CASES/'ten_band.csv', '--draws', 16) == 0 and 'no column of B09' in capsys.readouterr().out
    few = '--epochs 2 --epochs-pretrain 1 --kl-warmup-epochs 1 --pretrain-samples 64 --val-samples 64 --batch-size 64 --width 8 --posterior diagonal --gpus 0 --threads 1'.split()
    from physlearn.runs import Run
    evaluate, Run.evaluate = Run.evaluate, lambda run, say=print: {}
    try: assert cli('train', 'canopy', 'quick', '--table', CASES/'tr_noB09.csv', '--scale', 10000, '--offset', 0, '--lat', 48.2, '--lon', 16.2, *few, '--out', tmp_path/'run') == 0
    finally: Run.evaluate = evaluate
    assert 'no column of B09: taken as missing' in capsys.readouterr().out

def test_epochs_without_a_table(tmp_path, capsys):
    "All of the training is pretraining then: fewer epochs than these would have had no effect."
    assert cli('train', 'canopy', '--epochs', 5, '--gpus', 0, '--out', tmp_path/'run') == 2
    assert '--epochs-pretrain 5' in capsys.readouterr().err and not (tmp_path/'run').exists()

# --- images

@pytest.mark.parametrize('name,kw,pixels,said', [
    ('mask.tif', PLAIN, [2, 3, 4, 5], "2 of 6 pixels hidden by the image's own mask"),
    ('t_scl.tif', PLAIN | dict(mask='SCL=4,5'), [1, 2, 3, 4, 5], '1 of 6 pixels masked'),
    ('t_i16_9999.tif', PLAIN, [1, 2, 3, 4, 5], '11 values of -9999 taken as missing'),
    ('t_pb4_nonodata.tif', dict(scale=10000, offset=-1000), [1, 2, 3, 4, 5], '1 of 6 pixels are 0 in all bands: taken as missing'),
    ('t_gdal_so32.tif', dict(scale=10000, offset=-1000), range(6), 'value -1000)/10000'),
    ('sh.tif', dict(bands=(*BANDS, '-')), range(6), ''),
    ('t12_nodesc.tif', dict(bands=('-', *BANDS)), range(6), ''),
    ('t_angles.tif', {}, range(6), '')])
def test_images(name, kw, pixels, said, truth):
    pytest.importorskip('rasterio')
    r = case(name, **kw)
    assert r.grid['pixel'].tolist() == list(pixels) and said in r.said and r.bands == BANDS
    assert np.abs(r.x - truth.x[list(pixels)]).max() < 6e-5
    if name == 't_angles.tif': assert set(r.angles['tts']) == {33.} and set(r.angles['tto']) == {9.}

@pytest.mark.parametrize('name', ['t_scl.tif', 'mask.tif'])
def test_a_masked_image_from_the_shell(name, tmp_path, capsys):
    "To an image and to a table: what is masked is NaN there, and has no row here."
    rasterio = pytest.importorskip('rasterio')
    masked = ('--mask', 'SCL=4,5') if name == 't_scl.tif' else ()
    for out in ('t.tif', 't.csv'):
        assert cli('fit', 'canopy', CASES/name, '--scale', 10000, '--offset', 0, '--tts', 40, *masked, '--draws', 16, '--out', tmp_path/out) == 0
        assert capsys.readouterr().err == ''
    with rasterio.open(tmp_path/'t.tif') as f: n = int(np.isfinite(f.read(1)).sum())
    assert n == len(read_table(tmp_path/'t.csv', ['LAI'])['LAI']) == (5 if masked else 4)

def test_bands_of_an_image_are_named():
    pytest.importorskip('rasterio')
    with pytest.raises(FileError, match='12 bands without names.*- for one to leave out'): case('sh.tif')
    with pytest.raises(FileError, match="no band or column 'SCL'"): case('mask.tif', mask='SCL=4', **PLAIN)

# --- sensors

def test_landsat(tmp_path):
    "Names and numbers of Collection 2, and fractions; another satellite is asked for, not guessed."
    sr, b = case('l8_sr.csv', sensor='L8'), case('l8_b.csv', sensor='L8')
    assert sr.bands == b.bands == ('B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7') and np.abs(sr.x - b.x).max() < 1.5e-5
    assert 'Landsat Collection 2' in sr.said and 'Landsat' not in b.said
    for name in ('l8_sr.csv', 'l8_b.csv'):
        with pytest.raises(FileError, match='--sensor L8 or L9'): case(name)
    (tmp_path/'t.csv').write_text((CASES/'l8_b.csv').read_text().replace('B1,B2,B3,B4,B5,B6,B7', 'coastal,blue,green,red,nir08,swir16,swir22'))
    assert np.array_equal(read_reflectance(tmp_path/'t.csv', sensor='L9').x, b.x)

def test_landsat_fits(capsys):
    assert cli('fit', 'canopy', CASES/'l8_sr.csv', '--sensor', 'L8', '--draws', 16) == 0
    out, err = capsys.readouterr()
    assert err == '' and 'Landsat Collection 2' in out

@pytest.mark.parametrize('sensor', ['L8', 'own'])
def test_every_verb_takes_the_sensor(sensor, tmp_path, capsys):
    "Simulated bands are those of the sensor, read and fitted again."
    if sensor == 'own':
        (tmp_path/'own.csv').write_text('band,nm,response\n' + '\n'.join(f'{n},{c + d},1' for n, c in (('green', 550), ('red', 660), ('nir', 850)) for d in (-5, 5)))
        sensor = tmp_path/'own.csv'
    assert cli('simulate', 'canopy', tmp_path/'s.csv', '--n', 2, '--tts', 40, '--sensor', sensor) == 0
    assert cli('fit', 'canopy', tmp_path/'s.csv', '--draws', 16, '--sensor', sensor) == 0
    assert cli('identifiable', 'canopy', '--n', 2, '--draws', 16, '--sensor', sensor) == 0
    head = read_table(tmp_path/'s.csv').keys()
    assert list(head)[:3] == (['B1', 'B2', 'B3'] if sensor == 'L8' else ['green', 'red', 'nir'])

def test_field_spectrometer(tmp_path):
    "400 to 2500 nm, rows or columns, become the bands of the sensor."
    from physlearn.canopy.inform import surface_bands
    lines = [line.split(',') for line in (CASES/'asd.csv').read_text().splitlines()]
    nm, plots = np.array(lines[0][1:-1], float), np.array([line[1:-1] for line in lines[1:]], float)
    bands = surface_bands('S2A')
    want = plots[:,np.searchsorted(nm, np.arange(400, 2501))] @ bands.W.numpy().T
    r = case('asd.csv')
    assert np.abs(r.x - want).max() < 2e-4 and r.others['Wavelength'].tolist() == ['plot1', 'plot2'] and 'resampled to S2A' in r.said
    assert r.angles['tts'].tolist() == [float(line[-1]) for line in lines[1:]]
    long = ['wavelength,a,b', *(f'{w},{x},{y}' for w, x, y in zip(nm, *plots))]
    (tmp_path/'long.csv').write_text('\n'.join(long) + '\n')
    again = read_reflectance(tmp_path/'long.csv', sensor='L8', tts=30.)
    assert again.others['plot'].tolist() == ['a', 'b'] and again.x[:,3] == pytest.approx(plots[:,np.searchsorted(nm, 655)], abs=.003)

# --- crops

def test_crops_by_other_hands(tmp_path, capsys):
    "Fields computed by prosail: 90 % intervals hold the leaf area in 85 % or more; read as forests they are flagged."
    sun = '--tts', 35, '--draws', 96, '--level', .9, '--out', tmp_path/'t.csv', '--overwrite'
    assert cli('fit', 'canopy', CASES/'crop_prosail.csv', '--canopy', 'crop', *sun) == 0
    out, err = capsys.readouterr()
    t = read_table(tmp_path/'t.csv', ['LAI_low90', 'LAI_high90', 'truth_lai', 'p'])
    assert err == '' and ((t['LAI_low90'] <= t['truth_lai']) & (t['truth_lai'] <= t['LAI_high90'])).mean() >= .85
    assert (t['p'] > 1e-3).all() and '--canopy' not in out and 'LAI_total' not in out and 'CCC' in out
    assert cli('fit', 'canopy', CASES/'crop_prosail.csv', *sun) == 0
    t = read_table(tmp_path/'t.csv', ['p'])
    assert (t['p'] < 1e-3).mean() > .5 and 'is it a crop (--canopy crop)?' in capsys.readouterr().out

def test_crops_in_other_verbs(tmp_path, capsys):
    assert cli('simulate', 'canopy', tmp_path/'s.csv', '--n', 8, '--canopy', 'crop', '--tts', 40, '--range', 'LAI=1..4') == 0
    t = read_table(tmp_path/'s.csv')
    assert t['truth_LAI'].min() >= 1 and t['truth_LAI'].max() <= 4 and 'truth_ala' in t and 'truth_fc' not in t
    assert cli('identifiable', 'canopy', '--canopy', 'crop', '--n', 2, '--draws', 16) == 0 and 'rsoil' in capsys.readouterr().out
    for words, says in ((('--range', 'fc=0..1'), 'a crop has N, cab'), (('--range', 'LAI=0..9'), 'within 0.01..8'), (('--canopy', 'moss'), 'forest or crop')):
        assert cli('simulate', 'canopy', tmp_path/'x.csv', *(('--canopy', 'crop') if words[0] == '--range' else ()), *words) == 2
        assert says in capsys.readouterr().err

# --- scenes: a folder with a file for each band

def band_files(folder, sizes, layout, **how):
    "A file for each band on 120 x 120 m; pixels of `sizes` [m] count up from 500, 600, ...; `layout(band, size)` names it."
    rasterio = pytest.importorskip('rasterio')
    values = {}
    for k, (band, size) in enumerate(sizes.items()):
        n, path = 120//size, folder/layout(band, size)
        v = (500 + 100*k + np.arange(n*n).reshape(n, n)).astype('uint16')
        if band == 'SCL': v[:], v[0,0] = 4, 9
        path.parent.mkdir(parents=True, exist_ok=True)
        place = dict(crs='EPSG:32633', transform=rasterio.Affine(size, 0, 6e5, 0, -size, 5.3e6))
        with rasterio.open(path, 'w', count=1, height=n, width=n, dtype='uint16', **place, **how) as f: f.write(v[None])
        values[band] = v.repeat(12//n, 0).repeat(12//n, 1)
    return values

SAFE = 'S2A_MSIL2A_20220612T100601_N0400_R022_T33UWP_20220612T162501.SAFE'
GRANULE = 'GRANULE/L2A_T33UWP_A036410_20220612T100559'
ABOUT = """<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int"><BOA_QUANTIFICATION_VALUE unit="none">10000
</BOA_QUANTIFICATION_VALUE><BOA_ADD_OFFSET_VALUES_LIST><BOA_ADD_OFFSET band_id="0">-100</BOA_ADD_OFFSET>
<BOA_ADD_OFFSET band_id="1">-100</BOA_ADD_OFFSET></BOA_ADD_OFFSET_VALUES_LIST></n1:Level-2A_User_Product>"""
ANGLES = """<n1:Level-2A_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int"><Mean_Sun_Angle><ZENITH_ANGLE unit="deg">28.5</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">150</AZIMUTH_ANGLE></Mean_Sun_Angle><Mean_Viewing_Incidence_Angle_List>
<Mean_Viewing_Incidence_Angle bandId="0"><ZENITH_ANGLE unit="deg">8</ZENITH_ANGLE><AZIMUTH_ANGLE unit="deg">290</AZIMUTH_ANGLE>
</Mean_Viewing_Incidence_Angle><Mean_Viewing_Incidence_Angle bandId="1"><ZENITH_ANGLE unit="deg">9</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">292</AZIMUTH_ANGLE></Mean_Viewing_Incidence_Angle></Mean_Viewing_Incidence_Angle_List></n1:Level-2A_Tile_ID>"""
SIZES = dict(B02=10, B03=10, B04=10, B08=10, B05=20, B06=20, B07=20, B8A=20, B11=20, B12=20, SCL=20, B01=60, B09=60)

@pytest.fixture
def safe(tmp_path):
    "A product of level 2A, its bands as JPEG 2000 in three sizes; B02 in 20 m beside that in 10 m."
    folder = tmp_path/SAFE
    def layout(band, size): return f'{GRANULE}/IMG_DATA/R{size}m/T33UWP_20220612T100601_{band}_{size}m.jp2'
    lossless = dict(driver='JP2OpenJPEG', QUALITY='100', REVERSIBLE='YES')
    values = band_files(folder, SIZES, layout, **lossless)
    band_files(folder, dict(B02=20), layout, **lossless)
    (folder/'MTD_MSIL2A.xml').write_text(ABOUT)
    (folder/GRANULE/'MTD_TL.xml').write_text(ANGLES)
    return folder, values

def test_a_product_of_sentinel(safe):
    "Bands of 20 and 60 m on the grid of 10 m; scale, offset and angles from its own files."
    folder, values = safe
    r = read_reflectance(folder, mask='SCL=4,5')
    assert r.bands == BANDS and len(r) == 144 - 4 and r.grid['shape'] == (12, 12)
    at = np.divmod(r.grid['pixel'], 12)
    for k, band in enumerate(BANDS): assert np.allclose(r.x[:,k], (values[band][at] - 100.)/1e4, atol=1e-7), band
    assert set(r.angles['tts']) == {28.5} and set(r.angles['tto']) == {8.5} and np.allclose(r.angles['psi'], 141)
    assert 'pixels of 20 and 60 m repeated on the grid of 10 m' in r.said and '4 of 144 pixels masked' in r.said
    part = read_reflectance(folder, mask='SCL=4,5', window=(4, 6, 3, 5))
    inside = (at[0] >= 4) & (at[0] < 7) & (at[1] >= 6) & (at[1] < 11)
    assert np.array_equal(part.x, r.x[inside])

def test_a_product_fits_and_is_mapped(safe, tmp_path, capsys):
    rasterio = pytest.importorskip('rasterio')
    folder, _ = safe
    assert cli('fit', 'canopy', folder, '--draws', 16, '--mask', 'SCL=9', '--out', tmp_path/'t.tif') == 0
    out, err = capsys.readouterr()
    assert err == '' and 'value -100)/10000' in out
    with rasterio.open(tmp_path/'t.tif') as f: assert f.shape == (12, 12) and np.isfinite(f.read(1)).sum() == np.isfinite(f.read(1)[:2,:2]).sum() == 4

def test_level_1c_of_a_folder(tmp_path):
    folder = tmp_path/SAFE.replace('MSIL2A', 'MSIL1C')
    band_files(folder, {k: v for k, v in SIZES.items() if k != 'SCL'} | dict(B10=60), lambda b, size: f'IMG_DATA/T33UWP_20220612T100601_{b}.jp2',
               driver='JP2OpenJPEG', QUALITY='100', REVERSIBLE='YES')
    assert 'L1C' in read_reflectance(folder, scale=1e4, offset=0, tts=30).said
    (folder/f"{'IMG_DATA/T33UWP_20220612T100601_B10'}.jp2").unlink()
    (folder/'MTD_MSIL1C.xml').write_text('<a/>')
    assert 'MTD_MSIL1C.xml is there: this is top-of-atmosphere' in read_reflectance(folder, scale=1e4, offset=0, tts=30).said

def test_a_product_says_its_satellite(safe):
    "Bands of another satellite than was said are told of; of the one that was said, nothing."
    folder, _ = safe
    (folder/'MTD_MSIL2A.xml').write_text(ABOUT.replace('<BOA_QUANT', '<Datatake><SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME></Datatake><BOA_QUANT', 1))
    for _ in range(2):
        said = read_reflectance(folder).said
        assert said.count('the product says it is of S2B, and its bands were taken as those of S2A') == 1
    assert 'the product says' not in read_reflectance(folder, sensor='S2B').said

def test_a_mask_that_is_not_there(safe):
    "Names that are there are said, of an image and of a table."
    with pytest.raises(FileError, match="no band or column 'XYZ' for the mask; expected one of .*SCL"): read_reflectance(safe[0], mask='XYZ=4')
    with pytest.raises(FileError, match="no band or column 'XYZ' for the mask; expected one of"): case('d_us.csv', mask='XYZ=4', date_order='mdy')

def test_a_folder_of_landsat(tmp_path):
    name = 'LC08_L2SP_190027_20220620_20220630_02_T1'
    values = band_files(tmp_path/name, {**{f'SR_B{k}': 10 for k in range(1, 8)}, 'QA_PIXEL': 10}, lambda b, size: f'{name}_{b}.TIF', driver='GTiff')
    (tmp_path/name/f'{name}_MTL.txt').write_text('GROUP = IMAGE_ATTRIBUTES\n    SUN_AZIMUTH = 140.1\n    SUN_ELEVATION = 57.25\n    SPACECRAFT_ID = "LANDSAT_8"\nEND\n')
    with pytest.raises(FileError, match='--sensor L8 or L9'): read_reflectance(tmp_path/name)
    r = read_reflectance(tmp_path/name, sensor='L8', scale=1e4, offset=0)
    assert r.bands == ('B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7') and np.allclose(r.x[:,3], values['SR_B4'].ravel()/1e4)
    assert set(r.angles['tts']) == {32.75} and 'the product says' not in r.said
    assert 'is of L8, and its bands were taken as those of L9' in read_reflectance(tmp_path/name, sensor='L9', scale=1e4, offset=0).said

def test_folders_that_are_no_scene(tmp_path):
    with pytest.raises(FileError, match='is a folder without images'): read_reflectance(tmp_path)
    band_files(tmp_path, dict(B02=10, B03=20), lambda b, size: f'{b}.tif', driver='GTiff')
    rasterio = pytest.importorskip('rasterio')
    with rasterio.open(tmp_path/'B03.tif', 'r+') as f: f.transform = rasterio.Affine(20, 0, 6e5 + 20, 0, -20, 5.3e6)
    with pytest.raises(FileError, match='B03.tif covers other ground than B02.tif'): read_reflectance(tmp_path, bands=('B02', 'B03'))
    band_files(tmp_path, dict(B02=10), lambda b, size: f'x_{b}.tif', driver='GTiff')
    with pytest.raises(FileError, match='are both B02'): read_reflectance(tmp_path)
