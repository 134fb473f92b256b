#pragma once

#include "base/inline.h"

namespace tramontane {

// Asks for the cache line at `p`, which need not be readable.
TRAMONTANE_INLINE void prefetch([[maybe_unused]] const void* p) {
#if defined(__GNUC__)
  __builtin_prefetch(p);
#endif
}

}  // namespace tramontane
