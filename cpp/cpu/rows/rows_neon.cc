#if defined(__aarch64__) || defined(_M_ARM64)

#define TRAMONTANE_TARGET baseline
#include "cpu/rows/neon_vector.h"
#include "cpu/rows/vector_rows.h"

namespace tramontane::cpu {

const RowKernels kNeonRows = TRAMONTANE_TARGET::row_kernels<TRAMONTANE_TARGET::Four>();

}  // namespace tramontane::cpu

#endif
