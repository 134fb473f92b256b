// GPTQ weights on the CPU: the order their inputs are read in.
//
// The int8 kernels take 32 inputs at a time, under one scale of the activations and one of the
// weight: every 32 neighbours must belong to one group. Files without act-order lie so. With
// act-order (g_idx not sorted) the inputs are brought into the order of their groups, in a copy of
// qweight, and the activations are permuted to match before they are quantized.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "cpu/backend/workers.h"
#include "quant/gptq.h"

namespace tramontane::cpu {

// Example, 64 inputs in two groups of 40 and 24:
//   order         the 40 inputs of group 0, 24 times kNoInput, the 24 of group 1, 8 times kNoInput
//   columns       96
//   block_groups  0 0 1
struct GptqOrder {
  static constexpr int32_t kNoInput = -1;  // An activation of 0; the weight is any.

  // Throws std::bad_alloc. `columns` is a multiple of 32.
  GptqOrder(const GptqParts& parts, int32_t columns);

  // Whether the weight can be used where it lies; `order` is empty then.
  bool in_place() const { return order.empty(); }

  std::vector<int32_t> order;         // [columns] the input of the file that comes there.
  std::vector<int32_t> block_groups;  // [columns / 32]
  int32_t columns;                    // A multiple of 32.
};

// Bytes of a weight's copy in the order.
uint64_t ordered_gptq_bytes(const WeightData& weight, const GptqOrder& order);

// Brings the words into the order: int32 [order.columns * bits / 32][weight.rows], aligned to 16
// bytes. Mapped pages of the file's words are given back. Throws std::bad_alloc.
void reorder_gptq(const WeightData& weight, const GptqOrder& order, const Workers& workers,
                  uint32_t* words);

// out [columns]: the activations of one row in the order; in [columns of the file].
void permute_gptq(const GptqOrder& order, const float* in, float* out);

}  // namespace tramontane::cpu
