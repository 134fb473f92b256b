// From a Format to the type the kernels are made for.
#pragma once

#include "device/weights.h"

namespace tramontane::cuda {

// Calls work(F{}) for a quantized format; `gptq_bits` is 4 or 8 and of use for GPTQ alone.
template <class Work>
auto with_format(Format format, int gptq_bits, Work work) {
  switch (format) {
    case Format::kQ4_1:
      return work(Q4_1{});
    case Format::kQ5_0:
      return work(Q5_0{});
    case Format::kQ5_1:
      return work(Q5_1{});
    case Format::kQ8_0:
    case Format::kQ8_1:
      return work(Q8_0{});
    case Format::kQ2_K:
      return work(Q2_K{});
    case Format::kQ3_K:
      return work(Q3_K{});
    case Format::kQ4_K:
      return work(Q4_K{});
    case Format::kQ5_K:
      return work(Q5_K{});
    case Format::kQ6_K:
      return work(Q6_K{});
    case Format::kIQ4_NL:
      return work(IQ4_NL{});
    case Format::kIQ4_XS:
      return work(IQ4_XS{});
    case Format::kGptq:
      return gptq_bits == 8 ? work(Gptq8{}) : work(Gptq4{});
    default:
      return work(Q4_0{});
  }
}

}  // namespace tramontane::cuda
