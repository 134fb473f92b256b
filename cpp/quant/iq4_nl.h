#pragma once

#include "quant/group.h"

namespace tramontane::quant {

// 4.5 bits a weight: kIq4Values[q] d. Nibbles as in Q4_0.
struct IQ4_NL {
  uint16_t d;
  uint8_t nibbles[16];
};
static_assert(sizeof(IQ4_NL) == 18);
template <>
inline constexpr bool kScaleAlone<IQ4_NL> = true;

inline void unpack(const IQ4_NL& block, Group* groups) {
  for (int i = 0; i < 16; ++i) {
    groups->q[i] = kIq4Values[block.nibbles[i] & 15];
    groups->q[i + 16] = kIq4Values[block.nibbles[i] >> 4];
  }
  set_scale(*groups, f16_to_f32(block.d));
}

}  // namespace tramontane::quant
