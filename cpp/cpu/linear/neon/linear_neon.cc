// Linear layers for AArch64 with the dot product extension: see dot.h and panel.h.
#if defined(__aarch64__) || defined(_M_ARM64)

#define TRAMONTANE_TARGET neon_dot

#include "cpu/linear/linear.h"

// Clang before 16 has the instruction's functions only where the whole file is compiled for it.
#if !defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD)

#include "base/half.h"
#include "cpu/linear/neon/formats.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::neon_dot {
namespace {

// The level of the block's largest value that leaves the least squared error: see kLevels.
inline int best_level(const float32x4_t v[8], float magnitude) {
  float least = std::numeric_limits<float>::infinity();
  int best = kLargestLevel;
  for (int level = kLargestLevel; level > kLargestLevel - kLevels; --level) {
    const float scale = magnitude / static_cast<float>(level);
    const float inverse = static_cast<float>(level) / magnitude;
    FloatVector::Floats error = FloatVector::zero();
    for (int i = 0; i < 8; i += 2) {
      const auto off = [&](float32x4_t x) {
        return vfmsq_n_f32(x, vrndnq_f32(vmulq_n_f32(x, inverse)), scale);
      };
      const FloatVector::Floats both = {off(v[i]), off(v[i + 1])};
      error = FloatVector::multiply_add(both, both, error);
    }
    const float sum = FloatVector::sum(error);
    if (sum < least) {
      least = sum;
      best = level;
    }
  }
  return best;
}

void quantize(const float* values, int32_t columns, int8_t* q, float* scales, int16_t* sums) {
  for (int32_t first = 0; first < columns; first += 32) {
    float32x4_t v[8];
    // Compared as integers, a NaN is larger than all else: it reaches the scale.
    uint32x4_t largest = vdupq_n_u32(0);
    for (int i = 0; i < 8; ++i) {
      v[i] = vld1q_f32(values + first + 4 * i);
      largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(v[i])));
    }
    const uint32_t magnitude_bits = vmaxvq_u32(largest);
    const float magnitude = float_from_bits(magnitude_bits);
    const bool tiny = magnitude_bits < 0x04800000u;  // 2^-118
    const bool finite = magnitude_bits < 0x7f800000u;
    const int level = tiny || !finite ? kLargestLevel : best_level(v, magnitude);
    // Where the largest value is not finite, this is zero or NaN, and so is every product with it:
    // the integers become zeros.
    const float inverse = tiny ? 0.0f : static_cast<float>(level) / magnitude;
    int16x4_t integers[8];
    FloatVector::Floats product = FloatVector::zero(), square = FloatVector::zero();
    for (int i = 0; i < 8; i += 2) {
      const FloatVector::Floats scaled = {vmulq_n_f32(v[i], inverse),
                                          vmulq_n_f32(v[i + 1], inverse)};
      const FloatVector::Floats rounded = {vrndnq_f32(scaled.low), vrndnq_f32(scaled.high)};
      integers[i] = vmovn_s32(vcvtq_s32_f32(rounded.low));
      integers[i + 1] = vmovn_s32(vcvtq_s32_f32(rounded.high));
      product = FloatVector::multiply_add(scaled, rounded, product);
      square = FloatVector::multiply_add(rounded, rounded, square);
    }
    const float fit = tiny || !finite ? 1.0f : FloatVector::sum(product) / FloatVector::sum(square);
    scales[first / 32] = tiny ? 0.0f : magnitude / static_cast<float>(level) * fit;
    for (int half = 0; half < 2; ++half) {
      const int16x4_t* four = integers + 4 * half;
      const int8x16_t bytes = vcombine_s8(vmovn_s16(vcombine_s16(four[0], four[1])),
                                          vmovn_s16(vcombine_s16(four[2], four[3])));
      vst1q_s8(q + first + 16 * half, bytes);
      sums[first / 16 + half] = vaddlvq_s8(bytes);
    }
  }
}

void linear(const LinearTask& task) {
  switch (task.weight->format) {
    case Format::kF32:
      return linear_float<LoadF32>(task);
    case Format::kF16:
      return linear_float<LoadF16>(task);
    case Format::kBF16:
      return linear_float<LoadBF16>(task);
    default:
      with_source(task, [&](const auto& source) { linear_int8(task, source); });
  }
}

void linear_f32(const LinearTask& task) { linear_decoded<FloatVector>(task); }

size_t scratch_bytes(int32_t columns, int32_t rows) {
  return std::max({in_place_scratch_bytes(columns), panel_scratch_bytes<DotProducts>(rows),
                   sizeof(GptqScratch), float_scratch_bytes(columns)});
}

constexpr LinearKernels kKernels = {quantize, linear, linear_f32, scratch_bytes, kPanelOutputs};

}  // namespace
}  // namespace tramontane::cpu::neon_dot

#include "cpu/target/end.h"

namespace tramontane::cpu {

extern const LinearKernels* const kNeonDotLinear = &neon_dot::kKernels;

}  // namespace tramontane::cpu

#else

namespace tramontane::cpu {

extern const LinearKernels* const kNeonDotLinear = nullptr;

}  // namespace tramontane::cpu

#endif
#endif
