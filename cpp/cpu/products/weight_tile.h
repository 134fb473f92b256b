// Rectangles of a weight, decoded to f32.
#pragma once

#include <cstdint>

#include "quant/weight.h"

namespace tramontane::cpu {

// Most outputs and inputs of a rectangle. Its inputs begin at a multiple of it, so that it holds
// whole blocks of every format.
constexpr int32_t kWeightTile = 256;

struct WeightTile {
  int32_t first_output, outputs;
  int32_t first_input, inputs;
};

// out [outputs][kWeightTile], the first `inputs` of each row.
void decode_weight_tile(const WeightData& weight, const WeightTile& tile, float* out);

}  // namespace tramontane::cpu
