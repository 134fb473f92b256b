#include "binding/order_gptq.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "binding/convert.h"
#include "binding/promise_worker.h"

namespace tramontane::binding {
namespace {

class Ordering final : public PromiseWorker {
 public:
  Ordering(Napi::Env env, std::vector<std::string> files, WeightPlace weight, int32_t threads,
           Napi::Uint8Array out)
      : PromiseWorker(env, "bringing weights into group order"),
        files_(std::move(files)),
        weight_(std::move(weight)),
        threads_(threads),
        out_(Napi::Persistent(out)),
        data_(out.Data()),
        bytes_(out.ByteLength()) {}

 private:
  void run() override {
    const WeightFiles files(files_);
    const WeightData data = files.find(weight_).data;
    const Status status = tramontane_cpu_order_gptq(&data, threads_, data_, bytes_);
    if (status == Status::kOk) return;
    const char* code = status == Status::kOutOfMemory   ? "OUT_OF_MEMORY"
                       : status == Status::kUnsupported ? "UNSUPPORTED_FILE"
                                                        : "COMPUTE_FAILED";
    throw Error(code, weight_.name + ": its words cannot be brought into group order");
  }

  const std::vector<std::string> files_;
  const WeightPlace weight_;
  const int32_t threads_;
  const Napi::Reference<Napi::Uint8Array> out_;  // Keeps the memory below.
  uint8_t* const data_;
  const size_t bytes_;
};

}  // namespace

Napi::Value order_gptq(const Napi::CallbackInfo& info) {
  auto* ordering =
      new Ordering(info.Env(), to_strings(info[0]), to_weight(info[1].As<Napi::Object>()),
                   info[2].As<Napi::Number>().Int32Value(), info[3].As<Napi::Uint8Array>());
  return ordering->start();
}

}  // namespace tramontane::binding
