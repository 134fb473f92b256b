#include "cpu/backend/implementation.h"

#include "base/cpu_features.h"

namespace tramontane::cpu {

const std::vector<Implementation>& implementations() {
  static const std::vector<Implementation> all = {
#if defined(__x86_64__) || defined(_M_X64)
    {"amx", [] { return cpu_features().amx_int8 && kAmxLinear != nullptr; }, kAmxLinear,
     &kAvx512Rows, &kAvx512Tiles},
    {"avx512-vnni", [] { return cpu_features().avx512_vnni; }, &kAvx512VnniLinear, &kAvx512Rows,
     &kAvx512Tiles},
    {"avx-vnni", [] { return cpu_features().avx_vnni && kAvxVnniLinear != nullptr; },
     kAvxVnniLinear, &kAvx2Rows, &kAvx2Tiles},
    {"avx2", [] { return cpu_features().avx2; }, &kAvx2Linear, &kAvx2Rows, &kAvx2Tiles},
#elif defined(__aarch64__) || defined(_M_ARM64)
    {"neon-i8mm", [] { return cpu_features().neon_i8mm && kNeonI8mmLinear != nullptr; },
     kNeonI8mmLinear, &kNeonRows, &kNeonTiles},
    {"neon-dot", [] { return cpu_features().neon_dot && kNeonDotLinear != nullptr; },
     kNeonDotLinear, &kNeonRows, &kNeonTiles},
#endif
    {"scalar", [] { return true; }, &kScalarLinear, &kScalarRows, &kScalarTiles},
  };
  return all;
}

const Implementation* choose_implementation(const char* name, std::string* error) {
  const std::string wanted = name == nullptr ? "" : name;
  std::string names;
  for (const Implementation& implementation : implementations()) {
    if (!implementation.supported()) continue;
    if (wanted.empty() || wanted == implementation.name) return &implementation;
    names += names.empty() ? "" : ", ";
    names += implementation.name;
  }
  *error = "TRAMONTANE_CPU is '" + wanted + "'; this processor can run: " + names;
  return nullptr;
}

}  // namespace tramontane::cpu
