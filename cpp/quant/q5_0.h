#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 5.5 bits a weight: (q - 16) d. Nibbles as in Q4_0; bit i of `fifth`, little endian, is bit 4 of
// value i.
struct Q5_0 {
  uint16_t d;
  uint8_t fifth[4];
  uint8_t nibbles[16];
};
static_assert(sizeof(Q5_0) == 22);
template <>
inline constexpr bool kScaleAlone<Q5_0> = true;

inline void unpack(const Q5_0& block, Group* groups) {
  for (int i = 0; i < 32; ++i) {
    const int nibble = i < 16 ? block.nibbles[i] & 15 : block.nibbles[i - 16] >> 4;
    const int high = (block.fifth[i / 8] >> (i % 8)) & 1;
    groups->q[i] = static_cast<int8_t>(nibble + 16 * high - 16);
  }
  set_scale(*groups, f16_to_f32(block.d));
}

}  // namespace tramontane::quant
