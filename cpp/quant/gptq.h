// The bit fields of GPTQ tensors.
#pragma once

#include <cstdint>
#include <cstring>

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
