// The row kernels for any vector of floats. A Vector has its Floats and masks, kLanes of them, and
// the operations that the structs of avx2_vector.h, avx512_vector.h and neon_vector.h spell out.
#pragma once

#include <array>
#include <cmath>

#include "base/prefetch.h"
#include "cpu/rows/rows.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// As portable::exp(), for x up to 88.3.
template <class Vector, class Floats = typename Vector::Floats>
TRAMONTANE_INLINE Floats exp_below(Floats x) {
  const Floats smallest = Vector::broadcast(-87.3f);
  const auto too_small = Vector::less(x, smallest);
  x = Vector::maximum(smallest, x);
  const Floats n = Vector::round(Vector::multiply(x, Vector::broadcast(1.44269504f)));
  Floats r = Vector::multiply_add(n, Vector::broadcast(-0.693359375f), x);
  r = Vector::multiply_add(n, Vector::broadcast(2.12194440e-4f), r);
  Floats series = Vector::broadcast(1.0f / 5040);
  series = Vector::multiply_add(series, r, Vector::broadcast(1.0f / 720));
  series = Vector::multiply_add(series, r, Vector::broadcast(1.0f / 120));
  series = Vector::multiply_add(series, r, Vector::broadcast(1.0f / 24));
  series = Vector::multiply_add(series, r, Vector::broadcast(1.0f / 6));
  series = Vector::multiply_add(series, r, Vector::broadcast(0.5f));
  series = Vector::multiply_add(series, r, Vector::broadcast(1));
  series = Vector::multiply_add(series, r, Vector::broadcast(1));
  const Floats result = Vector::multiply(series, Vector::power_of_two(n));
  return Vector::select(too_small, Vector::zero(), result);
}

// As portable::exp().
template <class Vector, class Floats = typename Vector::Floats>
TRAMONTANE_INLINE Floats exp(Floats x) {
  const Floats largest = Vector::broadcast(88.3f);
  const Floats result = exp_below<Vector>(Vector::minimum(largest, x));
  return Vector::select(Vector::less(largest, x), Vector::broadcast(kInfinity), result);
}

// Of kSumLanes lanes in several vectors: lane i takes lane i + 16, then i + 8 and so on.
template <class Vector, auto combine, size_t N, class Floats = typename Vector::Floats>
TRAMONTANE_INLINE Floats fold(Floats (&x)[N]) {
  static_assert(N * Vector::kLanes == kSumLanes);
  for (size_t width = N / 2; width > 0; width /= 2) {
    for (size_t v = 0; v < width; ++v) x[v] = combine(x[v], x[v + width]);
  }
  return x[0];
}

template <class Vector>
void rms_norm(const float* in, const float* weight, int32_t n, float epsilon, float* out) {
  using Floats = typename Vector::Floats;
  constexpr int kLanes = Vector::kLanes, kVectors = kSumLanes / kLanes;
  Floats sums[kVectors];
  for (Floats& sum : sums) sum = Vector::zero();
  int32_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    for (int v = 0; v < kVectors; ++v) {
      const Floats x = Vector::load(in + i + v * kLanes);
      sums[v] = Vector::multiply_add(x, x, sums[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const int32_t at = i + v * kLanes;
    if (at >= n) break;
    const Floats x = Vector::load_first(in + at, n - at);
    sums[v] = Vector::multiply_add(x, x, sums[v]);
  }
  const float sum = Vector::sum(fold<Vector, Vector::add>(sums));
  const Floats scale = Vector::broadcast(1 / std::sqrt(sum / static_cast<float>(n) + epsilon));
  for (i = 0; i < n; i += kLanes) {
    const Floats x = Vector::multiply(Vector::load_first(in + i, n - i), scale);
    Vector::store_first(out + i, Vector::multiply(x, Vector::load_first(weight + i, n - i)), n - i);
  }
}

template <class Vector>
void rope_halves(float* x, int32_t half, const float* cosines, const float* sines) {
  using Floats = typename Vector::Floats;
  for (int32_t i = 0; i < half; i += Vector::kLanes) {
    const int32_t left = half - i;
    const Floats cosine = Vector::load_first(cosines + i, left);
    const Floats sine = Vector::load_first(sines + i, left);
    const Floats a = Vector::load_first(x + i, left), b = Vector::load_first(x + half + i, left);
    const Floats first = Vector::multiply_subtract(a, cosine, Vector::multiply(b, sine));
    const Floats second = Vector::multiply_add(b, cosine, Vector::multiply(a, sine));
    Vector::store_first(x + i, first, left);
    Vector::store_first(x + half + i, second, left);
  }
}

template <class Vector>
void rope_neighbours(float* x, int32_t half, const float* cosines, const float* sines) {
  for (int32_t i = 0; i < half; i += Vector::kLanes / 2) {
    const int32_t left = half - i;
    const auto cosine = Vector::load_twice(cosines + i, left);
    const auto sine = Vector::load_twice(sines + i, left);
    const auto pairs = Vector::load_first(x + 2 * i, 2 * left);
    Vector::store_first(x + 2 * i, Vector::rotate_pairs(pairs, cosine, sine), 2 * left);
  }
}

template <class Vector>
void rope(float* vectors, int32_t count, int32_t head_size, const float* cosines,
          const float* sines, RopePairing pairing) {
  const auto rotate =
      pairing == RopePairing::kHalves ? rope_halves<Vector> : rope_neighbours<Vector>;
  for (int32_t v = 0; v < count; ++v) {
    rotate(vectors + int64_t{v} * head_size, head_size / 2, cosines, sines);
  }
}

template <class Vector>
void swiglu(float* gate, const float* up, int32_t n) {
  for (int32_t i = 0; i < n; i += Vector::kLanes) {
    const auto x = Vector::load_first(gate + i, n - i);
    const auto e = exp<Vector>(Vector::subtract(Vector::zero(), x));
    const auto silu = Vector::divide(x, Vector::add(Vector::broadcast(1), e));
    Vector::store_first(gate + i, Vector::multiply(silu, Vector::load_first(up + i, n - i)), n - i);
  }
}

template <class Vector>
void to_f16(const float* in, int32_t n, uint16_t* out) {
  constexpr int kLanes = Vector::kLanes;
  int32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Vector::store(out + i, Vector::load(in + i));
  if (i == n) return;
  uint16_t last[kLanes];
  Vector::store(last, Vector::load_first(in + i, n - i));
  std::memcpy(out + i, last, static_cast<size_t>(n - i) * sizeof *last);
}

template <class Vector>
void from_f16(const uint16_t* in, int32_t n, float* out) {
  constexpr int kLanes = Vector::kLanes;
  int32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Vector::store(out + i, Vector::load(in + i));
  if (i == n) return;
  uint16_t last[kLanes] = {};
  std::memcpy(last, in + i, static_cast<size_t>(n - i) * sizeof *last);
  Vector::store_first(out + i, Vector::load(last), n - i);
}

// Vectors of a tile of Q rows: as many as leave registers for an operand of each.
template <class Vector, int Q>
constexpr int tile_vectors() {
  int vectors = kPageTokens / Vector::kLanes;
  while (vectors > 1 && (Q + 1) * vectors > Vector::kTileRegisters) vectors /= 2;
  return vectors;
}

// The cache lines of N values. A tile asks for as much in each of its steps as it reads: more at
// once would wait for the memory, and less would leave it idle.
template <int N, typename T>
TRAMONTANE_INLINE void prefetch_values(const T* values) {
  for (size_t at = 0; at < N * sizeof(T); at += 64) {
    prefetch(reinterpret_cast<const uint8_t*>(values) + at);
  }
}

// The scores of Q queries with V vectors of tokens.
template <class Vector, int Q, int V, typename T>
TRAMONTANE_INLINE void score_tile(const float* queries, int32_t head_size, const T* keys,
                                  const T* next, float* out) {
  using Floats = typename Vector::Floats;
  constexpr int kLanes = Vector::kLanes;
  Floats sums[Q][V];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = Vector::zero();
  }
  for (int32_t i = 0; i < head_size; ++i, keys += kPageTokens) {
    prefetch_values<V * kLanes>(next + i * V * kLanes);
    Floats key[V];
    for (int v = 0; v < V; ++v) key[v] = Vector::load(keys + kLanes * v);
    for (int q = 0; q < Q; ++q) {
      const Floats query = Vector::broadcast(queries[q * head_size + i]);
      for (int v = 0; v < V; ++v) sums[q][v] = Vector::multiply_add(key[v], query, sums[q][v]);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < V; ++v) Vector::store(out + q * kPageTokens + kLanes * v, sums[q][v]);
  }
}

template <class Vector, int Q, typename T>
void score_rows(const float* queries, int32_t head_size, const T* keys, const T* next, float* out) {
  constexpr int V = tile_vectors<Vector, Q>(), kColumns = V * Vector::kLanes;
  for (int t = 0; t < kPageTokens; t += kColumns) {
    score_tile<Vector, Q, V>(queries, head_size, keys + t, next + t * head_size, out + t);
  }
}

// Adds V vectors of columns of the values to Q outputs.
template <class Vector, int Q, int V, typename T>
TRAMONTANE_INLINE void value_tile(const float* weights, int32_t first, int32_t last,
                                  const T* values, const T* next, int32_t head_size,
                                  const float* rescale, float* out) {
  using Floats = typename Vector::Floats;
  constexpr int kLanes = Vector::kLanes;
  Floats sums[Q][V];
  for (int q = 0; q < Q; ++q) {
    const Floats scale = Vector::broadcast(rescale[q]);
    for (int v = 0; v < V; ++v) {
      sums[q][v] = Vector::multiply(Vector::load(out + q * head_size + kLanes * v), scale);
    }
  }
  for (int32_t t = first; t < last; ++t) {
    const T* token = values + int64_t{t} * head_size;
    prefetch_values<V * kLanes>(next + t * V * kLanes);
    Floats value[V];
    for (int v = 0; v < V; ++v) value[v] = Vector::load(token + kLanes * v);
    for (int q = 0; q < Q; ++q) {
      const Floats weight = Vector::broadcast(weights[q * kPageTokens + t]);
      for (int v = 0; v < V; ++v) sums[q][v] = Vector::multiply_add(value[v], weight, sums[q][v]);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < V; ++v) Vector::store(out + q * head_size + kLanes * v, sums[q][v]);
  }
}

template <class Vector, int Q, typename T>
void value_rows(const float* weights, int32_t first, int32_t last, const T* values, const T* next,
                int32_t head_size, const float* rescale, float* out) {
  constexpr int kLanes = Vector::kLanes, V = tile_vectors<Vector, Q>();
  int32_t i = 0;
  for (; i + kLanes * V <= head_size; i += kLanes * V) {
    value_tile<Vector, Q, V>(weights, first, last, values + i, next + i * kPageTokens, head_size,
                             rescale, out + i);
  }
  for (; i + kLanes <= head_size; i += kLanes) {
    value_tile<Vector, Q, 1>(weights, first, last, values + i, next + i * kPageTokens, head_size,
                             rescale, out + i);
  }
  if constexpr (kLanes > 8) {  // head_size is a multiple of 8.
    if (i < head_size) {
      value_tile<typename Vector::Half, Q, 1>(weights, first, last, values + i,
                                              next + i * kPageTokens, head_size, rescale, out + i);
    }
  }
}

template <class Vector, typename T, int... q>
constexpr auto score_kernels(std::integer_sequence<int, q...>) {
  return std::array{score_rows<Vector, q + 1, T>...};
}

template <class Vector, typename T, int... q>
constexpr auto value_kernels(std::integer_sequence<int, q...>) {
  return std::array{value_rows<Vector, q + 1, T>...};
}

template <class Vector>
using TileRows = std::make_integer_sequence<int, Vector::kTileRows>;

template <class Vector, typename T>
void scores(const float* queries, int32_t count, int32_t head_size, const void* keys,
            const void* next, float* out) {
  static constexpr auto kKernels = score_kernels<Vector, T>(TileRows<Vector>());
  while (count > 0) {
    const int32_t rows = std::min(count, Vector::kTileRows);
    kKernels[static_cast<size_t>(rows - 1)](queries, head_size, static_cast<const T*>(keys),
                                            static_cast<const T*>(next), out);
    queries += int64_t{rows} * head_size;
    out += rows * kPageTokens;
    count -= rows;
  }
}

template <class Vector>
void attention_scores(const float* queries, int32_t count, int32_t head_size, const void* keys,
                      const void* next, KvType type, float* out) {
  const auto of_type = type == KvType::kF16 ? scores<Vector, uint16_t> : scores<Vector, float>;
  of_type(queries, count, head_size, keys, next, out);
}

// As many queries at a time as a vector has lanes: what there is one of for a query is in vectors.
template <class Vector>
void attention_softmax(float* scores, int32_t count, int32_t first, int32_t last, float* maximum,
                       float* sum, float* rescale) {
  using Floats = typename Vector::Floats;
  constexpr int kLanes = Vector::kLanes, kVectors = kPageTokens / kLanes;
  static_assert(kPageTokens == kSumLanes);
  for (int32_t q = 0; q < count; q += kLanes) {
    const int32_t rows = std::min(kLanes, count - q);
    float* page = scores + q * kPageTokens;
    Floats of_row[kLanes], x[kVectors];
    for (Floats& row : of_row) row = Vector::zero();
    for (int32_t r = 0; r < rows; ++r) {
      float* row = page + r * kPageTokens;
      for (int32_t t = 0; t < first; ++t) row[t] = -kInfinity;
      for (int32_t t = last; t < kPageTokens; ++t) row[t] = -kInfinity;
      for (int v = 0; v < kVectors; ++v) x[v] = Vector::load(row + v * kLanes);
      of_row[r] = fold<Vector, Vector::maximum>(x);
    }
    const Floats before = Vector::load_first(maximum + q, rows);
    const Floats best = Vector::maximum(before, Vector::template across<Vector::maximum>(of_row));
    const Floats scale = exp<Vector>(Vector::subtract(before, best));
    Vector::store_first(maximum + q, best, rows);
    Vector::store_first(rescale + q, scale, rows);
    for (int32_t r = 0; r < rows; ++r) {
      float* row = page + r * kPageTokens;
      const Floats row_best = Vector::broadcast(maximum[q + r]);
      for (int v = 0; v < kVectors; ++v) {
        x[v] = exp<Vector>(Vector::subtract(Vector::load(row + v * kLanes), row_best));
        Vector::store(row + v * kLanes, x[v]);
      }
      of_row[r] = fold<Vector, Vector::add>(x);
    }
    const Floats page_sum = Vector::template across<Vector::add>(of_row);
    const Floats sums = Vector::load_first(sum + q, rows);
    Vector::store_first(sum + q, Vector::multiply_add(sums, scale, page_sum), rows);
  }
}

template <class Vector, typename T>
void add_values(const float* weights, int32_t count, int32_t first, int32_t last,
                const void* values, const void* next, int32_t head_size, const float* rescale,
                float* out) {
  static constexpr auto kKernels = value_kernels<Vector, T>(TileRows<Vector>());
  while (count > 0) {
    const int32_t rows = std::min(count, Vector::kTileRows);
    kKernels[static_cast<size_t>(rows - 1)](weights, first, last, static_cast<const T*>(values),
                                            static_cast<const T*>(next), head_size, rescale, out);
    weights += rows * kPageTokens;
    rescale += rows;
    out += int64_t{rows} * head_size;
    count -= rows;
  }
}

template <class Vector>
void attention_values(const float* weights, int32_t count, int32_t first, int32_t last,
                      const void* values, const void* next, KvType type, int32_t head_size,
                      const float* rescale, float* out) {
  const auto of_type =
      type == KvType::kF16 ? add_values<Vector, uint16_t> : add_values<Vector, float>;
  of_type(weights, count, first, last, values, next, head_size, rescale, out);
}

template <class Vector>
bool finite_maximum(const float* values, int32_t n, float* maximum) {
  constexpr int kLanes = Vector::kLanes;
  auto nothing = Vector::zero();  // Stays so: x - x is 0, or NaN where x is not finite.
  auto best = Vector::broadcast(-kInfinity);
  int32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const auto x = Vector::load(values + i);
    nothing = Vector::add(nothing, Vector::subtract(x, x));
    best = Vector::maximum(best, x);
  }
  if (Vector::sum(nothing) != 0) return false;
  float lanes[kLanes];
  Vector::store(lanes, best);
  *maximum = *std::max_element(lanes, lanes + kLanes);
  for (; i < n; ++i) {
    if (!std::isfinite(values[i])) return false;
    if (values[i] > *maximum) *maximum = values[i];
  }
  return true;
}

// The sum of each block of weights; weight_of(i, x) gives those of the vector x, which are the
// values from i on. -infinity stands for those beyond the last.
template <class Vector, class WeightOf>
TRAMONTANE_INLINE void sum_blocks(const float* values, int32_t n, float* sums,
                                  const WeightOf& weight_of) {
  using Floats = typename Vector::Floats;
  constexpr int kLanes = Vector::kLanes, kVectors = kSumLanes / kLanes;
  for (int32_t first = 0; first < n; first += kWeightBlock) {
    Floats lanes[kVectors];
    for (Floats& sum : lanes) sum = Vector::zero();
    for (int32_t i = first; i < std::min(first + kWeightBlock, n); i += kSumLanes) {
      const float* group = values + i;
      float last[kSumLanes];
      if (n - i < kSumLanes) {
        std::fill(std::copy(group, values + n, last), std::end(last), -kInfinity);
        group = last;
      }
      for (int v = 0; v < kVectors; ++v) {
        const Floats weight = weight_of(i + v * kLanes, Vector::load(group + v * kLanes));
        lanes[v] = Vector::add(lanes[v], weight);
      }
    }
    *sums++ = Vector::sum(fold<Vector, Vector::add>(lanes));
  }
}

template <class Vector>
void exp_weights(const float* values, int32_t n, float maximum, float temperature, float* weights,
                 float* sums) {
  using Floats = typename Vector::Floats;
  const Floats shift = Vector::broadcast(maximum);
  const Floats scale = Vector::broadcast(inverse_temperature(temperature));
  sum_blocks<Vector>(values, n, sums, [&](int32_t i, Floats x) {
    const Floats distance = Vector::subtract(x, shift);
    const Floats weight = exp_below<Vector>(Vector::multiply(distance, scale));
    Vector::store(weights + i, weight);
    return weight;
  });
}

template <class Vector>
void sums_before(const float* values, const float* weights, int32_t n, TokenLogit bound,
                 float* sums) {
  using Floats = typename Vector::Floats;
  // What a value has to be above: in groups before that of the bound's token, in it, and after it.
  // At least a float is above the float below.
  const float below = std::nextafter(bound.logit, -kInfinity);
  const int32_t lane_of_bound = bound.token % kSumLanes, bound_group = bound.token - lane_of_bound;
  float limits[3][kSumLanes];
  for (int lane = 0; lane < kSumLanes; ++lane) {
    limits[0][lane] = below;
    limits[1][lane] = lane < lane_of_bound ? below : bound.logit;
    limits[2][lane] = bound.logit;
  }
  sum_blocks<Vector>(values, n, sums, [&](int32_t i, Floats x) {
    const int32_t lane = i % kSumLanes, group = i - lane;
    const float* limit = limits[group < bound_group ? 0 : group == bound_group ? 1 : 2] + lane;
    const auto before = Vector::less(Vector::load(limit), x);
    return Vector::select(before, Vector::load(weights + i), Vector::zero());
  });
}

template <class Vector>
int32_t find_above(const float* values, int32_t first, int32_t n, float threshold) {
  const auto limit = Vector::broadcast(threshold);
  for (; first + Vector::kLanes <= n; first += Vector::kLanes) {
    if (Vector::any(Vector::less(limit, Vector::load(values + first)))) break;
  }
  while (first < n && !(values[first] > threshold)) ++first;
  return first;
}

template <class Vector>
constexpr RowKernels row_kernels() {
  return {rms_norm<Vector>,
          rope<Vector>,
          swiglu<Vector>,
          to_f16<Vector>,
          from_f16<Vector>,
          attention_scores<Vector>,
          attention_softmax<Vector>,
          attention_values<Vector>,
          finite_maximum<Vector>,
          exp_weights<Vector>,
          sums_before<Vector>,
          find_above<Vector>};
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
