"Binary files as other programs write them: scaled integers, keywords in another unit, attributes, gaps, masks."
import numpy as np
import pytest
from astropy.io import fits
from physlearn.files import FileError
from physlearn.lightcurve.xray_files import read_lightcurve

N = 8
STEPS = 100.*np.arange(N) + 50                      # their middle [s]
PHOTONS = np.array([100, 200, 300, 400, 500, 600, 700, 800])

def written(path, *columns, primary=(), **head):
    "A FITS table of (name, format, unit, values); keywords that begin with Q are those of TSCAL, TZERO and TNULL."
    made = fits.BinTableHDU.from_columns([fits.Column(n, f, u or None, array=v) for n, f, u, v in columns], name='RATE')
    usual = dict(MJDREFI=50000, MJDREFF=.25, TIMEPIXR=.5, TIMEDEL=100., E_MIN=.2, E_MAX=2.)
    for k, v in (usual | head).items():
        if v is not None: made.header[k] = v
    first = fits.PrimaryHDU()
    first.header.update(dict(primary))
    fits.HDUList([first, made]).writeto(path, overwrite=True)
    raw = path.read_bytes()
    for k in (b'SCAL', b'ZERO', b'NULL'): raw = raw.replace(b'Q' + k, b'T' + k)
    path.write_bytes(raw)
    return path

TIME, SHARE = ('TIME', 'D', 's', STEPS), ('FRACEXP', 'E', '', np.ones(N))

def rates(unit='s', by=1.): return ('TIME', 'D', unit, STEPS*by), ('RATE', 'D', 'count/s', PHOTONS/100), ('ERROR', 'D', 'count/s', PHOTONS**.5/100)

@pytest.mark.parametrize('scale, zero, null, stored', [(None, None, -99, PHOTONS), (2., 0., -99, PHOTONS//2), (.5, 10., -99, (PHOTONS - 10)*2),
                                                       (1., 32768., -32768, PHOTONS - 32768)])
def test_missing_counts_of_scaled_columns(tmp_path, scale, zero, null, stored):
    "TNULL is the number as it is stored, before it is scaled (FITS 4.0, section 7.3.2)."
    stored = stored.astype('i2')
    stored[2] = null
    head = {k: v for k, v in dict(QNULL2=null, QSCAL2=scale, QZERO2=zero).items() if v is not None}
    lc = read_lightcurve(written(tmp_path/'a.fits', TIME, ('COUNTS', 'I', '', stored), SHARE, **head))
    assert lc.mask[:,0].tolist() == [k != 2 for k in range(N)]
    np.testing.assert_allclose(lc.counts[lc.mask], np.delete(PHOTONS, 2))

@pytest.mark.parametrize('unit, by, head, zero', [
    ('s', 1., dict(TIMEUNIT='d', TIMEDEL=100/86400, TIMEZERI=10000, TIMEZERF=.25, MJDREFI=40000, MJDREFF=0.), 10000.25*86400),
    ('s', 1., dict(TIMEUNIT='d', TIMEZERI=10000, TIMEZERF=.25, MJDREFI=40000, MJDREFF=0.), 10000.25*86400),  # TIMEDEL in s
    ('d', 1/86400, dict(TIMEUNIT='s'), 0.), ('d', 1/86400, dict(TIMEUNIT='s', TIMEZERO=1000.), 1000.),
    ('min', 1/60, dict(TIMEUNIT='min', TIMEDEL=100/60), 0.)])
def test_keywords_are_in_the_unit_of_keywords(tmp_path, unit, by, head, zero):
    "TIMEZERO and TIMEDEL are in TIMEUNIT, the column in its TUNIT (OGIP 93-003), as XRONOS writes them."
    lc = read_lightcurve(written(tmp_path/'a.fits', *rates(unit, by), **head))
    np.testing.assert_allclose(lc.time, STEPS + zero, rtol=0, atol=1e-6)
    np.testing.assert_allclose(lc.dt, 100.)
    np.testing.assert_allclose(lc.counts[:,0], PHOTONS)

def test_the_table_says_where_its_time_begins(tmp_path):
    path = written(tmp_path/'a.fits', *rates(), primary=dict(MJDREFI=50000, MJDREFF=.25), MJDREFI=None, MJDREFF=None, MJDREF=51000.)
    assert read_lightcurve(path).mjdref == 51000.

@pytest.mark.parametrize('unit, by', [('keV', 1.), ('eV', 1e3), ('MeV', 1e-3)])
def test_units_of_energies(tmp_path, unit, by):
    lc = read_lightcurve(written(tmp_path/'a.fits', *rates(), E_MIN=.2*by, E_MAX=2.*by, EUNIT=unit))
    np.testing.assert_allclose(lc.bands, [[.2, 2.]])

@pytest.mark.parametrize('head, says', [(dict(TIMEDEL=-100.), 'TIMEDEL = -100.0; expected a length above 0'), (dict(TIMEDEL=0.), 'TIMEDEL = 0.0'),
                                        (dict(TIMEPIXR=2.), 'TIMEPIXR = 2.0; expected 0 to 1'), (dict(E_MIN='low'), "E_MIN = 'low'; expected a number")])
def test_keywords_that_cannot_be(tmp_path, head, says):
    with pytest.raises(FileError) as e: read_lightcurve(written(tmp_path/'a.fits', *rates(), **head))
    assert says in str(e.value) and 'damaged' not in str(e.value)

@pytest.mark.parametrize('form, values, says', [('C', PHOTONS/100 + 1j, 'complex'), ('L', PHOTONS > 0, 'true or false'),
                                                ('PD()', np.array([np.ones(k % 3 + 1) for k in range(N)], dtype=object), 'varies in length')])
def test_rates_that_are_no_numbers(tmp_path, form, values, says):
    time, rate, error = rates()
    with pytest.raises(FileError) as e: read_lightcurve(written(tmp_path/'a.fits', time, ('RATE', form, 'count/s', values), error))
    assert says in str(e.value) and 'damaged' not in str(e.value)

# ------------------------------------------------------------------------------------------------------------- HDF5

def hdf5(path, axis, values, **attributes):
    import h5py
    with h5py.File(path, 'w') as f:
        f['nu'], f['y'] = axis, values
        for k, v in attributes.items(): f[k.partition('__')[0]].attrs[k.partition('__')[2]] = v
    return path

NU = np.linspace(3085, 3086, 64)
T = 1 - .3*np.exp(-((NU - 3085.5)/.1)**2)

def spectrum(path, quantity='transmittance', **kw):
    from physlearn.spectra.files import read_spectrum
    return read_spectrum(path, quantity=quantity, x='nu', y='y', **(dict(axis='wavenumber') | kw))

def test_scale_and_gaps_of_attributes(tmp_path):
    "As netCDF packs numbers (CF conventions, section 8.1): stored times scale_factor plus add_offset, gaps before both."
    stored = np.round((T - .5)*1e4).astype('i2')
    stored[:2] = -9999
    s = spectrum(hdf5(tmp_path/'a.h5', NU, stored, y__scale_factor=1e-4, y__add_offset=.5, y___FillValue=np.int16(-9999)))
    np.testing.assert_allclose(s.y, T[2:], atol=6e-5)
    np.testing.assert_allclose(s.nu, NU[2:])

def test_a_gap_within_is_no_value(tmp_path):
    stored = np.where(np.arange(64) == 30, -9999., T)
    with pytest.raises(FileError) as e: spectrum(hdf5(tmp_path/'a.h5', NU, stored, y__missing_value=-9999.))
    assert '1 of 64 are not finite' in str(e.value)

@pytest.mark.parametrize('unit, axis, values', [('cm-1', 'wavenumber', NU), ('m-1', 'wavenumber', NU*100), ('um', 'wavelength', 1e4/NU),
                                                ('GHz', 'frequency', NU*29.9792458)])
def test_units_of_attributes(tmp_path, unit, axis, values):
    s = spectrum(hdf5(tmp_path/'a.h5', values, T, nu__units=unit), axis=axis, medium='vacuum' if axis == 'wavelength' else None)
    np.testing.assert_allclose(s.nu, NU, rtol=1e-9)

def test_per_cent_by_attribute(tmp_path):
    np.testing.assert_allclose(spectrum(hdf5(tmp_path/'a.h5', NU, 100*T, y__units='%')).y, T)

@pytest.mark.parametrize('unit, says', [('nm', "unit 'nm' (length); expected a unit like '1/cm'"), ('GHz', "unit 'GHz'")])
def test_an_axis_in_another_unit(tmp_path, unit, says):
    with pytest.raises(FileError) as e: spectrum(hdf5(tmp_path/'a.h5', NU, T, nu__units=unit))
    assert says in str(e.value)

def test_a_unit_that_nobody_knows_is_said(tmp_path):
    s = spectrum(hdf5(tmp_path/'a.h5', NU, T, nu__units='wavenumbers', y__units='a.u.'))
    assert any("'wavenumbers'" in n for n in s.notes) and np.allclose(s.nu, NU)

@pytest.mark.parametrize('as_', [lambda v: v[:,None], lambda v: v[None]], ids=['column', 'row'])
def test_columns_of_one_column(tmp_path, as_):
    "(N,1), and (1,N) as Matlab writes it, are (N,) in HDF5 and NPZ; more rows are not."
    files = hdf5(tmp_path/'a.h5', as_(NU), as_(T), nu__units='1/cm'), tmp_path/'a.npz'
    np.savez(files[1], nu=NU, y=as_(T), sigma=as_(0*T + .01))
    for path in files: np.testing.assert_allclose(spectrum(path).y, T)
    np.testing.assert_allclose(spectrum(files[1]).sigma, .01)
    np.savez(files[1], nu=NU, y=np.stack([T, T], 1))
    with pytest.raises(FileError, match='shape'): spectrum(files[1])

def test_a_column_is_one_spectrum(tmp_path):
    "Not a spectrum for each row, of one point."
    from physlearn.spectra.files import Reading
    assert Reading(y='y').rows_in(hdf5(tmp_path/'a.h5', NU, T[:,None]), None) == 1
    assert Reading(y='y').rows_in(hdf5(tmp_path/'b.h5', NU, np.stack([T, T])), None) == 2

@pytest.mark.parametrize('values, says', [(T > .9, 'true or false; expected real numbers; is it a mask'), (T.astype(str), 'text; expected real numbers; save it again as numbers')])
@pytest.mark.parametrize('name', ['nu', 'y', 'sigma'])
def test_no_numbers_are_no_spectrum(tmp_path, values, says, name):
    "Of true and false 0 and 1 were made."
    import h5py
    arrays = dict(nu=NU, y=T, sigma=0*T + .01) | {name: values}
    np.savez(tmp_path/'a.npz', **arrays)
    with h5py.File(tmp_path/'a.h5', 'w') as f:
        for k, v in arrays.items(): f[k] = np.char.encode(v) if v.dtype.kind == 'U' else v
    for path in (tmp_path/'a.npz', tmp_path/'a.h5'):
        with pytest.raises(FileError) as e: spectrum(path)
        assert says in str(e.value) and f', {name}:' in str(e.value)

def test_words_beside_a_spectrum_are_no_noise(tmp_path):
    np.savez(tmp_path/'a.npz', nu=NU, y=T, noise=T.astype(str))
    assert spectrum(tmp_path/'a.npz').sigma is None

def test_one_bare_array(tmp_path):
    "A .npy file has no names: what is axis and what are values is not said."
    from physlearn.files import read_npz, read_table
    np.save(tmp_path/'a.npy', np.stack([NU, T], 1))
    for read in (spectrum, read_npz):
        with pytest.raises(FileError) as e: read(tmp_path/'a.npy')
        assert 'one bare array of NumPy, without a name' in str(e.value) and "np.savez('a.npz', wavenumber=..., transmittance=...)" in str(e.value)
    (tmp_path/'a.npz').write_bytes((tmp_path/'a.npy').read_bytes())
    with pytest.raises(FileError, match='one bare array'): spectrum(tmp_path/'a.npz')
    with pytest.raises(FileError, match='is one bare array of NumPy; expected text; save its table as CSV'): read_table(tmp_path/'a.npy')

@pytest.mark.parametrize('twice, option', [('nu', 'x'), ('y', 'y'), ('sigma', '')])
def test_two_columns_in_capitals_and_not(tmp_path, twice, option):
    "Which of nu and NU is meant is for the caller to say."
    arrays = dict(nu=NU, y=T, sigma=0*T + .01)
    np.savez(tmp_path/'a.npz', **arrays, **{twice.upper(): arrays[twice]*1.01})
    from physlearn.spectra.files import read_spectrum
    with pytest.raises(FileError) as e: read_spectrum(tmp_path/'a.npz', quantity='transmittance', axis='wavenumber')
    assert f"'{twice}' and '{twice.upper()}'" in str(e.value) and (f'--{option} {twice} or --{option} {twice.upper()}' if option else 'leave the column out') in str(e.value)
    if not option: return
    s = read_spectrum(tmp_path/'a.npz', quantity='transmittance', axis='wavenumber', **{option: twice.upper()})
    np.testing.assert_allclose(s.nu if option == 'x' else s.y, arrays[twice]*1.01)

def test_tables_name_both_columns(tmp_path):
    from physlearn.files import read_table
    (tmp_path/'a.csv').write_text('x,X,y\n1,2,3\n')
    with pytest.raises(FileError, match="'x' and 'X'; expected one column of x; rename"): read_table(tmp_path/'a.csv', rename=str.lower)

# ----------------------------------------------------------------------------------------------------------- GeoTIFF

BANDS = 'B02', 'B03', 'B04', 'B05', 'B06', 'B07', 'B08', 'B8A', 'B11', 'B12'
LOCAL = 'LOCAL_CS["yard",UNIT["m",1]]'
SIDE = 64

def tiff(path, x, names, crs='EPSG:32633', hole=False, **how):
    "A GeoTIFF of 16 x 16 blocks; with `hole` the last of them is not written."
    import rasterio
    x = np.asarray(x)
    how = dict(driver='GTiff', width=SIDE, height=SIDE, count=len(x), dtype=x.dtype, crs=crs, tiled=True, blockxsize=16,
               blockysize=16, transform=rasterio.transform.from_origin(5e5, 5.3e6, 10, 10)) | how
    with rasterio.open(path, 'w', SPARSE_OK=hole, **how) as f:
        f.descriptions = names
        if not hole: f.write(x)
        for i in range(0, SIDE*hole, 16):
            for j in range(0, SIDE - 16*(i == SIDE - 16), 16): f.write(x[:,i:i+16,j:j+16], window=rasterio.windows.Window(j, i, 16, 16))
    return path

def picture(): return (np.random.default_rng(0).uniform(.03, .3, (4, SIDE, SIDE))).astype('f4')
def backscatter():
    vv = np.random.default_rng(1).normal(-10, 1, (SIDE, SIDE))
    return np.stack([vv, vv - 7]).astype('f4')

def test_blocks_that_are_missing_from_a_window(tmp_path):
    "A map is made window by window; blocks that were never written would be clear sky, or a reflectance of 0."
    from physlearn.canopy.reflectance import read_reflectance
    from physlearn.sar.scene_files import image_grid, mask_on
    x = np.full((10, SIDE, SIDE), .2, 'f4')
    path = tiff(tmp_path/'a.tif', x, BANDS, hole=True)
    assert len(read_reflectance(path, window=(0, 0, 32, 32))) == 32*32
    with pytest.raises(FileError, match='10 of 40 blocks are missing'): read_reflectance(path, window=(32, 32, 32, 32))
    cloud = tiff(tmp_path/'c.tif', np.ones((1, SIDE, SIDE), 'u1'), ['cloud'], hole=True)
    with pytest.raises(FileError, match='1 of 16 blocks are missing'): mask_on(cloud, image_grid(cloud), 'cloud')
    assert mask_on(cloud, image_grid(cloud).part(0, 0, 16, 16), 'cloud')[0].all()

def test_local_coordinates(tmp_path):
    "A field with coordinates of its own is read, and has no place of its own; radar of it cannot be put on a map."
    from physlearn.canopy.reflectance import read_reflectance
    from physlearn.sar.scene_files import image_grid, radar_on
    r = read_reflectance(tiff(tmp_path/'a.tif', np.full((10, SIDE, SIDE), .2, 'f4'), BANDS, crs=LOCAL))
    assert len(r) == SIDE**2 and 'lat' not in r.grid
    grid = image_grid(tiff(tmp_path/'p.tif', picture(), ['B2', 'B3', 'B4', 'B8']))
    with pytest.raises(FileError) as e: radar_on(tiff(tmp_path/'r.tif', backscatter(), ['VV', 'VH'], crs=LOCAL), grid, 'dB')
    assert 'cannot be brought to that of the picture' in str(e.value) and 'damaged' not in str(e.value)

def test_infinite_reflectances_are_said(tmp_path):
    from physlearn.canopy.reflectance import read_reflectance
    x = np.full((10, SIDE, SIDE), .2, 'f4')
    x[3,0,0] = np.inf
    r = read_reflectance(tiff(tmp_path/'a.tif', x, BANDS))
    assert np.isnan(r.x[0,3]) and '1 infinite values taken as missing' in r.notes

@pytest.mark.parametrize('apart', [False, True])
def test_zero_decibels_are_a_gap(tmp_path, apart):
    "Exports without a declared nodata fill with 0, which in dB is a strong echo."
    from physlearn.sar.scene_files import image_grid, radar_on
    x = backscatter()
    x[:,:8] = 0
    grid = image_grid(tiff(tmp_path/'p.tif', picture(), ['B2', 'B3', 'B4', 'B8']))
    files = [tiff(tmp_path/f'{k}.tif', x[i:i+1], [k]) for i, k in enumerate(('VV', 'VH'))] if apart else tiff(tmp_path/'r.tif', x, ['VV', 'VH'])
    db, notes = radar_on(files, grid, 'dB')
    assert np.isnan(db[:,:8]).all() and np.isfinite(db[:,9:]).all() and db[:,9:].max() < -2
    assert f'{8*SIDE} pixels of exactly 0 dB taken as nodata' in notes

def test_complex_radar_is_refused(tmp_path):
    "Its real part is no backscatter."
    from physlearn.sar.scene_files import image_grid, radar_on
    grid = image_grid(tiff(tmp_path/'p.tif', picture(), ['B2', 'B3', 'B4', 'B8']))
    with pytest.raises(FileError, match='complex64; expected real numbers; of complex radar'):
        radar_on(tiff(tmp_path/'r.tif', (backscatter() + 1j).astype('c8'), ['VV', 'VH']), grid, 'dB')

# ----------------------------------------------------------------------------------------------------------- IceCube

@pytest.mark.parametrize('name, says', [('xpmt', 'sensor 3 has no finite position: nan'), ('sensor/string', 'string: nan of sensor 3; expected a whole number')])
def test_sensors_that_are_nowhere(tmp_path, name, says):
    "A place or a number of a sensor that is not there is named with the sensor; NaN was taken for a string of its own."
    import h5py
    from physlearn.cli import main
    from physlearn.icecube.event_files import read_events
    assert main(['simulate', 'icecube', str(tmp_path/'e.h5'), '--n', '3']) == 0
    with h5py.File(tmp_path/'e.h5', 'r+') as f:
        v = f[name][:].astype(float)
        v[3] = np.nan
        del f[name]
        f[name] = v
    with pytest.raises(FileError) as e: read_events(tmp_path/'e.h5')
    assert says in str(e.value)

@pytest.fixture(scope='module')
def events_file(tmp_path_factory):
    from physlearn.cli import main
    from physlearn.icecube.event_files import read_events, write_guide
    from physlearn.icecube.events import Pulses
    path = tmp_path_factory.mktemp('events')/'e.h5'
    assert main(['simulate', 'icecube', str(path), '--n', '4']) == 0
    e = read_events(path)
    e.pulses = Pulses(e.offsets, e.sensor, e.time, e.charge)
    return write_guide(e, path.with_name('p.h5'))

def spoiled(source, path, name, value, rows=slice(1, 2)):
    "A copy with another value in some rows of a data set."
    import h5py, shutil
    shutil.copy(source, path)
    with h5py.File(path, 'r+') as f:
        v = f[name][:].astype(float)
        v[rows] = value
        del f[name]
        f[name] = v
    return path

@pytest.mark.parametrize('name, says', [('label', 'energy zenith azimuth x y z of 1 of 4 events'), ('t0', 't0 of 1 of 4 events'), ('more/weight', 'weight of 1 of 4 events')])
def test_events_of_which_something_is_unknown(events_file, tmp_path, name, says):
    "NaN means unknown: allowed in each event, and said where it is not so of all."
    import h5py, shutil
    from physlearn.icecube.event_files import read_events, write_guide
    source = tmp_path/'s.h5'
    shutil.copy(events_file, source)
    with h5py.File(source, 'r+') as f: f['more/weight'] = np.ones(4)
    e = read_events(spoiled(source, tmp_path/'e.h5', name, np.nan))
    note = [n for n in e.notes if n.startswith('not finite, taken as unknown')]
    assert len(note) == 1 and says in note[0]
    write_guide(e, tmp_path/'f.h5')
    assert read_events(tmp_path/'f.h5').notes == e.notes
    write_guide(e[:3], tmp_path/'g.h5')
    assert says.replace('4', '3') in str(read_events(tmp_path/'g.h5').notes) and says not in str(read_events(tmp_path/'g.h5').notes)
    assert not [n for n in read_events(spoiled(source, tmp_path/'g.h5', name, np.nan, slice(None))).notes if 'not finite' in n]
    assert not [n for n in read_events(source).notes if 'not finite' in n]

@pytest.mark.parametrize('name, value, says', [('t0', np.inf, 't0 is infinite'), ('pulse_time', np.nan, 'time of pulse 1 is nan'),
                                               ('pulse_charge', np.nan, 'charge of pulse 1 is nan'), ('label', np.inf, 'finite')])
def test_events_of_which_something_cannot_be(events_file, tmp_path, name, value, says):
    import h5py, shutil
    from physlearn.icecube.event_files import read_events
    source = tmp_path/'s.h5'
    shutil.copy(events_file, source)
    with h5py.File(source, 'r+') as f: f['more/weight'] = np.ones(4)
    with pytest.raises(FileError) as e: read_events(spoiled(source, tmp_path/'e.h5', name, value))
    assert says in str(e.value) and 'expected' in str(e.value)

@pytest.mark.parametrize('name', ['t0', 'xpmt', 'pulse_offset', 'sensor/string'])
def test_events_with_columns_of_one_column(events_file, tmp_path, name):
    import h5py, shutil
    from physlearn.icecube.event_files import read_events
    path = tmp_path/'e.h5'
    shutil.copy(events_file, path)
    with h5py.File(path, 'r+') as f:
        v = f[name][:]
        del f[name]
        f[name] = v[:,None]
    a, b = read_events(events_file), read_events(path)
    assert np.array_equal(a.t0, b.t0) and np.array_equal(a.geometry.xyz, b.geometry.xyz) and np.array_equal(a.pulses.offset, b.pulses.offset)
