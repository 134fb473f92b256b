#include "kernels/dot.h"

namespace tramontane::cuda {

template void dot_format<Q2_K>(const LinearTask&, cudaStream_t);
template void dot_format<Q3_K>(const LinearTask&, cudaStream_t);
template void dot_format<Q4_K>(const LinearTask&, cudaStream_t);
template void dot_format<Q5_K>(const LinearTask&, cudaStream_t);
template void dot_format<Q6_K>(const LinearTask&, cudaStream_t);

}  // namespace tramontane::cuda
