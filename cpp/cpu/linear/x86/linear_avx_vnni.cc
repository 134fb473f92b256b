// Linear layers for AVX-VNNI: see vnni_dot.h and vnni_panel.h.
#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET avx_vnni

#include "cpu/linear/linear.h"

// The compilers that know it: gcc 11, clang 12, Visual Studio 2022.
#if defined(_MSC_VER) || __has_include(<avxvnniintrin.h>)

#include "cpu/linear/x86/avx_vnni_vector.h"

namespace tramontane::cpu {

extern const LinearKernels* const kAvxVnniLinear = &avx_vnni::kVnniLinear<avx_vnni::AvxVnni>;

}  // namespace tramontane::cpu

#else

namespace tramontane::cpu {

extern const LinearKernels* const kAvxVnniLinear = nullptr;

}  // namespace tramontane::cpu

#endif
#endif
