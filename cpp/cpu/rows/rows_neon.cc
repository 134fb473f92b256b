// The row kernels for NEON, which every AArch64 has.
//
// Loops that come in several widths (of queries, of vectors) use explicit FMAs only, so that the
// compiler has nothing to contract in one and not in another: every width gives the same bits.
#include "cpu/rows/rows.h"

#if defined(__aarch64__) || defined(_M_ARM64)

#include <arm_neon.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace tramontane::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// All ones in the first `count` lanes.
uint32x4_t first_lanes(int32_t count) {
  alignas(16) static constexpr int32_t kLanes[4] = {0, 1, 2, 3};
  return vcltq_s32(vld1q_s32(kLanes), vdupq_n_s32(count));
}

// The first `count` floats, at most 4; the other lanes are zero.
float32x4_t load_first(const float* p, int32_t count) {
  if (count >= 4) return vld1q_f32(p);
  float values[4] = {};
  std::memcpy(values, p, static_cast<size_t>(count) * sizeof *p);
  return vld1q_f32(values);
}

void store_first(float* p, float32x4_t x, int32_t count) {
  if (count >= 4) return vst1q_f32(p, x);
  float values[4];
  vst1q_f32(values, x);
  std::memcpy(p, values, static_cast<size_t>(count) * sizeof *p);
}

// exp(x) to about 1e-7 of its value; 0 below -87.3, where results would be subnormal, infinity
// above 88.3, NaN for NaN. x = n ln 2 + r with |r| <= ln(2) / 2, and the Taylor series of exp(r)
// to the seventh power, whose remainder is 5e-9.
float32x4_t exp(float32x4_t x) {
  const uint32x4_t too_large = vcgtq_f32(x, vdupq_n_f32(88.3f));
  const uint32x4_t too_small = vcltq_f32(x, vdupq_n_f32(-87.3f));
  x = vmaxq_f32(vminq_f32(x, vdupq_n_f32(88.3f)), vdupq_n_f32(-87.3f));  // NaN stays NaN.
  const float32x4_t n = vrndnq_f32(vmulq_f32(x, vdupq_n_f32(1.44269504f)));
  // ln 2 in two parts, the first short enough that n times it is exact.
  float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(0.693359375f));
  r = vfmsq_f32(r, n, vdupq_n_f32(-2.12194440e-4f));
  float32x4_t series = vdupq_n_f32(1.0f / 5040);
  series = vfmaq_f32(vdupq_n_f32(1.0f / 720), series, r);
  series = vfmaq_f32(vdupq_n_f32(1.0f / 120), series, r);
  series = vfmaq_f32(vdupq_n_f32(1.0f / 24), series, r);
  series = vfmaq_f32(vdupq_n_f32(1.0f / 6), series, r);
  series = vfmaq_f32(vdupq_n_f32(0.5f), series, r);
  series = vfmaq_f32(vdupq_n_f32(1), series, r);
  series = vfmaq_f32(vdupq_n_f32(1), series, r);
  const int32x4_t exponent = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
  const float32x4_t result = vmulq_f32(series, vreinterpretq_f32_s32(exponent));
  const uint32x4_t normal = vbicq_u32(vreinterpretq_u32_f32(result), too_small);
  return vbslq_f32(too_large, vdupq_n_f32(kInfinity), vreinterpretq_f32_u32(normal));
}

void rms_norm(const float* in, const float* weight, int32_t n, float epsilon, float* out) {
  float32x4_t sums[8];
  for (float32x4_t& sum : sums) sum = vdupq_n_f32(0);
  int32_t i = 0;
  for (; i + 32 <= n; i += 32) {
    for (int j = 0; j < 8; ++j) {
      const float32x4_t x = vld1q_f32(in + i + 4 * j);
      sums[j] = vfmaq_f32(sums[j], x, x);
    }
  }
  for (; i < n; i += 4) {
    const float32x4_t x = load_first(in + i, n - i);
    sums[0] = vfmaq_f32(sums[0], x, x);
  }
  for (int width = 4; width > 0; width /= 2) {
    for (int j = 0; j < width; ++j) sums[j] = vaddq_f32(sums[j], sums[j + width]);
  }
  const float mean = vaddvq_f32(sums[0]) / static_cast<float>(n);
  const float32x4_t scale = vdupq_n_f32(1 / std::sqrt(mean + epsilon));
  for (i = 0; i < n; i += 4) {
    const float32x4_t x = vmulq_f32(load_first(in + i, n - i), scale);
    store_first(out + i, vmulq_f32(x, load_first(weight + i, n - i)), n - i);
  }
}

// The pairs (a, b) turned.
void rotate(float32x4_t* a, float32x4_t* b, const float* cosines, const float* sines) {
  const float32x4_t cosine = vld1q_f32(cosines), sine = vld1q_f32(sines);
  const float32x4_t turned = vfmsq_f32(vmulq_f32(*a, cosine), *b, sine);
  *b = vfmaq_f32(vmulq_f32(*b, cosine), *a, sine);
  *a = turned;
}

void rope_halves(float* x, int32_t half, const float* cosines, const float* sines) {
  for (int32_t i = 0; i < half; i += 4) {
    float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + half + i);
    rotate(&a, &b, cosines + i, sines + i);
    vst1q_f32(x + i, a);
    vst1q_f32(x + half + i, b);
  }
}

void rope_neighbours(float* x, int32_t half, const float* cosines, const float* sines) {
  for (int32_t i = 0; i < half; i += 4) {
    float32x4x2_t pairs = vld2q_f32(x + 2 * i);
    rotate(&pairs.val[0], &pairs.val[1], cosines + i, sines + i);
    vst2q_f32(x + 2 * i, pairs);
  }
}

void rope(float* vectors, int32_t count, int32_t head_size, const float* cosines,
          const float* sines, RopePairing pairing) {
  const auto turn = pairing == RopePairing::kHalves ? rope_halves : rope_neighbours;
  for (int32_t v = 0; v < count; ++v) {
    turn(vectors + int64_t{v} * head_size, head_size / 2, cosines, sines);
  }
}

void swiglu(float* gate, const float* up, int32_t n) {
  for (int32_t i = 0; i < n; i += 4) {
    const float32x4_t x = load_first(gate + i, n - i);
    const float32x4_t silu = vdivq_f32(x, vaddq_f32(vdupq_n_f32(1), exp(vnegq_f32(x))));
    store_first(gate + i, vmulq_f32(silu, load_first(up + i, n - i)), n - i);
  }
}

float32x4_t load(const float* p) { return vld1q_f32(p); }
float32x4_t load(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }

uint16x4_t halves(float32x4_t x) { return vreinterpret_u16_f16(vcvt_f16_f32(x)); }

void to_f16(const float* in, int32_t n, uint16_t* out) {
  int32_t i = 0;
  for (; i + 4 <= n; i += 4) vst1_u16(out + i, halves(vld1q_f32(in + i)));
  if (i == n) return;
  uint16_t last[4];
  vst1_u16(last, halves(load_first(in + i, n - i)));
  std::memcpy(out + i, last, static_cast<size_t>(n - i) * sizeof *last);
}

void from_f16(const uint16_t* in, int32_t n, float* out) {
  int32_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(out + i, load(in + i));
  if (i == n) return;
  uint16_t last[4] = {};
  std::memcpy(last, in + i, static_cast<size_t>(n - i) * sizeof *last);
  store_first(out + i, load(last), n - i);
}

// The scores of Q queries with 4 * V tokens.
template <int Q, int V, typename T>
void score_tile(const float* queries, int32_t head_size, const T* keys, float* out) {
  float32x4_t sums[Q][V];
  for (auto& row : sums) {
    for (auto& sum : row) sum = vdupq_n_f32(0);
  }
  for (int32_t i = 0; i < head_size; ++i, keys += kPageTokens) {
    float32x4_t key[V];
    for (int v = 0; v < V; ++v) key[v] = load(keys + 4 * v);
    for (int q = 0; q < Q; ++q) {
      const float query = queries[q * head_size + i];
      for (int v = 0; v < V; ++v) sums[q][v] = vfmaq_n_f32(sums[q][v], key[v], query);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < V; ++v) vst1q_f32(out + q * kPageTokens + 4 * v, sums[q][v]);
  }
}

// Q queries, as many vectors of tokens at once as leave registers for the operands.
template <int Q, typename T>
void score_rows(const float* queries, int32_t head_size, const T* keys, float* out) {
  constexpr int V = Q <= 2 ? 8 : 4;
  for (int t = 0; t < kPageTokens; t += 4 * V) {
    score_tile<Q, V>(queries, head_size, keys + t, out + t);
  }
}

template <typename T>
void scores(const float* queries, int32_t count, int32_t head_size, const T* keys, float* out) {
  static constexpr decltype(&score_rows<1, T>) kKernels[] = {score_rows<1, T>, score_rows<2, T>,
                                                             score_rows<3, T>, score_rows<4, T>,
                                                             score_rows<5, T>, score_rows<6, T>};
  while (count > 0) {
    const int32_t rows = count < 6 ? count : 6;
    kKernels[rows - 1](queries, head_size, keys, out);
    queries += static_cast<int64_t>(rows) * head_size;
    out += rows * kPageTokens;
    count -= rows;
  }
}

void attention_scores(const float* queries, int32_t count, int32_t head_size, const void* keys,
                      KvType type, float* out) {
  if (type == KvType::kF16) {
    scores(queries, count, head_size, static_cast<const uint16_t*>(keys), out);
  } else {
    scores(queries, count, head_size, static_cast<const float*>(keys), out);
  }
}

void attention_softmax(float* scores, int32_t count, int32_t first, int32_t last, float* maximum,
                       float* sum, float* rescale) {
  constexpr int V = kPageTokens / 4;
  uint32x4_t counts[V];
  for (int v = 0; v < V; ++v) {
    counts[v] = vbicq_u32(first_lanes(last - 4 * v), first_lanes(first - 4 * v));
  }
  for (int32_t q = 0; q < count; ++q, scores += kPageTokens) {
    float32x4_t x[V], best4 = vdupq_n_f32(-kInfinity);
    for (int v = 0; v < V; ++v) {
      x[v] = vbslq_f32(counts[v], vld1q_f32(scores + 4 * v), vdupq_n_f32(-kInfinity));
      best4 = vmaxq_f32(best4, x[v]);
    }
    const float page_best = vmaxvq_f32(best4);
    const float best = maximum[q] > page_best ? maximum[q] : page_best;
    rescale[q] = std::exp(maximum[q] - best);
    maximum[q] = best;
    float32x4_t sum4 = vdupq_n_f32(0);
    for (int v = 0; v < V; ++v) {
      x[v] = exp(vsubq_f32(x[v], vdupq_n_f32(best)));
      vst1q_f32(scores + 4 * v, x[v]);
      sum4 = vaddq_f32(sum4, x[v]);
    }
    sum[q] = std::fma(sum[q], rescale[q], vaddvq_f32(sum4));
  }
}

// Adds 4 * V columns of the values to Q outputs.
template <int Q, int V, typename T>
void value_tile(const float* weights, int32_t first, int32_t last, const T* values,
                int32_t head_size, const float* rescale, float* out) {
  float32x4_t sums[Q][V];
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < V; ++v) {
      sums[q][v] = vmulq_n_f32(vld1q_f32(out + q * head_size + 4 * v), rescale[q]);
    }
  }
  for (int32_t t = first; t < last; ++t) {
    const T* token = values + static_cast<int64_t>(t) * head_size;
    float32x4_t value[V];
    for (int v = 0; v < V; ++v) value[v] = load(token + 4 * v);
    for (int q = 0; q < Q; ++q) {
      const float weight = weights[q * kPageTokens + t];
      for (int v = 0; v < V; ++v) sums[q][v] = vfmaq_n_f32(sums[q][v], value[v], weight);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < V; ++v) vst1q_f32(out + q * head_size + 4 * v, sums[q][v]);
  }
}

template <int Q, typename T>
void value_rows(const float* weights, int32_t first, int32_t last, const T* values,
                int32_t head_size, const float* rescale, float* out) {
  constexpr int V = Q <= 2 ? 8 : 4;
  int32_t i = 0;
  for (; i + 4 * V <= head_size; i += 4 * V) {
    value_tile<Q, V>(weights, first, last, values + i, head_size, rescale, out + i);
  }
  for (; i < head_size; i += 4) {
    value_tile<Q, 1>(weights, first, last, values + i, head_size, rescale, out + i);
  }
}

template <typename T>
void add_values(const float* weights, int32_t count, int32_t first, int32_t last, const T* values,
                int32_t head_size, const float* rescale, float* out) {
  static constexpr decltype(&value_rows<1, T>) kKernels[] = {value_rows<1, T>, value_rows<2, T>,
                                                             value_rows<3, T>, value_rows<4, T>,
                                                             value_rows<5, T>, value_rows<6, T>};
  while (count > 0) {
    const int32_t rows = count < 6 ? count : 6;
    kKernels[rows - 1](weights, first, last, values, head_size, rescale, out);
    weights += rows * kPageTokens;
    rescale += rows;
    out += static_cast<int64_t>(rows) * head_size;
    count -= rows;
  }
}

void attention_values(const float* weights, int32_t count, int32_t first, int32_t last,
                      const void* values, KvType type, int32_t head_size, const float* rescale,
                      float* out) {
  if (type == KvType::kF16) {
    add_values(weights, count, first, last, static_cast<const uint16_t*>(values), head_size,
               rescale, out);
  } else {
    add_values(weights, count, first, last, static_cast<const float*>(values), head_size, rescale,
               out);
  }
}

bool finite_maximum(const float* values, int32_t n, float* maximum) {
  uint32x4_t finite = vdupq_n_u32(0xffffffff);
  float32x4_t best = vdupq_n_f32(-kInfinity);
  int32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float32x4_t x = vld1q_f32(values + i);
    finite = vandq_u32(finite, vcaltq_f32(x, vdupq_n_f32(kInfinity)));
    best = vmaxq_f32(best, x);
  }
  if (vminvq_u32(finite) == 0) return false;
  *maximum = vmaxvq_f32(best);
  for (; i < n; ++i) {
    if (!std::isfinite(values[i])) return false;
    if (values[i] > *maximum) *maximum = values[i];
  }
  return true;
}

double exp_sum(const float* values, int32_t n, float maximum, float temperature) {
  const float32x4_t shift = vdupq_n_f32(maximum), scale = vdupq_n_f32(temperature);
  float64x2_t sum = vdupq_n_f64(0);
  for (int32_t i = 0; i < n; i += 4) {
    const float32x4_t x = vsubq_f32(load_first(values + i, n - i), shift);
    const uint32x4_t bits = vreinterpretq_u32_f32(exp(vdivq_f32(x, scale)));
    const float32x4_t e = vreinterpretq_f32_u32(vandq_u32(bits, first_lanes(n - i)));
    sum = vaddq_f64(sum, vcvt_f64_f32(vget_low_f32(e)));
    sum = vaddq_f64(sum, vcvt_high_f64_f32(e));
  }
  return vaddvq_f64(sum);
}

int32_t find_above(const float* values, int32_t first, int32_t n, float threshold) {
  const float32x4_t limit = vdupq_n_f32(threshold);
  for (; first + 4 <= n; first += 4) {
    if (vmaxvq_u32(vcgtq_f32(vld1q_f32(values + first), limit)) != 0) break;
  }
  while (first < n && !(values[first] > threshold)) ++first;
  return first;
}

}  // namespace

const RowKernels kNeonRows = {rms_norm,
                              rope,
                              swiglu,
                              to_f16,
                              from_f16,
                              attention_scores,
                              attention_softmax,
                              attention_values,
                              finite_maximum,
                              exp_sum,
                              find_above};

}  // namespace tramontane::cpu

#endif
