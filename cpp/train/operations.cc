#include "train/operations.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/split_mix.h"

namespace tramontane::train {
namespace {

double sum_of_products(const float* a, const float* b, int32_t n) {
  double sum = 0;
  for (int32_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double inverse_rms(const float* in, int32_t n, float epsilon) {
  return 1 / std::sqrt(sum_of_products(in, in, n) / n + epsilon);
}

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

void rms_norm(const float* in, const float* weight, int32_t n, float epsilon, float* out) {
  const float r = static_cast<float>(inverse_rms(in, n, epsilon));
  for (int32_t i = 0; i < n; ++i) out[i] = in[i] * r * weight[i];
}

// With r = 1 / sqrt(mean(in^2) + epsilon), whose derivative by in[i] is -r^3 in[i] / n:
// d_in[i] = r weight[i] d_out[i] - in[i] r^3 / n * sum over j of d_out[j] weight[j] in[j]
void rms_norm_backward(const float* in, const float* weight, const float* d_out, int32_t n,
                       float epsilon, float* d_in) {
  const double r = inverse_rms(in, n, epsilon);
  double sum = 0;
  for (int32_t j = 0; j < n; ++j) sum += static_cast<double>(d_out[j]) * weight[j] * in[j];
  const float a = static_cast<float>(r), b = static_cast<float>(r * r * r / n * sum);
  for (int32_t i = 0; i < n; ++i) d_in[i] += a * weight[i] * d_out[i] - b * in[i];
}

void swiglu(const float* gate, const float* up, int32_t n, float* out) {
  for (int32_t i = 0; i < n; ++i) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

// The derivative of silu(x) = x s(x) is s(x) (1 + x (1 - s(x))).
void swiglu_backward(const float* gate, const float* up, const float* d_out, int32_t n,
                     float* d_gate, float* d_up) {
  for (int32_t i = 0; i < n; ++i) {
    const float x = gate[i], s = sigmoid(x), d = d_out[i];
    const float u = up[i];
    d_gate[i] = d * u * s * (1 + x * (1 - s));
    d_up[i] = d * x * s;
  }
}

void rope(float* vectors, int32_t count, int32_t head_size, const float* cosines,
          const float* sines, RopePairing pairing, float sign) {
  const int32_t half = head_size / 2;
  const int32_t step = pairing == RopePairing::kHalves ? 1 : 2;
  const int32_t apart = pairing == RopePairing::kHalves ? half : 1;
  for (int32_t v = 0; v < count; ++v) {
    float* x = vectors + int64_t{v} * head_size;
    for (int32_t i = 0; i < half; ++i) {
      float& first = x[i * step];
      float& second = x[i * step + apart];
      const float a = first, b = second, sine = sign * sines[i];
      first = a * cosines[i] - b * sine;
      second = b * cosines[i] + a * sine;
    }
  }
}

double cross_entropy(float* logits, int32_t n, int32_t label, float scale) {
  const float maximum = *std::max_element(logits, logits + n);
  const double at_label = logits[label];
  double sum = 0;
  for (int32_t i = 0; i < n; ++i) {
    logits[i] = std::exp(logits[i] - maximum);
    sum += logits[i];
  }
  const double loss = std::log(sum) + maximum - at_label;
  if (scale != 0) {
    const float factor = static_cast<float>(scale / sum);
    for (int32_t i = 0; i < n; ++i) logits[i] *= factor;
    logits[label] -= scale;
  }
  return loss;
}

void dropout(float* values, int64_t n, float rate, uint64_t key) {
  // Compared with 32 random bits.
  const auto limit = static_cast<uint32_t>(static_cast<double>(rate) * 4294967296.0);
  const float kept = 1 / (1 - rate);
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = static_cast<uint32_t>(split_mix(key + static_cast<uint64_t>(i)) >> 32);
    values[i] = bits < limit ? 0.0f : values[i] * kept;
  }
}

}  // namespace tramontane::train
