// Which source reads the weights of a task.
#pragma once

#include "cpu/linear/neon/blocks.h"
#include "cpu/linear/neon/gptq.h"

#include "cpu/target/begin.h"

namespace tramontane::cpu::TRAMONTANE_TARGET {
namespace {

// Calls use(source) of a quantized weight.
template <class Use>
void with_source(const LinearTask& task, Use use) {
  if (task.weight->format != Format::kGptq) {
    quant::with_blocks(task.weight->format,
                       [&](auto blocks) { use(BlockSource<decltype(blocks)::kFormat>(task)); });
    return;
  }
  switch (task.weight->gptq.bits) {
    case 2:
      return use(GptqSource<2>(task));
    case 3:
      return use(GptqSource<3>(task));
    case 4:
      return use(GptqSource<4>(task));
    case 8:
      return use(GptqSource<8>(task));
    default:
      return;
  }
}

}  // namespace
}  // namespace tramontane::cpu::TRAMONTANE_TARGET

#include "cpu/target/end.h"
