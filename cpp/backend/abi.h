// Which seam this was compiled of: a hash of all headers in backend/ and quant/, which the build
// makes. An addon and a plug-in fit when theirs are the same.
#pragma once

#include <cstdint>

#include "seam_hash.h"

namespace tramontane {

constexpr uint64_t kSeamHash = TRAMONTANE_SEAM_HASH;

}  // namespace tramontane
