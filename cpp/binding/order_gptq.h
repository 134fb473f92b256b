#pragma once

#include <napi.h>

namespace tramontane::binding {

// orderGptq(files, weight, threads, out: Uint8Array) -> Promise: brings the words of a GPTQ weight
// into the order in which the CPU reads them.
Napi::Value order_gptq(const Napi::CallbackInfo& info);

}  // namespace tramontane::binding
