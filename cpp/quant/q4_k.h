#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// The twelve bytes of Q4_K and Q5_K: six bits of scale and six of minimum for each of 8 groups.
// Groups 0..3: byte g and byte 4 + g, low six bits. Groups 4..7: the nibbles of byte 4 + g, with
// their high two bits on top of bytes g - 4 and g.
struct ScaleAndMinimum {
  int scale, minimum;
};

inline ScaleAndMinimum scale_and_minimum(const uint8_t bytes[12], int g) {
  if (g < 4) return {bytes[g] & 63, bytes[g + 4] & 63};
  return {(bytes[g + 4] & 15) | ((bytes[g - 4] >> 6) << 4),
          (bytes[g + 4] >> 4) | ((bytes[g] >> 6) << 4)};
}

// 4.5 bits a weight, 256 a block: d s q - dmin m. 32 bytes of nibbles hold two groups, the low
// nibbles the first.
struct Q4_K {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t nibbles[128];
};
static_assert(sizeof(Q4_K) == 144);

inline void unpack(const Q4_K& block, Group* groups) {
  const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
  for (int g = 0; g < 8; ++g) {
    const uint8_t* nibbles = block.nibbles + g / 2 * 32;
    const int shift = g % 2 * 4;
    for (int i = 0; i < 32; ++i) groups[g].q[i] = static_cast<int8_t>((nibbles[i] >> shift) & 15);
    const ScaleAndMinimum s = scale_and_minimum(block.scales, g);
    set_scale(groups[g], d * static_cast<float>(s.scale), -(dmin * static_cast<float>(s.minimum)));
  }
}

}  // namespace tramontane::quant
