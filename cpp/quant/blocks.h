// The quantized formats together: from a Format to its block type.
#pragma once

#include "quant/format.h"
#include "quant/iq4_nl.h"
#include "quant/iq4_xs.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace tramontane::quant {

constexpr int kMaxBlockGroups = 8;

// Unpacks one block of a quantized format into its 1 or 8 groups. `source` needs no alignment.
template <class Block>
void unpack_block(const uint8_t* source, Group* groups) {
  Block block;
  std::memcpy(&block, source, sizeof block);
  unpack(block, groups);
}

using UnpackBlock = void (*)(const uint8_t* source, Group* groups);

// Null for F32, F16, BF16 and GPTQ.
UnpackBlock unpack_function(Format format);

}  // namespace tramontane::quant
