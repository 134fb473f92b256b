// The operations of a layer that are not products, forward and backward, a row at a time. What is
// called d_x is the derivative of the loss by x.
#pragma once

#include <cstdint>

#include "backend/backend.h"

namespace tramontane::train {

// out = in / sqrt(mean(in^2) + epsilon) * weight; all [n].
void rms_norm(const float* in, const float* weight, int32_t n, float epsilon, float* out);
// d_in += what d_out, of out, makes of it.
void rms_norm_backward(const float* in, const float* weight, const float* d_out, int32_t n,
                       float epsilon, float* d_in);

// out = silu(gate) * up; all [n]. out may be gate.
void swiglu(const float* gate, const float* up, int32_t n, float* out);
// From d_out, with gate and up as they were, d_gate and d_up. d_gate may be gate, d_up up.
void swiglu_backward(const float* gate, const float* up, const float* d_out, int32_t n,
                     float* d_gate, float* d_up);

// Rotates `count` vectors of head_size in place; cosines and sines are [head_size / 2]. A rotation
// keeps lengths, so that its backward is the rotation back: sign -1.
void rope(float* vectors, int32_t count, int32_t head_size, const float* cosines,
          const float* sines, RopePairing pairing, float sign);

// Of one row of logits [n] the loss -log softmax(logits)[label]. Leaves its derivative times
// `scale` in the logits, unless `scale` is 0.
double cross_entropy(float* logits, int32_t n, int32_t label, float scale);

// Zeroes elements with probability `rate` and multiplies the others by 1 / (1 - rate): which ones
// follows from key and index alone, so that backward finds them again. values [n].
void dropout(float* values, int64_t n, float rate, uint64_t key);

}  // namespace tramontane::train
