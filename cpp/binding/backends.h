// backends(plugin?) -> Promise of what this machine can compute with, as lib/model/native.ts has
// it.
#pragma once

#include <napi.h>

namespace tramontane::binding {

Napi::Value backends(const Napi::CallbackInfo& info);

}  // namespace tramontane::binding
