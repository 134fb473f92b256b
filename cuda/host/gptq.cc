#include "host/gptq.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace tramontane::cuda {
namespace {

uint32_t word_at(const uint8_t* words, int64_t i) {
  uint32_t word;
  std::memcpy(&word, words + 4 * i, sizeof word);
  return word;
}

// `bits` at bit `place` of a little-endian stream whose words are `stride` apart; 3-bit values
// cross words.
uint32_t field(const uint8_t* words, int64_t first, int64_t stride, int64_t place, int bits) {
  const int64_t word = place / 32;
  const int shift = static_cast<int>(place % 32);
  uint64_t both = word_at(words, first + word * stride);
  if (shift + bits > 32) both |= uint64_t{word_at(words, first + (word + 1) * stride)} << 32;
  return static_cast<uint32_t>(both >> shift) & ((1u << bits) - 1);
}

int group_count(const WeightData& weight) {
  return (weight.columns + weight.gptq.group_size - 1) / weight.gptq.group_size;
}

int group_of(const GptqParts& parts, int input) {
  if (!parts.group_index) return input / parts.group_size;
  return static_cast<int>(word_at(parts.group_index, input));
}

float scale_at(const GptqParts& parts, int64_t i) {
  if (parts.scale_format == Format::kF32) return float_from_bits(word_at(parts.scales, i));
  uint16_t bits;
  std::memcpy(&bits, parts.scales + 2 * i, sizeof bits);
  return parts.scale_format == Format::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

}  // namespace

GptqOrder gptq_order(const WeightData& weight) {
  const GptqParts& parts = weight.gptq;
  GptqOrder order{group_count(weight), false, {}};
  std::vector<int32_t> inputs(static_cast<size_t>(weight.columns));
  for (int k = 0; k < weight.columns; ++k) inputs[static_cast<size_t>(k)] = k;
  std::stable_sort(inputs.begin(), inputs.end(),
                   [&](int a, int b) { return group_of(parts, a) < group_of(parts, b); });
  const bool whole = parts.group_size >= weight.columns || parts.group_size % 32 == 0;
  order.regular = whole && weight.columns % 32 == 0;
  bool sorted = true;
  for (int place = 0; place < weight.columns; ++place) {
    const int32_t input = inputs[static_cast<size_t>(place)];
    sorted = sorted && input == place;
    order.regular = order.regular && group_of(parts, input) == place / parts.group_size;
  }
  if (!sorted) order.inputs = std::move(inputs);
  return order;
}

bool gptq_half_scales(const WeightData& weight, std::vector<uint16_t>* scales) {
  const int64_t count = int64_t{group_count(weight)} * weight.rows;
  scales->resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const float scale = scale_at(weight.gptq, i);
    const uint16_t half = f32_to_f16(scale);
    if (!(std::fabs(f16_to_f32(half) - scale) <= 0x1p-10f * std::fabs(scale))) return false;
    (*scales)[static_cast<size_t>(i)] = half;
  }
  return true;
}

bool gptq_fits_half(const WeightData& weight) {
  const int64_t count = int64_t{group_count(weight)} * weight.rows;
  for (int64_t i = 0; i < count; ++i) {
    if (!(std::fabs(scale_at(weight.gptq, i)) < 64.0f)) return false;  // Codes are below 256.
  }
  return true;
}

void decode_gptq(const WeightData& weight, int first, int rows, float* out) {
  const GptqParts& parts = weight.gptq;
  const uint32_t mask = (1u << parts.bits) - 1;
  const int64_t zero_words = int64_t{weight.rows} * parts.bits / 32;
  for (int k = 0; k < weight.columns; ++k) {
    const int group = group_of(parts, k);
    for (int r = 0; r < rows; ++r) {
      const int row = first + r;
      const uint32_t q = field(weight.data, row, weight.rows, int64_t{k} * parts.bits, parts.bits);
      const uint32_t stored =
          field(parts.qzeros, group * zero_words, 1, int64_t{row} * parts.bits, parts.bits);
      const uint32_t zero = (stored + static_cast<uint32_t>(parts.zero_bias)) & mask;
      out[int64_t{r} * weight.columns + k] =
          static_cast<float>(static_cast<int>(q) - static_cast<int>(zero)) *
          scale_at(parts, int64_t{group} * weight.rows + row);
    }
  }
}

}  // namespace tramontane::cuda
