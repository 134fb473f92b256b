// Draws a token from a row of logits: see SampleRow and SampleResult.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "base/aligned_buffer.h"
#include "cpu/rows/rows.h"

namespace tramontane::cpu {

struct SampleScratch {
  AlignedBuffer<float> logits, weights, sums;
  std::vector<TokenLogit> best;

  void reserve_weights(int32_t vocabulary);
};

// `row` and `result` were checked; `logits` [vocabulary] stay as they are.
//
// A bias of -infinity bans a token, like a mask. Any other modified logit that would not be finite
// becomes the largest finite number of its sign, so that a bias of +infinity is one that wins.
void sample(const RowKernels& kernels, const float* logits, int32_t vocabulary,
            const SampleRow& row, SampleScratch& scratch, SampleResult& result);

}  // namespace tramontane::cpu
