// The one class the addon has: a loaded model and its engine, as lib/model/native.ts sees it.
#pragma once

#include <napi.h>

#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/engine.h"
#include "model/model.h"

namespace tramontane::binding {

// Events on their way from the engine's thread to JavaScript: collected here, and fetched there
// when the wake-up call arrives, so that one call carries whatever has come together. Once closed,
// events are dropped: the environment they were meant for is going away.
class Mailbox {
 public:
  explicit Mailbox(napi_threadsafe_function wake) : wake_(wake) {}
  // Takes the events out of the vector; leaves them there when it throws.
  void put(std::vector<Event>* events);
  std::vector<Event> take();
  void close();

 private:
  std::mutex mutex_;
  std::vector<Event> events_;
  const napi_threadsafe_function wake_;
  bool closed_ = false;
};

// What load() makes on another thread.
struct Loaded {
  std::unique_ptr<Model> model;
  EngineOptions options;
};

class NativeModel : public Napi::ObjectWrap<NativeModel> {
 public:
  static Napi::Function define(Napi::Env env);
  // Made by load() alone, with an External<Loaded> and the callback for events.
  explicit NativeModel(const Napi::CallbackInfo& info);
  ~NativeModel() override;

 private:
  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value load_adapter(const Napi::CallbackInfo& info);
  Napi::Value unload_adapter(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);
  Napi::Value acknowledge(const Napi::CallbackInfo& info);
  Napi::Value keep_alive(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  // The parts that need no JavaScript; dispose() takes them away to end them on another thread.
  struct Running {
    std::shared_ptr<Model> model;  // Adapters that are being loaded hold it too.
    std::unordered_map<int32_t, std::shared_ptr<const Adapter>> adapters;  // By their ids.
    std::unique_ptr<Engine> engine;
    void end();
  };
  class Disposal;
  class AdapterLoading;

  AdapterUse to_adapter_use(const Napi::Value& value) const;

  static void wake_up(napi_env env, napi_value, void* self, void*);
  static void on_environment_exit(void* self);
  void deliver(Napi::Env env);
  void start(Napi::Object self, EngineOptions options);
  void close();

  Running running_;  // Empty after dispose().
  napi_threadsafe_function wake_ = nullptr;
  std::shared_ptr<Mailbox> mailbox_;  // Also held by the engine's report.
  Napi::FunctionReference on_events_;
  napi_env env_;
  bool closed_ = false;
  // The arrays that scores in flight write to.
  std::unordered_map<uint64_t, Napi::Reference<Napi::Float32Array>> outputs_;
};

}  // namespace tramontane::binding
