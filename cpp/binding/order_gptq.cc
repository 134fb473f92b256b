#include "binding/order_gptq.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "binding/convert.h"

namespace tramontane::binding {
namespace {

class Ordering final : public Napi::AsyncWorker {
 public:
  Ordering(Napi::Env env, std::vector<std::string> files, WeightPlace weight, int32_t threads,
           Napi::Uint8Array out)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        files_(std::move(files)),
        weight_(std::move(weight)),
        threads_(threads),
        out_(Napi::Persistent(out)),
        data_(out.Data()),
        bytes_(out.ByteLength()) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      const WeightFiles files(files_);
      const FoundWeight found = files.find(weight_);
      WeightData data = found.data;
      data.gptq = &found.parts;
      const Status status = tramontane_cpu_order_gptq(&data, threads_, data_, bytes_);
      if (status == Status::kOk) return;
      code_ = status == Status::kOutOfMemory   ? "OUT_OF_MEMORY"
              : status == Status::kUnsupported ? "UNSUPPORTED_FILE"
                                               : "COMPUTE_FAILED";
      SetError(weight_.name + ": its words cannot be brought into group order");
    } catch (const Error& error) {
      code_ = error.code();
      SetError(error.what());
    }
  }

  void OnOK() override { deferred_.Resolve(Env().Undefined()); }
  void OnError(const Napi::Error& error) override {
    deferred_.Reject(to_error(Env(), code_, error.Message()).Value());
  }

 private:
  const Napi::Promise::Deferred deferred_;
  const std::vector<std::string> files_;
  const WeightPlace weight_;
  const int32_t threads_;
  const Napi::Reference<Napi::Uint8Array> out_;  // Keeps the memory below.
  uint8_t* const data_;
  const size_t bytes_;
  const char* code_ = "COMPUTE_FAILED";
};

}  // namespace

Napi::Value order_gptq(const Napi::CallbackInfo& info) {
  auto* ordering =
      new Ordering(info.Env(), to_strings(info[0]), to_weight(info[1].As<Napi::Object>()),
                   info[2].As<Napi::Number>().Int32Value(),
                   info[3].As<Napi::Uint8Array>());  // Deletes itself when done.
  ordering->Queue();
  return ordering->promise();
}

}  // namespace tramontane::binding
