"""The policy as one C99 header that needs nothing but libm: weights, state, step, and a test of itself."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from control_stack.foundation.export.example import example
from control_stack.foundation.observation import ACTION_SIZE, OBSERVATION, OBSERVATION_SIZE, Wrapper
from control_stack.foundation.runtime import GRUPolicy
from control_stack.foundation.weights import MOTOR_ORDER, RATE_HZ

_TEST_STEPS = 25

# %names are replaced; braces are C's.
_TEMPLATE = r"""/* Quadrotor policy: dense %in-%h relu, GRU %h, dense %h-%out. Made by control-stack export.
 *
 * Call foundation_policy_reset when the vehicle arms and when its estimator is reset, then
 * foundation_policy_step at %rate Hz. Observation (SI units, world z up, body x forward, y left, z up):
%layout
 * Action: rotor speed as a part of its maximum is (action + 1) / 2, limited to 0..1; motors %motors,
 * which turn the body clockwise, counter-clockwise, clockwise, counter-clockwise (torques about +z %signs).
 * Feed the action back as it is, without limiting it. Limit errors of position and velocity, per axis, to
 * FOUNDATION_POLICY_POSITION_LIMIT m and FOUNDATION_POLICY_VELOCITY_LIMIT m/s. Weights: sha256 %hash
 */
#ifndef FOUNDATION_POLICY_H
#define FOUNDATION_POLICY_H

#include <math.h>

#define FOUNDATION_POLICY_OBSERVATION %in
#define FOUNDATION_POLICY_HIDDEN %h
#define FOUNDATION_POLICY_ACTION %out
#define FOUNDATION_POLICY_RATE_HZ %rate
#define FOUNDATION_POLICY_POSITION_LIMIT %position
#define FOUNDATION_POLICY_VELOCITY_LIMIT %velocity

typedef struct {
  float hidden[FOUNDATION_POLICY_HIDDEN];
} foundation_policy_state;

%weights
static inline float foundation_policy_row(const float *weights, const float *x, int n, float sum) {
  int i;
  for (i = 0; i < n; i++) sum += weights[i] * x[i];
  return sum;
}

static inline float foundation_policy_sigmoid(float x) { return 0.5f + 0.5f * tanhf(0.5f * x); }

static inline void foundation_policy_reset(foundation_policy_state *state) {
  int i;
  for (i = 0; i < FOUNDATION_POLICY_HIDDEN; i++) state->hidden[i] = foundation_policy_initial_hidden[i];
}

static inline void foundation_policy_step(foundation_policy_state *state, const float observation[%in],
                                          float action[%out]) {
  enum { H = FOUNDATION_POLICY_HIDDEN };
  float a[H], next[H];
  int i;
  for (i = 0; i < H; i++) {
    const float x = foundation_policy_row(foundation_policy_input_weight[i], observation, %in,
                                          foundation_policy_input_bias[i]);
    a[i] = x > 0.0f ? x : 0.0f;
  }
  for (i = 0; i < H; i++) {
    float from_input[3], from_hidden[3], r, z, n;
    int gate;
    for (gate = 0; gate < 3; gate++) {
      const int row = gate * H + i;
      from_input[gate] = foundation_policy_row(foundation_policy_weight_ih[row], a, H,
                                               foundation_policy_bias_ih[row]);
      from_hidden[gate] = foundation_policy_row(foundation_policy_weight_hh[row], state->hidden, H,
                                                foundation_policy_bias_hh[row]);
    }
    r = foundation_policy_sigmoid(from_input[0] + from_hidden[0]);
    z = foundation_policy_sigmoid(from_input[1] + from_hidden[1]);
    n = tanhf(from_input[2] + r * from_hidden[2]);
    next[i] = n + z * (state->hidden[i] - n);
  }
  for (i = 0; i < H; i++) state->hidden[i] = next[i];
  for (i = 0; i < %out; i++) {
    action[i] = foundation_policy_row(foundation_policy_output_weight[i], state->hidden, H,
                                      foundation_policy_output_bias[i]);
  }
}

#ifdef FOUNDATION_POLICY_TEST
#define FOUNDATION_POLICY_TEST_STEPS %steps
%vectors
/* Largest difference to the stored actions over a run from reset; below 1e-5 the port is right. */
static inline float foundation_policy_self_test(void) {
  foundation_policy_state state;
  float action[%out], worst = 0.0f;
  int t, i;
  foundation_policy_reset(&state);
  for (t = 0; t < FOUNDATION_POLICY_TEST_STEPS; t++) {
    foundation_policy_step(&state, foundation_policy_test_observation[t], action);
    for (i = 0; i < %out; i++) {
      const float error = fabsf(action[i] - foundation_policy_test_action[t][i]);
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}
#endif

#endif
"""


def c_header(policy: GRUPolicy) -> str:
    """The header's text: ``foundation_policy_reset``, ``foundation_policy_step``, static const weights.

    With FOUNDATION_POLICY_TEST defined before it is included it also holds test vectors and
    ``foundation_policy_self_test``.
    """
    w = policy.weights
    weights = "".join(_array(name.rpartition(".")[2], w[name]) for name in w.tensors if name.startswith("gru."))
    for part in ("input", "output"):
        weights += _array(f"{part}_weight", w[f"{part}.weight"]) + _array(f"{part}_bias", w[f"{part}.bias"])
    inputs, outputs = (array[:, 0] for array in example(policy, _TEST_STEPS, 1))
    vectors = _array("test_observation", inputs) + _array("test_action", outputs)
    layout, first = [], 0
    for name, size, unit, frame in OBSERVATION:
        layout.append(f" *   [{first:2d}..{first + size - 1:2d}] {name.replace('_', ' ')}, {unit}: {frame}")
        first += size
    values = {
        "%weights": weights,
        "%vectors": vectors,
        "%layout": "\n".join(layout),
        "%motors": ", ".join(MOTOR_ORDER),
        "%signs": "-, +, -, +",
        "%hash": str(w.card.get("sha256", "unsaved")),
        "%steps": str(_TEST_STEPS),
        "%rate": f"{RATE_HZ:g}",
        "%position": f"{Wrapper().position_limit:.1f}f",
        "%velocity": f"{Wrapper().velocity_limit:.1f}f",
        "%out": str(ACTION_SIZE),
        "%in": str(OBSERVATION_SIZE),
        "%h": str(policy.hidden_size),
    }
    text = _TEMPLATE
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def _array(name: str, values: Any) -> str:
    sizes = "".join(f"[{size}]" for size in values.shape)
    return f"static const float foundation_policy_{name}{sizes} = {_braces(values)};\n"


def _braces(values: Any) -> str:
    """A C initialiser; nine significant digits give every float32 back."""
    if values.ndim > 1:
        return "{\n" + ",\n".join(textwrap.indent(_braces(row), "  ") for row in values) + "\n}"
    numbers = (np.format_float_scientific(x, precision=8, unique=False) + "f" for x in values)
    return "{\n" + textwrap.fill(", ".join(numbers), 110, initial_indent="  ", subsequent_indent="  ") + "\n}"
