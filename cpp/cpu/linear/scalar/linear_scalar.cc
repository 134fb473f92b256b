// The portable kernels: plain loops over weights unpacked a row at a time. The oracle of the
// others, which give the same bits: see linear.h.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "cpu/gptq/gptq.h"
#include "cpu/linear/linear.h"
#include "quant/blocks.h"
#include "quant/gptq.h"

namespace tramontane::cpu {
namespace {

constexpr int kGroup = quant::kGroupValues;

// a * b + c rounded once. Without an instruction for it, a sum of doubles: the product is exact in
// them, and what the sum loses counts only where it lies in the middle between two floats, or where
// floats have fewer bits. libm's, a call for each, takes eight times as long.
float fused(float a, float b, float c) {
#if !defined(__FP_FAST_FMAF)
  const double sum = static_cast<double>(a) * b + c;
  uint64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  const bool middle = (bits & 0x1fffffff) == 0x10000000;
  const bool normal = std::fabs(sum) >= std::numeric_limits<float>::min() || sum == 0;
  if (normal && !middle) return static_cast<float>(sum);
#endif
  return std::fma(a, b, c);
}

// Sums that other kernels take in vectors: value i of a sequence goes to lane i % 8.
struct Lanes {
  static constexpr int kCount = 8;

  void add_product(int i, float a, float b) {
    float& sum = sums[i % kCount];
    sum = fused(a, b, sum);
  }
  float total() const {
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
           ((sums[1] + sums[5]) + (sums[3] + sums[7]));
  }

  float sums[kCount] = {};
};

// Rounds to nearest, ties to even, for |x| < 2^22: the sum has no bits left for a fraction.
float round_to_integer(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return (x + kShift) - kShift;
}

// The level of the block's largest value that leaves the least squared error: see kLevels.
int best_level(const float* values, float magnitude) {
  float least = std::numeric_limits<float>::infinity();
  int best = kLargestLevel;
  for (int level = kLargestLevel; level > kLargestLevel - kLevels; --level) {
    const float scale = magnitude / static_cast<float>(level);
    const float inverse = static_cast<float>(level) / magnitude;
    Lanes error;
    for (int i = 0; i < kGroup; ++i) {
      const float off = fused(-round_to_integer(values[i] * inverse), scale, values[i]);
      error.add_product(i, off, off);
    }
    if (error.total() < least) {
      least = error.total();
      best = level;
    }
  }
  return best;
}

void quantize(const float* values, int32_t columns, int8_t* q, float* scales, int16_t* sums) {
  for (int32_t first = 0; first < columns; first += kGroup) {
    // Compared as integers, a NaN is larger than all else: it reaches the scale.
    uint32_t largest = 0;
    for (int i = 0; i < kGroup; ++i) {
      largest = std::max(largest, bits_from_float(values[first + i]) & 0x7fffffffu);
    }
    const float magnitude = float_from_bits(largest);
    // Blocks whose inverse scale would overflow count as zero, those with no finite largest value
    // get zeros under a scale that is not finite.
    const bool tiny = largest < 0x04800000u;  // 2^-118
    const bool finite = largest < 0x7f800000u;
    const int level = tiny || !finite ? kLargestLevel : best_level(values + first, magnitude);
    const float inverse = tiny || !finite ? 0.0f : static_cast<float>(level) / magnitude;
    int sum[2] = {0, 0};
    Lanes product, square;
    for (int i = 0; i < kGroup; ++i) {
      const float scaled = finite ? values[first + i] * inverse : 0.0f;
      const float rounded = round_to_integer(scaled);
      const int integer = static_cast<int>(rounded);
      q[first + i] = static_cast<int8_t>(integer);
      sum[i / 16] += integer;
      product.add_product(i, scaled, rounded);
      square.add_product(i, rounded, rounded);
    }
    const float fit = tiny || !finite ? 1.0f : product.total() / square.total();
    scales[first / kGroup] = tiny ? 0.0f : magnitude / static_cast<float>(level) * fit;
    sums[first / 16] = static_cast<int16_t>(sum[0]);
    sums[first / 16 + 1] = static_cast<int16_t>(sum[1]);
  }
}

float dot(const float* a, const float* b, int32_t columns) {
  Lanes sums;
  int32_t i = 0;
  for (; i < columns; ++i) sums.add_product(i, a[i], b[i]);
  for (; i % Lanes::kCount != 0; ++i) sums.add_product(i, 0, 0);
  return sums.total();
}

// What a group's scales are multiplied by, and its offsets added to.
enum class Scaling {
  kTerm,      // The sums of weights; the activation's scale multiplies all of it.
  kAlone,     // The activation's scale. There are no offsets.
  kIntegers,  // So too, with offsets of the integers.
};

// Of the integers and scales of one weight row, [columns / 32], with one row of activations.
template <int kSubgroup, Scaling kScaling>
float dot(const quant::Group* groups, const Activations& in, int32_t row) {
  const int32_t count = in.columns / kGroup;
  const int8_t* q = in.q + row * quantized_stride(in.columns);
  const float* scales = in.scales + static_cast<int64_t>(row) * count;
  const int16_t* sums = in.sums + static_cast<int64_t>(row) * count * 2;
  float result = 0;
  for (int32_t g = 0; g < count; ++g) {
    constexpr int kSubgroups = kGroup / kSubgroup, kSums = kSubgroup / 16;
    const quant::Group& w = groups[g];
    float activations[kSubgroups], term = 0;
    for (int h = 0; h < kSubgroups; ++h) {
      int sum = 0, sum_of_q = 0;
      for (int i = kSubgroup * h; i < kSubgroup * (h + 1); ++i) sum += w.q[i] * q[kGroup * g + i];
      for (int i = kSums * h; i < kSums * (h + 1); ++i) sum_of_q += sums[2 * g + i];
      activations[h] = static_cast<float>(sum_of_q);
      float value = static_cast<float>(sum);
      // Exact: all of it is below 2^24.
      if (kScaling == Scaling::kIntegers) value += w.offset[h] * activations[h];
      if (kScaling != Scaling::kTerm) result = fused(value, w.scale[h] * scales[g], result);
      term = h == 0 ? value * w.scale[h] : fused(value, w.scale[h], term);
    }
    if (kScaling != Scaling::kTerm) continue;
    for (int h = 0; h < kSubgroups; ++h) term = fused(w.offset[h], activations[h], term);
    result = fused(term, scales[g], result);
  }
  return result;
}

void store(const LinearTask& task, int32_t row, int32_t output, float value) {
  float& out = task.out[row * task.stride + output];
  out = task.add ? out + value : value;
}

const uint8_t* row_data(const WeightData& weight, int32_t output) {
  const FormatInfo& info = format_info(weight.format);
  const int64_t blocks = weight.columns / info.block_values;
  return weight.data + output * blocks * info.block_bytes;
}

void decode_row(const WeightData& weight, int32_t output, float* out) {
  if (weight.format == Format::kGptq) return decode_gptq(weight, output, output + 1, out);
  decode_blocks(weight.format, row_data(weight, output),
                weight.columns / format_info(weight.format).block_values, out);
}

void unpack_row(const WeightData& weight, int32_t output, quant::Group* groups) {
  const FormatInfo& info = format_info(weight.format);
  const quant::UnpackBlock unpack = quant::unpack_function(weight.format);
  const uint8_t* source = row_data(weight, output);
  for (int32_t column = 0; column < weight.columns; column += info.block_values) {
    unpack(source, groups + column / kGroup);
    source += info.block_bytes;
  }
}

// Integers are taken relative to the middle of their range, so that 8 bits fit an int8; what is
// left of the zero point is their offset.
void unpack_gptq_row(const WeightData& weight, const GptqLayout& layout, int32_t output,
                     quant::Group* groups) {
  const GptqParts& parts = weight.gptq;
  const int32_t middle = 1 << (parts.bits - 1);
  for (int32_t block = 0; block < layout.columns / kGroup; ++block) {
    const int32_t group = layout.block_groups[block];
    const int32_t zero = gptq_zero(parts, weight.rows, group, output);
    const float scale = gptq_scale(parts, weight.rows, group, output);
    for (int i = 0; i < kGroup; ++i) {
      const uint32_t q = quant::gptq_field(layout.qweight + int64_t{4} * output, weight.rows,
                                           parts.bits, kGroup * block + i);
      groups[block].q[i] = static_cast<int8_t>(static_cast<int32_t>(q) - middle);
    }
    quant::set_scale(groups[block], scale, static_cast<float>(middle - zero));
  }
}

void linear_f32(const LinearTask& task) {
  const int32_t columns = task.weight->columns;
  float* decoded = reinterpret_cast<float*>(task.scratch);
  for (int32_t output = task.first; output < task.last; ++output) {
    decode_row(*task.weight, output, decoded);
    for (int32_t row = 0; row < task.in->rows; ++row) {
      const float* in = task.in->values + static_cast<int64_t>(row) * columns;
      store(task, row, output, dot(decoded, in, columns));
    }
  }
}

// By unpack(output, groups), of one weight row.
template <int kSubgroup, Scaling kScaling, class Unpack>
void linear_int8(const LinearTask& task, const Unpack& unpack) {
  quant::Group* groups = reinterpret_cast<quant::Group*>(task.scratch);
  for (int32_t output = task.first; output < task.last; ++output) {
    unpack(output, groups);
    for (int32_t row = 0; row < task.in->rows; ++row) {
      store(task, row, output, dot<kSubgroup, kScaling>(groups, *task.in, row));
    }
  }
}

void linear(const LinearTask& task) {
  const WeightData& weight = *task.weight;
  if (is_float(weight.format)) return linear_f32(task);
  if (weight.format == Format::kGptq) {
    return linear_int8<kGroup, Scaling::kIntegers>(task, [&](int32_t output, auto* groups) {
      unpack_gptq_row(weight, *task.gptq, output, groups);
    });
  }
  quant::with_blocks(weight.format, [&](auto blocks) {
    using Block = typename decltype(blocks)::Block;
    constexpr Scaling kScaling = quant::kScaleAlone<Block> ? Scaling::kAlone : Scaling::kTerm;
    linear_int8<quant::kSubgroup<Block>, kScaling>(
        task, [&](int32_t output, auto* groups) { unpack_row(weight, output, groups); });
  });
}

size_t scratch_bytes(int32_t columns, int32_t) {
  static_assert(sizeof(quant::Group) <= kGroup * sizeof(float));
  return static_cast<size_t>(columns) * sizeof(float);
}

}  // namespace

extern const LinearKernels kScalarLinear = {quantize, linear, linear_f32, scratch_bytes, 1};

}  // namespace tramontane::cpu
