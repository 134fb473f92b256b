#include "kernels/dot.h"

namespace tramontane::cuda {

template void dot_format<IQ4_NL>(const LinearTask&, cudaStream_t);
template void dot_format<IQ4_XS>(const LinearTask&, cudaStream_t);
template void dot_format<Gptq4>(const LinearTask&, cudaStream_t);
template void dot_format<Gptq8>(const LinearTask&, cudaStream_t);

}  // namespace tramontane::cuda
