// GPTQ weights: their bit fields, and their decoder, which is the definition of the format.
#pragma once

#include <cstdint>
#include <cstring>

#include "quant/weight.h"

namespace tramontane::quant {

inline uint32_t load_word(const uint8_t* words, int64_t index) {
  uint32_t word;
  std::memcpy(&word, words + 4 * index, sizeof word);
  return word;
}

// Field `index` of a stream of fields of 2, 3, 4 or 8 bits, little endian, in 32-bit words that lie
// `stride` words apart. Fields of 3 bits cross words: field 10 has two bits in word 0, one in
// word 1.
inline uint32_t gptq_field(const uint8_t* words, int64_t stride, int bits, int64_t index) {
  const int64_t bit = index * bits;
  const int shift = static_cast<int>(bit % 32);
  uint32_t field = load_word(words, bit / 32 * stride) >> shift;
  if (shift + bits > 32) field |= load_word(words, (bit / 32 + 1) * stride) << (32 - shift);
  return field & ((1u << bits) - 1);
}

}  // namespace tramontane::quant

namespace tramontane {

// The group of an input, and the zero point and the scale of a group. `rows`: outputs of the
// weight.
int32_t gptq_group(const GptqParts& parts, int32_t input);
int32_t gptq_zero(const GptqParts& parts, int32_t rows, int32_t group, int32_t output);
float gptq_scale(const GptqParts& parts, int32_t rows, int32_t group, int32_t output);

// Weights of outputs [first, last), f32, row by row in the file's order of inputs:
// w[k] = (q[k] - zero[g_idx[k]]) * scale[g_idx[k]].
void decode_gptq(const WeightData& weight, int32_t first, int32_t last, float* out);

}  // namespace tramontane
