// GPTQ weights on the host: what the device's kernels need to know of them.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"

namespace tramontane::cuda {

struct GptqOrder {
  int groups;
  // Whether, sorted by group, the inputs fill whole groups of a multiple of 32 one after another:
  // what the kernels read.
  bool regular;
  std::vector<int32_t> inputs;  // The input at each place of the sorted order. Empty: unsorted.
};
GptqOrder gptq_order(const WeightData& weight);

// Scales as f16; false when one is not exact to 2^-10 of it in f16.
bool gptq_half_scales(const WeightData& weight, std::vector<uint16_t>* scales);
// Whether every decoded value stays far from f16's ends.
bool gptq_fits_half(const WeightData& weight);

}  // namespace tramontane::cuda
