#pragma once

#include "quant/q4_k.h"

namespace tramontane::quant {

// 5.5 bits a weight, 256 a block: as Q4_K, and bit g of byte l of `fifth` is bit 4 of
// value 32 g + l.
struct Q5_K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t fifth[32];
  uint8_t nibbles[128];
};
static_assert(sizeof(Q5_K) == 176);

inline void unpack(const Q5_K& block, Group* groups) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int g = 0; g < 8; ++g) {
    const uint8_t* nibbles = block.nibbles + g / 2 * 32;
    const int shift = g % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int low = (nibbles[i] >> shift) & 15, high = (block.fifth[i] >> g) & 1;
      groups[g].q[i] = static_cast<int8_t>(low + 16 * high);
    }
    const ScaleAndMinimum s = scale_and_minimum(block.scales, g);
    set_scale(groups[g], d * static_cast<float>(s.scale), -(dmin * static_cast<float>(s.minimum)));
  }
}

}  // namespace tramontane::quant
