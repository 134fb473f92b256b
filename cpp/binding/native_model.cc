#include "binding/native_model.h"

#include <string>
#include <utility>

#include "base/error.h"
#include "binding/convert.h"
#include "binding/guard.h"
#include "binding/promise_worker.h"

namespace tramontane::binding {
namespace {

uint64_t to_id(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

}  // namespace

void Mailbox::put(std::vector<Event>* events) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  events_.reserve(events_.size() + events->size());  // All or none of them.
  for (Event& event : *events) events_.push_back(std::move(event));
  napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

std::vector<Event> Mailbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

void Mailbox::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

Napi::Function NativeModel::define(Napi::Env env) {
  return DefineClass(env, "NativeModel",
                     {InstanceMethod<&NativeModel::generate>("generate"),
                      InstanceMethod<&NativeModel::score>("score"),
                      InstanceMethod<&NativeModel::load_adapter>("loadAdapter"),
                      InstanceMethod<&NativeModel::unload_adapter>("unloadAdapter"),
                      InstanceMethod<&NativeModel::abort>("abort"),
                      InstanceMethod<&NativeModel::acknowledge>("acknowledge"),
                      InstanceMethod<&NativeModel::keep_alive>("keepAlive"),
                      InstanceMethod<&NativeModel::stats>("stats"),
                      InstanceMethod<&NativeModel::dispose>("dispose")});
}

NativeModel::NativeModel(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<NativeModel>(info), env_(info.Env()) {
  const Napi::Env env = info.Env();
  auto* loaded = info[0].As<Napi::External<Loaded>>().Data();
  running_.model = std::move(loaded->model);
  on_events_ = Napi::Persistent(info[1].As<Napi::Function>());

  const napi_value name = Napi::String::New(env, "tramontane");
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                      wake_up, &wake_) != napi_ok) {
    throw to_error(env, "OUT_OF_MEMORY", "cannot create a thread-safe function");
  }
  napi_unref_threadsafe_function(env, wake_);
  mailbox_ = std::make_shared<Mailbox>(wake_);
  // After the thread-safe function, so that it runs before that one's own clean-up. From here on,
  // close() undoes everything: the destructor does not run where the constructor throws.
  napi_add_env_cleanup_hook(env, on_environment_exit, this);
  try {
    throw_errors(env, "starting the engine's thread (lower threads, or raise the limit of them)",
                 [&] { start(info.This().As<Napi::Object>(), std::move(loaded->options)); });
  } catch (...) {
    close();
    throw;
  }
}

void NativeModel::start(Napi::Object self, EngineOptions options) {
  running_.engine = std::make_unique<Engine>(
      *running_.model, std::move(options),
      [mailbox = mailbox_](std::vector<Event>* events) { mailbox->put(events); });
  const Model& model = *running_.model;
  self.Set("implementation", running_.model->backend().implementation());
  self.Set("kvCacheTokens", model.pages() * kPageTokens);
  self.Set("mostTokens", most_tokens(model.limits(), model.pages()));
  self.Set("kvCacheSource", model.kv_size().pages_source);
  self.Set("contextSize", model.kv_size().context);
  self.Set("contextSource", model.kv_size().context_source);
  if (!model.device().empty()) self.Set("device", model.device());
  self.Set("backendReason", model.backend_reason());
}

NativeModel::~NativeModel() { close(); }

void NativeModel::on_environment_exit(void* self) { static_cast<NativeModel*>(self)->close(); }

// Each goes before what it uses.
void NativeModel::Running::end() {
  engine.reset();
  adapters.clear();
  model.reset();
}

// Stops and joins the engine if it still runs, and lets go of the environment.
void NativeModel::close() {
  if (std::exchange(closed_, true)) return;
  mailbox_->close();
  running_.end();
  napi_remove_env_cleanup_hook(env_, on_environment_exit, this);
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
  on_events_.Reset();
  outputs_.clear();
}

// generate(id, request): starts one generation.
Napi::Value NativeModel::generate(const Napi::CallbackInfo& info) {
  throw_errors(info.Env(), "starting a request", [&] {
    const auto object = info[1].As<Napi::Object>();
    GenerateRequest request = to_generate_request(object, running_.model->shape().vocabulary);
    request.adapter = to_adapter_use(object.Get("adapter"));
    running_.engine->submit(to_id(info[0]), std::move(request));
  });
  return info.Env().Undefined();
}

// {id, scale} of a loaded adapter, or undefined.
AdapterUse NativeModel::to_adapter_use(const Napi::Value& value) const {
  if (value.IsUndefined()) return {};
  const auto use = value.As<Napi::Object>();
  const auto found = running_.adapters.find(use.Get("id").As<Napi::Number>().Int32Value());
  if (found == running_.adapters.end()) throw Error("DISPOSED", "the adapter was disposed");
  return {found->second, use.Get("scale").As<Napi::Number>().FloatValue()};
}

// Reads an adapter on another thread.
class NativeModel::AdapterLoading final : public PromiseWorker {
 public:
  AdapterLoading(NativeModel* self, AdapterDescription description)
      : PromiseWorker(self->Env(), "loading an adapter"),
        self_(self),
        self_kept_(Napi::Persistent(self->Value())),
        model_(self->running_.model),
        description_(std::move(description)) {}

 private:
  void run() override { adapter_ = std::make_shared<const Adapter>(*model_, description_); }

  Napi::Value result() override {
    if (!self_->running_.engine) throw Error("DISPOSED", "the model was disposed");
    Napi::Object object = Napi::Object::New(Env());
    object.Set("id", adapter_->id());
    object.Set("bytes", static_cast<double>(adapter_->bytes()));
    self_->running_.adapters.emplace(adapter_->id(), adapter_);
    return object;
  }

  NativeModel* const self_;
  const Napi::ObjectReference self_kept_;
  const std::shared_ptr<Model> model_;
  const AdapterDescription description_;
  std::shared_ptr<const Adapter> adapter_;  // Goes before the model.
};

// loadAdapter(description) -> Promise<{id, bytes}>
Napi::Value NativeModel::load_adapter(const Napi::CallbackInfo& info) {
  Napi::Value promise;
  throw_errors(info.Env(), "loading an adapter", [&] {
    if (!running_.engine) throw Error("DISPOSED", "the model was disposed");
    auto* loading = new AdapterLoading(this, to_adapter_description(info[0].As<Napi::Object>()));
    promise = loading->start();
  });
  return promise;
}

// unloadAdapter(id): requests that use it go on to their ends.
Napi::Value NativeModel::unload_adapter(const Napi::CallbackInfo& info) {
  running_.adapters.erase(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

// score(id, tokens, {cacheSalt, adapter, first}, positions, out): logits at `positions` into `out`;
// without these two, the likelihood of the tokens from `first` (1) on.
Napi::Value NativeModel::score(const Napi::CallbackInfo& info) {
  const uint64_t id = to_id(info[0]);
  try {
    throw_errors(info.Env(), "starting a request", [&] {
      ScoreRequest request;
      request.tokens = to_tokens(info[1]);
      const auto options = info[2].As<Napi::Object>();
      request.cache_salt = to_salt(options.Get("cacheSalt"));
      request.adapter = to_adapter_use(options.Get("adapter"));
      if (const Napi::Value first = options.Get("first"); !first.IsUndefined()) {
        request.first = std::max(1, first.As<Napi::Number>().Int32Value());
      }
      if (!info[3].IsUndefined()) {
        auto out = info[4].As<Napi::Float32Array>();
        request.positions = to_tokens(info[3]);
        const auto vocabulary = static_cast<size_t>(running_.model->shape().vocabulary);
        check_pair("logits", out.ElementLength(), "positions by the vocabulary",
                   request.positions.size() * vocabulary);
        request.out = out.Data();
        outputs_.emplace(id, Napi::Persistent(out));
      }
      running_.engine->submit(id, std::move(request));
    });
  } catch (...) {
    outputs_.erase(id);
    throw;
  }
  return info.Env().Undefined();
}

Napi::Value NativeModel::abort(const Napi::CallbackInfo& info) {
  if (running_.engine) running_.engine->abort(to_id(info[0]));
  return info.Env().Undefined();
}

// acknowledge(id, tokens): so many more tokens of the request were taken.
Napi::Value NativeModel::acknowledge(const Napi::CallbackInfo& info) {
  if (!running_.engine) return info.Env().Undefined();
  const int32_t tokens = info[1].As<Napi::Number>();
  running_.engine->acknowledge(to_id(info[0]), tokens);
  return info.Env().Undefined();
}

// keepAlive(awaited): whether the process stays alive for what is in flight.
Napi::Value NativeModel::keep_alive(const Napi::CallbackInfo& info) {
  if (closed_) return info.Env().Undefined();
  if (info[0].As<Napi::Boolean>()) {
    napi_ref_threadsafe_function(env_, wake_);
  } else {
    napi_unref_threadsafe_function(env_, wake_);
  }
  return info.Env().Undefined();
}

Napi::Value NativeModel::stats(const Napi::CallbackInfo& info) {
  const Engine::Stats stats = running_.engine ? running_.engine->stats() : Engine::Stats{};
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("pages", stats.pages);
  object.Set("pagesInUse", stats.pages_in_use);
  object.Set("pagesCached", stats.pages_cached);
  object.Set("running", stats.running);
  object.Set("waiting", stats.waiting);
  return object;
}

// Ends engine and model on a thread of the pool, since a step may take a while to notice, then
// delivers what came last.
class NativeModel::Disposal final : public Napi::AsyncWorker {
 public:
  explicit Disposal(NativeModel* self)
      : Napi::AsyncWorker(self->Env()),
        deferred_(Napi::Promise::Deferred::New(self->Env())),
        self_(self),
        running_(std::move(self->running_)) {
    running_.engine->stop();
    self->Ref();
  }

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override { running_.end(); }

  void OnOK() override {
    try {
      throw_errors(Env(), "delivering events", [&] { self_->deliver(Env()); });
      deferred_.Resolve(Env().Undefined());
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
    self_->close();
    self_->Unref();
  }

 private:
  const Napi::Promise::Deferred deferred_;
  NativeModel* const self_;
  Running running_;
};

Napi::Value NativeModel::dispose(const Napi::CallbackInfo& info) {
  if (!running_.engine) throw to_error(info.Env(), "DISPOSED", "disposed twice");
  auto* disposal = new Disposal(this);  // Deletes itself when it is done.
  disposal->Queue();
  return disposal->promise();
}

void NativeModel::wake_up(napi_env env, napi_value, void* self, void*) {
  if (env == nullptr) return;  // The environment is going away, and `self` may be gone.
  const Napi::HandleScope scope(env);
  try {
    throw_errors(env, "delivering events", [&] { static_cast<NativeModel*>(self)->deliver(env); });
  } catch (const Napi::Error& error) {
    napi_fatal_exception(env, error.Value());
  }
}

void NativeModel::deliver(Napi::Env env) {
  const std::vector<Event> events = mailbox_->take();
  if (events.empty()) return;
  Napi::Array array = Napi::Array::New(env, events.size());
  for (uint32_t i = 0; i < events.size(); ++i) {
    array.Set(i, to_value(env, events[i]));
    if (events[i].finish != Finish::kNone) outputs_.erase(events[i].id);
  }
  on_events_.Call({array});
}

}  // namespace tramontane::binding
