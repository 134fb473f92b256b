// MachineLimits: what the machine could do at most, measured where a model runs.
#pragma once

#include <napi.h>

#include <memory>

namespace tramontane::binding {

class MachineLimits : public Napi::ObjectWrap<MachineLimits> {
 public:
  static Napi::Function define(Napi::Env env);
  // new MachineLimits(files, threads): maps the files.
  explicit MachineLimits(const Napi::CallbackInfo& info);

 private:
  struct Files;
  class Measuring;

  // measure(): reads all files once, and multiplies for about 20 ms, on all threads.
  // -> Promise<{readBytesPerSecond, int8OperationsPerSecond}>
  Napi::Value measure(const Napi::CallbackInfo& info);

  std::shared_ptr<const Files> files_;  // Shared with measurements under way.
};

}  // namespace tramontane::binding
