#include "kernels/linear.h"

#include "kernels/formats.h"

namespace tramontane::cuda {

// Instantiated in dot_*.cu and tiles_*.cu.
template <class F>
void dot_format(const LinearTask& task, cudaStream_t stream);
template <class F>
void tiles_format(const LinearTask& task, cudaStream_t stream);

void dot(Format format, int gptq_bits, const LinearTask& task, cudaStream_t stream) {
  with_format(format, gptq_bits, [&](auto f) { dot_format<decltype(f)>(task, stream); });
}

void tiles(Format format, int gptq_bits, const LinearTask& task, cudaStream_t stream) {
  with_format(format, gptq_bits, [&](auto f) { tiles_format<decltype(f)>(task, stream); });
}

}  // namespace tramontane::cuda
