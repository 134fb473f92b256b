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
  if (task.weight->format == Format::kGptq) {
    switch (task.weight->gptq.bits) {
      case 2:
        return use(GptqSource<2, kWidth>(task));
      case 3:
        return use(GptqSource<3, kWidth>(task));
      case 4:
        return use(GptqSource<4, kWidth>(task));
      default:
        return use(GptqSource<8, kWidth>(task));
    }
  }
  quant::with_blocks(task.weight->format, [&](auto blocks) {
    use(BlockSource<decltype(blocks)::kFormat, kWidth>(task));
  });
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
