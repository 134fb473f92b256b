// Which source reads the weights of a task.
#pragma once

#include "cpu/linear/x86/avx2_blocks.h"
#include "cpu/linear/x86/avx2_gptq.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Calls use(source) for a quantized weight, in stripes of kWidth outputs; other formats have none.
template <int kWidth, class Use>
void with_source(const LinearTask& task, Use use) {
  switch (task.weight->format) {
    case Format::kF32:
    case Format::kF16:
    case Format::kBF16:
      return;
    case Format::kQ4_0:
      return use(BlockSource<Format::kQ4_0, kWidth>(task));
    case Format::kQ4_1:
      return use(BlockSource<Format::kQ4_1, kWidth>(task));
    case Format::kQ5_0:
      return use(BlockSource<Format::kQ5_0, kWidth>(task));
    case Format::kQ5_1:
      return use(BlockSource<Format::kQ5_1, kWidth>(task));
    case Format::kQ8_0:
      return use(BlockSource<Format::kQ8_0, kWidth>(task));
    case Format::kQ2_K:
      return use(BlockSource<Format::kQ2_K, kWidth>(task));
    case Format::kQ3_K:
      return use(BlockSource<Format::kQ3_K, kWidth>(task));
    case Format::kQ4_K:
      return use(BlockSource<Format::kQ4_K, kWidth>(task));
    case Format::kQ5_K:
      return use(BlockSource<Format::kQ5_K, kWidth>(task));
    case Format::kQ6_K:
      return use(BlockSource<Format::kQ6_K, kWidth>(task));
    case Format::kIQ4_NL:
      return use(BlockSource<Format::kIQ4_NL, kWidth>(task));
    case Format::kIQ4_XS:
      return use(BlockSource<Format::kIQ4_XS, kWidth>(task));
    case Format::kGptq:
      switch (task.weight->gptq.bits) {
        case 2:
          return use(GptqSource<2, kWidth>(task));
        case 3:
          return use(GptqSource<3, kWidth>(task));
        case 4:
          return use(GptqSource<4, kWidth>(task));
        case 8:
          return use(GptqSource<8, kWidth>(task));
        default:
          return;
      }
  }
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
