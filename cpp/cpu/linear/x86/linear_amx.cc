// Linear layers for AMX: see amx_panel.h.
#if defined(__x86_64__) || defined(_M_X64)

#define TRAMONTANE_TARGET amx

#include "cpu/linear/linear.h"

// The compilers that know it: gcc 11, clang 12; their instructions are written in their assembly.
#if !defined(_MSC_VER) && __has_include(<amxint8intrin.h>)

#include "cpu/linear/x86/amx.h"
#include "cpu/linear/x86/amx_tiles.h"

namespace tramontane::cpu {

extern const LinearKernels* const kAmxLinear = &amx::kAmxKernels<Tiles, kAvx512VnniLinear>;

}  // namespace tramontane::cpu

#else

namespace tramontane::cpu {

extern const LinearKernels* const kAmxLinear = nullptr;

}  // namespace tramontane::cpu

#endif
#endif
