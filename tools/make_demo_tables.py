"""Make the small tables that the package carries: isotopologues and partition sums from hitran-api, lines for the
demonstration from HITRAN files. python tools/make_demo_tables.py FOLDER, where FOLDER holds hitran/*.par (its README says
where they come from)."""
import contextlib, io, sys
from pathlib import Path
import numpy as np

HERE = Path(__file__).resolve().parents[1]/'physlearn/spectra/data'
HITRAN = 'I.E. Gordon et al., The HITRAN2020 molecular spectroscopic database, JQSRT 277 (2022) 107949'
TIPS = 'R.R. Gamache et al., Total internal partition sums for the HITRAN2020 database, JQSRT 271 (2021) 107713'
HAPI = 'R.V. Kochanov et al., HITRAN Application Programming Interface, JQSRT 177 (2016) 15-30'

def make_isotopologues(hapi):
    from physlearn.files import write_table
    pairs = sorted(hapi.ISO)
    col = {k: [hapi.ISO[p][hapi.ISO_INDEX[n]] for p in pairs] for k, n in
           dict(global_iso_id='id', molecule='mol_name', formula='iso_name', abundance='abundance', mass='mass').items()}
    write_table(HERE/'isotopologues.csv', dict(molec_id=[m for m, _ in pairs], local_iso_id=[i for _, i in pairs], **col),
                dict(content='isotopologues of HITRAN with natural abundance and mass [u]', source='hitran-api 1.3.0.0', citation=f'{HITRAN}; {HAPI}'))

def wing(lines, lo=3085.3, hi=3086.7, P=.5):
    "Largest absorption of each line inside the window, at pressure P [atm], as a Lorentzian."
    d, g = np.maximum(np.maximum(lo - lines.nu, lines.nu - hi), 0), P*lines.gamma_air
    return lines.sw*g/(d**2 + g**2)

def make_lines(folder):
    "Lines above 1e-28 in 3084.5 to 3087.5 cm-1, and of each molecule the ten outside whose wings are strongest inside."
    from physlearn.files import write_table
    from physlearn.spectra.hitran import read_par
    out = None
    for name in ('ch4', 'h2o'):
        lines = read_par(folder/'hitran'/f'{name}_3035_3136.par')
        inside = (lines.nu >= 3084.5) & (lines.nu <= 3087.5) & (lines.sw >= 1e-28)
        keep = inside.copy()
        keep[np.argsort(-np.where(inside, 0, wing(lines)))[:10]] = True
        lines = lines[np.flatnonzero(keep)[np.argsort(lines.nu[keep], kind='stable')]]
        out = lines if out is None else out + lines
    columns = {k: v for k, v in out.columns().items() if k != 'quanta'}
    write_table(HERE/'demo_lines.csv', columns,
                dict(content='CH4 and H2O lines above 1e-28, 3084.5 to 3087.5 cm-1, and the strongest neighbours; columns and units as in HITRAN, ierr the six uncertainty codes',
                     source='HITRANonline and HITRAN2020', edition='12CH4 HITRANonline 2026-03; 13CH4 HITRAN2020; H2O HITRANonline 2024-08', citation=HITRAN))
    return out

def make_sums(hapi, lines):
    from physlearn.files import write_table
    pairs = sorted(set(zip(lines.molec_id.tolist(), lines.local_iso_id.tolist())))
    T = np.arange(100., 501., 10.)
    def Q(k): return [dict(zip(hapi.TIPS_2021_ISOT_HASH[k], hapi.TIPS_2021_ISOQ_HASH[k]))[t] for t in T]
    write_table(HERE/'demo_partition_sums.csv', dict(T=T, **{f'Q2021_{m}_{i}': np.array(Q((m, i)), dtype=float) for m, i in pairs}),
                dict(content='total internal partition sums, T [K], column Q2021_molecule_isotopologue', source='TIPS-2021 through hitran-api 1.3.0.0', citation=f'{TIPS}; {HAPI}'))

if __name__ == '__main__':
    if len(sys.argv) != 2: sys.exit(__doc__)
    with contextlib.redirect_stdout(io.StringIO()): import hapi
    HERE.mkdir(exist_ok=True)
    make_isotopologues(hapi)
    make_sums(hapi, make_lines(Path(sys.argv[1])))
