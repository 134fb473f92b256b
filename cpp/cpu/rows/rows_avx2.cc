#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx2
#include "cpu/rows/avx2_vector.h"
#include "cpu/rows/vector_rows.h"

namespace tramontane::cpu {

const RowKernels kAvx2Rows = TRAMONTANE_TARGET::row_kernels<TRAMONTANE_TARGET::Eight>();

}  // namespace tramontane::cpu

#endif
