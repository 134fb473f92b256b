// The portable kernels: plain loops over weights unpacked a row at a time. The oracle of the others.
#include <algorithm>
#include <cstring>

#include "base/half.h"
#include "cpu/linear.h"
#include "quant/blocks.h"

namespace tramontane::cpu {
namespace {

constexpr int kGroup = quant::kGroupValues;

// Rounds to nearest, ties to even, for |x| < 2^22: the sum has no bits left for a fraction.
float round_to_integer(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23
  return (x + kShift) - kShift;
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
    const float inverse = tiny || !finite ? 0.0f : 127.0f / magnitude;
    scales[first / kGroup] = tiny ? 0.0f : magnitude / 127.0f;
    int sum[2] = {0, 0};
    for (int i = 0; i < kGroup; ++i) {
      const float scaled = finite ? round_to_integer(values[first + i] * inverse) : 0.0f;
      const int integer = static_cast<int>(scaled);
      q[first + i] = static_cast<int8_t>(integer);
      sum[i / 16] += integer;
    }
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
  const int8_t* q = in.q + static_cast<int64_t>(row) * in.columns;
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

void linear_f32(const LinearTask& task) {
  const WeightData& weight = *task.weight;
  const int32_t columns = weight.columns;
  float* decoded = reinterpret_cast<float*>(task.scratch);
  for (int32_t output = task.first; output < task.last; ++output) {
    decode_blocks(weight.format, row_data(weight, output),
                  columns / format_info(weight.format).block_values, decoded);
    for (int32_t row = 0; row < task.in->rows; ++row) {
      const float* in = task.in->values + static_cast<int64_t>(row) * columns;
      store(task, row, output, dot(decoded, in, columns));
    }
  }
}

void linear(const LinearTask& task) {
  const WeightData& weight = *task.weight;
  const quant::UnpackBlock unpack = quant::unpack_function(weight.format);
  if (unpack == nullptr) return linear_f32(task);
  const FormatInfo& info = format_info(weight.format);
  quant::Group* groups = reinterpret_cast<quant::Group*>(task.scratch);
  for (int32_t output = task.first; output < task.last; ++output) {
    const uint8_t* source = row_data(weight, output);
    for (int32_t column = 0; column < weight.columns; column += info.block_values) {
      unpack(source, groups + column / kGroup);
      source += info.block_bytes;
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
