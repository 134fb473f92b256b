// What the addon exports: load(description, onEvents, onProgress) -> Promise<NativeModel>,
// memoryNeeds(description, users), freeMemory(groups), Grammar, Matcher, buildVocabulary(),
// orderGptq(), mergeWeight(), MachineLimits, Trainer and backends().
#include <napi.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include "binding/backends.h"
#include "binding/convert.h"
#include "binding/grammar.h"
#include "binding/guard.h"
#include "binding/machine_limits.h"
#include "binding/merge.h"
#include "binding/native_model.h"
#include "binding/order_gptq.h"
#include "binding/progress_calls.h"
#include "binding/promise_worker.h"
#include "binding/trainer.h"

namespace tramontane::binding {
namespace {

// What one JavaScript environment (the main thread or a worker) has of its own.
struct Environment {
  Napi::FunctionReference native_model;
};

class Loading final : public PromiseWorker {
 public:
  Loading(Napi::Env env, ModelDescription description, EngineOptions options,
          Napi::Function on_events, Napi::Function on_progress)
      : PromiseWorker(env, "loading the model"),
        description_(std::move(description)),
        loaded_{nullptr, std::move(options)},
        on_events_(Napi::Persistent(on_events)),
        progress_(env, on_progress) {}

 private:
  void run() override {
    loaded_.model = std::make_unique<Model>(
        description_, [this](double fraction) { progress_.report(fraction); });
  }

  Napi::Value reason(const Napi::Error& error) override {
    return progress_.thrown() ? progress_.thrown()->Value() : error.Value();
  }

  Napi::Value result() override {
    const Napi::Env env = Env();
    progress_.finish();
    if (progress_.thrown()) throw *progress_.thrown();
    const auto external = Napi::External<Loaded>::New(env, &loaded_);
    return env.GetInstanceData<Environment>()->native_model.New({external, on_events_.Value()});
  }

  const ModelDescription description_;
  Loaded loaded_;
  Napi::FunctionReference on_events_;
  ProgressCalls progress_;
};

Napi::Value load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Value promise;
  throw_errors(env, "loading the model", [&] {
    const auto description = info[0].As<Napi::Object>();
    auto* loading = new Loading(env, to_description(description), to_engine_options(description),
                                info[1].As<Napi::Function>(), info[2].As<Napi::Function>());
    promise = loading->start();
  });
  return promise;
}

void set_free_memory(const Napi::Object& object, const FreeMemory& free) {
  object.Set("freeBytes", static_cast<double>(free.bytes));
  object.Set("limitBytes", static_cast<double>(free.limit));
  object.Set("limitedBy", free.where);
}

Napi::Value needed_memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto result = Napi::Object::New(env);
  throw_errors(env, "estimating memory", [&] {
    // Buffers grow to powers of two. Beside generations, prompts have fewer rows.
    const auto users = std::clamp(info[1].As<Napi::Number>().Int32Value(), 1, Engine::kMostRunning);
    const auto rows = std::bit_ceil(static_cast<uint32_t>(std::max(Scheduler::kPromptRows, users)));
    const auto outputs = std::bit_ceil(static_cast<uint32_t>(users));
    const MemoryNeeds needs =
        memory_needs(to_description(info[0].As<Napi::Object>()), static_cast<int32_t>(rows),
                     static_cast<int32_t>(outputs));
    result.Set("pageBytes", static_cast<double>(needs.page_bytes));
    result.Set("sequencePages", needs.sequence_pages);
    result.Set("scratchBytes", static_cast<double>(needs.scratch_bytes));
    set_free_memory(result, needs.free);
  });
  return result;
}

Napi::Value memory_left(const Napi::CallbackInfo& info) {
  const auto result = Napi::Object::New(info.Env());
  throw_errors(info.Env(), "looking at memory", [&] {
    set_free_memory(result, free_memory(to_memory_groups(info[0].As<Napi::Array>())));
  });
  return result;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment{Napi::Persistent(NativeModel::define(env))};
  env.SetInstanceData(environment);  // Deleted with the environment.
  exports.Set("load", Napi::Function::New(env, load, "load"));
  exports.Set("memoryNeeds", Napi::Function::New(env, needed_memory, "memoryNeeds"));
  exports.Set("freeMemory", Napi::Function::New(env, memory_left, "freeMemory"));
  exports.Set("Grammar", NativeGrammar::define(env));
  exports.Set("Matcher", NativeMatcher::define(env));
  exports.Set("buildVocabulary", Napi::Function::New(env, build_vocabulary, "buildVocabulary"));
  exports.Set("mergeWeight", Napi::Function::New(env, merge_weight, "mergeWeight"));
  exports.Set("orderGptq", Napi::Function::New(env, order_gptq, "orderGptq"));
  exports.Set("MachineLimits", MachineLimits::define(env));
  exports.Set("Trainer", NativeTrainer::define(env));
  exports.Set("backends", Napi::Function::New(env, backends, "backends"));
  return exports;
}

}  // namespace
}  // namespace tramontane::binding

static Napi::Object tramontane_initialize(Napi::Env env, Napi::Object exports) {
  return tramontane::binding::initialize(env, exports);
}

NODE_API_MODULE(tramontane, tramontane_initialize)
