// Linear layers for AVX-512 with VNNI: see vnni_dot.h and vnni_panel.h.
#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx512_vnni

#include "cpu/linear/x86/avx512_vector.h"

namespace tramontane::cpu {

extern const LinearKernels kAvx512VnniLinear = avx512_vnni::kVnniLinear<avx512_vnni::Avx512Vnni>;

}  // namespace tramontane::cpu

#endif
