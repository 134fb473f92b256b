#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx512_vnni
#include "cpu/rows/avx512_vector.h"
#include "cpu/rows/vector_rows.h"

namespace tramontane::cpu {

const RowKernels kAvx512Rows = TRAMONTANE_TARGET::row_kernels<TRAMONTANE_TARGET::Sixteen>();

}  // namespace tramontane::cpu

#endif
