#pragma once

#include <napi.h>

namespace tramontane::binding {

// mergeWeight({files, weight, shape, adapter, scale, format, threads}, out: Uint8Array) -> Promise:
// writes a weight with the part of an adapter in it.
Napi::Value merge_weight(const Napi::CallbackInfo& info);

}  // namespace tramontane::binding
