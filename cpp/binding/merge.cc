#include "binding/merge.h"

#include <utility>

#include "binding/convert.h"
#include "binding/promise_worker.h"
#include "model/merge.h"

namespace tramontane::binding {
namespace {

class Merging final : public PromiseWorker {
 public:
  Merging(Napi::Env env, MergeRequest request, Napi::Uint8Array out)
      : PromiseWorker(env, "merging an adapter"),
        request_(std::move(request)),
        out_(Napi::Persistent(out)),
        data_(out.Data()),
        bytes_(out.ByteLength()) {}

 private:
  void run() override { tramontane::merge_weight(request_, data_, bytes_); }

  const MergeRequest request_;
  const Napi::Reference<Napi::Uint8Array> out_;  // Keeps the memory below.
  uint8_t* const data_;
  const size_t bytes_;
};

}  // namespace

Napi::Value merge_weight(const Napi::CallbackInfo& info) {
  Napi::Value promise;
  throw_errors(info.Env(), "merging an adapter", [&] {
    auto* merging = new Merging(info.Env(), to_merge_request(info[0].As<Napi::Object>()),
                                info[1].As<Napi::Uint8Array>());
    promise = merging->start();
  });
  return promise;
}

}  // namespace tramontane::binding
