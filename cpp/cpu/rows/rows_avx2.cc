// The row kernels for AVX2, FMA and F16C.
//
// Loops that come in several widths (of queries, of vectors) use explicit FMAs only, so that the
// compiler has nothing to contract in one and not in another: every width gives the same bits.
#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx2

#include <cmath>

#include "cpu/rows/rows.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::avx2 {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// All ones in the first `count` lanes.
__m256i first_lanes(int32_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

float horizontal_sum(__m256 x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  sum = _mm_add_ss(sum, _mm_movehdup_ps(sum));
  return _mm_cvtss_f32(sum);
}

// The largest lane; where one is NaN, anything.
float horizontal_max(__m256 x) {
  __m128 best = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  best = _mm_max_ps(best, _mm_movehl_ps(best, best));
  best = _mm_max_ss(best, _mm_movehdup_ps(best));
  return _mm_cvtss_f32(best);
}

// exp(x) to about 1e-7 of its value; 0 below -87.3, where results would be subnormal, infinity
// above 88.3, NaN for NaN. x = n ln 2 + r with |r| <= ln(2) / 2, and the Taylor series of exp(r)
// to the seventh power, whose remainder is 5e-9.
__m256 exp(__m256 x) {
  const __m256 too_large = _mm256_cmp_ps(x, _mm256_set1_ps(88.3f), _CMP_GT_OQ);
  const __m256 too_small = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3f), _CMP_LT_OQ);
  x = _mm256_min_ps(_mm256_set1_ps(88.3f), x);  // In this order of operands NaN stays NaN.
  x = _mm256_max_ps(_mm256_set1_ps(-87.3f), x);
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts, the first short enough that n times it is exact.
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 series = _mm256_set1_ps(1.0f / 5040);
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 720));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 120));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 24));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1.0f / 6));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(0.5f));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1));
  series = _mm256_fmadd_ps(series, r, _mm256_set1_ps(1));
  const __m256i exponent =
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  const __m256 result = _mm256_mul_ps(series, _mm256_castsi256_ps(exponent));
  return _mm256_blendv_ps(_mm256_andnot_ps(too_small, result), _mm256_set1_ps(kInfinity),
                          too_large);
}

void rms_norm(const float* in, const float* weight, int32_t n, float epsilon, float* out) {
  __m256 sums[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(),
                    _mm256_setzero_ps()};
  int32_t i = 0;
  for (; i + 32 <= n; i += 32) {
    for (int j = 0; j < 4; ++j) {
      const __m256 x = _mm256_loadu_ps(in + i + 8 * j);
      sums[j] = _mm256_fmadd_ps(x, x, sums[j]);
    }
  }
  for (; i < n; i += 8) {
    const __m256 x = _mm256_maskload_ps(in + i, first_lanes(n - i));
    sums[0] = _mm256_fmadd_ps(x, x, sums[0]);
  }
  const float sum = horizontal_sum(
      _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3])));
  const __m256 scale = _mm256_set1_ps(1 / std::sqrt(sum / static_cast<float>(n) + epsilon));
  for (i = 0; i < n; i += 8) {
    const __m256i lanes = first_lanes(n - i);
    const __m256 x = _mm256_mul_ps(_mm256_maskload_ps(in + i, lanes), scale);
    _mm256_maskstore_ps(out + i, lanes, _mm256_mul_ps(x, _mm256_maskload_ps(weight + i, lanes)));
  }
}

void rope_halves(float* x, int32_t half, const float* cosines, const float* sines) {
  float* y = x + half;
  for (int32_t i = 0; i < half; i += 4) {
    const __m128 cosine = _mm_loadu_ps(cosines + i), sine = _mm_loadu_ps(sines + i);
    const __m128 a = _mm_loadu_ps(x + i), b = _mm_loadu_ps(y + i);
    _mm_storeu_ps(x + i, _mm_fmsub_ps(a, cosine, _mm_mul_ps(b, sine)));
    _mm_storeu_ps(y + i, _mm_fmadd_ps(b, cosine, _mm_mul_ps(a, sine)));
  }
}

__m256 twice(__m128 x) {  // a b c d -> a a b b c c d d
  return _mm256_set_m128(_mm_unpackhi_ps(x, x), _mm_unpacklo_ps(x, x));
}

void rope_neighbours(float* x, int32_t half, const float* cosines, const float* sines) {
  for (int32_t i = 0; i < half; i += 4) {
    const __m256 cosine = twice(_mm_loadu_ps(cosines + i)), sine = twice(_mm_loadu_ps(sines + i));
    const __m256 pairs = _mm256_loadu_ps(x + 2 * i);
    const __m256 swapped = _mm256_permute_ps(pairs, 0xB1);
    _mm256_storeu_ps(x + 2 * i, _mm256_fmaddsub_ps(pairs, cosine, _mm256_mul_ps(swapped, sine)));
  }
}

void rope(float* vectors, int32_t count, int32_t head_size, const float* cosines,
          const float* sines, RopePairing pairing) {
  const auto rotate = pairing == RopePairing::kHalves ? rope_halves : rope_neighbours;
  for (int32_t v = 0; v < count; ++v)
    rotate(vectors + v * head_size, head_size / 2, cosines, sines);
}

void swiglu(float* gate, const float* up, int32_t n) {
  for (int32_t i = 0; i < n; i += 8) {
    const __m256i lanes = first_lanes(n - i);
    const __m256 x = _mm256_maskload_ps(gate + i, lanes);
    const __m256 e = exp(_mm256_sub_ps(_mm256_setzero_ps(), x));
    const __m256 silu = _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1), e));
    _mm256_maskstore_ps(gate + i, lanes, _mm256_mul_ps(silu, _mm256_maskload_ps(up + i, lanes)));
  }
}

void to_f16(const float* in, int32_t n, uint16_t* out) {
  int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
  }
  if (i == n) return;
  alignas(16) uint16_t last[8];
  const __m256 x = _mm256_maskload_ps(in + i, first_lanes(n - i));
  _mm_store_si128(reinterpret_cast<__m128i*>(last), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  std::memcpy(out + i, last, static_cast<size_t>(n - i) * sizeof *last);
}

void from_f16(const uint16_t* in, int32_t n, float* out) {
  int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(out + i,
                     _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
  }
  if (i == n) return;
  alignas(16) uint16_t last[8] = {};
  std::memcpy(last, in + i, static_cast<size_t>(n - i) * sizeof *last);
  const __m128i halves = _mm_load_si128(reinterpret_cast<const __m128i*>(last));
  _mm256_maskstore_ps(out + i, first_lanes(n - i), _mm256_cvtph_ps(halves));
}

__m256 load(const float* values) { return _mm256_load_ps(values); }
__m256 load(const uint16_t* values) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(values)));
}

// The scores of Q queries with 8 * V tokens.
template <int Q, int V, typename T>
void score_tile(const float* queries, int32_t head_size, const T* keys, float* out) {
  __m256 sums[Q][V];
  for (auto& row : sums) {
    for (auto& sum : row) sum = _mm256_setzero_ps();
  }
  for (int32_t i = 0; i < head_size; ++i, keys += kPageTokens) {
    __m256 key[V];
    for (int v = 0; v < V; ++v) key[v] = load(keys + 8 * v);
    for (int q = 0; q < Q; ++q) {
      const __m256 query = _mm256_broadcast_ss(queries + q * head_size + i);
      for (int v = 0; v < V; ++v) sums[q][v] = _mm256_fmadd_ps(query, key[v], sums[q][v]);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < V; ++v) _mm256_storeu_ps(out + q * kPageTokens + 8 * v, sums[q][v]);
  }
}

// Q queries, as many vectors of tokens at once as leave registers for the operands.
template <int Q, typename T>
void score_rows(const float* queries, int32_t head_size, const T* keys, float* out) {
  constexpr int V = Q <= 3 ? 4 : 2;
  for (int t = 0; t < kPageTokens; t += 8 * V) {
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
  constexpr int V = kPageTokens / 8;
  __m256 counts[V];
  for (int v = 0; v < V; ++v) {
    counts[v] = _mm256_castsi256_ps(
        _mm256_andnot_si256(first_lanes(first - 8 * v), first_lanes(last - 8 * v)));
  }
  for (int32_t q = 0; q < count; ++q, scores += kPageTokens) {
    __m256 x[V];
    for (int v = 0; v < V; ++v) {
      x[v] =
          _mm256_blendv_ps(_mm256_set1_ps(-kInfinity), _mm256_loadu_ps(scores + 8 * v), counts[v]);
    }
    const float page_best =
        horizontal_max(_mm256_max_ps(_mm256_max_ps(x[0], x[1]), _mm256_max_ps(x[2], x[3])));
    const float best = maximum[q] > page_best ? maximum[q] : page_best;
    rescale[q] = std::exp(maximum[q] - best);
    maximum[q] = best;
    for (int v = 0; v < V; ++v) {
      x[v] = exp(_mm256_sub_ps(x[v], _mm256_set1_ps(best)));
      _mm256_storeu_ps(scores + 8 * v, x[v]);
    }
    const float page_sum =
        horizontal_sum(_mm256_add_ps(_mm256_add_ps(x[0], x[1]), _mm256_add_ps(x[2], x[3])));
    sum[q] = std::fma(sum[q], rescale[q], page_sum);
  }
}

// Adds 8 * V columns of the values to Q outputs.
template <int Q, int V, typename T>
void value_tile(const float* weights, int32_t first, int32_t last, const T* values,
                int32_t head_size, const float* rescale, float* out) {
  __m256 sums[Q][V];
  for (int q = 0; q < Q; ++q) {
    const __m256 scale = _mm256_broadcast_ss(rescale + q);
    for (int v = 0; v < V; ++v) {
      sums[q][v] = _mm256_mul_ps(_mm256_loadu_ps(out + q * head_size + 8 * v), scale);
    }
  }
  for (int32_t t = first; t < last; ++t) {
    const T* token = values + static_cast<int64_t>(t) * head_size;
    __m256 value[V];
    for (int v = 0; v < V; ++v) value[v] = load(token + 8 * v);
    for (int q = 0; q < Q; ++q) {
      const __m256 weight = _mm256_broadcast_ss(weights + q * kPageTokens + t);
      for (int v = 0; v < V; ++v) sums[q][v] = _mm256_fmadd_ps(weight, value[v], sums[q][v]);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < V; ++v) _mm256_storeu_ps(out + q * head_size + 8 * v, sums[q][v]);
  }
}

template <int Q, typename T>
void value_rows(const float* weights, int32_t first, int32_t last, const T* values,
                int32_t head_size, const float* rescale, float* out) {
  constexpr int V = Q <= 3 ? 4 : 2;
  int32_t i = 0;
  for (; i + 8 * V <= head_size; i += 8 * V) {
    value_tile<Q, V>(weights, first, last, values + i, head_size, rescale, out + i);
  }
  for (; i < head_size; i += 8) {
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
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 finite = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
  __m256 best = _mm256_set1_ps(-kInfinity);
  int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 x = _mm256_loadu_ps(values + i);
    finite = _mm256_and_ps(
        finite, _mm256_cmp_ps(_mm256_and_ps(x, magnitude), _mm256_set1_ps(kInfinity), _CMP_LT_OQ));
    best = _mm256_max_ps(best, x);
  }
  if (_mm256_movemask_ps(finite) != 0xff) return false;
  *maximum = horizontal_max(best);
  for (; i < n; ++i) {
    if (!std::isfinite(values[i])) return false;
    if (values[i] > *maximum) *maximum = values[i];
  }
  return true;
}

double exp_sum(const float* values, int32_t n, float maximum, float temperature) {
  const __m256 shift = _mm256_set1_ps(maximum), scale = _mm256_set1_ps(temperature);
  __m256d sum = _mm256_setzero_pd();
  for (int32_t i = 0; i < n; i += 8) {
    const __m256i lanes = first_lanes(n - i);
    const __m256 x = _mm256_sub_ps(_mm256_maskload_ps(values + i, lanes), shift);
    const __m256 e = _mm256_and_ps(exp(_mm256_div_ps(x, scale)), _mm256_castsi256_ps(lanes));
    sum = _mm256_add_pd(sum, _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
    sum = _mm256_add_pd(sum, _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
  }
  const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(sum), _mm256_extractf128_pd(sum, 1));
  return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}

int32_t find_above(const float* values, int32_t first, int32_t n, float threshold) {
  const __m256 limit = _mm256_set1_ps(threshold);
  for (; first + 8 <= n; first += 8) {
    const __m256 above = _mm256_cmp_ps(_mm256_loadu_ps(values + first), limit, _CMP_GT_OQ);
    if (_mm256_movemask_ps(above) != 0) break;
  }
  while (first < n && !(values[first] > threshold)) ++first;
  return first;
}

}  // namespace
}  // namespace tramontane::cpu::avx2

#include "cpu/target/end.h"

namespace tramontane::cpu {

const RowKernels kAvx2Rows = {avx2::rms_norm,
                              avx2::rope,
                              avx2::swiglu,
                              avx2::to_f16,
                              avx2::from_f16,
                              avx2::attention_scores,
                              avx2::attention_softmax,
                              avx2::attention_values,
                              avx2::finite_maximum,
                              avx2::exp_sum,
                              avx2::find_above};

}  // namespace tramontane::cpu

#endif
