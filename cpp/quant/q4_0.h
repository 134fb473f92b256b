#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 4.5 bits a weight: (q - 8) d. The low nibbles are values 0..15, the high ones 16..31.
struct Q4_0 {
  uint16_t d;
  uint8_t nibbles[16];
};
static_assert(sizeof(Q4_0) == 18);
template <>
inline constexpr bool kScaleAlone<Q4_0> = true;

inline void unpack(const Q4_0& block, Group* groups) {
  for (int i = 0; i < 16; ++i) {
    groups->q[i] = static_cast<int8_t>((block.nibbles[i] & 15) - 8);
    groups->q[i + 16] = static_cast<int8_t>((block.nibbles[i] >> 4) - 8);
  }
  set_scale(*groups, f16_to_f32(block.d));
}

}  // namespace tramontane::quant
