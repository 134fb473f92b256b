// Neighbouring outputs, as many as the lanes of a vector.
#pragma once

#include "cpu/linear/linear.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// The outputs from `output` on, of which lanes [skip, skip + count) are wanted.
struct Stripe {
  int32_t output, skip, count;
};

TRAMONTANE_INLINE void store(const LinearTask& task, int32_t row, const Stripe& stripe,
                             const float* values) {
  float* out = task.out + row * task.stride + stripe.output;
  for (int32_t lane = stripe.skip; lane < stripe.skip + stripe.count; ++lane) {
    out[lane] = task.add ? out[lane] + values[lane] : values[lane];
  }
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
