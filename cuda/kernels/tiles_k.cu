#include "kernels/tiles.h"

namespace tramontane::cuda {

template void tiles_format<Q2_K>(const LinearTask&, cudaStream_t);
template void tiles_format<Q3_K>(const LinearTask&, cudaStream_t);
template void tiles_format<Q4_K>(const LinearTask&, cudaStream_t);
template void tiles_format<Q5_K>(const LinearTask&, cudaStream_t);
template void tiles_format<Q6_K>(const LinearTask&, cudaStream_t);

}  // namespace tramontane::cuda
