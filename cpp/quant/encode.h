// Floats into the formats that weights are written in.
#pragma once

#include <cstdint>

#include "quant/format.h"

namespace tramontane {

// Whether encode_blocks() has it: floats, Q4_0 and Q8_0.
bool can_encode(Format format);

// `blocks` blocks of finite values: the inverse of decode_blocks() but for rounding. A block's
// largest value by magnitude becomes the end of its integers, -8 of Q4_0 and +-127 of Q8_0.
void encode_blocks(Format format, const float* values, int64_t blocks, uint8_t* out);

}  // namespace tramontane
