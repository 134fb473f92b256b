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
#include "quant/q8_1.h"

namespace tramontane::quant {

constexpr int kMaxBlockGroups = 8;

template <Format kFormat_, class Block_>
struct BlockFormat {
  static constexpr Format kFormat = kFormat_;
  using Block = Block_;
};

template <class... Formats, class Use>
bool with_one_of(Format format, Use& use, Formats... all) {
  return ((all.kFormat == format && (use(all), true)) || ...);
}

// The table of the formats in blocks: calls use(BlockFormat<format, its block>()), or returns false
// where there is none.
template <class Use>
bool with_blocks(Format format, Use use) {
  return with_one_of(format, use, BlockFormat<Format::kQ4_0, Q4_0>(),
                     BlockFormat<Format::kQ4_1, Q4_1>(), BlockFormat<Format::kQ5_0, Q5_0>(),
                     BlockFormat<Format::kQ5_1, Q5_1>(), BlockFormat<Format::kQ8_0, Q8_0>(),
                     BlockFormat<Format::kQ2_K, Q2_K>(), BlockFormat<Format::kQ3_K, Q3_K>(),
                     BlockFormat<Format::kQ4_K, Q4_K>(), BlockFormat<Format::kQ5_K, Q5_K>(),
                     BlockFormat<Format::kQ6_K, Q6_K>(), BlockFormat<Format::kIQ4_NL, IQ4_NL>(),
                     BlockFormat<Format::kIQ4_XS, IQ4_XS>(), BlockFormat<Format::kQ8_1, Q8_1>());
}

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
