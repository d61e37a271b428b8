"The table of results: names that collide, parts that do not belong together, numbers that are none."
import json, math
import numpy as np
import pandas as pd
import pytest
import torch
from dataclasses import replace
from physlearn.calibration import calibrate, coverage
from physlearn.files import FileError, read_hdf5, read_table
from physlearn.params import Param, ParamSpace
from physlearn.results import AT_END, BENT, Results, from_to, plus_minus

def made(names='T', n=2, value=300., sd=1., units='K', **kw):
    "Results of n signals, all alike."
    names = names.split()
    space = ParamSpace(**{k: Param(0, 1000, units) for k in names})
    full = lambda v: torch.full((n, len(names)), float(v), dtype=torch.float64)
    kw = dict(ok=torch.ones(n, dtype=torch.bool), p=torch.full((n,), .5, dtype=torch.float64)) | kw
    if isinstance(value, list): value = torch.tensor(value, dtype=torch.float64)[:,None].expand(n, len(names))
    else: value = full(value)
    return Results(space, value, full(sd), value - 2, value + 2, full(.1), **kw)

def test_parameter_p_keeps_its_numbers(tmp_path):
    "A parameter counts more than a column of the signal: in every format it holds its own values."
    r = made('p T', signals=dict(T=[1, 2], name=['a', 'b'], level=[7, 8], sentence=['x', 'y']))
    assert r.columns()['p'].tolist() == [300, 300] and r.columns()['p_of_signal'].tolist() == [.5, .5]
    assert r.columns()['T'].tolist() == [300, 300] and r.columns()['T_of_signal'].tolist() == [1, 2]
    for end in ('csv', 'h5', 'parquet', 'json'): r.save(tmp_path/f'r.{end}')
    text = 'name', 'sentence', 'p_flag', 'T_flag', 'method'
    for t in (read_table(tmp_path/'r.csv', text=text), read_hdf5(tmp_path/'r.h5')):
        assert list(t['p']) == [300, 300] and list(t['p_of_signal']) == [.5, .5] and list(t['T_of_signal']) == [1, 2]
    for t in (pd.read_csv(tmp_path/'r.csv'), pd.read_parquet(tmp_path/'r.parquet'), r.to_pandas(wide=True)):
        assert list(t['p [K]']) == [300, 300] and list(t['p_of_signal']) == [.5, .5] and list(t['T_of_signal']) == [1, 2]
    long = r.to_pandas()
    assert long['name'].tolist() == ['p', 'T']*2 and long['name_of_signal'].tolist() == ['a', 'a', 'b', 'b']
    assert long['level'].tolist() == [.95]*4 and long['level_of_signal'].tolist() == [7, 7, 8, 8] and long['T'].tolist() == [1, 1, 2, 2]
    row = json.loads((tmp_path/'r.json').read_text())['results'][0]
    assert row['sentence'] == r.sentence(0) and row['sentence_of_signal'] == 'x'

def test_quantities_that_collide():
    "Two quantities that would write one column are refused, by name."
    for names in ('T T_sd', 'T T_low95', 'T T_flag'):
        with pytest.raises(ValueError, match=names.split()[1]): made(names)
    with pytest.raises(ValueError, match='T_bound'): made('T T_bound', more=dict(bound=torch.ones(2, 2)))
    with pytest.raises(ValueError, match='p_of_signal'): made('p p_of_signal')

def test_join_compares():
    "Parts of other units, order, level or knowledge are no table; columns that some lack are gaps."
    r = made()
    for other, says in ((made(units='mK'), 'mK'), (made(level=.68), '0.68'), (made('P'), 'P'), (made(known=('T',)), 'known'), (made(alpha=.1), '0.1')):
        with pytest.raises(ValueError, match=says): Results.join([r, other])
    with pytest.raises(ValueError, match="'x T'.*'T x'"): Results.join([made('T x'), made('x T')])
    with pytest.raises(ValueError, match='no results'): Results.join([])
    a = replace(r, signals=dict(file=['a', 'b'], row=[0, 1]), method='fit', more=dict(bound=torch.ones(2, 1)))
    b = replace(r, signals=dict(time=np.array(['2020-01-01']*2, 'datetime64[s]')), method='network')
    for both, at in ((Results.join([a, b]), 0), (Results.join([b, a]), 2)):
        assert len(both) == 4 and set(both.method.split('; ')) == {'fit', 'network'}
        assert both.signals['file'][at:at+2].tolist() == ['a', 'b'] and both.signals['file'][2-at:4-at].tolist() == ['', '']
        assert np.isnat(both.signals['time'][at:at+2]).all() and np.isnan(both.signals['row'][2-at:4-at]).all()
        assert both.more['bound'][2-at:4-at].isnan().all() and (both.more['bound'][at:at+2] == 1).all()

@pytest.mark.parametrize('level', [95, 1, 0, math.nan, -.5])
def test_level_is_a_share(level):
    with pytest.raises(ValueError, match=f'level={level}'): made(level=level)

def test_impossible_numbers():
    with pytest.raises(ValueError, match='sd.*-1'): made(sd=-1)
    r = made()
    with pytest.raises(ValueError, match='low'): replace(r, low=r.high, high=r.low)
    assert 'T_low99.99999' in made(level=.9999999).columns() and made(level=.9999999).about()['level'] == '0.9999999'

def test_digits_of_what_is_no_number():
    nan, inf = math.nan, math.inf
    assert plus_minus(3., nan) == '3 ± nan' and plus_minus(3., inf) == '3 ± inf' and plus_minus(3., 0.) == '3'
    assert plus_minus(nan, 1.) == 'nan ± 1' and plus_minus(inf, 1.) == 'inf ± 1' and plus_minus(nan, nan) == 'nan ± nan'
    assert plus_minus(1e-320, 1e-321) and plus_minus(1e300, 1e-300) and plus_minus(0., 1e-30) == '(0.0 ± 1.0)e-30'
    assert from_to(1., inf) == '1 .. inf' and from_to(-inf, 2.) == '-inf .. 2' and from_to(nan, 1.) == '' and from_to(-1e308, 1.7e308)

@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_one_bad_row_is_one_bad_row(value, tmp_path):
    "A table with a value that is none is shown, drawn and written, and the flag says it."
    r = made(value=[value, 3.], signals=dict(file=['a\nb.csv', 'c.csv']))
    high = r.high.clone()
    high[1] = math.inf
    r = replace(r, high=high)
    assert '3 .. ' not in repr(r) and '3.0 ± 1.0' in repr(r) and '1 .. inf' in repr(r) and '<table>' in r._repr_html_()
    assert [r.flag(i, 'T') for i in (0, 1)] == ['not trusted', 'determined'] and 'not trusted' in r.sentence(0)
    r.plot()
    for end in ('csv', 'json', 'h5', 'parquet'): r.save(tmp_path/f'r.{end}')
    t = read_table(tmp_path/'r.csv', text=('file', 'T_flag', 'method'), missing=('T', 'T_low95', 'T_high95'))
    assert t['T'][1] == 3 and np.isnan(t['T'][0]) and np.isnan(t['T_high95'][1]) and t['file'][0] == 'a\nb.csv'

def test_no_uncertainty_is_not_determined():
    r = made()
    for sd in (math.nan, math.inf): assert replace(r, sd=r.sd*sd).flag(0, 'T') == 'not determined'

def said_of(r, i, j):
    "The rules of the page for one number, in their order."
    value, sd, low, high, ratio = (v[i,j].item() for v in (r.value, r.sd, r.low, r.high, r.ratio))
    (name, p), of = list(r.space.items())[j], lambda v: v is not None and bool(v[i,j])
    if not r.ok[i] or not math.isfinite(value): return 'not trusted'
    if r.p[i] < r.alpha: return 'suspect'
    if of(r.beyond): return AT_END
    if of(r.limits) and not ratio > .9: return 'upper limit'
    if not math.isfinite(sd): return 'not determined'
    if of(r.bent): return BENT
    if name in r.known: return 'given' if ratio == 0 or ratio > .9 else 'improved'
    if not ratio < .9: return 'not determined'
    if p.log: a, b = (math.log(v/p.lo)/math.log(p.hi/p.lo) for v in (low, high))
    else: a, b = ((v - p.lo)/(p.hi - p.lo) for v in (low, high))
    share = .196/3.627                                     # of a normal posterior 1.645 sd above the beginning, by hand
    begins, ends = a < b and a < share*b, a < b and 1 - b < share*(1 - a)
    if begins and not ends and p.lo >= 0 and high > 2*p.lo: return 'upper limit'
    return 'determined' if ratio < .5 else 'partly determined'

def test_flags_are_those_of_the_rules():
    "Flags and sentences are made of all rows at once, and say what each row says alone."
    n, g = 1600, torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)
    holes = lambda v, other: torch.where(draw(*v.shape) < .1, torch.full_like(v, other), v)
    space = ParamSpace(a=Param(0, 1e-3), b=Param(1, 5, 'K'), c=Param(1e-9, 1e-3, log=True), d=Param(1, 5, 'K'))
    lo, hi = (torch.tensor([getattr(p, k) for _, p in space.items()], dtype=torch.float64) for k in ('lo', 'hi'))
    value, width = lo + (hi - lo)*draw(n, 4)**2, (hi - lo)*draw(n, 4)**4
    low, high = torch.maximum(lo, value - width), torch.minimum(hi, value + width)
    marks = {k: draw(n, 4) < .1 for k in ('limits', 'beyond', 'bent')}
    r = Results(space, holes(value, math.nan), holes(width, math.inf), low, high, holes(holes(1.2*draw(n, 4), 0.), math.nan),
                draw(n) > .2, holes(.1*draw(n), math.nan), known=('b',), doubts=('', 'a doubt')*(n//2), **marks)
    alone = [r[i] for i in range(n)]
    assert [r.flag(i, k) for i in range(n) for k in space] == [one.flag(0, k) for one in alone for k in space]
    assert [r.sentence(i) for i in range(n)] == [one.sentence(0) for one in alone]
    words = {r.flag(i, k) for i in range(n) for k in space}
    assert words == {'not trusted', 'suspect', AT_END, 'upper limit', 'not determined', BENT, 'determined', 'partly determined',
                     'given', 'improved'}
    assert [r.flag(i, k) for i in range(n) for k in space] == [said_of(r, i, j) for i in range(n) for j in range(4)]

def test_no_signals():
    r = made(n=0, signals=dict(effective_draws=[], chi2=[]))
    assert '0 rows' in repr(r) and r._repr_html_() and r.plot() and len(r.to_pandas()) == 0

@pytest.mark.parametrize('levels', [(95,), (.5, 1.), (0.,), (math.nan,)])
def test_levels_of_coverage(levels):
    samples, truth = torch.randn(40, 50, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(40, 2)
    for check in (lambda: coverage(samples, truth, levels), lambda: calibrate(['a', 'b'], samples, truth, levels=levels)):
        with pytest.raises(ValueError, match='expected a share between 0 and 1'): check()

@pytest.mark.parametrize('n', [1, 5, 29])
def test_few_cases_tell_nothing(n):
    "Neither that error bars are wrong nor that the data say nothing."
    samples = torch.randn(n, 50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    c = calibrate(['a', 'b'], samples, torch.full((n, 2), 9., dtype=torch.float64))
    assert 'too few' in c.sentence and f'{n} simulated case' in c.sentence and 'fails' not in c._repr_html_() and not c.passed
    assert not any(word in c.sentence for word in ('TARP', 'say nothing'))
    assert {row['passed'] for row in c.table()} == {None}

def same(a, b):
    "Are two Results the same, apart from rounding of their correlations?"
    assert list(a.space) == list(b.space) and a.space == b.space
    for k in ('value', 'sd', 'low', 'high', 'ratio', 'ok', 'p'):
        assert torch.equal(getattr(a, k).nan_to_num(-1.), getattr(b, k).nan_to_num(-1.)), k
    assert (a.level, a.method, a.known, a.doubts, a.alpha, a.flags) == (b.level, b.method, b.known, b.doubts, b.alpha, b.flags)
    assert [a.flag(i, k) for i in range(len(a)) for k in a.space] == [b.flag(i, k) for i in range(len(b)) for k in b.space]
    assert {k: v.astype(str).tolist() for k, v in a.signals.items()} == {k: v.astype(str).tolist() for k, v in b.signals.items()}
    assert list(a.more) == list(b.more) and repr(a) == repr(b)
    assert (a.corr is None) == (b.corr is None)
    if a.corr is not None: assert (a.corr - b.corr).nan_to_num().abs().max() < 1e-6

def test_results_are_loaded_again(tmp_path):
    "What JSON holds is the whole: gaps, doubts, times, correlations and verdicts."
    corr = torch.tensor([[[1., -.97], [-.97, 1.]], [[1., math.nan], [math.nan, math.nan]]], dtype=torch.float64)
    signals = dict(file=['a', 'b'], row=[1, 2], good=[True, False], sentence=['x', 'y'], chi2=[1.5, math.nan],
                   time=np.array(['2020-01-01T10:00', 'NaT'], 'datetime64[s]'))
    r = made('P T', signals=signals, known=('P',), corr=corr, doubts=('', 'few draws'), method='a fit', flags='signal',
             more=dict(bound=torch.ones(2, 2).double()), ok=torch.tensor([True, False]))
    for some in (r[:1], made(), r[:1].among([True, False], signals, ['', 'cloud']), r):
        back = Results.load(some.save(tmp_path/'r.json'))
        same(some, back)
    assert back.signals['row'].dtype.kind == 'i' and back.signals['time'].dtype.kind == 'M'
    assert r.correlated(0) == [('P', 'T', -.97)] and r.correlated(1) == []
    assert torch.equal(r.covariance(0), torch.tensor([[1., -.97], [-.97, 1.]], dtype=torch.float64))

def test_a_damaged_or_older_file_is_refused(tmp_path):
    "One sentence: what is missing or wrong in which file."
    f = made().save(tmp_path/'r.json')
    d = json.loads(f.read_text())
    older = {k: v for k, v in d.items() if k not in ('format', 'ranges')}
    for wrong, says in ((older, 'earlier version'), ([1], 'earlier version'), (d | dict(format=99), 'format 99'),
                        (d | dict(results=[{}]), 'damaged'), (d | dict(results=7), 'damaged'), (d | dict(ranges=dict(T=7)), 'damaged'),
                        (d | dict(results=[d['results'][0] | dict(quantities=[])]), 'damaged'), (d | dict(level='x'), 'damaged')):
        f.write_text(json.dumps(wrong))
        with pytest.raises(FileError, match=says) as e: Results.load(f)
        assert str(e.value).startswith(str(f)) and '\n' not in str(e.value)
    f.write_text('{"format": 1')
    with pytest.raises(FileError, match='JSON'): Results.load(f)
    with pytest.raises(FileError, match='pandas'): Results.load(made().save(tmp_path/'r.csv'))
    with pytest.raises(FileError): Results.load(tmp_path/'none.json')
