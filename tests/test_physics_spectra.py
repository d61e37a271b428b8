"""What a gas does to light, computed fast, hot, in other gases and glowing: each beside an independent value."""
import math
from dataclasses import replace
import numpy as np
import pytest
import torch
from physlearn.spectra.hitran import demo_lines, demo_partition_sums, line_strength
from physlearn.spectra.lineshape import hartmann_tran, hartmann_tran_slopes
from physlearn.spectra.simulate import Baseline, cross_section, profile_sum, shape_parameters, sum_in_chunks

def column(*values): return torch.tensor(values, dtype=torch.float64)

CH4 = demo_lines().select(molecule='CH4')
RICH = replace(CH4, **{k: np.full(len(CH4), v) for k, v in dict(sd_air=.1, sd_delta=.1, nuvc_air=.02, eta=.1, y_air=.05).items()})

@pytest.mark.parametrize('profile', ['voigt', 'ht'])
@pytest.mark.parametrize('wing', [25., .7, None])
def test_the_fast_sum_is_the_sum(profile, wing):
    "Nodes, pieces, wings that end inside the window, axes of two states that lie apart: the same as line by line, point by point."
    P, T, x, Q = column(.3, .8), column(290., 310.), column(1e-5, 1e-3), demo_partition_sums()
    nu = torch.stack([torch.linspace(3085.2, 3086.4, 450, dtype=torch.float64), torch.linspace(3088., 3089., 450, dtype=torch.float64)])
    fast = cross_section(RICH, Q, nu, P, T, x, profile, wing, mixing=True)
    p = shape_parameters(RICH, P, T, x) | dict(S=line_strength(RICH, T, Q))
    slow = sum_in_chunks(profile_sum(profile, True), torch.as_tensor(RICH.nu), p, nu, wing)[:,0]
    assert ((fast - slow).abs().amax(1)/slow.amax(1) < 1e-8).all()

def speed_average(dnu, gamma_d, gamma0, gamma2, delta2):
    "The speed-dependent Voigt profile by its definition: an average over speeds (Gauss-Legendre) of the average over directions."
    u, w = np.polynomial.legendre.leggauss(300)
    v, w = 3*(u + 1), 3*w                                          # speed over the most probable one, 0 .. 6
    rate = gamma0 + gamma2*(v**2 - 1.5) + 1j*delta2*(v**2 - 1.5) - 1j*dnu
    k = gamma_d/math.sqrt(math.log(2))*v
    average = np.arctan(k/rate)/k                                  # of 1/(rate - i k cos) over the cosine
    return (w*4/math.sqrt(math.pi)*v**2*np.exp(-v**2)*average).sum()/math.pi

@pytest.mark.parametrize('gamma2', [0., .002, .004])
def test_the_tail_of_a_speed_dependent_line(gamma2):
    "Near the border of the two forms and far beyond it, against the integral over speeds."
    gamma_d, gamma0, delta2 = .0059, .02, 3e-4*(gamma2 > 0)
    border = (7 + 49*math.sqrt(math.log(2))/gamma_d*gamma2)*gamma_d/math.sqrt(math.log(2))
    for dnu in (.9*border, 1.1*border, 3*border, 100*border):
        one = [column(v) for v in (dnu, gamma_d, gamma0, gamma2, delta2)]
        f = complex(*(float(v) for v in hartmann_tran(*one)))
        want = speed_average(dnu, gamma_d, gamma0, gamma2, delta2)
        assert abs(f.real/want.real - 1) < 1e-8 and abs(f.imag/want.imag - 1) < 1e-8

def test_slopes_across_the_border():
    "All derivatives in tail and core against finite differences of the value."
    at = [column(*v) for v in ((.02, .2, .5, 4.), [.0059]*4, [.02]*4, [.002]*4, [3e-4]*4, [.002]*4, [.3]*4)]
    _, by = hartmann_tran_slopes(*at)
    for j, k in enumerate(by):
        h = 1e-3*at[j].abs()
        ends = [torch.complex(*hartmann_tran(*at[:j], at[j] + s*h, *at[j+1:])) for s in (1, -1)]
        slope = (ends[0] - ends[1])/(2*h)
        assert ((by[k] - slope).abs() < 1e-4*slope.abs()).all(), k

def test_knots_are_where_they_are_said_to_be():
    "A spline baseline has the value of each knot at that knot, evenly spaced from end to end, and a level light is level."
    shapes = Baseline('spline').basis([f'baseline{k}' for k in range(4)], torch.linspace(2190, 2191, 13, dtype=torch.float64))
    assert torch.allclose(shapes[:,::4], torch.eye(4, dtype=torch.float64), atol=1e-12) and torch.allclose(shapes.sum(0), torch.ones(13, dtype=torch.float64))
