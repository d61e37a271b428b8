"Light curves as strangers brought them: units, impossible values, options that no fit can have."
import numpy as np
import pytest
from astropy.io import fits
from physlearn import files
from physlearn.cli import main
from physlearn.files import FileError, write_hdf5
from physlearn.lightcurve.desk import fit_lightcurve, measurement_of
from physlearn.lightcurve.xray_catalogue import read_catalogue
from physlearn.lightcurve.xray_curve import with_dead_time
from physlearn.lightcurve.xray_files import read_lightcurve
from physlearn.lightcurve.xray_simulate import simulate

T, D, C = 1e8 + np.arange(50)*1000., np.full(50, 10.), np.full(50, 30)      # 3 ct/s

def table(path, *columns, **head):
    "A file of (name, format, unit, values)."
    made = fits.BinTableHDU.from_columns([fits.Column(n, f, u or None, array=v) for n, f, u, v in columns], name='RATE')
    for k, v in (dict(MJDREF=51544., TIMEPIXR=.5, E_MIN=.2, E_MAX=2.3) | head).items(): made.header[k] = v
    fits.HDUList([fits.PrimaryHDU(), made]).writeto(path, overwrite=True)
    return path

def rate_of(lc): return lc.counts.sum()/lc.exposure.sum() if lc.counted else np.average(lc.rate[:,0])

@pytest.mark.parametrize('unit, by', [('s', 1.), ('ms', 1e3), ('min', 1/60), ('h', 1/3600), ('ks', 1e-3), ('d', 1/86400)])
def test_units_of_steps(tmp_path, unit, by):
    "Times, steps and exposures in any unit of time are the same light curve."
    for k, name in enumerate(('TIME', 'TIMEDEL', 'EXPOSURE')):
        at = [u if i != k else unit for i, u in enumerate('sss')]
        t, d, e = (v*(by if i == k else 1.) for i, v in enumerate((T, D, D)))
        lc = read_lightcurve(table(tmp_path/'a.fits', ('TIME', 'D', at[0], t), ('TIMEDEL', 'D', at[1], d), ('EXPOSURE', 'D', at[2], e),
                                   ('COUNTS', 'J', '', C)))
        assert rate_of(lc) == pytest.approx(3., rel=1e-9), name
        np.testing.assert_allclose([lc.time, lc.dt], [T, D], rtol=1e-9)
    (tmp_path/'a.csv').write_text(f'time [{unit}],dt [{unit}],exposure [{unit}],counts\n' + ''.join(f'{float(t*by)!r},{10*by!r},{10*by!r},30\n' for t in T[:9]))
    lc = read_lightcurve(tmp_path/'a.csv')
    assert rate_of(lc) == pytest.approx(3.) and lc.dt == pytest.approx(10.) and np.diff(lc.time) == pytest.approx(1000.)

def test_a_width_without_unit_is_in_that_of_the_times(tmp_path):
    (tmp_path/'a.csv').write_text('time [h],dt,counts\n' + ''.join(f'{i},0.01,36\n' for i in range(9)))
    assert rate_of(read_lightcurve(tmp_path/'a.csv')) == pytest.approx(1.)

@pytest.mark.parametrize('unit, rate', [('ct/s', 3.), ('count/s', 3.), ('count/min', 180.), ('ct/ks', 3000.), ('cps', 3.), ('1/s', 3.)])
def test_units_of_rates(tmp_path, unit, rate):
    "Rates of counts become ct/s, their errors with them; a unit that no fit knows is kept."
    lc = read_lightcurve(table(tmp_path/'a.fits', ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('RATE', 'D', unit, np.full(50, rate + .01)),
                               ('ERROR', 'D', unit, np.full(50, rate/10))))
    assert lc.unit == 'ct/s' and rate_of(lc) == pytest.approx(3., rel=.01) and lc.err_plus == pytest.approx(.3)

def test_other_units_of_rates_are_kept(tmp_path, capsys):
    "Fluxes are fitted in their unit, in a range that holds them."
    for unit, shown, size in (('erg/s/cm2', 'erg / (s cm2)', 3e-12), ('mCrab', '', 30.), ('ph/s/cm2', 'ph / (s cm2)', .02)):
        path = tmp_path/'a.csv'
        path.write_text(f'time [s],flux [{unit}],error [{unit}]\n' + ''.join(f'{t},{size*(1 + .01*(-1)**i)},{.02*size}\n' for i, t in enumerate(T)))
        lc = read_lightcurve(path)
        got = fit_lightcurve(lc)
        assert lc.unit == unit and float(got.value[0,0]) == pytest.approx(size, rel=.01) and got.ok.all(), unit
        assert got.space['rate'].unit == (unit if shown else '') and unit in got.method

def test_bright_sources_are_in_the_range(tmp_path):
    lc = read_lightcurve(table(tmp_path/'a.fits', ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('COUNTS', 'J', '', 100*C)))
    got = fit_lightcurve(lc)
    assert float(got.value[0,0]) == pytest.approx(300., rel=.01) and float(got.sd[0,0]) == pytest.approx(np.sqrt(300/500), rel=.02) and got.ok.all()

@pytest.mark.parametrize('change, says', [
    (dict(COUNTS=('J', '', np.where(np.arange(50) == 3, -5, C))), 'net counts, taken as rates'), (dict(EXPOSURE=('D', 's', 50*D)), 'exposure of 500 s in a step of 10 s'),
    (dict(FRACEXP=('D', '', np.full(50, 60.))), 'shares'), (dict(TIMEDEL=('D', 'furlong', D)), "TIMEDEL in 'furlong'"), (dict(EXPOSURE=('D', 'km', D)), "EXPOSURE in 'km'"),
    (dict(TIME=('D', 'kg', T)), "TIME in 'kg'"), (dict(E_MAX=.1), 'from 0.2 to 0.1 keV')])
def test_impossible(tmp_path, change, says):
    "Named in one sentence, or said."
    columns = dict(TIME=('D', 's', T), TIMEDEL=('D', 's', D), COUNTS=('J', '', C)) | {k: v for k, v in change.items() if isinstance(v, tuple)}
    path = table(tmp_path/'a.fits', *((k, *v) for k, v in columns.items()), **{k: v for k, v in change.items() if not isinstance(v, tuple)})
    try: said = read_lightcurve(path).said
    except FileError as e: said = str(e)
    assert says in said

def spoiled(path, out, name, row, value):
    "A simulated file with one other value."
    with fits.open(path) as f:
        f[1].data[name][row] = value
        f.writeto(out, overwrite=True)

@pytest.mark.parametrize('name, value, says', [('COUNTS', -5, 'COUNTS -5'), ('BACK_COUNTS', -7., 'photons of the background -7'), ('BACK_COUNTS', np.nan, 'photons of the background nan'),
                                               ('BACKRATIO', -1., 'BACKRATIO -1'), ('BACKRATIO', np.nan, 'BACKRATIO nan'), ('FRACEXP', 60., 'exposure of 600 s in a step of 10 s')])
def test_one_spoiled_row_refuses_one_file(tmp_path, name, value, says):
    "With its row; a catalogue goes on without that file, read alone or in the company of others."
    paths = simulate(6, 1).write(tmp_path)
    with fits.open(paths[2]) as f: row = int(np.argmax(f[1].data['FRACEXP'][:,1]))
    spoiled(paths[2], paths[2], name, row, value)
    with pytest.raises(FileError, match=f'row {row + 1}: {says}'): read_lightcurve(paths[2])
    found = read_catalogue(tmp_path)
    assert len(found) == 5 and list(found.refused) == [str(paths[2])] and says in found.refused[str(paths[2])]

def test_overlapping_steps_are_said(tmp_path):
    lc = read_lightcurve(table(tmp_path/'a.fits', ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', 2000 + 0*D), ('COUNTS', 'J', '', C)))
    assert '49 steps overlap the next one' in lc.said

def test_dead_time_of_what_was_seen(tmp_path):
    "900 photons in 10 s of a step of 1000 s: the dead time takes its share of 10 s, before and after steps are joined."
    path = table(tmp_path/'a.fits', ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('COUNTS', 'J', '', 30*C))
    for step in (None, 1000.): assert rate_of(read_lightcurve(path, dead=1e-3, step=step)) == pytest.approx(900/(10 - .9))
    good = fits.BinTableHDU.from_columns([fits.Column(k, 'D', 's', array=np.arange(20)*100. + v) for k, v in (('START', 0.), ('STOP', 10.))], name='GTI')
    times = np.concatenate([np.linspace(100*i + .01, 100*i + 9.99, 400) for i in range(20)])
    events = fits.BinTableHDU.from_columns([fits.Column('TIME', 'D', 's', array=times), fits.Column('ENERGY', 'D', 'keV', array=1. + 0*times)], name='EVENTS')
    for h in (good, events): h.header['MJDREF'] = 51544.
    fits.HDUList([fits.PrimaryHDU(), events, good]).writeto(tmp_path/'ev.fits')
    for step in (10., 100.): assert rate_of(read_lightcurve(tmp_path/'ev.fits', step=step, dead=5e-3)) == pytest.approx(400/(10 - 2.), rel=1e-6)

def test_dead_time_counts_a_photon_once(tmp_path):
    "A band inside of another adds no photons; two that share some cannot be counted."
    edges = dict(E_MIN1=.2, E_MAX1=2.3, E_MIN2=.2, E_MAX2=5., E_MIN3=5., E_MAX3=8.)
    both = np.stack([C, 2*C, C], 1)
    columns = ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('COUNTS', '3J', '', both)
    lc = with_dead_time(read_lightcurve(table(tmp_path/'a.fits', *columns, **edges)), .01)
    assert lc.exposure[0] == pytest.approx(10 - 90*.01)
    lc = read_lightcurve(table(tmp_path/'a.fits', *columns, **edges | dict(E_MIN2=1.)))
    with pytest.raises(ValueError, match='share some photons'): with_dead_time(lc, .01)

@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return table(tmp_path_factory.mktemp('plain')/'ok.fits', ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('COUNTS', 'J', '', C))

@pytest.mark.parametrize('words, says', [
    ('fit lightcurve FILE --known rate=0.3ct/s', 'nothing is left to be found'), ('identifiable lightcurve --known rate=0.3ct/s', 'nothing is left to be found'),
    ('fit lightcurve FILE --range foo=1..2', 'there are rate'), ('identifiable lightcurve --range period=2..20h', 'there are rate'),
    ('fit lightcurve FILE --range rate=0..1ct/s', 'must begin above 0'), ('identifiable lightcurve --n 0', '1 or more'),
    ('identifiable lightcurve --cadence -4h', 'exposure above 0'), ('identifiable lightcurve --exposure 100s', 'no longer than the visit'),
    ('identifiable lightcurve --length 5h', 'no longer than the visit'), ('fit lightcurve FILE --least nan', 'least'), ('fit lightcurve FILE --least 2', 'least'),
    ('fit lightcurve FILE --energies 2..1keV --bin 10s', 'the lower end first'), ('fit lightcurve FILE OTHER', 'fit them one by one'),
    ('train lightcurve quick --longest 5 --out OUT', 'longest=5 is not used by network counts'), ('train lightcurve variability --free-bits 1 --out OUT', 'free_bits')])
def test_options_that_no_command_can_have(plain, tmp_path, capsys, words, says):
    "One sentence, exit code 2, nothing written."
    other = tmp_path/'other.fits'
    table(other, ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('COUNTS', '2J', '', np.stack([C, C], 1)), E_MIN1=.2, E_MAX1=1., E_MIN2=1., E_MAX2=2.)
    code = main([dict(FILE=str(plain), OTHER=str(other), OUT=str(tmp_path/'out')).get(w, w) for w in words.split()])
    err = capsys.readouterr().err
    assert code == 2 and says in err and 'Traceback' not in err and not (tmp_path/'out').exists()

def test_a_word_among_rates_is_named(tmp_path):
    (tmp_path/'a.csv').write_text('time [s],rate [ct/s],error [ct/s]\n1,<3,1\n2,2,1\n')
    with pytest.raises(FileError, match="'<3' in column rate.*error of 0"): read_lightcurve(tmp_path/'a.csv')

def test_repeated_times_have_a_spacing(tmp_path):
    lc = read_lightcurve(table(tmp_path/'a.fits', ('TIME', 'D', 's', np.repeat(T[:25], 2)), ('TIMEDEL', 'D', 's', D), ('COUNTS', 'J', '', C)))
    assert measurement_of(lc, 'pulse').sim.space['period'].lo == pytest.approx(1000/3600)

def test_a_full_disk_is_an_error_before_hdf5_meets_it(tmp_path, monkeypatch):
    "HDF5 ends the process where it cannot write: room is looked for first."
    monkeypatch.setattr(files.shutil, 'disk_usage', lambda path: type('Usage', (), dict(free=10_000)))
    with pytest.raises(OSError, match='free') as e: write_hdf5(tmp_path/'a.h5', dict(x=np.zeros(10_000)))
    assert e.value.filename == str(tmp_path/'a.h5') and not list(tmp_path.iterdir())

def test_without_background_the_likelihood_is_that_of_poisson(plain):
    "The fast form where no background was counted: the same as the exact one."
    m = measurement_of(read_lightcurve(plain), 'constant')
    assert m.like.form == 'plug_in'
    from dataclasses import replace
    theta = m.space.sample(20, 'forms')
    exact = replace(m.like, form='marginal').log_prob(m.y.expand(20, -1, -1), m.sim(theta))
    np.testing.assert_allclose(m.like.log_prob(m.y.expand(20, -1, -1), m.sim(theta)), exact, atol=50*1e-4)

def test_a_pulse_of_a_bright_source(tmp_path):
    "200 rows of 100 photons without a background: Poisson's form, and the pulse that was put in."
    rng, t = np.random.default_rng(0), np.arange(200)*1000.
    photons = rng.poisson(100*(1 + .4*np.sin(2*np.pi*t/3600/7)))
    lc = read_lightcurve(table(tmp_path/'a.fits', ('TIME', 'D', 's', t), ('TIMEDEL', 'D', 's', 10 + 0*t), ('COUNTS', 'J', '', photons)))
    assert measurement_of(lc, 'pulse').like.form == 'plug_in'
    got = fit_lightcurve(lc, 'pulse', draws=256)
    assert float(got.value[0,1]) == pytest.approx(.4, abs=.06) and float(got.value[0,2]) == pytest.approx(7., rel=.01)

def test_a_second_table_of_rates_is_named(tmp_path, plain):
    with fits.open(plain) as f:
        second = f[1].copy()
        second.name = 'RATE2'
        fits.HDUList([*f, second]).writeto(tmp_path/'two.fits')
    assert 'not read: 1 further table of rates (RATE2)' in read_lightcurve(tmp_path/'two.fits').said
    assert 'further' not in read_lightcurve(plain).said

# ------------------------------------------------------------------------------------------------ copies, overlaps, signs, dates

def csv(path, *rows, head='time [s],rate [ct/s],error [ct/s]'):
    path.write_text('\n'.join([head, *rows, '']))
    return path

RATES = [f'{10*i},{1 + .1*(i % 3)},.1' for i in range(30)]

def test_rows_that_are_there_twice_count_once(tmp_path):
    "Copies of rows are left out, and said: the error is that of the rows. Where other rows of the same time remain, nothing is a copy for sure."
    once = fit_lightcurve(read_lightcurve(csv(tmp_path/'a.csv', *RATES)))
    lc = read_lightcurve(csv(tmp_path/'b.csv', *RATES, *RATES))
    twice = fit_lightcurve(lc)
    assert len(lc) == 30 and '30 rows are copies of others: left out' in lc.said and twice.sd[0,0] == once.sd[0,0] and twice.flag(0, 'rate') == once.flag(0, 'rate')
    (tmp_path/'c.qdp').write_text('READ SERR 1 2\n' + '\n'.join(f'{10*i} 5 1.{i % 3} .1' for i in [*range(30), *range(30)]) + '\n')
    assert len(read_lightcurve(tmp_path/'c.qdp', clock='s')) == 30
    other = [r.replace(',.1', ',.2') for r in RATES[:-1]]
    assert len(read_lightcurve(csv(tmp_path/'d.csv', *RATES, *other, RATES[-1]))) == 60

def test_steps_that_overlap_are_not_trusted(tmp_path, capsys):
    "By their lengths, or at the same instant; of steps whose length nobody said it is not known."
    wide = csv(tmp_path/'a.csv', *(f'{r},20' for r in RATES), head='time [s],rate [ct/s],error [ct/s],timedel [s]')
    same = csv(tmp_path/'b.csv', *RATES, *(r.replace(',.1', ',.2') for r in RATES))
    for path in (wide, same):
        got = fit_lightcurve(read_lightcurve(path))
        assert got.flag(0, 'rate') == 'not trusted' and 'overlap' in got.verdicts()[0] and 'converge' not in got.verdicts()[0] and 'overlap' in got.sentence(0)
        assert got.sentence(0).count('not trusted') == 1
    uneven = fit_lightcurve(read_lightcurve(csv(tmp_path/'c.csv', *RATES, '293,1.1,.1')))
    assert uneven.flag(0, 'rate') != 'not trusted'
    read_lightcurve(wide).write(tmp_path/'w.fits')
    assert fit_lightcurve(read_lightcurve(tmp_path/'w.fits')).flag(0, 'rate') == 'not trusted'
    assert main(['fit', 'lightcurve', str(wide)]) == 0 and 'not trusted' in capsys.readouterr().out

@pytest.mark.parametrize('rows', [slice(0, 1), slice(0, None)], ids=['one', 'all'])
def test_errors_below_zero_are_refused(tmp_path, rows):
    "In text with the line, in FITS with the row. Lower errors may all be negative, as QDP has them."
    bad = [r.replace(',.1', ',-.1') for r in RATES[rows]] + RATES[len(RATES[rows]):]
    with pytest.raises(FileError, match='line 2.*-0.1; expected errors of 0 or more') as e: read_lightcurve(csv(tmp_path/'a.csv', *bad))
    assert '\n' not in str(e.value)
    E = np.full(50, .1); E[rows] *= -1
    for unit in ('count/s', 'erg/s'):
        path = table(tmp_path/'a.fits', ('TIME', 'D', 's', T), ('RATE', 'D', unit, 1 + .1*D), ('ERROR', 'D', unit, E))
        with pytest.raises(FileError, match='row 1.*-0.1; expected errors of 0 or more'): read_lightcurve(path)
    lower = [f'{r},{"-" if i in range(30)[rows] else ""}.1' for i, r in enumerate(RATES)]
    path = csv(tmp_path/'b.csv', *lower, head='time [s],rate [ct/s],err_plus,err_minus')
    if rows.stop is None: assert (read_lightcurve(path).err_minus == .1).all()
    else:
        with pytest.raises(FileError, match='errors of one sign'): read_lightcurve(path)
    body = '\n'.join(f'{10*i} 5 1.{i % 3} {"-" if i in range(30)[rows] else ""}.1' for i in range(30))
    (tmp_path/'c.qdp').write_text(f'READ SERR 1 2\n{body}\n')
    with pytest.raises(FileError, match='row 1.*errors of 0 or more'): read_lightcurve(tmp_path/'c.qdp', clock='s')
    (tmp_path/'d.txt').write_text('\n'.join(f'{58000 + i} 1 .1 1 .1 1 {"-" if i in range(30)[rows] else ""}.1 1 .1' for i in range(30)) + '\n')
    with pytest.raises(FileError, match='row 1.*errors of 0 or more'): read_lightcurve(tmp_path/'d.txt')

@pytest.mark.parametrize('form', ['2021-01-03T{}:00:00', '2021-01-03 {}:00:00.000', '2021/01/03 {}:00', '2021-01-03T{}:00:00+00:00', '2021-01-03T{}:00:00Z', '20210103T{}0000'])
def test_dates_of_iso_8601(tmp_path, form):
    for name in ('time', 'time [UTC]', 'MJD'):
        lc = read_lightcurve(csv(tmp_path/'a.csv', *(f'{form.format(h)},1.1,.1' for h in ('00', '12', '18')), head=f'{name},rate [ct/s],error'))
        assert lc.mjd == pytest.approx([59217., 59217.5, 59217.75], abs=1e-8) and 'dates taken' in lc.said

def test_other_dates_say_what_is_expected(tmp_path):
    days = read_lightcurve(csv(tmp_path/'a.csv', '2021-01-03 1.1 .1', '2021-01-04 1.2 .1', head='time rate error'))
    assert days.mjd.tolist() == [59217, 59218]
    east = read_lightcurve(csv(tmp_path/'a.csv', '2021-01-03T02:00:00+02:00,1.1,.1', '2021-01-04T02:00:00+02:00,1.2,.1', head='time,rate,error'))
    assert east.mjd == pytest.approx([59217, 59218])
    for odd in ('03.01.2021 12:00', '2021-02-30T00:00:00'):
        for first in ([], ['2021-01-01T12:00:00,1,.1']):
            path = csv(tmp_path/'a.csv', *first, f'{odd},1.1,.1', f'{odd},1.1,.1', head='time,rate,error')
            with pytest.raises(FileError, match='2021-01-03T12:00:00') as e: read_lightcurve(path)
            assert 'upper limit' not in str(e.value) and odd in str(e.value) and f'line {2 + len(first)}' in str(e.value)

def test_columns_that_are_not_read_are_said(tmp_path):
    lc = read_lightcurve(csv(tmp_path/'a.csv', '1,1,.1,2', '2,2,.1,2', head='time [s],rate [ct/s],std,foo'))
    assert lc.err_plus[:,0].tolist() == [.1, .1] and 'not read: FOO' in lc.said and not lc.counted

# ---------------------------------------------------------------------------------- flags, two names of one column, half a date

FLAGGED = (np.arange(50) % 25 == 3).astype('i4')*4                # rows 4 and 29

@pytest.mark.parametrize('name, form, values', [('QUALITY', 'J', FLAGGED), ('SAP_QUALITY', 'J', FLAGGED), ('quality', 'I', FLAGGED), ('FLAG', 'L', FLAGGED > 0),
                                                ('FLAG', '8X', (FLAGGED > 0)[:,None]*np.ones((1, 8), bool)), ('QUALITY', '2J', np.stack([FLAGGED, 0*FLAGGED], 1))])
def test_flags_of_quality_are_said(tmp_path, name, form, values):
    "No row is dropped, and what stands in the column is not passed over."
    usual = ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('COUNTS', 'J', '', C)
    lc = read_lightcurve(table(tmp_path/'a.fits', *usual, (name, form, '', values)))
    assert f'{name} is not 0 in 2 of 50 rows (rows 4, 29)' in lc.said and 'leave them out of the file' in lc.said and lc.mask.all() and len(lc) == 50
    assert name not in read_lightcurve(table(tmp_path/'b.fits', *usual, (name, form, '', 0*values if form != 'L' else values < 0))).said

@pytest.mark.parametrize('name', ['a.ecsv', 'a.vot'])
def test_a_table_without_rows(tmp_path, name):
    "Also one whose columns may have gaps."
    from astropy.table import MaskedColumn, Table
    t = Table(dict(time=MaskedColumn([], unit='s', dtype=float), rate=MaskedColumn([], unit='ct/s', dtype=float, mask=[])))
    t.write(tmp_path/name, format='votable' if name.endswith('vot') else None)
    with pytest.raises(FileError, match='no rows'): read_lightcurve(tmp_path/name)

def test_rates_beside_the_rate_are_said(tmp_path):
    columns = [(k, 'D', unit, v*np.ones(50)) for k, unit, v in (('FLUX', 'erg/(s cm2)', 1e-12), ('NET_RATE', 'ct/s', 2.), ('ERROR', 'ct/s', .1))]
    lc = read_lightcurve(table(tmp_path/'a.fits', ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), *columns))
    assert (lc.rate == 2).all() and 'not read: FLUX; the rate is NET_RATE' in lc.said

def test_flags_of_quality_in_text(tmp_path):
    "In CSV, ECSV and VOTable, and beside photons."
    from astropy.table import Table
    flags = [0, 0, 4]*10
    path = csv(tmp_path/'a.csv', *(f'{r},{f}' for r, f in zip(RATES, flags)), head='time [s],rate [ct/s],error [ct/s],quality')
    said = read_lightcurve(path).said
    assert 'QUALITY is not 0 in 10 of 30 rows' in said and said.count('QUALITY') == 1
    t = Table(dict(time=np.arange(30.)*10, rate=np.ones(30) + .1*(np.arange(30) % 3), error=np.full(30, .1), quality=np.array(flags) > 0))
    t['time'].unit, t['rate'].unit = 's', 'ct/s'
    t.write(tmp_path/'a.ecsv')
    t.write(tmp_path/'a.vot', format='votable')
    for name in ('a.ecsv', 'a.vot'): assert 'QUALITY is not 0 in 10 of 30 rows' in read_lightcurve(tmp_path/name).said
    good = fits.BinTableHDU.from_columns([fits.Column(k, 'D', 's', array=[v]) for k, v in (('START', 0.), ('STOP', 50.))], name='GTI')
    columns = ('TIME', 'D', 's', np.arange(50.)), ('ENERGY', 'D', 'keV', np.ones(50)), ('FLAG', 'J', None, FLAGGED)
    events = fits.BinTableHDU.from_columns([fits.Column(n, f, u, array=v) for n, f, u, v in columns], name='EVENTS')
    for h in (good, events): h.header['MJDREF'] = 51544.
    fits.HDUList([fits.PrimaryHDU(), events, good]).writeto(tmp_path/'ev.fits')
    assert 'FLAG is not 0 in 2 of 50 rows' in read_lightcurve(tmp_path/'ev.fits', step=10.).said

def test_flags_of_a_file_of_a_catalogue_are_those_of_its_rows(tmp_path):
    "Files of one layout are read together: numbers of rows would be those of no file."
    paths = simulate(3, 1).write(tmp_path)
    for k, path in enumerate(paths):
        with fits.open(path) as f:
            flags = np.zeros(len(f[1].data), 'i4')
            flags[:k] = 1
            made = fits.BinTableHDU.from_columns(f[1].columns + fits.ColDefs([fits.Column('QUALITY', 'J', array=flags)]), header=f[1].header)
            fits.HDUList([f[0], made]).writeto(path, overwrite=True)
    found = read_catalogue(tmp_path)
    assert len(found) == 3 and 'QUALITY is not 0 in 3 of' in str(found.notes) and '(row' not in str(found.notes)

@pytest.mark.parametrize('other', ['rate', 'Rate'])
def test_two_columns_of_one_name(tmp_path, other):
    "Names without regard to capitals: which of two is meant is not ours to say."
    usual = ('TIME', 'D', 's', T), ('RATE', 'D', 'ct/s', C*1.01), ('ERROR', 'D', 'ct/s', D)
    def refused(path):
        with pytest.raises(FileError) as e: read_lightcurve(path)
        assert f"'RATE' and '{other}'" in str(e.value) and 'rename' in str(e.value)
    refused(table(tmp_path/'a.fits', *usual, (other, 'D', 'ct/s', C*2.)))
    assert len(read_lightcurve(table(tmp_path/'a.fits', *usual, ('foo', 'D', '', D), ('FOO', 'D', '', D)))) == 50
    refused(csv(tmp_path/'a.csv', *(f'{r},2' for r in RATES), head=f'time [s],RATE [ct/s],error [ct/s],{other} [ct/s]'))

@pytest.mark.parametrize('head, says', [('time [s],rate_1,rate_2,RATE_1', "'rate_1' and 'RATE_1'"), ('time [s],rate_1,rate_2,rate', "'rate_1' and 'rate'"),
                                        ('time [s],rate,rate_1,rate_2', "'rate' and 'rate_1'"), ('time [s],rate,cps,error', "'rate' and 'cps'"),
                                        ('time [s],MJD,rate,error', "'time' and 'MJD'")])
def test_two_columns_of_one_meaning(tmp_path, head, says):
    with pytest.raises(FileError) as e: read_lightcurve(csv(tmp_path/'a.csv', *(f'{10*i},1.1,2.2,3.3' for i in range(9)), head=head))
    assert says in str(e.value) and 'leave one out' in str(e.value)

def test_half_a_reference_of_time(tmp_path):
    "MJDREF is MJDREFI plus MJDREFF (OGIP 93-003): a fraction alone is no date; whole days alone are taken, and said."
    usual = ('TIME', 'D', 's', T), ('TIMEDEL', 'D', 's', D), ('COUNTS', 'J', '', C)
    path = table(tmp_path/'a.fits', *usual, MJDREFF=7.4e-4)
    assert read_lightcurve(path).mjdref == 51544.
    with fits.open(path, 'update') as f: del f[1].header['MJDREF']
    with pytest.raises(FileError, match='MJDREFF without MJDREFI.*MJDREFI to the header, or remove MJDREFF'): read_lightcurve(path)
    with fits.open(path, 'update') as f:
        f[1].header['MJDREFI'] = 50000
        del f[1].header['MJDREFF']
    lc = read_lightcurve(path)
    assert lc.mjdref == 50000 and 'MJDREFI without MJDREFF: the fraction of the day taken as 0' in lc.said
    with fits.open(path, 'update') as f: f[0].header['MJDREFF'] = .25
    assert read_lightcurve(path).mjdref == 50000.25 and 'without MJDREFF' not in read_lightcurve(path).said
