// From a Format to the type the kernels are made for.
#pragma once

#include "device/weights.h"
#include "quant/blocks.h"

namespace tramontane::cuda {

// The table of layouts: the one that blocks of a file get on the device.
Q4_0 layout_of(const quant::Q4_0&);
Q4_1 layout_of(const quant::Q4_1&);
Q5_0 layout_of(const quant::Q5_0&);
Q5_1 layout_of(const quant::Q5_1&);
Q8_0 layout_of(const quant::Q8_0&);
Q8_0 layout_of(const quant::Q8_1&);
Q2_K layout_of(const quant::Q2_K&);
Q3_K layout_of(const quant::Q3_K&);
Q4_K layout_of(const quant::Q4_K&);
Q5_K layout_of(const quant::Q5_K&);
Q6_K layout_of(const quant::Q6_K&);
IQ4_NL layout_of(const quant::IQ4_NL&);
IQ4_XS layout_of(const quant::IQ4_XS&);

template <class Block>
using LayoutOf = decltype(layout_of(Block{}));

// Calls work(F{}) for a quantized format; `gptq_bits` is 4 or 8 and of use for GPTQ alone.
template <class Work>
void with_format(Format format, int gptq_bits, Work work) {
  if (format == Format::kGptq) return gptq_bits == 8 ? work(Gptq8{}) : work(Gptq4{});
  quant::with_blocks(format,
                     [&](auto blocks) { work(LayoutOf<typename decltype(blocks)::Block>{}); });
}

}  // namespace tramontane::cuda
