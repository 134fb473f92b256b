#include "quant/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "quant/q4_0.h"
#include "quant/q8_0.h"

namespace tramontane {
namespace {

// Rounds to nearest, ties to even.
uint16_t f32_to_bf16(float value) {
  const uint32_t bits = bits_from_float(value);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float largest(const float* values) {
  return *std::max_element(values, values + quant::kGroupValues,
                           [](float a, float b) { return std::abs(a) < std::abs(b); });
}

// The integer in [least, most] next to value / scale.
int nearest(float value, float scale, int least, int most) {
  const float q = scale == 0 ? 0 : std::nearbyint(value / scale);
  return static_cast<int>(std::clamp(q, static_cast<float>(least), static_cast<float>(most)));
}

void encode(const float* values, quant::Q8_0* block) {
  block->d = f32_to_f16(std::abs(largest(values)) / 127);
  const float scale = f16_to_f32(block->d);  // As it will be read.
  for (int i = 0; i < quant::kGroupValues; ++i) {
    block->q[i] = static_cast<int8_t>(nearest(values[i], scale, -127, 127));
  }
}

void encode(const float* values, quant::Q4_0* block) {
  block->d = f32_to_f16(largest(values) / -8);
  const float scale = f16_to_f32(block->d);
  for (int i = 0; i < 16; ++i) {
    const int low = nearest(values[i], scale, -8, 7), high = nearest(values[i + 16], scale, -8, 7);
    block->nibbles[i] = static_cast<uint8_t>((low + 8) | (high + 8) << 4);
  }
}

template <class Block>
void encode_all(const float* values, int64_t blocks, uint8_t* out) {
  for (int64_t i = 0; i < blocks; ++i) {
    Block block;
    encode(values + i * quant::kGroupValues, &block);
    std::memcpy(out + i * int64_t{sizeof block}, &block, sizeof block);
  }
}

template <class Round>
void round_all(const float* values, int64_t count, uint8_t* out, const Round& round) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = round(values[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

}  // namespace

bool can_encode(Format format) {
  return is_float(format) || format == Format::kQ4_0 || format == Format::kQ8_0;
}

void encode_blocks(Format format, const float* values, int64_t blocks, uint8_t* out) {
  switch (format) {
    case Format::kF32:
      std::memcpy(out, values, static_cast<size_t>(blocks) * sizeof *values);
      return;
    case Format::kF16:
      return round_all(values, blocks, out, f32_to_f16);
    case Format::kBF16:
      return round_all(values, blocks, out, f32_to_bf16);
    case Format::kQ4_0:
      return encode_all<quant::Q4_0>(values, blocks, out);
    case Format::kQ8_0:
      return encode_all<quant::Q8_0>(values, blocks, out);
    default:
      return;
  }
}

}  // namespace tramontane
