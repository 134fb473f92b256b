// What is not a linear layer, on one instruction set: operations on single rows, the parts of
// attention over one page of keys and values, and scans of a row of logits.
//
// Every implementation gives the same bits, for a row whatever is computed beside it. So the
// arithmetic is written here, and as code in rows_scalar.cc: fma(a, b, c) is a * b + c rounded
// once, exp() is portable::exp(), and long sums are kept in lanes, of which lane i takes the values
// whose index is i modulo their number, in ascending order. At the end the upper half of the lanes
// is added to the lower, until there is one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "backend/backend.h"

namespace tramontane::cpu {

constexpr int kSumLanes = 32;
constexpr int kWeightBlock = 512;  // Weights of a draw that have a sum of their own.

// Finite, so that it makes 0 of 0.
inline float inverse_temperature(float temperature) {
  return std::min(1 / temperature, std::numeric_limits<float>::max());
}

constexpr int32_t weight_blocks(int32_t n) { return (n + kWeightBlock - 1) / kWeightBlock; }

struct RowKernels {
  // out[i] = in[i] * scale * weight[i], with scale = 1 / sqrt(mean(in^2) + epsilon) and the squares
  // added by fma. Zhang and Sennrich, arXiv:1910.07467.
  void (*rms_norm)(const float* in, const float* weight, int32_t n, float epsilon, float* out);

  // Rotates `count` vectors of head_size (a multiple of 8) in place by the angles whose cosines
  // and sines are given, [head_size / 2] each: x = fma(x, cosine, -(y * sine)) and
  // y = fma(y, cosine, x * sine). Su et al., arXiv:2104.09864.
  void (*rope)(float* vectors, int32_t count, int32_t head_size, const float* cosines,
               const float* sines, RopePairing pairing);

  // gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]. Shazeer, arXiv:2002.05202.
  void (*swiglu)(float* gate, const float* up, int32_t n);

  void (*to_f16)(const float* in, int32_t n, uint16_t* out);
  void (*from_f16)(const uint16_t* in, int32_t n, float* out);

  // out[q][t] = queries[q] . keys[.][t]: all kPageTokens scores of `count` queries with a page,
  // products added by fma in the order of the components.
  // queries [count][head_size], keys [head_size][kPageTokens] of `type`, aligned to 64 bytes,
  // out [count][kPageTokens]. `next`, as large as keys, is what will be read after them: it is
  // asked for from memory meanwhile.
  void (*attention_scores)(const float* queries, int32_t count, int32_t head_size, const void* keys,
                           const void* next, KvType type, float* out);

  // One step of an online softmax, for each of `count` queries (Milakov and Gimelshein,
  // arXiv:1805.02867). In: scores[q][t], of which [first, last) count and are at least one.
  // Out: scores[q][t] = exp(score - maximum[q]) for t in [first, last), and 0 elsewhere; maximum is
  // brought up to date; rescale[q] = exp(old maximum - new) is what sums so far are multiplied by;
  // sum = fma(sum, rescale, sum of the page). maximum starts as -infinity, sum as 0.
  void (*attention_softmax)(float* scores, int32_t count, int32_t first, int32_t last,
                            float* maximum, float* sum, float* rescale);

  // out[q] = out[q] * rescale[q] + sum over t in [first, last) of weights[q][t] * values[t], added
  // by fma one after the other. weights [count][kPageTokens], values [kPageTokens][head_size] of
  // `type`, aligned to 64 bytes, out [count][head_size]; `next` as above.
  void (*attention_values)(const float* weights, int32_t count, int32_t first, int32_t last,
                           const void* values, const void* next, KvType type, int32_t head_size,
                           const float* rescale, float* out);

  // The largest of n >= 1 values; false when one is NaN or infinite.
  bool (*finite_maximum)(const float* values, int32_t n, float* maximum);
  // weights[i] = exp((values[i] - maximum) * inverse_temperature(temperature)), with zeros up to
  // the next multiple of kSumLanes, and the sum of each block of kWeightBlock of them. A value may
  // be -infinity, maximum not. weights [n, rounded up to kSumLanes], sums [weight_blocks(n)].
  void (*exp_weights)(const float* values, int32_t n, float maximum, float temperature,
                      float* weights, float* sums);
  // As well the sums of those weights whose values come before `bound`: they are larger, or equal
  // and of a smaller index than its token.
  void (*sums_before)(const float* values, const float* weights, int32_t n, TokenLogit bound,
                      float* sums);
  // The least i in [first, n) with values[i] > threshold, or n.
  int32_t (*find_above)(const float* values, int32_t first, int32_t n, float threshold);
};

extern const RowKernels kScalarRows;
#if defined(__x86_64__) || defined(_M_X64)
extern const RowKernels kAvx2Rows;
extern const RowKernels kAvx512Rows;
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const RowKernels kNeonRows;
#endif

}  // namespace tramontane::cpu
