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
    assert (~r.mask).sum() == 1 and '1 values of -9999 taken as missing' in r.said

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
