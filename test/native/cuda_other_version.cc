// A CUDA plug-in of a version that does not exist, for the test that it is refused.
#include "host/plugin.h"

uint32_t tramontane_cuda_abi_version() { return tramontane::kBackendAbiVersion + 1000; }
