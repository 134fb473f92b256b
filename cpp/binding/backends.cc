#include "binding/backends.h"

#include <cstdlib>
#include <optional>
#include <string>

#include "backend/cuda_plugin.h"
#include "base/error.h"
#include "binding/promise_worker.h"
#include "cpu/backend/implementation.h"

namespace tramontane::binding {
namespace {

// Waking a driver takes a while: not on JavaScript's thread.
class Probing final : public PromiseWorker {
 public:
  Probing(Napi::Env env, std::string plugin)
      : PromiseWorker(env, "looking for GPUs"), plugin_(std::move(plugin)) {}

 private:
  void run() override {
    if (plugin_.empty()) return;
    try {
      cuda_ = CudaPlugin(plugin_).probe();
      problem_ = cuda_->problem;
    } catch (const Error& error) {
      problem_ = error.what();
    }
  }

  Napi::Value result() override {
    Napi::Object object = Napi::Object::New(Env());
    object.Set("cpu", cpu());
    if (!plugin_.empty()) object.Set("cuda", cuda());
    return object;
  }

  Napi::Object cpu() const {
    Napi::Object object = Napi::Object::New(Env());
    Napi::Array names = Napi::Array::New(Env());
    for (const cpu::Implementation& implementation : cpu::implementations()) {
      if (implementation.supported()) names.Set(names.Length(), implementation.name);
    }
    object.Set("implementations", names);
    std::string problem;
    const cpu::Implementation* chosen =
        cpu::choose_implementation(std::getenv("TRAMONTANE_CPU"), &problem);
    if (chosen != nullptr) object.Set("implementation", chosen->name);
    if (chosen == nullptr) object.Set("problem", problem);
    return object;
  }

  Napi::Object cuda() const {
    Napi::Object object = Napi::Object::New(Env());
    if (!problem_.empty()) object.Set("problem", problem_);
    if (!cuda_) return object;
    object.Set("driverVersion", cuda_->driver_version);
    object.Set("runtimeVersion", cuda_->runtime_version);
    Napi::Array devices = Napi::Array::New(Env());
    for (int i = 0; i < cuda_->device_count; ++i) {
      const cuda::DeviceInfo& info = cuda_->devices[i];
      Napi::Object device = Napi::Object::New(Env());
      device.Set("name", info.name);
      device.Set("computeCapability",
                 std::to_string(info.major) + "." + std::to_string(info.minor));
      device.Set("supported", info.supported != 0);
      device.Set("memoryBytes", static_cast<double>(info.total_bytes));
      devices.Set(devices.Length(), device);
    }
    object.Set("devices", devices);
    return object;
  }

  const std::string plugin_;
  std::optional<cuda::ProbeResult> cuda_;
  std::string problem_;
};

}  // namespace

Napi::Value backends(const Napi::CallbackInfo& info) {
  const bool has_plugin = info[0].IsString();
  auto* probing = new Probing(info.Env(), has_plugin ? info[0].As<Napi::String>().Utf8Value() : "");
  return probing->start();
}

}  // namespace tramontane::binding
