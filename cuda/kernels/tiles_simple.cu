#include "kernels/tiles.h"

namespace tramontane::cuda {

template void tiles_format<Q4_0>(const LinearTask&, cudaStream_t);
template void tiles_format<Q4_1>(const LinearTask&, cudaStream_t);
template void tiles_format<Q5_0>(const LinearTask&, cudaStream_t);
template void tiles_format<Q5_1>(const LinearTask&, cudaStream_t);
template void tiles_format<Q8_0>(const LinearTask&, cudaStream_t);

}  // namespace tramontane::cuda
