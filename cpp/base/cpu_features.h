// What the processor, and the system on it, can run.
#pragma once

namespace tramontane {

struct CpuFeatures {
  bool avx2 = false;  // With FMA and F16C, which every processor with AVX2 has.
};

const CpuFeatures& cpu_features();

}  // namespace tramontane
