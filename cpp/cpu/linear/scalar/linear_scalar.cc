// The portable kernels: plain loops over weights unpacked a row at a time. The oracle of the
// others.
#include <algorithm>
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
    float error = 0;
    for (int i = 0; i < kGroup; ++i) {
      const float off = values[i] - round_to_integer(values[i] * inverse) * scale;
      error += off * off;
    }
    if (error < least) {
      least = error;
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
    float product = 0, square = 0;
    for (int i = 0; i < kGroup; ++i) {
      const float scaled = finite ? values[first + i] * inverse : 0.0f;
      const float rounded = round_to_integer(scaled);
      const int integer = static_cast<int>(rounded);
      q[first + i] = static_cast<int8_t>(integer);
      sum[i / 16] += integer;
      product += scaled * rounded;
      square += rounded * rounded;
    }
    const float fit = tiny || !finite ? 1.0f : product / square;
    scales[first / kGroup] = tiny ? 0.0f : magnitude / static_cast<float>(level) * fit;
    sums[first / 16] = static_cast<int16_t>(sum[0]);
    sums[first / 16 + 1] = static_cast<int16_t>(sum[1]);
  }
}

float dot(const float* a, const float* b, int32_t columns) {
  float partial[8] = {};
  int32_t i = 0;
  for (; i + 8 <= columns; i += 8) {
    for (int lane = 0; lane < 8; ++lane) partial[lane] += a[i + lane] * b[i + lane];
  }
  for (int lane = 0; i < columns; ++i, ++lane) partial[lane] += a[i] * b[i];
  return ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
         ((partial[4] + partial[5]) + (partial[6] + partial[7]));
}

// Of the integers and scales of one weight row, [columns / 32], with one row of activations.
float dot(const quant::Group* groups, const Activations& in, int32_t row) {
  const int32_t count = in.columns / kGroup;
  const int8_t* q = in.q + row * quantized_stride(in.columns);
  const float* scales = in.scales + static_cast<int64_t>(row) * count;
  const int16_t* sums = in.sums + static_cast<int64_t>(row) * count * 2;
  float result = 0;
  for (int32_t g = 0; g < count; ++g) {
    float group = 0;
    for (int half = 0; half < 2; ++half) {
      int sum = 0;
      for (int i = 16 * half; i < 16 * half + 16; ++i) sum += groups[g].q[i] * q[kGroup * g + i];
      group += groups[g].scale[half] * static_cast<float>(sum) +
               groups[g].offset[half] * static_cast<float>(sums[2 * g + half]);
    }
    result += scales[g] * group;
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

// Integers are taken relative to the middle of their range, so that 8 bits fit an int8.
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
    quant::set_scale(groups[block], scale, scale * static_cast<float>(middle - zero));
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

void linear(const LinearTask& task) {
  const WeightData& weight = *task.weight;
  const bool gptq = weight.format == Format::kGptq;
  if (!gptq && quant::unpack_function(weight.format) == nullptr) return linear_f32(task);
  quant::Group* groups = reinterpret_cast<quant::Group*>(task.scratch);
  for (int32_t output = task.first; output < task.last; ++output) {
    if (gptq) {
      unpack_gptq_row(weight, *task.gptq, output, groups);
    } else {
      unpack_row(weight, output, groups);
    }
    for (int32_t row = 0; row < task.in->rows; ++row) {
      store(task, row, output, dot(groups, *task.in, row));
    }
  }
}

size_t scratch_bytes(int32_t columns, int32_t) {
  static_assert(sizeof(quant::Group) <= kGroup * sizeof(float));
  return static_cast<size_t>(columns) * sizeof(float);
}

}  // namespace

extern const LinearKernels kScalarLinear = {quantize, linear, linear_f32, scratch_bytes, 1};

}  // namespace tramontane::cpu
