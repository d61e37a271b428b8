"""A folder of light curves: the fast way gives astropy's bits, what cannot be read is named, copies stay on one side."""
import gzip, os, tracemalloc
from pathlib import Path
import h5py
import numpy as np
import pytest
from astropy.io import fits
from physlearn.files import FileError
from physlearn.lightcurve.xray_catalogue import (Catalogue, all_by_visits, left_out, load_all_fits_files, load_n_light_curves, name_of, partition_data,
                                                 read_catalogue, same_sources, scan)
from physlearn.lightcurve.xray_files import LightCurves, by_visits, read_lightcurve
from physlearn.lightcurve.xray_simulate import simulate

@pytest.fixture
def folder(tmp_path):
    "Eight files: plain, gzipped, in a folder of their own."
    files = simulate(8, seed=5).write(tmp_path)
    (tmp_path/'more').mkdir()
    for f in files[5:]:
        (tmp_path/'more'/f'{f.name}.gz').write_bytes(gzip.compress(f.read_bytes()))
        f.unlink()
    return tmp_path

def changed(path, out, *cards, column=None, unsort=False):
    "A file with other cards in its table's header, or other rows."
    with fits.open(path) as f:
        for k, v in cards: f[1].header[k] = v
        if unsort: f[1].data = f[1].data[::-1].copy()
        if column: f[1].data[column[0]][:] = column[1]
        f.writeto(out, overwrite=True)
    return out

def equal(a, b):
    for k in ('time', 'dt', 'exposure', 'counts', 'back', 'ratio', 'rate', 'err_minus', 'err_plus', 'mask'):
        np.testing.assert_array_equal(getattr(a, k), getattr(b, k), err_msg=k)

def test_bits_of_astropy(folder):
    "Plain or gzipped, rows or visits, each number is the reader's."
    rows, visits = read_catalogue(folder, visits=False).curves, read_catalogue(folder).curves
    assert len(rows) == len(visits) == 8
    for i, f in enumerate(rows.more['file']):
        own = read_lightcurve(f)
        equal(rows[i], own)
        equal(visits[i], by_visits(own))
        assert rows.names[i] == own.name == name_of(f)
        assert rows.more['ra'][i] == own.meta['RA_OBJ'] and rows.more['dec'][i] == own.meta['DEC_OBJ']

@pytest.mark.parametrize('case', [('TIMEZERO', 100.), ('MJDREF', 51544.), ('TIMEPIXR', 0.), ('E_MAX3', 8.), ('TIMEUNIT', 'd'), ('TUNIT1', 'd'), ('TNULL3', 0),
                                  ('TSCAL4', 2.), ('OBJECT', 'another'), ('HISTORY', 'x'*300), 'unsorted', 'dark', 'nan'], ids=str)
def test_what_decides(folder, case):
    "A card that changes the meaning of the rows makes a layout of its own; rows that need a look at the whole file get it."
    first = sorted(folder.glob('*.fits'))[0]
    out = folder/'zz.fits'
    if isinstance(case, tuple): changed(first, out, case)
    if case == 'unsorted': changed(first, out, unsort=True)
    if case == 'dark': changed(first, out, column=('FRACEXP', 0.))
    if case == 'nan': changed(first, out, column=('TIME', np.nan))
    found = read_catalogue(folder, visits=False)
    try: own = read_lightcurve(out)
    except FileError as e: assert str(e) == found.refused[str(out)]
    else:
        if str(out) in found.refused: assert case[0] == 'E_MAX3' and 'most files here have' in found.refused[str(out)]
        else:
            got = found.curves[list(found.curves.more['file']).index(str(out))]
            np.testing.assert_allclose(got.mjd, own.mjd, rtol=0, atol=1e-10)
            if case[0] in ('OBJECT', 'HISTORY', 'TNULL3', 'TSCAL4', 'unsorted'): equal(got, own)

def test_what_cannot_be_read(folder):
    "Each file that is left out is named with its reason; none is lost."
    whole = sorted(folder.glob('*.fits'))
    data = whole[0].read_bytes()
    bad = dict(cut=data[:-2880], header=data[:5000], letter=b'Dear colleague', empty=b'', packed=gzip.compress(data)[:-400])
    for k, v in bad.items(): (folder/f'{k}.fits').write_bytes(v)
    found = read_catalogue(folder)
    assert {Path(f).stem for f in found.refused} == set(bad) and len(found) == 8
    assert all(f in reason and '\n' not in reason for f, reason in found.refused.items())
    for f in load_all_fits_files(folder):
        if f.stem not in bad: f.unlink()
    with pytest.raises(FileError, match='none of 5 files can be used'): read_catalogue(folder)
    with pytest.raises(FileError, match='is no folder'): read_catalogue(folder/'nowhere')
    (folder/'bare').mkdir()
    with pytest.raises(FileError, match='holds no light curves'): read_catalogue(folder/'bare')

@pytest.mark.parametrize('visits', [True, False])
@pytest.mark.parametrize('name', ['aa', 'mm', 'zz'])
def test_a_file_without_steps(folder, name, visits):
    "First, in the middle or last, it is refused; no other file's numbers change."
    before = read_catalogue(folder, visits=visits).curves
    changed(sorted(folder.glob('*.fits'))[0], folder/f'{name}.fits', column=('TIME', np.nan))
    found = read_catalogue(folder, visits=visits)
    assert list(found.refused) == [str(folder/f'{name}.fits')] and 'no row has a time' in found.refused[str(folder/f'{name}.fits')]
    for k, v in before.arrays.items(): np.testing.assert_array_equal(found.curves.arrays[k], v, err_msg=k)
    for f in folder.rglob('*'):
        if f.is_file() and f.stem != name: f.unlink()
    with pytest.raises(FileError, match='no row has a time'): read_catalogue(folder, visits=visits)

def test_the_cache(folder):
    "Read again while files and options are the same, made anew otherwise; what was refused is kept."
    (folder/'letter.fits').write_text('Dear colleague')
    cache = folder/'all.h5'
    first = read_catalogue(folder, cache)
    stamp = cache.stat().st_mtime_ns
    again = read_catalogue(folder, cache)
    assert cache.stat().st_mtime_ns == stamp and again.refused == first.refused and again.notes == first.notes
    for k, v in first.curves.arrays.items(): np.testing.assert_array_equal(again.curves.arrays[k], v)
    for k, v in first.curves.more.items(): np.testing.assert_array_equal(again.curves.more[k], v)
    assert len(LightCurves.load(cache)) == len(Catalogue.load(cache)) == 8
    assert len(read_catalogue(folder, cache, visits=False).curves.arrays['time']) > len(first.curves.arrays['time'])
    os.unlink(folder/'letter.fits')
    assert not read_catalogue(folder, cache).refused
    with h5py.File(cache, 'r+') as f: del f['more/overlaps']             # as an earlier version wrote it
    with pytest.raises(FileError, match="no 'overlaps'.*read its folder again"): Catalogue.load(cache)

def test_copies(folder):
    "A file under another tile's name: the same source, once, on one side of every split; a later survey is the same source, no copy."
    first = sorted(folder.glob('*.fits'))[0]
    (folder/'em01_999999_020_LightCurve_00001_c010.fits').write_bytes(first.read_bytes())
    changed(first, folder/'em02_999999_020_LightCurve_00001_c010.fits', ('MJDREF', 51543.875 + 182.6), ('RA_OBJ', fits.getval(first, 'RA_OBJ', 1) + 1e-4))
    found = read_catalogue(folder)
    c, names = found.curves, list(found.curves.names)
    at = [names.index(k) for k in (first.stem, 'em01_999999_020_LightCurve_00001_c010', 'em02_999999_020_LightCurve_00001_c010')]
    assert len(set(c.more['source'][at])) == 1 and c.more['copy'][at].tolist() == [False, True, False] and c.more['copy'].sum() == 1
    assert any('repeat photons' in n for n in found.notes) and len(np.unique(c.more['source'])) == 8
    for seed in range(12):
        try: sides = partition_data(c, .3, .3, seed)
        except ValueError: continue
        assert sorted(sum(names[i] in s.names for i in at) for s in sides) == [0, 0, 3]
    source, copy = same_sources(c, np.full(len(c), np.nan), np.full(len(c), np.nan))     # without positions: by the photons
    assert source[at[1]] == source[at[0]] and copy[at[1]]

def test_many_files_of_one_place():
    "A position that every header repeats, as a placeholder does, costs a pair a file, not one for each two."
    curves = simulate(2000, seed=1, mix='constant').light_curves()
    ra, dec = np.zeros(2000), np.zeros(2000)
    ra[1900:], dec[1950:] = 10 + np.arange(100)/300, 5.
    ra[1899] = 9/3600                                                  # within ten arc seconds of the others
    tracemalloc.start()
    try: source, copy = same_sources(curves, ra, dec)
    finally: peak = tracemalloc.get_traced_memory()[1], tracemalloc.stop()
    assert peak[0] < 2**26
    assert (source[:1900] == 0).all() and (source[1900:] == np.arange(1900, 2000)).all() and not copy[1900:].any()
    seen = curves.some(np.arange(1900))
    begin, end = seen.arrays['time'][seen.offsets[:-1]], seen.arrays['time'][seen.offsets[1:] - 1]
    kept = np.flatnonzero(~copy[:1900])
    for i in kept: assert not ((begin[i] <= end[kept]) & (begin[kept] <= end[i]) & (kept != i)).any()
    for i in np.flatnonzero(copy[:1900]): assert ((begin[i] <= end[kept]) & (begin[kept] <= end[i])).any()

def test_bands_of_most(folder):
    "A set has one set of bands."
    first = sorted(folder.glob('*.fits'))[0]
    out = changed(first, folder/'zz.fits', ('E_MAX3', 8.))
    found = read_catalogue(folder)
    assert list(found.refused) == [str(out)] and '2.3-8 keV; most files here have' in found.refused[str(out)]

def test_shares_and_words():
    "85, 5 and 10 per cent, the same for the same seed, whatever else is there; bands by their numbers."
    curves = simulate(2000, seed=1, mix='constant').light_curves()
    train, val, test = partition_data(curves)
    assert len(train) + len(val) + len(test) == 2000
    for got, want in ((len(train), .85), (len(val), .05), (len(test), .10)): assert abs(got/2000 - want) < 4*(want*(1 - want)/2000)**.5
    fewer = partition_data(curves.some(np.arange(0, 2000, 2)))
    assert all(set(few.names) <= set(side.names) for few, side in zip(fewer, (train, val, test)))
    low, mid, high = load_n_light_curves(64, curves)
    assert (low.names == high.names).all() and mid.labels == ('0.6-2.3 keV',) and mid[3].counts.shape[1] == 1
    assert (load_n_light_curves(64, curves, band=2).arrays['counts'] == high.arrays['counts']).all()
    assert set(load_n_light_curves(64, curves, 0, seed=1).names) != set(low.names)
    sides = partition_data((low, mid, high), .2, .2)
    assert [len(s) for s in sides] == [3]*3 and all((s[0].names == s[2].names).all() for s in sides)
    for words in (dict(test_size=0), dict(val_size=.95)):
        with pytest.raises(ValueError, match='positive shares'): partition_data(curves, **words)
    with pytest.raises(ValueError, match='band=3'): load_n_light_curves(5, curves, 3)
    with pytest.raises(ValueError, match='leave a side empty'): partition_data(curves.some([0, 1]))

def test_real_files():
    "AB Doradus alone, and a folder of rates, which have no visits."
    data = Path(os.environ.get('PHYSLEARN_DATA', ''))/'lightcurves'
    if not data.is_dir(): pytest.skip('PHYSLEARN_DATA has no light curves')
    star = data/'erosita_erass1'
    assert scan(next(star.iterdir()).read_bytes()).rows == 626
    found = read_catalogue(star, visits=False)
    equal(found.curves[0], read_lightcurve(next(star.iterdir())))
    equal(all_by_visits(found.curves)[0], by_visits(found.curves[0]))
    with pytest.raises(ValueError, match='has rates alone'): read_catalogue(data/'maxi_gsc')
    assert len(read_catalogue(data/'maxi_gsc', visits=False)) == 1        # the other has other bands
    efeds = read_catalogue(data/'erosita_efeds_template', visits=False)
    assert len(efeds) == 2 and any('overlap' in n for n in efeds.notes)

def stretched(path, factor=1.5):
    "Steps that reach into the next ones, as a length in a wrong unit makes them."
    with fits.open(path, 'update') as f: f[1].data['TIMEDEL'] = factor*f[1].data['TIMEDEL']

def test_steps_that_overlap(folder, tmp_path):
    "Found in files of one layout too, kept in the cache, said, and not trusted in the table of scores; copies are not asked."
    from physlearn.lightcurve.xray_scores import catalogue_of, one_each, scored
    files = sorted(folder.glob('*.fits'))
    for f in files[:2]: stretched(f)
    (folder/'zz_copy.fits').write_bytes(files[0].read_bytes())
    own = [read_lightcurve(f).meta['OVERLAPS'] for f in files[:2]]
    assert min(own) > 0
    for cache in (None, tmp_path/'kept.h5', tmp_path/'kept.h5'):
        found = read_catalogue(folder, cache)
        at = {Path(f).name: k for f, k in zip(found.curves.more['file'], found.curves.more['overlaps'].tolist())}
        assert {k: v for k, v in at.items() if v} == {files[0].name: own[0], files[1].name: own[1], 'zz_copy.fits': own[0]}
        assert sum('overlap the next one' in n and n.startswith('3 files like ') for n in found.notes) == 1
    curves = one_each(found)
    columns, doubts = scored(curves)
    got, several = catalogue_of(curves, columns, doubts), dict(zip([f.name for f in files[:2]], own))
    for i, f in enumerate(curves.more['file']):
        k = several.get(Path(f).name, 0)
        assert (got.flag(i, 'rate_1') == 'not trusted') == (k > 0) == (f'{k} steps overlap' in got.sentence(i) and 'errors too small' in got.sentence(i))
        if k: assert found.curves[list(found.curves.more['file']).index(f)].meta == dict(OVERLAPS=k)     # as a file that is read by itself

def edited(path, rows=None, head=None):
    "A file whose rows, by a function of the table, or keywords are others."
    with fits.open(path) as f:
        made = fits.BinTableHDU((rows or (lambda t: t))(f[1].data.copy()), f[1].header)
        for k, v in (head or {}).items(): made.header[k] = v
        fits.HDUList([f[0].copy(), made]).writeto(path, overwrite=True)

def with_overlaps(t, of=slice(0, 2), share=None):
    t['TIMEDEL'][of] *= 1.5
    if share is not None: t['FRACEXP'][of] = share
    return t

def test_overlaps_of_steps_that_are_not_used(folder):
    "Their photons count nowhere, so that nothing counts twice."
    first = sorted(folder.glob('*.fits'))[0]
    edited(first, lambda t: with_overlaps(t, share=.01))
    assert 'OVERLAPS' not in read_lightcurve(first).meta and 'overlap' not in read_lightcurve(first).said
    assert not read_catalogue(folder).curves.more['overlaps'].any()

def test_overlaps_of_the_file_that_is_left(folder):
    "The first file of a source has no step to be used: what stands in its place is no copy, and its overlaps are told."
    from physlearn.lightcurve.xray_scores import one_each, scored
    first = sorted(folder.glob('*.fits'))[0]
    (folder/'zz.fits').write_bytes(first.read_bytes())
    def dark(t):
        t['FRACEXP'] *= .01
        return t
    edited(first, dark)
    edited(folder/'zz.fits', with_overlaps)
    found = read_catalogue(folder)
    assert list(found.refused) == [str(first)] and not found.curves.more['copy'].any() and not any('repeat' in n for n in found.notes)
    doubts = dict(zip(found.curves.names, scored(one_each(found))[1]))
    own = read_lightcurve(folder/'zz.fits').meta['OVERLAPS']
    assert f"{own} step{'s overlap' if own > 1 else ' overlaps'}" in doubts['zz'] and sum(map(bool, doubts.values())) == 1

def test_files_of_a_source_that_do_not_join(folder):
    "The end of one file reaches into another: the first counts, the reason is told, and the other sources are scored."
    from physlearn.lightcurve.xray_scores import catalogue_of, one_each, scored
    first = sorted(folder.glob('*.fits'))[0]
    (folder/'zz.fits').write_bytes(first.read_bytes())
    full = read_lightcurve(first)
    def bright(t):
        t['FRACEXP'] = .5
        return t
    def tail(t):
        t['TIME'][20:] += t['TIME'][19] + 5 - t['TIME'][20]              # half a step
        return bright(t[20:].copy())
    edited(first, lambda t: bright(t[:20].copy()))
    edited(folder/'zz.fits', tail)
    found = read_catalogue(folder)
    curves = one_each(found)
    columns, doubts = scored(curves)
    got, i = catalogue_of(curves, columns, doubts), list(curves.names).index(first.stem)
    assert len(full) > 25 and len(curves) == 8 and curves.more['also'][i] == 'zz.fits'
    assert got.flag(i, 'rate_1') == 'not trusted' and 'the first of its files alone' in got.sentence(i) and 'at the same time' in got.sentence(i)
    assert curves.lengths[i] == len(by_visits(read_lightcurve(first))) and sum(map(bool, doubts)) == 1

@pytest.mark.parametrize('place', [None, '12:34:56'])
def test_a_position_that_is_none(folder, place):
    "Unknown, whether a file is read with others or by itself."
    first = sorted(folder.glob('*.fits'))[0]
    edited(first, head=dict(RA_OBJ=place))
    for rows in (None, with_overlaps):
        edited(first, rows)
        found = read_catalogue(folder)
        assert not found.refused and np.isnan(found.curves.more['ra'][list(found.curves.names).index(first.stem)])

def test_lengths_that_are_missing(folder):
    "A row without a length has a time: it is left out by its own name. Where all are missing, nothing says that steps overlap."
    first = sorted(folder.glob('*.fits'))[0]
    def gone(t, of):
        t['TIMEDEL'][of] = np.nan
        return t
    edited(first, lambda t: gone(t, slice(1, 2)))
    said = read_lightcurve(first).said
    assert '1 row without a length left out' in said and 'sorted' not in said and 'without a time' not in said
    def closer(t):
        t['TIME'][1] = t['TIME'][0] + 1
        return gone(t, slice(None))
    edited(first, closer)
    lc = read_lightcurve(first)
    assert 'no TIMEDEL: steps taken as long as their usual distance' in lc.said and 'OVERLAPS' not in lc.meta

def test_numbers_of_notes_are_of_the_files_that_are_used(folder):
    "A file that is read by itself counts once, and its rows are not among those of the others."
    files = sorted(folder.rglob('*.fits*'))
    edited(sorted(folder.glob('*.fits'))[0], with_overlaps)
    notes = read_catalogue(folder).notes
    assert '8 files: no TIMEPIXR: TIME taken as the middle of a step' in notes and sum('TIMEPIXR' in n for n in notes) == 1
    masked = [int((~read_lightcurve(f).mask).all(1).sum()) for f in files]
    rows = [len(read_lightcurve(f)) for f in files]
    assert f'8 files, 7 of them: {sum(masked[1:])} of {sum(rows[1:])} steps with less than 10 % exposure: masked' in notes

def test_notes_stay_few(tmp_path):
    "Layouts of their own, a kind of note each: one line for a kind, and twenty kinds."
    for i, f in enumerate(simulate(30, 2).write(tmp_path)):
        edited(f, head=dict(TIMEZERO=1e-9*i, TIMESYS=f"clock {'abcdefghij'[i//3]*(i + 1)}"))
    notes = read_catalogue(tmp_path, visits=False).notes
    assert len(notes) == 21 and '30 files: no TIMEPIXR: TIME taken as the middle of a step' in notes and notes[-1] == '12 notes of other kinds are left out'

def test_bands_of_many_sets():
    "The time to find the bands of most files grows with their number."
    from types import SimpleNamespace
    from physlearn.lightcurve import xray_catalogue as X
    asked = []
    class Labels(tuple):
        def __eq__(self, other): asked.append(1); return tuple.__eq__(self, other)
        __hash__ = tuple.__hash__
    one = simulate(1, 1).light_curves()
    sets = [(np.array([i]), SimpleNamespace(bands=np.full((1, 2), np.nan), labels=Labels(one.labels[:1]))) for i in range(200)]
    X._bands_of_most(got := SimpleNamespace(sets=sets, refused={}, paths=[]))
    assert len(got.sets) == 200 and len(asked) < 10*200

def test_names_that_are_no_text(folder, tmp_path):
    "A name of bytes that are not UTF-8, with a cache; one with a line in it, in a note."
    first = sorted(folder.glob('*.fits'))[0]
    os.rename(first, os.fsencode(folder) + b'/\xff.fits')
    edited(next(f for f in sorted(folder.glob('*.fits')) if f.stem.isascii()), with_overlaps)
    os.rename(sorted(folder.glob('em*.fits'))[0], folder/'a\nb.fits')
    found = read_catalogue([f for f in folder.rglob('*.fits*') if os.fsencode(f) != os.fsencode(folder) + b'/\xff.fits'])
    assert any('overlap' in n for n in found.notes) and not any('\n' in n for n in found.notes)
    from physlearn.lightcurve.xray_catalogue import _stamp
    assert len(_stamp(list(folder.rglob('*.fits*')))) == 64

def test_notes_of_files_read_alone(folder):
    "What a file was assumed is said, once for each kind, with the number of files and one of them."
    files = sorted(folder.glob('*.fits'))
    for f in folder.rglob('*.gz'): f.unlink()
    for f in files:
        with fits.open(f, 'update') as h: del h[1].header['E_MIN1']
    own, found = [read_lightcurve(f).notes for f in files], read_catalogue(folder, visits=False).notes
    assert len({notes[2] for notes in own}) == len(files) == 5 and 'steps with less than 10 % exposure: masked' in own[0][2]
    assert found == [f'5 files: {own[0][0]}', f'5 files: {own[0][1]}', f'5 files like {files[0].name}: {own[0][2]}', *left_out(folder)]
    for f in files[1:]: f.unlink()
    assert read_catalogue(folder, visits=False).notes == [f'1 file, {files[0].name}: {note}' for note in own[0]]
