// The CUDA runtime, or the emulator's.
#pragma once

#if defined(TRAMONTANE_CUDA_EMULATION)
#include "emulation/runtime.h"
#else
#include <cuda_runtime.h>
#endif
