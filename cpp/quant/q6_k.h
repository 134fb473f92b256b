#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 6.5625 bits a weight, 256 a block: d s (q - 32), with s an int8 for every 16 values. Of each 128
// values, 64 bytes hold the low four bits and 32 bytes the high two:
//   group   nibbles                    pairs
//   0       low ones of bytes 0..31    bits 0, 1
//   1       low ones of bytes 32..63   bits 2, 3
//   2       high ones of bytes 0..31   bits 4, 5
//   3       high ones of bytes 32..63  bits 6, 7
struct Q6_K {
  uint8_t nibbles[128];
  uint8_t pairs[64];
  int8_t scales[16];
  uint16_t d;
};
static_assert(sizeof(Q6_K) == 210);
template <>
inline constexpr int kSubgroup<Q6_K> = 16;

inline void unpack(const Q6_K& block, Group* groups) {
  const float d = f16_to_f32(block.d);
  for (int g = 0; g < 8; ++g) {
    const int quarter = g % 4;
    const uint8_t* nibbles = block.nibbles + g / 4 * 64 + quarter % 2 * 32;
    const uint8_t* pairs = block.pairs + g / 4 * 32;
    for (int i = 0; i < 32; ++i) {
      const int low = (nibbles[i] >> (quarter / 2 * 4)) & 15;
      const int high = (pairs[i] >> (2 * quarter)) & 3;
      groups[g].q[i] = static_cast<int8_t>(low + 16 * high - 32);
    }
    for (int half = 0; half < 2; ++half) {
      groups[g].scale[half] = d * static_cast<float>(block.scales[2 * g + half]);
      groups[g].offset[half] = 0;
    }
  }
}

}  // namespace tramontane::quant
