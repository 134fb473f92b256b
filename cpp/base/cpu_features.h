// What the processor, and the system on it, can run.
#pragma once

namespace tramontane {

struct CpuFeatures {
  bool avx2 = false;         // With FMA and F16C, which every processor with AVX2 has.
  bool avx_vnni = false;     // With avx2.
  bool avx512_vnni = false;  // With avx2 and AVX-512 F, BW, DQ and VL.
  bool amx_int8 = false;     // With avx512_vnni, and the system lets this process use tiles.
  bool neon_dot = false;     // FEAT_DotProd; NEON itself every AArch64 has.
  bool neon_i8mm = false;    // FEAT_I8MM, with neon_dot. Not looked for on Windows.
};

const CpuFeatures& cpu_features();

}  // namespace tramontane
