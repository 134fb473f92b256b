// The row kernels in plain C++: they run everywhere and say what the others have to give.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "base/portable_math.h"
#include "cpu/rows/rows.h"

namespace tramontane::cpu {
namespace {

// Of all lanes, which are lost.
template <typename T, size_t N>
T fold(T (&lanes)[N]) {
  for (size_t width = N / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

void rms_norm(const float* in, const float* weight, int32_t n, float epsilon, float* out) {
  float lanes[kSumLanes] = {};
  for (int32_t i = 0; i < n; ++i) {
    float& lane = lanes[i % kSumLanes];
    lane = std::fma(in[i], in[i], lane);
  }
  const float scale = 1 / std::sqrt(fold(lanes) / static_cast<float>(n) + epsilon);
  for (int32_t i = 0; i < n; ++i) out[i] = in[i] * scale * weight[i];
}

void rope(float* vectors, int32_t count, int32_t head_size, const float* cosines,
          const float* sines, RopePairing pairing) {
  const int32_t half = head_size / 2;
  for (int32_t v = 0; v < count; ++v, vectors += head_size) {
    for (int32_t i = 0; i < half; ++i) {
      float& x = vectors[pairing == RopePairing::kHalves ? i : 2 * i];
      float& y = vectors[pairing == RopePairing::kHalves ? i + half : 2 * i + 1];
      const float rotated_x = std::fma(x, cosines[i], -(y * sines[i]));
      y = std::fma(y, cosines[i], x * sines[i]);
      x = rotated_x;
    }
  }
}

void swiglu(float* gate, const float* up, int32_t n) {
  for (int32_t i = 0; i < n; ++i) gate[i] = gate[i] / (1 + portable::exp(-gate[i])) * up[i];
}

void to_f16(const float* in, int32_t n, uint16_t* out) {
  for (int32_t i = 0; i < n; ++i) out[i] = f32_to_f16(in[i]);
}

void from_f16(const uint16_t* in, int32_t n, float* out) {
  for (int32_t i = 0; i < n; ++i) out[i] = f16_to_f32(in[i]);
}

float load(const float* values, int64_t i) { return values[i]; }
float load(const uint16_t* values, int64_t i) { return f16_to_f32(values[i]); }

template <typename T>
void scores(const float* queries, int32_t count, int32_t head_size, const T* keys, float* out) {
  for (int32_t q = 0; q < count; ++q, queries += head_size, out += kPageTokens) {
    std::fill_n(out, kPageTokens, 0.0f);
    for (int32_t i = 0; i < head_size; ++i) {
      for (int t = 0; t < kPageTokens; ++t) {
        out[t] = std::fma(queries[i], load(keys, i * kPageTokens + t), out[t]);
      }
    }
  }
}

void attention_scores(const float* queries, int32_t count, int32_t head_size, const void* keys,
                      const void* /*next*/, KvType type, float* out) {
  if (type == KvType::kF16) {
    scores(queries, count, head_size, static_cast<const uint16_t*>(keys), out);
  } else {
    scores(queries, count, head_size, static_cast<const float*>(keys), out);
  }
}

void attention_softmax(float* scores, int32_t count, int32_t first, int32_t last, float* maximum,
                       float* sum, float* rescale) {
  for (int32_t q = 0; q < count; ++q, scores += kPageTokens) {
    float best = maximum[q];
    for (int32_t t = first; t < last; ++t) best = std::max(scores[t], best);
    rescale[q] = portable::exp(maximum[q] - best);
    maximum[q] = best;
    static_assert(kPageTokens == kSumLanes);
    float lanes[kSumLanes];
    for (int32_t t = 0; t < kPageTokens; ++t) {
      scores[t] = t >= first && t < last ? portable::exp(scores[t] - best) : 0;
      lanes[t] = scores[t];
    }
    sum[q] = std::fma(sum[q], rescale[q], fold(lanes));
  }
}

template <typename T>
void values(const float* weights, int32_t count, int32_t first, int32_t last, const T* values,
            int32_t head_size, const float* rescale, float* out) {
  for (int32_t q = 0; q < count; ++q, weights += kPageTokens, out += head_size) {
    for (int32_t i = 0; i < head_size; ++i) out[i] *= rescale[q];
    for (int32_t t = first; t < last; ++t) {
      for (int32_t i = 0; i < head_size; ++i) {
        out[i] = std::fma(weights[t], load(values, t * head_size + i), out[i]);
      }
    }
  }
}

void attention_values(const float* weights, int32_t count, int32_t first, int32_t last,
                      const void* page, const void* /*next*/, KvType type, int32_t head_size,
                      const float* rescale, float* out) {
  if (type == KvType::kF16) {
    values(weights, count, first, last, static_cast<const uint16_t*>(page), head_size, rescale,
           out);
  } else {
    values(weights, count, first, last, static_cast<const float*>(page), head_size, rescale, out);
  }
}

bool finite_maximum(const float* values, int32_t n, float* maximum) {
  *maximum = values[0];
  for (int32_t i = 0; i < n; ++i) {
    if (!std::isfinite(values[i])) return false;
    *maximum = std::max(*maximum, values[i]);
  }
  return true;
}

void exp_weights(const float* values, int32_t n, float maximum, float temperature, float* weights,
                 float* sums) {
  for (int32_t first = 0; first < n; first += kWeightBlock) {
    float lanes[kSumLanes] = {};
    const int32_t last = std::min(first + kWeightBlock, n);
    for (int32_t i = first; i < last; ++i) {
      weights[i] = portable::exp((values[i] - maximum) * inverse_temperature(temperature));
      lanes[i % kSumLanes] += weights[i];
    }
    *sums++ = fold(lanes);
  }
  for (int32_t i = n; i % kSumLanes != 0; ++i) weights[i] = 0;
}

void sums_before(const float* values, const float* weights, int32_t n, TokenLogit bound,
                 float* sums) {
  for (int32_t first = 0; first < n; first += kWeightBlock) {
    float lanes[kSumLanes] = {};
    const int32_t last = std::min(first + kWeightBlock, n);
    for (int32_t i = first; i < last; ++i) {
      if (values[i] > bound.logit || (values[i] == bound.logit && i < bound.token)) {
        lanes[i % kSumLanes] += weights[i];
      }
    }
    *sums++ = fold(lanes);
  }
}

int32_t find_above(const float* values, int32_t first, int32_t n, float threshold) {
  while (first < n && !(values[first] > threshold)) ++first;
  return first;
}

}  // namespace

const RowKernels kScalarRows = {rms_norm,
                                rope,
                                swiglu,
                                to_f16,
                                from_f16,
                                attention_scores,
                                attention_softmax,
                                attention_values,
                                finite_maximum,
                                exp_weights,
                                sums_before,
                                find_above};

}  // namespace tramontane::cpu
