// What every quantized format comes down to: groups of 32 integers with scales and offsets.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace tramontane::quant {

constexpr int kGroupValues = 32;

// Weight i is scale[i / 16] * q[i] + offset[i / 16].
struct Group {
  int8_t q[kGroupValues];
  float scale[2];
  float offset[2];
};

// Inputs that share a scale; formats that have two for a group say 16.
template <class Block>
inline constexpr int kSubgroup = kGroupValues;

// Whether a block is one group, which has one scale and no offset.
template <class Block>
inline constexpr bool kScaleAlone = false;

inline void set_scale(Group& group, float scale, float offset = 0) {
  group.scale[0] = group.scale[1] = scale;
  group.offset[0] = group.offset[1] = offset;
}

// The values that the 4-bit codes of IQ4_NL and IQ4_XS stand for.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace tramontane::quant
