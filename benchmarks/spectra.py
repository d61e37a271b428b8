"""Spectra per second: physlearn's table and exact sum beside a naive sum, HAPI and ExoJAX, in one run.

827 lines of CH4, 800 points, one thread, CPU time. Peers take turns in rounds, so that a slow minute of the machine falls on all of them.
ExoJAX lives in an interpreter of its own: `--exojax PYTHON` starts it as a second process that answers one round at a time.
"""
import argparse, contextlib, io, json, math, os, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np
from _table import bar, data_folder, save

N_NAIVE, N_EXACT, N_TABLE, N_ERROR, ROUNDS = 2, 32, 256, 6, 5

def exojax_worker():
    "Speak json with the parent: widths, strengths and axes come in, optical depths go out, then one time for each line received."
    import jax, jax.numpy as jnp
    jax.config.update('jax_enable_x64', True)
    import exojax
    from exojax.opacity.lpf.lpf import voigt
    d = {k: jnp.array(v) for k, v in json.loads(sys.stdin.readline()).items()}
    @jax.jit
    def tau(nu, nu0, sd, gl, S): return S @ jax.vmap(lambda n0, s, g: voigt(nu - n0, s, g))(nu0, sd, gl)
    run = lambda: [np.asarray(tau(*(d[k][i] for k in ('nu', 'nu0', 'sd', 'gl', 'S')))) for i in range(len(d['nu']))]
    print(json.dumps(dict(tau=np.array(run()).tolist(), exojax=exojax.__version__, jax=jax.__version__)), flush=True)
    for _ in sys.stdin:
        t = time.process_time()
        run()
        print((time.process_time() - t)/len(d['nu']), flush=True)

if '--exojax-worker' in sys.argv:
    exojax_worker()
    sys.exit()

import torch
from scipy.special import wofz
from physlearn.spectra.hitran import line_strength, read_par
from physlearn.spectra.simulate import preset, shape_parameters
torch.set_num_threads(1)

class Lines:
    "What a peer needs of each state, in float64: shifted centres, widths, strength times column (B,L), and the axis (B,N)."
    def __init__(self, sim, theta):
        s = sim.canonical(theta)
        self.P, self.T, self.x = s['P'], s['T'], s['mf_CH4']
        p = shape_parameters(sim.lines, self.P, self.T, self.x)
        self.nu, self.nu0 = sim.wavenumber(theta), torch.as_tensor(sim.lines.nu) + p['dnu0']
        self.gd, self.gl = p['gamma_d'], p['gamma0']
        self.S = line_strength(sim.lines, self.T, sim.Q)*sim.column_densities(theta)['CH4'][:,None]

def by_wofz(l):
    "Optical depth by scipy's Faddeeva function, every line at every point."
    c = math.sqrt(math.log(2))/l.gd.numpy()
    x = (l.nu.numpy()[:,None] - l.nu0.numpy()[...,None])*c[...,None]
    return ((l.S.numpy()*c/math.sqrt(math.pi))[...,None]*wofz(x + 1j*(c*l.gl.numpy())[...,None]).real).sum(1)

def weideman(n=32):
    m, L = 2*n, math.sqrt(n/math.sqrt(2))
    t = L*np.tan(np.arange(-m+1, m)*np.pi/m/2)
    f = np.concatenate([[0.], np.exp(-t**2)*(L**2 + t**2)])
    return L, np.real(np.fft.fft(np.fft.fftshift(f)))[1:n+1][::-1]/(2*m)
L32, A32 = weideman()

def naive(l, dtype, chunk=None):
    "Weideman's 32-term w(z) for every line and point (Weideman 1994); distances from the centre in float64, w in `dtype`."
    c, out = math.sqrt(math.log(2))/l.gd, 0.
    for k in range(0, l.nu0.shape[1], chunk or l.nu0.shape[1]):
        k = slice(k, k + (chunk or l.nu0.shape[1]))
        x = ((l.nu[:,None] - l.nu0[:,k,None])*c[:,k,None]).to(dtype)
        z = torch.complex(x, (c*l.gl)[:,k,None].to(dtype).expand_as(x))
        d = 1/(L32 - 1j*z)
        Z, p = (L32 + 1j*z)*d, torch.full_like(z, A32[0])
        for a in A32[1:]: p = p*Z + a
        w = (d*(2*p*d + 1/math.sqrt(math.pi))).real
        out = out + torch.einsum('bl,bln->bn', (l.S*c/math.sqrt(math.pi))[:,k].to(dtype), w)
    return out

def hapi_peer(par, lines, l, path):
    "A function that computes spectrum i by HAPI."
    with contextlib.redirect_stdout(io.StringIO()): import hapi
    folder = Path(tempfile.mkdtemp())
    keep = [r for r in Path(par).read_text().splitlines() if 3060 <= float(r[3:15]) <= 3112 and float(r[15:25]) >= 1e-25]
    assert len(keep) == len(lines)
    (folder/'CH4.data').write_text('\n'.join(keep) + '\n')
    (folder/'CH4.header').write_text(json.dumps(dict(hapi.HITRAN_DEFAULT_HEADER, table_name='CH4', number_of_rows=len(keep))))
    with contextlib.redirect_stdout(io.StringIO()): hapi.db_begin(str(folder))
    def one(i):
        P, T, x = (v[i].item() for v in (l.P, l.T, l.x))
        with contextlib.redirect_stdout(io.StringIO()):
            k = hapi.absorptionCoefficient_Voigt(SourceTables='CH4', Environment=dict(p=P, T=T), Diluent=dict(air=1 - x, self=x), OmegaGrid=l.nu[i].numpy(),
                                                 HITRAN_units=True, IntensityThreshold=0., WavenumberWing=25., WavenumberWingHW=0.)[1]
        return k*101325e-6/1.380649e-23*P/T*x*path
    return one

def main():
    a = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    a.add_argument('--rounds', type=int, default=ROUNDS)
    a.add_argument('--exojax', metavar='PYTHON', help='interpreter that has exojax')
    a.add_argument('--without-exojax', default='it was not asked for', help='the reason, for the table')
    a = a.parse_args()
    par = data_folder()/'hitran'/'ch4_3035_3136.par'
    lines, ref = read_par(par).select(numin=3060, numax=3112, min_sw=1e-25), preset('reference')
    space = ref.space.only('sig0', 'step', 'mf_CH4', 'P', 'T')
    exact = ref.simulator(lines, space=space)
    t = time.process_time()
    table = ref.simulator(lines, space=space, method='table')
    build = time.process_time() - t
    theta = space.sample(N_TABLE, 'benchmark')
    few, pair, some = theta[:N_EXACT], Lines(exact, theta[:N_NAIVE]), Lines(exact, theta[:N_ERROR])
    def both_ways():
        q = theta.clone().requires_grad_()
        table(q).sum().backward()
    peers = {'physlearn table, float32, batch 256': (lambda: table(theta), N_TABLE, 20), 'the same, forward + backward': (both_ways, N_TABLE, 10),
             'physlearn exact, float64, batch 32': (lambda: exact(few), N_EXACT, 1)}
    for name, dtype in (('float64', torch.float64), ('float32 core', torch.float32)):
        peers[f'naive sum, {name}'] = (lambda dtype=dtype: naive(pair, dtype), N_NAIVE, 1)
        peers[f'naive sum, {name}, 8 lines at a time'] = (lambda dtype=dtype: naive(pair, dtype, 8), N_NAIVE, 1)
    tau = {k: naive(some, torch.float32 if '32' in k else torch.float64, 8 if '8 lines' in k else None).double().numpy() for k in peers if 'naive' in k}
    tau |= {k: (table if 'table' in k else exact).optical_depth(theta[:N_ERROR]).double().numpy() for k in peers if 'physlearn' in k}
    hapi, versions, left_out = None, {}, []
    try:
        one = hapi_peer(par, lines, some, exact.path)
        import hapi as package
        versions['hitran-api'] = package.HAPI_VERSION
        hapi = tau['HAPI, one at a time'] = np.stack([one(i) for i in range(N_ERROR)])
        peers['HAPI, one at a time'] = (lambda: [one(i) for i in range(N_NAIVE)], N_NAIVE, 1)
    except ImportError: left_out.append('HAPI is left out: pip install hitran-api')
    clock = {}
    if a.exojax:
        flags = '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
        w = subprocess.Popen([a.exojax, __file__, '--exojax-worker'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                             env=os.environ | dict(XLA_FLAGS=flags, OMP_NUM_THREADS='1', JAX_PLATFORMS='cpu'))
        sd = some.gd/math.sqrt(2*math.log(2))                                            # ExoJAX takes the standard deviation
        w.stdin.write(json.dumps({k: v.tolist() for k, v in dict(nu=some.nu, nu0=some.nu0, sd=sd, gl=some.gl, S=some.S).items()}) + '\n')
        w.stdin.flush()
        got = json.loads(w.stdout.readline())
        tau['ExoJAX direct Voigt, float64, jit'] = np.array(got.pop('tau'))
        versions |= got
        def ask():
            w.stdin.write('\n')
            w.stdin.flush()
            return float(w.stdout.readline())
        peers['ExoJAX direct Voigt, float64, jit'] = (None, N_NAIVE, 1)
        clock['ExoJAX direct Voigt, float64, jit'] = ask
    else: left_out.append(f'ExoJAX is left out: {a.without_exojax}')
    def timed(f, n, repeat):
        t = time.process_time()
        for _ in range(repeat): f()
        return (time.process_time() - t)/n/repeat
    for f, *_ in peers.values(): f and f()
    ms = {k: [] for k in peers}
    for r in range(a.rounds):
        for k, p in peers.items(): ms[k].append(1e3*(clock[k]() if k in clock else timed(*p)))
        print(f'round {r+1} of {a.rounds}:', {k: round(v[-1], 4) for k, v in ms.items()}, flush=True)
    wofz_, fastest = by_wofz(some), np.median(ms['physlearn table, float32, batch 256'])
    off = lambda t, ref: float((np.abs(t - ref)/ref.max(1, keepdims=True)).max()) if ref is not None else math.nan
    med = {k: float(np.median(v)) for k, v in ms.items()}
    rows = [[k, med[k], 1e3/med[k], med[k]/fastest, '' if 'backward' in k else off(tau[k], wofz_), '' if 'backward' in k or k.startswith('HAPI') else off(tau[k], hapi)] for k in peers]
    best = min((k for k in peers if 'physlearn' not in k and 'backward' not in k), key=med.get)
    fwd, bwd, ex = (med[k] for k in list(peers)[:3])
    bars = [bar('table against the fastest peer', '>= 2000 x', f'{med[best]/fwd:.0f} x ({best})', med[best]/fwd >= 2000), bar('table, forward', '<= 20 µs', f'{1e3*fwd:.1f} µs', fwd <= .02),
            bar('table, forward and backward', '<= 80 µs', f'{1e3*bwd:.1f} µs', bwd <= .08)]
    for k in [k for k in peers if k.startswith('naive sum, float64')]: bars.append(bar(f'exact against {k}', '>= 5 x', f'{med[k]/ex:.0f} x', med[k]/ex >= 5))
    text = (f'{len(lines)} lines of CH4 (3060 to 3112 cm⁻¹, strength at least 1e-25) at 800 points each, states drawn from the reference preset. Median CPU time of {a.rounds} rounds, in which '
            f'the peers take turns; errors are the largest of {N_ERROR} states. Naive sums take {N_NAIVE} spectra at once, HAPI and ExoJAX one. The table took {build:.1f} s of CPU time to build; its own estimate of its error is {table.table_error:.1e} of the peak. ' + ' '.join(s + '.' for s in left_out)).strip()
    head = ['peer', 'CPU ms per spectrum', 'spectra/s and core', 'times the table', 'largest error against wofz, of the peak', 'against HAPI, of the peak']
    save('spectra', 'Spectra per second', text, [('Optical depth of 827 lines at 800 points', head, rows)], bars, versions, ms=ms, build_s=build)
    if a.exojax:
        w.stdin.close()
        w.wait()

if __name__ == '__main__': main()
