// Training of adapters, as lib/model/native.ts sees it.
#pragma once

#include <napi.h>

#include <memory>

namespace tramontane::binding {

class NativeTrainer : public Napi::ObjectWrap<NativeTrainer> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Trainer(description, options): opens nothing yet.
  explicit NativeTrainer(const Napi::CallbackInfo& info);
  ~NativeTrainer() override;

 private:
  struct Shared;
  class Opening;
  class Computing;
  class Updating;

  Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value accumulate(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value forget_gradient(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);

  static void on_environment_exit(void* self);

  const std::shared_ptr<Shared> shared_;  // Also held by work at hand.
  napi_env env_;
};

}  // namespace tramontane::binding
