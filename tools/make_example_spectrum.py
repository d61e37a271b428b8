"""Recipe of physlearn/spectra/data/example_spectrum.csv: hitran-api computes it from the embedded lines, numpy adds the noise.

Nothing here calls the simulator of this package, so that the demonstration fits a file that it did not make itself.
The HITRAN records of the embedded lines are looked up in the folder that PHYSLEARN_DATA names."""
import contextlib, io, json, os, tempfile
from pathlib import Path
import numpy as np
from physlearn.files import write_table
from physlearn.spectra.hitran import demo_lines

TRUTH = dict(sig0=3085.4462, step=.0015312, mf_CH4=3.42e-6, mf_H2O=8e-5, baseline0=1.000002, baseline1=-3.41e-4, baseline2=-3.9e-8, P=487.3, T=306.1)
PATH_CM, NOISE, SEED = 1512., .002, 20
POLY = (-2.3614803e-7, 1.2103413e-10, -3.1617856e-14)

def records(molecule, folder):
    "The 160-character records of the embedded lines of one molecule, as a table of hitran-api."
    par = (Path(os.environ['PHYSLEARN_DATA'])/'hitran'/f'{molecule.lower()}_3035_3136.par').read_text().splitlines()
    lines = demo_lines().select(molecule=molecule)
    wanted = set(zip(lines.nu.tolist(), lines.sw.tolist()))
    rows = [r for r in par if (float(r[3:15]), float(r[15:25])) in wanted]
    if len(rows) != len(lines): raise SystemExit(f'{molecule}: {len(rows)} of {len(lines)} lines found')
    (folder/f'{molecule}.data').write_text('\n'.join(rows) + '\n')
    return rows

def main():
    with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as d:
        import hapi
        for m in ('CH4', 'H2O'):
            head = dict(hapi.HITRAN_DEFAULT_HEADER, table_name=m, number_of_rows=len(records(m, Path(d))))
            (Path(d)/f'{m}.header').write_text(json.dumps(head))
        hapi.db_begin(d)
        i, t = np.arange(800), TRUTH
        nu = t['sig0'] + t['step']*i + sum(p*i**(k + 2.) for k, p in enumerate(POLY))
        N, tau = t['P']*1e3/(1.380649e-16*t['T']), 0.                          # molecules per cm³
        for m in ('CH4', 'H2O'):
            x = t['mf_' + m]
            k = hapi.absorptionCoefficient_Voigt(SourceTables=m, Environment=dict(p=t['P']/1013.25, T=t['T']), Diluent=dict(air=1 - x, self=x),
                                                 WavenumberGrid=nu, WavenumberWing=25., WavenumberWingHW=0., IntensityThreshold=0., HITRAN_units=True)[1]
            tau = tau + k*N*x*PATH_CM
    clean = np.exp(-tau)*sum(t[f'baseline{k}']*i**float(k) for k in range(3))
    signal = clean*(1 + NOISE*np.random.default_rng(SEED).standard_normal(800))
    meta = dict(quantity='signal', axis='pixel', path='15.12 m', noise=f'white, {NOISE:g} of the noiseless signal', made_by='hitran-api 1.3.0.0, absorptionCoefficient_Voigt (tools/make_example_spectrum.py)',
                lines='the embedded list, HITRAN (Gordon et al. 2022)', **{f'truth_{k}': f'{v:.10g}' for k, v in TRUTH.items()})
    out = Path(__file__).parent.parent/'physlearn/spectra/data/example_spectrum.csv'
    write_table(out, dict(pixel=i, signal=np.round(signal, 7)), meta)
    print(f'{out.name}: {len(i)} points, smallest signal {signal.min():.4f}')

if __name__ == '__main__': main()
