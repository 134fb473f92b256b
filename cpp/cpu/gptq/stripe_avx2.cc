#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx2

#include "cpu/gptq/stripe.h"

namespace tramontane::cpu {

void reorder_stripe_avx2(const WeightData& weight, const GptqOrder& order, int32_t first,
                         int32_t last, uint32_t* scratch, uint32_t* words) {
  avx2::reorder_stripe(weight, order, first, last, scratch, words);
}

}  // namespace tramontane::cpu

#endif
